"""Which scheme steps a trajectory, and whether it can."""

from __future__ import annotations

import numpy as np

from simsurrogate.errors import UserError
from solvers.heat.diffusivity import Diffusivity
from solvers.heat.operator import DiffusionOperator, Walls
from solvers.heat.schemes.adi import AlternatingDirections
from solvers.heat.schemes.exact import ExactPropagator
from solvers.heat.schemes.explicit import ForwardEuler, SuperTimeStepping
from solvers.heat.schemes.scheme import Scheme
from solvers.numerics.grid import Grid
from solvers.numerics.laplacian_transforms import SpectralTransform

_METHODS = {
    "exact": "finite volumes of order 2, exact propagator in time",
    "adi": "finite volumes of order 2, alternating directions of order 2",
    "rkl2": "finite volumes of order 2, super-time-stepping RKL2 of order 2",
    "euler": "finite volumes of order 2, forward Euler of order 1",
}


class Schemes:
    """Makes the scheme of each trajectory: exact, adi, rkl2 or euler.

    `automatic` is exact where k is constant, adi where it is smooth, one rank has the whole box and no step
    is declared, and else rkl2.

    Attributes:
        method: the scheme in words.

    Raises:
        UserError: the scheme does not fit the diffusivity, or the declared step does not fit the scheme.
    """

    def __init__(
        self, grid: Grid, diffusivity: Diffusivity, name: str, time_step: float | None, tolerance: float
    ):
        self.grid = grid
        if name == "automatic":
            alone = grid.communicator.size == 1 and time_step is None
            varying = "adi" if alone and diffusivity.smooth else "rkl2"
            name = varying if diffusivity.fields else "exact"
        if name == "adi" and grid.communicator.size > 1:
            raise UserError(
                f"scheme=adi solves along whole lines of cells and cannot share a box among "
                f"{grid.communicator.size} ranks; use scheme=rkl2, or groups of one rank"
            )
        if name == "adi" and time_step is not None and len(grid.extent) == 3:
            raise UserError(
                f"time_step={time_step} s with scheme=adi in three dimensions could grow unseen: that "
                "splitting is not stable for every k and step; set it to null, which controls the error, or "
                "choose scheme=rkl2"
            )
        if name == "exact" and diffusivity.fields:
            raise UserError("scheme=exact needs diffusivity.kind=constant; use automatic, adi or rkl2")
        if name == "exact" and time_step is not None:
            raise UserError(
                f"time_step={time_step} s has no use: the exact scheme makes no error in time; set it to "
                "null, or choose scheme=rkl2"
            )
        if name == "euler" and time_step is not None:
            _check_euler(grid, diffusivity.bound(), time_step)
        self.method = _METHODS[name]
        self._name = name
        self._variable = bool(diffusivity.fields)
        self._time_step = time_step
        self._tolerance = tolerance
        self._transform = SpectralTransform(grid)

    def build(self, diffusivity: np.ndarray, at_walls: Walls) -> Scheme:
        """The scheme for k (m^2/s) on this rank's block."""
        if self._name == "exact":
            return ExactPropagator(self._transform, float(diffusivity.flat[0]), at_walls)
        operator = DiffusionOperator(self.grid, diffusivity if self._variable else float(diffusivity.flat[0]))
        if self._name == "euler":
            return ForwardEuler(operator, at_walls, self._time_step)
        if self._name == "adi":
            return AlternatingDirections(operator, at_walls, self._time_step, self._tolerance)
        return SuperTimeStepping(operator, at_walls, self._time_step, self._tolerance)


def _check_euler(grid: Grid, highest: float, time_step: float) -> None:
    limit = 1 / (2 * highest * sum(1 / width**2 for width in grid.spacing))
    if time_step > limit:
        spacing = ", ".join(f"{width:.3g}" for width in grid.spacing)
        raise UserError(
            f"time_step={time_step} s exceeds the stable limit {limit:.3g} s of forward Euler, for a spacing "
            f"of {spacing} m and a diffusivity up to {highest:.3g} m^2/s; use a smaller step, null, or "
            "scheme=rkl2"
        )
