"""The trajectory of a flow for one set of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from solvers.contract import SteppedTrajectory
from solvers.navier_stokes.etdrk4 import ETDRK4
from solvers.navier_stokes.invariants import flow_invariants
from solvers.navier_stokes.transform import StateTransform


@dataclass(frozen=True)
class FlowTrajectory(SteppedTrajectory):
    """The trajectory of a flow for one set of parameters.

    Attributes:
        transform: the transform between states and coefficients.
        stepper: the scheme in time.
        rates: the linear rates L (1/s) of each field, as in `ETDRK4.set_rates`.
        constant_intervals: the forcing as a function of time and duration, see `Forcing.constant_intervals`.
        initial_state: the state at time 0 s, without the waves that the grid drops.
        coefficient_fields: the steady forcing (1, *block) in s^-2, or an empty array for any other forcing.
        counts: the numbers of accepted and rejected steps.
    """

    transform: StateTransform
    stepper: ETDRK4
    rates: np.ndarray
    constant_intervals: Callable[[float, float], Iterator[tuple[float, np.ndarray]]]
    initial_state: np.ndarray
    coefficient_fields: np.ndarray
    counts: dict[str, int] = field(default_factory=lambda: {"steps": 0, "rejected_steps": 0})

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Return the state after `duration`, see `SteppedTrajectory.advance`.

        A step ends at each time at which the forcing is drawn again.
        """
        coefficients = self.transform.state_coefficients(state)
        self.stepper.set_rates(self.rates)
        for length, forcing in self.constant_intervals(time, duration):
            coefficients = self.stepper.advance(coefficients, forcing, length, self.counts)
        return self.transform.state(coefficients)

    def advance_linear(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Return the exact solution without advection, see `SteppedTrajectory.advance_linear`.

        A wave of the vorticity is exp(L t) w + (exp(L t) - 1) / L f in each interval of constant forcing f. A
        wave of the tracer is exp(L t) s.
        """
        coefficients = self.transform.state_coefficients(state)
        rates = self.transform.all_rows(self.rates)
        for length, forcing in self.constant_intervals(time, duration):
            exponents = rates * length
            coefficients *= np.exp(exponents)
            growth = np.divide(
                np.expm1(exponents[0]), exponents[0], out=np.ones_like(exponents[0]), where=exponents[0] != 0
            )
            coefficients[0] += length * growth * forcing
        return self.transform.state(coefficients)

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the invariants of a state, see `flow_invariants`."""
        return flow_invariants(self.transform, state)

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        """Return the supply 0 of the mean of a tracer, if there is a tracer.

        The work of the forcing and the losses to drag and viscosity are integrals along the trajectory,
        without exact formulas. Energy, enstrophy, palinstrophy and tracer variance therefore have no budget.
        """
        return {"tracer_mean": 0.0} if self.transform.num_fields == 2 else {}
