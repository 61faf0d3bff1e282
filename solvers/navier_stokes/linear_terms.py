"""The linear terms of the flow: viscosity, hyperviscosity, drag, and diffusion of the tracer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.navier_stokes.options import RangeFromZero
from solvers.navier_stokes.tracer import TracerOptions


@dataclass(frozen=True)
class HyperviscosityOptions:
    """The range of nu_h, m^(2 order)/s, and the `order` p in - nu_h (-Lap)^p w.

    The order has no effect with the range [0, 0]; the default is used then.
    """

    range: RangeFromZero
    order: Annotated[int, Ge(2)] = 4


class LinearTerms:
    """L w = nu Lap w - nu_h (-Lap)^p w - mu w for the vorticity, L s = kappa Lap s for a tracer.

    Attributes:
        parameters: the coefficients that are not always 0.
        order: p.
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

    def rates(self, squared: np.ndarray, parameters: Parameters) -> np.ndarray:
        """Return L (1/s) of each field, (fields, *shape), for squared wave numbers (*shape) in rad^2/m^2."""
        rates = [
            -parameters.get("viscosity", 0.0) * squared
            - parameters.get("hyperviscosity", 0.0) * squared**self.order
            - parameters.get("drag", 0.0)
        ]
        if self._has_tracer:
            rates.append(-parameters.get("tracer_diffusivity", 0.0) * squared)
        return np.array(rates)
