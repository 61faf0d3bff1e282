"""The linear terms of the flow: viscosity, hyperviscosity, drag, and diffusion of the tracer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.navier_stokes.options import RangeFromZero
from solvers.navier_stokes.tracer import TracerOptions


@dataclass(frozen=True)
class HyperviscosityOptions:
    """The range of nu_h, m^(2 order)/s, and the `order` p in - nu_h (-Lap)^p w.

    For the range [0, 0] the order has no effect and may be omitted.
    """

    range: RangeFromZero
    order: Annotated[int, Ge(2), Le(16)] = 4


class LinearTerms:
    """The linear operators L w = nu Lap w - nu_h (-Lap)^p w - mu w and L s = kappa Lap s.

    The field w is the vorticity, and s is an optional tracer.

    Attributes:
        parameters: the coefficients with a nonzero range.
        order: the order p of the hyperviscosity.
    """

    def __init__(
        self,
        viscosity: RangeFromZero,
        hyperviscosity: HyperviscosityOptions,
        drag: RangeFromZero,
        tracer: TracerOptions,
    ):
        self.order = hyperviscosity.order
        self._has_tracer = tracer.present
        candidates = [
            Parameter("viscosity", "m^2/s", "kinematic viscosity nu", *viscosity),
            Parameter(
                "hyperviscosity",
                f"m^{2 * self.order}/s",
                f"hyperviscosity nu_h of order {self.order}",
                *hyperviscosity.range,
            ),
            Parameter("drag", "s^-1", "linear drag mu", *drag),
        ]
        if tracer.present:
            candidates.append(
                Parameter(
                    "tracer_diffusivity", "m^2/s", "diffusivity kappa of the tracer", *tracer.diffusivity
                )
            )
        self.parameters = tuple(parameter for parameter in candidates if parameter.high > 0)

    def largest_damping_rate(self, squared: float) -> float:
        """Return the damping rate (1/s) of the vorticity at the upper ends of all ranges.

        `squared` is a squared wave number in rad^2/m^2.
        """
        upper_ends = {parameter.name: parameter.high for parameter in self.parameters}
        return -float(self.rates(np.array(squared), upper_ends)[0])

    def rates(self, squared: np.ndarray, parameters: Parameters) -> np.ndarray:
        """Return L (1/s) of each field (fields, *shape) for squared wave numbers (*shape) in rad^2/m^2."""
        rates = [
            -parameters.get("viscosity", 0.0) * squared
            - parameters.get("hyperviscosity", 0.0) * squared**self.order
            - parameters.get("drag", 0.0)
        ]
        if self._has_tracer:
            rates.append(-parameters.get("tracer_diffusivity", 0.0) * squared)
        return np.array(rates)
