"""The contract of every surrogate: the `Problem` to learn, and the base class `Surrogate`.

Shape letters: B batch, T time, C channels of the state, K coefficient fields, P scalar parameters,
R random numbers; `*sites` are the grid cells (or the particles) of one state.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NotRequired, Protocol, TypedDict

import numpy as np
import torch

from simsurrogate.discovery import Family
from simsurrogate.errors import UserError
from surrogates.calibration import Calibration, Inputs, IntervalKind
from surrogates.inference import Compilable, fast_arithmetic
from surrogates.prediction import Prediction
from surrogates.problem import Problem
from surrogates.training_range import Statistics, TrainingRange, check_finite

__all__ = [
    "SURROGATES",
    "Array",
    "Batch",
    "ExtrapolationWarning",
    "ParameterValues",
    "Prediction",
    "Problem",
    "Statistics",
    "Surrogate",
    "TrainingFrames",
    "compatible_surrogates",
    "surrogate_class",
    "surrogate_names",
]

#: Numbers that a caller passes, before their conversion to the device and the precision of the weights.
Array = np.ndarray | torch.Tensor

#: Scalar parameters, each (B,) or a number, and coefficient fields, each (B, *sites) or (*sites), by name.
ParameterValues = Mapping[str, Array | float]


class Batch(TypedDict):
    """A batch of training windows, in physical units.

    `state` (B, T, C, *sites): consecutive frames. A surrogate predicts all frames after the first. Training
    passes what `Surrogate.encode` returned for the frames, (B, T, ...), if the surrogate encodes them.
    `coefficient_fields` (B, K, *sites): the fields that are constant in time.
    `parameters` (B, P): the scalar parameters.
    `time` (B, T): the time of each frame.
    `weight` (B, T, C, *sites): the weight of each value of the state in the losses, 0 for a missing value.
    Only data with gaps or noise have it, and only a surrogate that is `weighted` gets it.
    `random` (B, R): numbers in [0, 1) for a surrogate with `num_random` R > 0, drawn for each window and
    training step. The numbers are equal on any number of ranks and after a resume.
    """

    state: torch.Tensor
    coefficient_fields: torch.Tensor
    parameters: torch.Tensor
    time: torch.Tensor
    weight: NotRequired[torch.Tensor]
    random: NotRequired[torch.Tensor]


class TrainingFrames(Protocol):
    """The frames of the training split, shared among the ranks, for `Surrogate.initialise`.

    Each iteration reads this rank's frames again, in physical units: pairs of indices among all frames (B,)
    and states (B, C, *sites). `sum` and `gather` return their results on all ranks.
    """

    num_frames: int

    def __iter__(self) -> Iterator[tuple[np.ndarray, torch.Tensor]]: ...

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over the ranks."""

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Return the tensors of all ranks in their order, (ranks, ...)."""


class ExtrapolationWarning(UserWarning):
    """A prediction outside the range of the training data."""


class Surrogate(Compilable, torch.nn.Module, ABC):
    """A trainable replacement of a solver. A subclass takes the `problem` and its own keyword options.

    Attributes:
        physics_informed: the losses use `Problem.residual` or `Problem.initial_condition`.
        learns_quantities: the fields are the quantities of interest of a data set, on a single cell.
        any_grid: the weights do not depend on the grid, and predict on any grid that resolves the modes.
        rows_are_times: the products of a prediction have a row for each frame, not for each site.
        num_random: the random numbers per window that `forward` needs, see `Batch`.
        window_steps: the time steps of a training window; None if every number is possible.
        losses: the names of the losses that `forward` returns, in their order.
        weighted: the losses multiply the error of each value by `Batch.weight`.
        uses_initial_state: the prediction depends on the initial state, not only by adding a change to it.
        uses_time: the predicted change depends on the time since the start of the trajectory.
        calibration: the calibration by held-out trajectories, or a sentence that says why there is none.

    Raises:
        UserError: this surrogate cannot learn the problem; the message lists the surrogates that can.
    """

    physics_informed: ClassVar[bool] = False
    learns_quantities: bool = False
    any_grid: bool = False
    rows_are_times: bool = False
    num_random: int = 0
    window_steps: int | None = None
    losses: tuple[str, ...] = ("data",)
    weighted: ClassVar[bool] = False
    calibration: Calibration | str = (
        "the surrogate has no calibration. A model that the evaluate stage calibrated has one. Type "
        "python -m pipeline.evaluate, and load the model from its folder."
    )

    def __init__(self, problem: Problem):
        super().__init__()
        if (reason := self.incompatibility(problem)) is not None:
            compatible_names = compatible_surrogates(problem)
            raise UserError(
                f"surrogate={type(self).__module__.rpartition('.')[2]} does not fit the {problem.spec.name} "
                f"data: {reason}. Surrogates that fit: {', '.join(compatible_names) or 'none'}. "
                + ("Type surrogate=NAME." if compatible_names else "Generate data of another kind.")
            )
        self.problem = problem
        stats = problem.statistics
        self._training_range = TrainingRange(
            problem.spec, stats.channel_ranges, stats.coefficient_ranges, problem.duration
        )
        self.uses_initial_state, self.uses_time = True, not problem.spec.autonomous

    @classmethod
    def incompatibility(cls, problem: Problem) -> str | None:
        """Return why this surrogate cannot learn the problem, or None.

        A surrogate receives the initial state, the coefficient fields, the scalar parameters and the time.
        It cannot learn data that further random numbers determine, nor an equation from coarse data. A
        subclass overrides `_incompatibility`.
        """
        if cls.physics_informed and problem.spec.coarsening:
            return "its losses use the solver's equation, which coarse data (output.coarsen) do not satisfy"
        if not problem.spec.deterministic:
            return (
                "a random forcing drives them that is not among the inputs, so equal initial states, "
                "coefficient fields and parameters have different futures"
            )
        return cls._incompatibility(problem)

    @classmethod
    def _incompatibility(cls, problem: Problem) -> str | None:
        """Return why this surrogate cannot learn deterministic data, or None; by default it needs a grid."""
        if problem.spec.has_particles:
            return f"its sites are {problem.spec.shape[0]} particles, and this surrogate needs a grid"
        return None

    @classmethod
    def unused_options(cls, options: Mapping[str, Any], problem: Problem) -> Iterator[tuple[str, str]]:
        """Yield the key of each option without effect on the problem, and the cause in words.

        The pipeline refuses an unused option unless it has the default of its YAML.
        """
        yield from ()

    def initialise(self, frames: TrainingFrames) -> str:
        """Compute persistent buffers from the training frames before the first step; describe them in words.

        Checkpoints and the saved model hold the buffers. The default is no buffer and an empty text.
        """
        return ""

    def encode(self, state: torch.Tensor) -> torch.Tensor | None:
        """Return all that `forward` needs of states (B, C, *sites), by the buffers; None: the states.

        Symmetries of the data act on states, so the training of a subclass with this method uses none.
        """
        return None

    def closest(self, state: torch.Tensor) -> torch.Tensor | None:
        """Return the states closest to `state` (B, C, *sites) that any weights can predict; None: unknown."""
        return None

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses of a batch by name, each a scalar mean over the batch.

        Training minimises their sum. `forward` computes the losses because `DistributedDataParallel` averages
        the gradients of its outputs and no others.
        """

    @abstractmethod
    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the prediction for `predict`, without a check of the training range."""

    @torch.no_grad()
    def predict(
        self,
        initial_state: Array,
        parameters: ParameterValues,
        times: Array,
        *,
        strict: bool = False,
        interval: float | None = None,
        interval_kind: IntervalKind = "marginal",
    ) -> Prediction:
        """Return the states (B, T, C, *sites) at `times` (T,), in physical units.

        `initial_state` (B, C, *sites) is the state at `times[0]` and is returned as the first frame.
        `parameters` maps each scalar parameter to (B,) or a number, and each coefficient field to
        (B, *sites) or (*sites). The computation uses the device and the precision of the weights.

        Issue an `ExtrapolationWarning` for a scalar parameter outside the range of the training data, for an
        initial state or a coefficient field far outside, and, if the surrogate `uses_time`, for a time
        outside the duration of the training data.

        With `interval=0.9`, the prediction has `lower` and `upper` ends that hold the truth with a
        probability of 90 %. `interval_kind` is `marginal` (for each value) or `joint` (for all values of the
        trajectory at once); `surrogates.calibration.Intervals` says what is guaranteed, for trajectories that
        start like those of the calibration split.

        With `interval` or `strict`, a calibrated surrogate also compares the inputs with the training inputs
        (`Guard`), issues an `ExtrapolationWarning` for unusual inputs, and returns the `predicted_error`.
        `strict` needs no calibration split for them. A prediction without both computes neither.

        Raises:
            UserError: a shape or a time does not fit, an input is not finite, or a parameter is missing or
                unknown. With `strict`, also a value outside the range of the training data, and unusual
                inputs. With `interval`, also a surrogate without calibration, and a probability or a time
                for which the calibration has no interval.
        """
        check_finite(initial_state, parameters)
        checked_times = times if self.uses_time else None
        for message in self._training_range.outside_messages(initial_state, parameters, checked_times):
            _refuse_or_warn(message, strict)
        calibration = self.calibration
        if interval is not None and isinstance(calibration, str):
            raise UserError(f"interval={interval} needs a calibration: {calibration}")
        prediction = self._checked_prediction(initial_state, parameters, times)
        if isinstance(calibration, str) or not (strict or interval is not None):
            return prediction
        std = self.problem.statistics.std
        inputs = Inputs(self.problem.spec, std, initial_state, parameters, self.uses_initial_state)
        for message in calibration.unusual(inputs):
            _refuse_or_warn(message, strict)
        prediction = calibration.with_expected_error(prediction, inputs, times)
        if interval is None:
            return prediction
        return calibration.with_intervals(prediction, inputs, times, interval, interval_kind)

    def _checked_prediction(
        self, initial_state: Array, parameters: ParameterValues, times: Array
    ) -> Prediction:
        """Return the prediction with the arithmetic that is fastest for its size."""
        shape = np.shape(initial_state)
        rows_of_case = math.prod(shape[2:])
        if self.rows_are_times:
            rows_of_case = round(self.problem.duration / self.problem.time_step)
        with fast_arithmetic(self.parameters(), shape, math.prod(shape[:1]) * rows_of_case):
            return self._predict(initial_state, parameters, times)

    def __repr__(self) -> str:
        weights = list(self.parameters())
        status = "not trained" if any(weight.requires_grad for weight in weights) else "trained"
        num_weights = sum(weight.numel() for weight in weights)
        return f"{type(self).__name__} for {self.problem.spec.summary}, {num_weights:,} weights, {status}"


def _refuse_or_warn(message: str, strict: bool) -> None:
    """Refuse an input outside the range of the training data if `strict`, and warn otherwise."""
    if strict:
        raise UserError(
            f"{message}. With strict=True only values in the range are allowed. Leave out strict=True to "
            "extrapolate."
        )
    # The caller's line is above `predict` and torch's wrapper around it.
    warnings.warn(f"{message}; this is an extrapolation", ExtrapolationWarning, stacklevel=4)


SURROGATES = Family("surrogate", "surrogates", Surrogate)  # type: ignore[type-abstract]


def surrogate_names() -> list[str]:
    """Return the names under which `surrogate_class` finds a surrogate."""
    return SURROGATES.names()


def compatible_surrogates(problem: Problem) -> list[str]:
    """Return the names of the surrogates that can learn a problem."""
    return [name for name in surrogate_names() if surrogate_class(name).incompatibility(problem) is None]


def surrogate_class(name: str, path: Path | None = None) -> type[Surrogate]:
    """Return the class of a surrogate from `surrogates/NAME.py`, an installed package or the file `path`.

    Raises:
        UserError: there is no such surrogate.
    """
    return SURROGATES.find(name, path)
