"""The invariants of a flow: means over the box that are conserved or dissipated at a known rate."""

from __future__ import annotations

import numpy as np

from simsurrogate.spec import Quantity
from solvers.navier_stokes.transform import StateTransform

#: The energy E, enstrophy Z and palinstrophy P. Without forcing, drag and hyperviscosity, the rates are
#: dE/dt = -2 nu Z and dZ/dt = -2 nu P.
FLOW_INVARIANTS: tuple[Quantity, ...] = (
    Quantity("energy", "m^2/s^2", "mean of u^2 / 2"),
    Quantity("enstrophy", "s^-2", "mean of w^2 / 2"),
    Quantity("palinstrophy", "m^-2 s^-2", "mean of (grad w)^2 / 2"),
)

#: The variance of the tracer decays by diffusion. The mean of the tracer is constant.
TRACER_INVARIANTS: tuple[Quantity, ...] = (
    Quantity("tracer_variance", "1", "mean of (s - its mean)^2"),
    Quantity("tracer_mean", "1", "mean of s"),
)


def flow_invariants(transform: StateTransform, state: np.ndarray) -> dict[str, float]:
    """Return the invariants of a state (channels, *block) over the whole box, by name."""
    coefficients = transform.state_coefficients(state)
    slabs = transform.slabs
    squared = slabs.squared_wave_numbers
    power = slabs.multiplicity * np.abs(coefficients * transform.scale) ** 2
    inverse_squared = np.divide(1, squared, out=np.zeros_like(squared), where=squared > 0)
    quantities = FLOW_INVARIANTS
    sums = [np.sum(power[0] * weight) / 2 for weight in (inverse_squared, (squared > 0), squared)]
    if len(coefficients) == 2:
        quantities += TRACER_INVARIANTS
        mean = np.sum(coefficients[1, squared == 0].real) * transform.scale
        sums += [np.sum(power[1, squared > 0]), mean]
    names = [quantity.name for quantity in quantities]
    return dict(zip(names, map(float, slabs.grid.sum_over_ranks(*sums)), strict=True))
