"""The errors of a surrogate on each data set of `dataset=[a,b,...]` apart, on measured data where measured.

Shape letters: B trajectories of a batch, T frames, C channels, F fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from pipeline.config import sizes
from pipeline.data.dataset import Dataset
from pipeline.data.mixture import AlignedSource, is_measured
from pipeline.data.recorded_configuration import has_gaps
from pipeline.evaluation import results, words
from pipeline.evaluation.cases import Cases, load, predict
from pipeline.evaluation.metrics import field_norms
from pipeline.evaluation.metrics.relative import FieldNorm, relative_l2
from pipeline.evaluation.schema import Headline, Metrics, Mode, SourcePredictor, SourceResult
from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from mpi4py import MPI

    from pipeline.config.settings import Settings
    from surrogates.contract import Surrogate

_SPLIT = "test"
#: The headings of `rows`.
HEADINGS = (
    "data set",
    "kind",
    "trajectories",
    "noise",
    "one step, median",
    "end of rollout, median",
    "worst",
    "persistence, end of rollout",
)

#: The errors of each trajectory (B,) by predictor and mode; NaN for a trajectory without values to compare.
_Errors = dict[tuple[SourcePredictor, Mode], np.ndarray]


def open_sources(settings: Settings, dataset: Dataset) -> list[AlignedSource]:
    """Return the data sets after the first of `dataset=[a,b,...]`, in the fields and units of the first.

    Raises:
        UserError: a data set is missing, not validated, of another system or grid, or without test
            trajectories; or the first data set has gaps.
    """
    if has_gaps(dataset.configuration):
        raise UserError(
            f"dataset={dataset.folder} has declared gaps, and the metrics of the first data set need every "
            "value. Data with gaps may follow a complete data set. Type dataset=[COMPLETE,"
            f"{dataset.folder}]"
        )
    step = float(dataset.times[1] - dataset.times[0])
    sources = []
    for path in settings.mixture.datasets:
        other = Dataset.open(path, allow_failed=settings.allow_failed)
        if other.num_trajectories(_SPLIT) == 0:
            raise UserError(
                f"dataset: {path} has no test trajectories. At least one is needed for its error. Make it "
                "again with samples.test=8, or adopt it with splits: {test: 8}"
            )
        sources.append(AlignedSource(other, dataset.spec, step))
    return sources


def measure(
    settings: Settings, surrogate: Surrogate, sources: Sequence[AlignedSource], communicator: MPI.Intracomm
) -> list[SourceResult]:
    """Return the errors on the test split of each data set on rank 0, and nothing on other ranks.

    A gap in a state that a prediction starts from has the mean of the training data there. An error of a
    frame is over the measured values of a field; a field without any has none. The end of a rollout is the
    last frame with a value.
    """
    source_results = []
    batch_size = settings.evaluation.batch_size
    for source in sources:
        count = source.num_trajectories(_SPLIT)
        precision = source.configuration["storage"]["precision"]
        sizes.check_evaluation(settings.evaluation, source.spec, len(source.times), count, precision)
        starts = range(0, count, batch_size)
        own = {
            start: _errors(surrogate, source, range(start, min(start + batch_size, count)))
            for start in starts[communicator.rank :: communicator.size]
        }
        gathered = communicator.gather(own, root=0)
        if gathered is not None:
            by_start = {start: errors for part in gathered for start, errors in part.items()}
            ordered = [by_start[start] for start in starts]
            errors = {key: np.concatenate([part[key] for part in ordered]) for key in ordered[0]}
            source_results.append(_result(source, errors))
    return source_results


def _errors(surrogate: Surrogate, source: AlignedSource, positions: range) -> _Errors:
    """Return the errors of some trajectories, see `measure`."""
    truth = load(source, _SPLIT, positions)
    mean = np.array(surrogate.problem.statistics.mean, truth.state.dtype)
    means = mean.reshape(-1, *[1] * (truth.state.ndim - 3))
    filled = np.where(np.isnan(truth.state), means, truth.state)
    cases = Cases(filled, truth.inputs, truth.solver_parameters, truth.time, truth.index, None)
    num_frames = filled.shape[1]
    later, average = filled[:, 1:], np.broadcast_to(means, filled[:, 1:].shape)
    predictions: dict[tuple[SourcePredictor, Mode], np.ndarray] = {
        ("surrogate", "one_step"): np.concatenate(
            [predict(surrogate, cases, frame, frame + 1) for frame in range(num_frames - 1)], axis=1
        ),
        ("surrogate", "rollout"): predict(surrogate, cases, 0, num_frames - 1),
        ("persistence", "one_step"): filled[:, :-1],
        ("persistence", "rollout"): np.broadcast_to(filled[:, :1], later.shape),
        ("mean", "one_step"): average,
        ("mean", "rollout"): average,
    }
    norms = field_norms(source.spec, surrogate.problem.statistics)
    return {
        (predictor, mode): measured_error(states, truth.state[:, 1:], norms, mode)
        for (predictor, mode), states in predictions.items()
    }


def measured_error(
    prediction: np.ndarray, truth: np.ndarray, norms: Sequence[FieldNorm], mode: Mode
) -> np.ndarray:
    """Return the relative L2 error of each trajectory over its measured values, (B,).

    The error of single steps is the mean over the frames, and that of a rollout is of the last frame with a
    value.

    Args:
        prediction: (B, T, C, *sites).
        truth: the same shape, NaN where nothing was measured.
        norms: the norm of each field.
        mode: the kind of the prediction.
    """
    is_missing = np.isnan(truth)
    # A difference of 0 and a truth of 0 change no norm.
    predicted_values, values = (np.where(is_missing, 0.0, states) for states in (prediction, truth))
    errors_BTF = relative_l2(predicted_values, values, norms)
    flat = is_missing.reshape(*is_missing.shape[:3], -1).all(axis=3)
    has_values_BTF = np.stack([~flat[:, :, list(norm.channels)].all(axis=2) for norm in norms], axis=2)
    count_BT = has_values_BTF.sum(axis=2)
    total_BT = np.where(has_values_BTF, errors_BTF, 0.0).sum(axis=2)
    errors_BT = np.where(count_BT, total_BT / np.maximum(count_BT, 1), np.nan)
    has_frame = count_BT > 0
    if mode == "one_step":
        total = np.where(has_frame, errors_BT, 0.0).sum(axis=1)
        return np.where(has_frame.any(axis=1), total / np.maximum(has_frame.sum(axis=1), 1), np.nan)
    last = has_frame.shape[1] - 1 - has_frame[:, ::-1].argmax(axis=1)
    return np.asarray(errors_BT[np.arange(len(errors_BT)), last])


def _result(source: AlignedSource, errors: _Errors) -> SourceResult:
    """Return the result of a data set.

    Raises:
        UserError: no test trajectory has a measured value after its first frame.
    """
    is_counted = ~np.isnan(errors["persistence", "rollout"])
    if not is_counted.any():
        raise UserError(
            f"dataset: {source.folder} has no measured value after the first frame of its test trajectories. "
            "An error needs at least one. Adopt other test trajectories, or remove it from the list"
        )
    predictors: tuple[SourcePredictor, ...] = ("surrogate", "persistence", "mean")
    headline: dict[SourcePredictor, Headline] = {
        name: results.headline_of(errors[name, "one_step"][is_counted], errors[name, "rollout"][is_counted])
        for name in predictors
    }
    noise = {}
    for field, channels in zip(source.spec.fields, source.spec.field_channels, strict=True):
        rms = np.ravel(source.statistics["rms"].get(field.name, 0.0))
        deviation = np.linalg.norm(source.noise[list(channels)])
        if deviation and rms.any():
            noise[field.name] = float(deviation / np.linalg.norm(rms))
    return SourceResult(
        folder=str(source.folder),
        dataset=source.identity,
        measured=is_measured(source),
        trajectories=int(is_counted.sum()),
        noise=noise,
        headline=headline,
    )


def rows(metrics: Metrics, folder: str) -> list[tuple[str, ...]]:
    """Return a row for each data set, the first one in `folder`; no row for a single data set."""
    if not metrics.sources or _SPLIT not in metrics.splits:
        return []
    own = metrics.splits[_SPLIT]
    return [
        (folder, "first", str(own.trajectories), "-", *_errors_in_words(own.headline)),
        *(
            (
                source.folder,
                "measured" if source.measured else "other",
                str(source.trajectories),
                ", ".join(f"{name} {words.percent(level)}" for name, level in source.noise.items()) or "-",
                *_errors_in_words(source.headline),
            )
            for source in metrics.sources
        ),
    ]


def _errors_in_words(headline: Mapping[Any, Headline]) -> tuple[str, ...]:
    surrogate, persistence = headline["surrogate"], headline["persistence"]
    return (
        words.percent(surrogate.one_step.median),
        words.percent(surrogate.rollout_end.median),
        words.percent(surrogate.rollout_end.max),
        words.percent(persistence.rollout_end.median),
    )


def table(metrics: Metrics, folder: str) -> Table:
    """Return the table of `rows` for the terminal."""
    result = Table(title=f"{metrics.surrogate} on each data set: relative L2 error where there are values")
    for heading in HEADINGS:
        result.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right", overflow="fold")
    for row in rows(metrics, folder):
        result.add_row(*row)
    return result
