"""The invariants of the n-body problem: names, units, and entries in the array of observables."""

from __future__ import annotations

import numpy as np

from simsurrogate.spec import DIRECTIONS, Quantity
from solvers.nbody.diagnostics import ANGULAR_MOMENTUM, ENERGY, LEAST_SEPARATION, MOMENTUM


class Invariants:
    """The invariants in two or three dimensions; see `diagnostics.observe` for the array of observables.

    Attributes:
        entries: the index of each invariant in the array of observables, by name.
        quantities: the description of each invariant.
    """

    def __init__(self, dimension: int):
        directions = DIRECTIONS[:dimension]
        rotation_axes = DIRECTIONS if dimension == 3 else ("z",)
        momentum = {f"momentum_{name}": MOMENTUM + DIRECTIONS.index(name) for name in directions}
        angular_momentum = {
            f"angular_momentum_{name}": ANGULAR_MOMENTUM + DIRECTIONS.index(name) for name in rotation_axes
        }
        self.entries = (
            {"energy": ENERGY} | momentum | angular_momentum | {"least_separation": LEAST_SEPARATION}
        )
        self.quantities = (
            Quantity("energy", "J", "kinetic and potential energy"),
            *(Quantity(name, "kg m/s", "momentum") for name in momentum),
            *(Quantity(name, "kg m^2/s", "angular momentum about the origin") for name in angular_momentum),
            Quantity(
                "least_separation",
                "m",
                "distance of the nearest two bodies; not conserved, small in close encounters",
            ),
        )

    def series(self, observables: np.ndarray) -> dict[str, np.ndarray]:
        """Return the invariants (...) by name from arrays of observables (..., 8)."""
        return {name: observables[..., entry] for name, entry in self.entries.items()}
