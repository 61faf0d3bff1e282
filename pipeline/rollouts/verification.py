"""The verification of a surrogate's rollout: by the residual of the equation, or by a run of the solver.

Shape letters: T frames, C channels; `*sites` as in the spec.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Le

from pipeline.physics_checks.residual import defects, refuse_unsuitable
from pipeline.physics_checks.stored_rows import Frames, NotApplicableError
from simsurrogate.errors import UserError
from solvers.contract import DivergedError, Parameters, Solver, Trajectory


@dataclass(frozen=True)
class Unverified:
    """No verification."""

    kind: Literal["none"] = "none"

    @property
    def text(self) -> str:
        """The verification in words."""
        return ""


@dataclass(frozen=True)
class ByResidual:
    """A trajectory is kept if its residual is at most `bound`, relative to the rate of change of the fields.

    Both are root mean squares over all sites and frames. The residual is that of the solver's equation
    without the solver, see `pipeline.physics_checks.residual`.
    """

    kind: Literal["residual"]
    bound: Annotated[float, Gt(0)] = 0.1

    @property
    def text(self) -> str:
        """The verification in words."""
        return f"a residual of at most {self.bound:g} of the rate of change"


@dataclass(frozen=True)
class BySolver:
    """A trajectory is kept if its relative L2 distance from a run of the solver is at most `bound`.

    The last frame is compared. A sample with the given `share` of the trajectories is compared, and the
    others are kept.
    """

    kind: Literal["solver"]
    bound: Annotated[float, Gt(0)] = 0.1
    share: Annotated[float, Gt(0), Le(1)] = 1.0

    @property
    def text(self) -> str:
        """The verification in words."""
        sample = "each" if self.share == 1 else f"a sample of {100 * self.share:g} %"
        return f"a distance of at most {self.bound:g} from a run of the solver, of {sample}"


Verification = Unverified | ByResidual | BySolver


def mistake(
    verify: Verification,
    solver: Solver,
    trajectory: Trajectory,
    *,
    parameters: Parameters,
    states: np.ndarray,
    times: np.ndarray,
) -> str:
    """Return why a verification rejects the states (T, C, *sites) of a rollout; empty if it keeps them.

    Raises:
        UserError: the equation has no residual on these data.
    """
    if isinstance(verify, ByResidual):
        coefficients = trajectory.coefficient_fields
        if coefficients is None:
            coefficients = np.empty((0, *solver.spec.shape))
        frames = Frames(states, coefficients, parameters, times, "float64")
        return _residual_mistake(verify.bound, solver, frames)
    if isinstance(verify, BySolver) and _is_in_sample(parameters, verify.share):
        return _distance_mistake(verify.bound, solver, trajectory, states, times)
    return ""


def _residual_mistake(bound: float, solver: Solver, frames: Frames) -> str:
    """Return how far the residual of a rollout is above the bound."""
    if not np.isfinite(frames.states).all():
        return "a value is not finite"
    try:
        refuse_unsuitable(solver, len(frames.times))
        residuals = {name: defect.relative_residual for name, defect in defects(solver, frames).items()}
    except NotApplicableError as reason:
        raise UserError(
            f"solver.verify.kind=residual says nothing on these data: {reason}. A run of the solver is "
            "allowed. Type solver.verify.kind=solver, or none"
        ) from None
    known = {name: value for name, value in residuals.items() if value is not None}
    name = max(known, key=lambda key: known[key], default=None)
    if name is None or known[name] <= bound:
        return ""
    return f"the residual of {name} is {known[name]:.3g} of the rate of change, at most {bound:g} allowed"


def _distance_mistake(
    bound: float, solver: Solver, trajectory: Trajectory, states: np.ndarray, times: np.ndarray
) -> str:
    """Return how far the last frame of a rollout is from that of the solver, if it is too far."""
    try:
        *_, true_state = trajectory.solve(times)
    except DivergedError as error:
        return f"the solver cannot compute the trajectory: {error}"
    distance = 0.0
    for channels in map(list, solver.spec.field_channels):
        size = float(np.linalg.norm(true_state[channels])) or 1.0
        distance = max(distance, float(np.linalg.norm(states[-1][channels] - true_state[channels])) / size)
    if distance <= bound:
        return ""
    return f"the last frame is {distance:.3g} of its norm from that of the solver, at most {bound:g} allowed"


def _is_in_sample(parameters: Parameters, share: float) -> bool:
    """Return whether a trajectory belongs to a sample with this share of all, by its parameters alone."""
    checksum = hashlib.sha256()
    for name in sorted(parameters):
        checksum.update(np.asarray(parameters[name], np.float64).tobytes())
    return int.from_bytes(checksum.digest()[:8], "big") < share * 2**64
