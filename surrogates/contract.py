"""The contract of every surrogate: the `Problem` it is given and the `Surrogate` it is.

Shape letters: B batch, T time, C channels of the state, K coefficient fields, P scalar parameters;
`*sites` are the grid cells (or the particles) of one state.
"""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NotRequired, Protocol, TypedDict, runtime_checkable

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter

from simsurrogate.discovery import Family
from simsurrogate.errors import UserError
from simsurrogate.spec import Spec

#: What a user gives and the surrogate turns into tensors of its own type and device.
Array = np.ndarray | torch.Tensor


class Batch(TypedDict):
    """A batch of training windows, in physical units.

    `state` (B, T, C, *sites): consecutive frames; the first is given, the others are to be predicted.
    `coefficient_fields` (B, K, *sites): fields that are constant in time.
    `parameters` (B, P): the scalar parameters.
    `time` (B, T): the time of each frame.
    `random` (B, U), for a surrogate whose `num_random` is U > 0: numbers in [0, 1), drawn anew for each
    window at each step, the same on any number of ranks and after a resume.
    """

    state: torch.Tensor
    coefficient_fields: torch.Tensor
    parameters: torch.Tensor
    time: torch.Tensor
    random: NotRequired[torch.Tensor]


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation over the training split, one value a channel.

    `delta_std` is the standard deviation of the change of a channel from one frame to the next.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    delta_std: tuple[float, ...]
    coefficient_mean: tuple[float, ...]
    coefficient_std: tuple[float, ...]
    parameter_mean: tuple[float, ...]
    parameter_std: tuple[float, ...]


@dataclass(frozen=True)
class Problem:
    """What a surrogate learns; made from a data set, kept in `model.json`.

    Attributes:
        spec: the equation, sites, fields and parameters.
        statistics: means and standard deviations over the training split.
        time_step: the time between two frames of the data, s.
        duration: the duration of a trajectory of the data, s.
        residual: the solver's own, see `solvers.contract.Solver.residual`. Training sets it for surrogates
            that are `physics_informed`; it is not saved.
        initial_condition: the solver's own, see `solvers.contract.Solver.initial_condition`; likewise.
    """

    spec: Spec
    statistics: Statistics
    time_step: float
    duration: float
    residual: Callable[..., Any] | None = dataclasses.field(default=None, compare=False)
    initial_condition: Callable[..., Any] | None = dataclasses.field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the solver's functions, as plain lists, numbers and strings."""
        return {
            "spec": self.spec.to_json(),
            "statistics": dataclasses.asdict(self.statistics),
            "time_step": self.time_step,
            "duration": self.duration,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Problem:
        """Return the inverse of `to_json`, with every type checked.

        Raises:
            ValueError: a key is missing or unknown, or a value has the wrong type.
        """
        problem: Problem = TypeAdapter(_SavedProblem).validate_python(document).problem()
        return problem


@dataclass(frozen=True)
class _SavedProblem:
    """The content of a problem in `model.json`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    spec: Spec
    statistics: Statistics
    time_step: float
    duration: float

    def problem(self) -> Problem:
        return Problem(self.spec, self.statistics, self.time_step, self.duration)


@dataclass(frozen=True)
class Prediction:
    """Predicted states in physical units.

    Attributes:
        mean: the predicted states, (B, T, C, *sites).
        standard_deviation: the standard deviation over the members of an ensemble in float64, of the same
            shape; None for a single model and for an ensemble of one member.
        members: the states predicted by each member of an ensemble, (M, B, T, C, *sites); None for a single
            model.
    """

    mean: torch.Tensor
    standard_deviation: torch.Tensor | None = None
    members: torch.Tensor | None = None


class ExtrapolationWarning(UserWarning):
    """A surrogate was asked for what its training data did not cover."""


class Surrogate(torch.nn.Module, ABC):
    """A trainable stand-in for a solver. A subclass takes the `problem` and its own keyword options.

    Attributes:
        physics_informed: its losses use `Problem.residual` or `Problem.initial_condition`.
        num_random: the random numbers that it uses for each window, see `Batch`.
        losses: the names of the losses that `forward` gives, in their order.
        uses_initial_state: the change that it gives follows from the state that it is given, too.
        uses_time: the change follows from the time since the trajectory began, too.

    Raises:
        UserError: this surrogate cannot learn the problem; the message lists those that can.
    """

    physics_informed: ClassVar[bool] = False
    num_random: int = 0
    losses: tuple[str, ...] = ("data",)

    def __init__(self, problem: Problem):
        super().__init__()
        reason = self.incompatibility(problem)
        if reason is not None:
            name = type(self).__module__.rpartition(".")[2]
            others = ", ".join(compatible_surrogates(problem)) or "none"
            raise UserError(
                f"surrogate={name} does not fit the {problem.spec.name} data: {reason}. "
                f"Surrogates that fit: {others}"
            )
        self.problem = problem
        self.uses_initial_state, self.uses_time = True, not problem.spec.autonomous

    @classmethod
    def incompatibility(cls, problem: Problem) -> str | None:
        """Why this surrogate cannot learn the problem, or None where it can; here, that of a grid."""
        if problem.spec.has_particles:
            return f"its sites are {problem.spec.shape[0]} particles, and it needs the cells of a grid"
        return None

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The losses of a batch by name, each a scalar mean over the batch; their sum is minimised.

        The loss is computed here because `DistributedDataParallel` averages the gradients of what
        passes through `forward` and of nothing else.
        """

    @abstractmethod
    def _predict(self, initial_state: Array, parameters: Mapping[str, Any], times: Array) -> Prediction:
        """Return the prediction for `predict`, without a check of the training range."""

    @torch.no_grad()
    def predict(
        self, initial_state: Array, parameters: Mapping[str, Any], times: Array, *, strict: bool = False
    ) -> Prediction:
        """Return the states (B, T, C, *sites) at `times` (T,), in physical units.

        `initial_state` (B, C, *sites) is the state at `times[0]` and is returned as the first frame.
        `parameters` maps each scalar parameter to (B,) or a number, and each coefficient field to
        (B, *sites) or (*sites). The computation runs on the device and in the precision of the
        weights; no gradient is kept.

        Warns with `ExtrapolationWarning` of a scalar parameter outside the range of the training data and,
        where the surrogate sees the time, of times outside their duration.

        Raises:
            ValueError: a shape, a missing or unknown parameter, or times that do not fit; with `strict`
                also what it would warn of.
        """
        self._check_training_range(parameters, times, strict)
        return self._predict(initial_state, parameters, times)

    def _check_training_range(self, parameters: Mapping[str, Any], times: Array, strict: bool) -> None:
        """Warns the caller of the caller of what the training data did not cover, or refuses it."""
        for told in self._out_of_range(parameters, times):
            if strict:
                raise UserError(f"{told}; without strict=True it is answered all the same")
            # Between this and the user's line lie `predict` and torch's wrapper around it.
            warnings.warn(f"{told}; the answer is an extrapolation", ExtrapolationWarning, stacklevel=4)

    def _out_of_range(self, parameters: Mapping[str, Any], times: Array) -> list[str]:
        """A sentence for each scalar parameter, and for the times, that the training data did not cover."""
        told = []
        for name, (low, high) in zip(
            self.problem.spec.parameter_names, self.problem.spec.parameter_ranges, strict=True
        ):
            if name not in parameters:
                continue
            values = torch.as_tensor(parameters[name], dtype=torch.float64).reshape(-1)
            # Data of float32 may lie a rounding beside an end of the range.
            margin = 1e-6 * max(abs(low), abs(high))
            outside = values[~((values >= low - margin) & (values <= high + margin))]
            if len(outside):
                told.append(
                    f"{name}={outside[0]:g} is outside the range {low:g} to {high:g} that the surrogate was "
                    f"trained on ({len(outside)} of {len(values)} values are)"
                )
        time, last = np.asarray(times, dtype=np.float64).reshape(-1), self.problem.duration
        late = time[(time < 0) | (time > last * (1 + 1e-6))]
        if self.uses_time and len(late):
            told.append(
                f"time={late[0]:g} is outside the duration 0 to {last:g} that the surrogate was trained on "
                f"({len(late)} of {len(time)} times are)"
            )
        return told


@runtime_checkable
class LeastSquares(Protocol):
    """A surrogate whose loss is a mean of squares, so that a Gauss-Newton method can train it.

    The sum of the losses of `forward(batch)` is the mean of the squares of `residuals(points(batch))`.
    """

    def points(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """What the residuals need of a batch, tensors (M, ...); no weight has a part in it."""

    def residuals(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(M, E): those of a row follow from the same row of `points` alone.

        They are computed under `torch.func.vmap` and `jacrev`, by arithmetic that keeps to it, unless
        `no_jacobian` gives a reason.
        """

    def no_jacobian(self) -> str | None:
        """Why the residuals cannot be differentiated by the weights row by row, or None where they can."""


SURROGATES = Family("surrogate", "surrogates", Surrogate)  # type: ignore[type-abstract]


def surrogate_names() -> list[str]:
    """Return the names under which `surrogate_class` finds a surrogate."""
    return SURROGATES.names()


def compatible_surrogates(problem: Problem) -> list[str]:
    """Return the names of the surrogates that can learn a problem."""
    return [name for name in surrogate_names() if surrogate_class(name).incompatibility(problem) is None]


def surrogate_class(name: str, path: Path | None = None) -> type[Surrogate]:
    """Return the surrogate of module `surrogates/NAME.py`, of an installed package, or in the file `path`.

    Raises:
        UserError: there is no such surrogate.
    """
    return SURROGATES.find(name, path)
