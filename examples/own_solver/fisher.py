"""Growth and diffusion of a population on a line: an example of a solver outside of the package.

python -m pipeline.chain solver.path=examples/own_solver/fisher.py surrogate=pod run=runs/fisher
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge
from mpi4py import MPI
from scipy.integrate import solve_ivp

from simsurrogate.spec import Axis, Field, Grid, Parameter, Spec
from solvers.contract import DivergedError, Parameters
from solvers.whole import WholeSolver


class Fisher(WholeSolver):
    """u_t = D u_xx + r u (1 - u) for the density u on a periodic line of 1 m: SciPy's implicit method.

    The population starts as a bump of the given `width` (m) in the middle.
    """

    method = "central differences, backward differentiation formulas of SciPy"
    time_scale = 2.0

    def __init__(
        self, *, resolution: Annotated[int, Ge(8)] = 48, tolerance: float = 1e-8, communicator: MPI.Intracomm
    ):
        spec = Spec(
            name="fisher",
            equation="u_t = D u_xx + r u (1 - u)",
            sites=Grid((Axis("x", "m", resolution, 0.0, 1.0, "periodic"),)),
            fields=(Field("density", "1", "the density relative to the capacity"),),
            coefficient_fields=(),
            parameters=(
                Parameter("diffusivity", "m^2/s", "diffusivity D", 0.002, 0.005),
                Parameter("growth", "s^-1", "rate of growth r", 0.5, 1.5),
                Parameter("width", "m", "width of the first population", 0.05, 0.15),
            ),
            invariants=(),
            autonomous=True,
            parametric=True,
        )
        super().__init__(spec, communicator)
        self.tolerance = tolerance

    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        """Return the density at the times, (T, 1, X)."""
        (axis,) = self.spec.axes
        diffusivity, growth = parameters["diffusivity"], parameters["growth"]
        scale = diffusivity * (axis.size / axis.extent) ** 2
        first_density = np.exp(-(((axis.centres - 0.5) / parameters["width"]) ** 2))
        if len(times) == 1:
            return first_density[None, None]

        def rate(_: float, u: np.ndarray) -> np.ndarray:
            return scale * (np.roll(u, 1) - 2 * u + np.roll(u, -1)) + growth * u * (1 - u)

        solution = solve_ivp(
            rate, times[[0, -1]], first_density, "BDF", times, rtol=self.tolerance, atol=self.tolerance
        )
        if not solution.success:
            raise DivergedError(solution.message)
        return solution.y.T[:, None]
