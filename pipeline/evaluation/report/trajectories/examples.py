"""The trajectories of the report, with their predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.cases import Cases, load, predict_with_members
from pipeline.evaluation.report.context import chosen_trajectories
from pipeline.evaluation.words import percent
from pipeline.plots.labels import label, rounded_text, unit_words

if TYPE_CHECKING:
    from pipeline.evaluation.report.context import ReportContext
    from simsurrogate.spec import Spec


@dataclass(frozen=True)
class Example:
    """One trajectory with its prediction.

    Attributes:
        split: the split.
        position: the position in the split.
        rank: the rank of the error in words, such as `median of 8`.
        error: the relative L2 error at the end of the rollout.
        cases: the trajectory.
        truth: (T, C, *sites).
        prediction: the same shape; the first frame is the input.
        deviation: the predicted standard deviation in the same shape, or None.
    """

    split: str
    position: int
    rank: str
    error: float | None
    cases: Cases
    truth: np.ndarray
    prediction: np.ndarray
    deviation: np.ndarray | None

    @property
    def name(self) -> str:
        """The name of the trajectory in headings."""
        return f"trajectory {self.position}, {self.rank}"

    def parameter_text(self, spec: Spec) -> str:
        """Return the scalar parameters with units."""
        values = []
        for parameter in spec.parameters:
            number = rounded_text(float(self.cases.inputs[parameter.name][0]))
            values.append(f"{label(parameter.name, '1')} = {number} {unit_words(parameter.unit)}".rstrip())
        return ", ".join(values)


def examples(context: ReportContext, split: str) -> list[Example]:
    """Return the chosen trajectories of a split: the median, the worst, the best, then others."""
    result = context.metrics.splits[split]
    found = []
    for position, rank in chosen_trajectories(result, context.num_trajectories):
        cases = load(context.dataset, split, [position])
        predicted = predict_with_members(context.surrogate, cases, 0, len(cases.time) - 1)
        truth, deviation = cases.state[0], predicted.standard_deviation
        found.append(
            Example(
                split=split,
                position=position,
                rank=rank,
                error=result.by_trajectory.rollout_end[position],
                cases=cases,
                truth=truth,
                prediction=np.concatenate([truth[:1], predicted.mean[0, 1:].numpy(force=True)]),
                deviation=None if deviation is None else deviation[0].numpy(force=True),
            )
        )
    return found


def caption_of(example: Example, spec: Spec) -> str:
    """Return the caption of a trajectory: its error and its parameters."""
    error = f"relative L2 error {percent(example.error)} at the end of the rollout, {example.rank} by error"
    parameters = example.parameter_text(spec)
    return f"Trajectory {example.position}: {error}." + (f" Parameters: {parameters}." if parameters else "")
