"""The choice of the time-stepping scheme, and the checks of its options."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from simsurrogate.errors import UserError
from solvers.heat.diffusivity import Diffusivity
from solvers.heat.operator import DiffusionOperator, WallTerms
from solvers.heat.schemes.adi import AlternatingDirections
from solvers.heat.schemes.exact import ExactPropagator
from solvers.heat.schemes.explicit import ForwardEuler, SuperTimeStepping
from solvers.heat.schemes.scheme import Scheme
from solvers.numerics.grid import Grid
from solvers.numerics.laplacian_transforms import SpectralTransform

SchemeName = Literal["automatic", "exact", "adi", "rkl2", "euler"]

#: The description of each scheme, and its order in time.
_METHODS = {
    "exact": ("finite volumes of order 2, exact propagator in time", math.inf),
    "adi": ("finite volumes of order 2, alternating directions of order 2", 2),
    "rkl2": ("finite volumes of order 2, super-time-stepping RKL2 of order 2", 2),
    "euler": ("finite volumes of order 2, forward Euler of order 1", 1),
}


class SchemeFactory:
    """The factory of the schemes of all trajectories; `Heat` describes the choice of `automatic`.

    Attributes:
        name: the name of the scheme, after the choice of `automatic`.
        method: the description of the scheme.
        order_in_time: the order of convergence in the declared step; infinity for the exact scheme.
        treats_axes_alike: whether an exchange of axes changes the states by less than the error control
            allows. The scheme adi with a declared step treats one axis after the other.

    Raises:
        UserError: the scheme does not work for the diffusivity, the number of ranks or the declared step.
    """

    def __init__(
        self,
        grid: Grid,
        diffusivity: Diffusivity,
        name: SchemeName,
        time_step: float | None,
        tolerance: float,
    ):
        self._grid = grid
        self._has_variable_k = not diffusivity.is_constant
        self._time_step = time_step
        self._tolerance = tolerance
        self.name = _scheme_name(name, grid, diffusivity, time_step)
        _check_scheme(self.name, grid, diffusivity, time_step)
        self.method, self.order_in_time = _METHODS[self.name]
        self.treats_axes_alike = self.name != "adi" or time_step is None
        self._transform = SpectralTransform(grid)

    def build(self, diffusivity: np.ndarray, walls: WallTerms) -> Scheme:
        """Return the scheme for k (m^2/s) on this rank's block."""
        if self.name == "exact":
            return ExactPropagator(self._transform, float(diffusivity.flat[0]), walls)
        k = diffusivity if self._has_variable_k else float(diffusivity.flat[0])
        operator = DiffusionOperator(self._grid, k)
        if self.name == "euler":
            return ForwardEuler(operator, walls, self._time_step)
        if self.name == "adi":
            return AlternatingDirections(operator, walls, self._time_step, self._tolerance)
        return SuperTimeStepping(operator, walls, self._time_step, self._tolerance)


def _scheme_name(name: SchemeName, grid: Grid, diffusivity: Diffusivity, time_step: float | None) -> str:
    """Return the name of the scheme, after the choice of `automatic`."""
    if name != "automatic":
        return name
    if diffusivity.is_constant:
        return "exact"
    can_use_adi = diffusivity.smooth and grid.communicator.size == 1 and time_step is None
    return "adi" if can_use_adi else "rkl2"


def _check_scheme(name: str, grid: Grid, diffusivity: Diffusivity, time_step: float | None) -> None:
    if name == "adi" and grid.communicator.size > 1:
        raise UserError(
            f"solver.scheme=adi cannot run on {grid.communicator.size} ranks, because adi solves along "
            "complete lines of cells. Several ranks need another scheme. Type solver.scheme=rkl2 or "
            "group_size=1"
        )
    if name == "adi" and time_step is not None and len(grid.extent) == 3:
        raise UserError(
            f"solver.time_step={time_step} s is not possible with solver.scheme=adi in three dimensions, "
            "because the splitting is not stable for every k and step. Steps from the error control are "
            "allowed. Type solver.time_step=null or solver.scheme=rkl2"
        )
    if name == "exact" and not diffusivity.is_constant:
        raise UserError(
            "solver.scheme=exact is not possible with a variable diffusivity. A constant diffusivity is "
            "allowed. Type solver.diffusivity.kind=constant or solver.scheme=automatic"
        )
    if name == "exact" and time_step is not None:
        raise UserError(
            f"solver.time_step={time_step} s has no effect, because the exact scheme has no error in time. A "
            "step is allowed for adi, rkl2 and euler. Type solver.time_step=null or solver.scheme=rkl2"
        )
    if name == "euler" and time_step is not None:
        _check_euler(grid, diffusivity.upper_bound, time_step)


def _check_euler(grid: Grid, upper_bound: float, time_step: float) -> None:
    stable_limit = 1 / (2 * upper_bound * sum(1 / width**2 for width in grid.spacing))
    if time_step > stable_limit:
        spacing = ", ".join(f"{width:.3g}" for width in grid.spacing)
        raise UserError(
            f"solver.time_step={time_step} s exceeds the stable limit {stable_limit:.3g} s of forward Euler. "
            f"The limit holds for a spacing of {spacing} m and a diffusivity up to {upper_bound:.3g} m^2/s. "
            "Type a smaller solver.time_step, solver.time_step=null or solver.scheme=rkl2"
        )
