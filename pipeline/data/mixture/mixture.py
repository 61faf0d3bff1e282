"""Several data sets as the data of one training, with the shares of their windows in the batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Literal

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.data.mixture.aligned import AlignedSource
from pipeline.data.mixture.measured import is_measured
from pipeline.data.recorded_configuration import has_gaps, noise_of
from pipeline.data.statistics import TrainingStatistics
from pipeline.data.windows import StoredTrajectory, Windows
from simsurrogate.errors import UserError
from simsurrogate.spec import Spec

Schedule = Literal["constant", "annealed", "adaptive"]


class Mixture(Dataset):
    """The training data of several data sets. The first one gives the problem: spec, times and configuration.

    Attributes: see `Dataset`; those of the first data set, except for these. `sources` are the data sets in
    the fields and units of the first. `weights` and `final_weights` (equal if they stay) are the shares of
    the sources in the batches. `measured` are the positions of the sources with measurements. `statistics`
    are those of the mixture, see `mixed_statistics`. The spec has the symmetries that all sources have.

    Args:
        datasets: the data sets.
        weights: the share of each data set at the start of training; they sum to 1.
        schedule: the change of the shares.
        final_weights: the last shares; empty for `constant`.

    Raises:
        UserError: a data set does not fit the first one; or the schedule needs measured data.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        weights: Sequence[float],
        schedule: Schedule = "constant",
        final_weights: Sequence[float] = (),
    ):
        main = datasets[0]
        self._main = main
        self.folder, self.configuration = main.folder, main.configuration
        self.identity, self.times = main.identity, main.times
        self.core_seconds, self.validation = main.core_seconds, main.validation
        self.family = reduce(or_, (dataset.family for dataset in datasets))
        self.schedule = schedule
        self.weights = tuple(np.array(weights) / np.sum(weights))
        self.final_weights = (
            tuple(np.array(final_weights) / np.sum(final_weights)) if final_weights else self.weights
        )
        step = float(main.times[1] - main.times[0])
        self.sources = tuple(AlignedSource(dataset, main.spec, step) for dataset in datasets)
        self.spec = dataclasses.replace(
            main.spec,
            symmetries=tuple(
                item
                for item in main.spec.symmetries
                if all(item in source.spec.symmetries for source in self.sources)
            ),
        )
        self.statistics = mixed_statistics(
            self.spec, [item.statistics for item in self.sources], self.weights
        )
        self.measured = tuple(index for index, source in enumerate(self.sources) if is_measured(source))
        self._refuse_schedule_without_measured_data()

    def _refuse_schedule_without_measured_data(self) -> None:
        """Refuse an adaptive schedule without measured data. Every data set has a valid split."""
        if self.schedule == "adaptive" and not self.measured:
            raise UserError(
                "mixture.schedule=adaptive follows the error on measured data, and no data set is declared "
                "as measured. Type mixture.schedule=annealed, or adopt the measured data with "
                "origin.kind=measurement origin.source=NAME"
            )

    @property
    def size(self) -> dict[str, Any]:
        """The size of the first data set, see `Dataset.size`."""
        return self._main.size

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return self._main.splits

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """The names of the checks that one of the data sets failed."""
        return tuple(sorted({check for source in self.sources for check in source.failed_checks}))

    @property
    def description(self) -> dict[str, Any]:
        """The part of the identity of a training that belongs to the mixture, as JSON."""
        description: dict[str, Any] = {
            "datasets": [source.identity for source in self.sources],
            "weights": list(map(float, self.weights)),
        }
        if self.schedule != "constant":
            description["schedule"] = self.schedule
            description["final_weights"] = list(map(float, self.final_weights))
        return description

    @property
    def validation_weights(self) -> np.ndarray:
        """The share of each source in the validation error.

        Measured sources have equal shares and all others 0. Without measured sources, the shares are the
        final ones of the batches.
        """
        if not self.measured:
            return np.array(self.final_weights)
        shares = np.zeros(len(self.sources))
        shares[list(self.measured)] = 1 / len(self.measured)
        return shares

    def num_trajectories(self, split: str) -> int:
        """Return the number of trajectories of a split in all sources together."""
        return sum(source.num_trajectories(split) for source in self.sources)

    def parameter_values(self, split: str) -> np.ndarray:
        """Return the scalar parameters of all sources, see `Dataset.parameter_values`."""
        return np.concatenate([source.parameter_values(split) for source in self.sources])

    def trajectory(self, split: str, position: int) -> StoredTrajectory:
        """Return a trajectory, in the order of the sources, see `Dataset.trajectory`."""
        for source in self.sources[:-1]:
            if position < source.num_trajectories(split):
                return source.trajectory(split, position)
            position -= source.num_trajectories(split)
        return self.sources[-1].trajectory(split, position)

    def windows(self, split: str, length: int, *, reuse_buffers: bool = False) -> JoinedWindows:
        """Return the windows of all sources, one after the other, see `Dataset.windows`."""
        return JoinedWindows(
            [source.windows(split, length, reuse_buffers=reuse_buffers) for source in self.sources],
            [source.num_trajectories(split) for source in self.sources],
        )


class JoinedWindows(Windows):
    """The windows of several sources, numbered one source after the other, see `Windows`."""

    def __init__(self, parts: Sequence[Windows], num_trajectories: Sequence[int]):
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self._trajectories = np.cumsum([0, *num_trajectories])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def source_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the source of each window (B,)."""
        return np.asarray(np.searchsorted(self._starts, indices, side="right") - 1)

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the trajectory among those of all sources, and the first frame, see `Windows.locate`."""
        trajectories, frames = np.empty_like(indices), np.empty_like(indices)
        for source, rows in self.rows_by_source(indices):
            own, frames[rows] = self._parts[source].locate(indices[rows] - self._starts[source])
            trajectories[rows] = own + self._trajectories[source]
        return trajectories, frames

    def rows_by_source(self, indices: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Return the sources of some windows, each with the positions of its windows in `indices`."""
        sources = self.source_of(indices)
        return [(int(source), np.flatnonzero(sources == source)) for source in np.unique(sources)]

    def own_indices(self, source: int, indices: np.ndarray) -> np.ndarray:
        """Return the numbers that windows of a source have in the source."""
        return np.asarray(indices - self._starts[source])

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the windows at `indices` (B,), see `Windows.take`."""
        batch: dict[str, np.ndarray] = {}
        for source, rows in self.rows_by_source(indices):
            for name, values in self._parts[source].take(self.own_indices(source, indices[rows])).items():
                if name not in batch:
                    batch[name] = np.empty((len(indices), *values.shape[1:]), values.dtype)
                if batch[name].dtype != values.dtype:
                    batch[name] = batch[name].astype(np.float64)
                batch[name][rows] = values
        return batch


def mixture_of(
    datasets: Sequence[Dataset],
    weights: Sequence[float],
    schedule: Schedule = "constant",
    final_weights: Sequence[float] = (),
) -> Dataset:
    """Return the data of a training: a single data set as it is, unless its values have gaps or noise."""
    (main, *others) = datasets
    if not others and not has_gaps(main.configuration) and not noise_of(main.configuration):
        return main
    return Mixture(datasets, weights or (1.0,), schedule, final_weights)


def mixed_statistics(
    spec: Spec, parts: Sequence[TrainingStatistics], weights: Sequence[float]
) -> TrainingStatistics:
    """Return the statistics of windows that are drawn from several data sets with shares w_i.

        mean = Σ w_i m_i,    std² = Σ w_i (s_i² + (m_i − mean)²)

    For a field, the sum is over the data sets that have the field, with shares that sum to 1 again. If all of
    them have the share 0, the shares are equal. Minimum and maximum are over all data sets.
    """
    mixed: dict[str, Any] = {**parts[0]}
    for suffix in ("", "_delta"):
        fields = spec.fields if suffix else (*spec.fields, *spec.coefficient_fields)
        for field in fields:
            present = [index for index, part in enumerate(parts) if field.name in part["mean"]]
            values = {
                name: np.array([parts[index][name + suffix][field.name] for index in present])  # type: ignore[literal-required]
                for name in ("mean", "std", "rms", "min", "max")
            }
            five = _mixed_values(values, np.array([weights[index] for index in present]))
            for name, value in five.items():
                mixed[name + suffix] = {**mixed[name + suffix], field.name: value.tolist()}
    mixed["parameters"] = {}
    for parameter in spec.parameter_names:
        values = {
            name: np.array([part["parameters"][parameter][name] for part in parts])
            for name in ("mean", "std", "rms", "min", "max")
        }
        five = _mixed_values(values, np.array(weights))
        mixed["parameters"][parameter] = {name: float(value) for name, value in five.items()}
    return mixed  # type: ignore[return-value]


def _mixed_values(values: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return five values of the mixture, of those of the parts (parts, ...)."""
    shares = weights / weights.sum() if weights.sum() else np.full(len(weights), 1 / len(weights))
    shares = shares.reshape(-1, *[1] * (values["mean"].ndim - 1))
    mean = (shares * values["mean"]).sum(axis=0)
    variance = (shares * (values["std"] ** 2 + (values["mean"] - mean) ** 2)).sum(axis=0)
    return {
        "mean": mean,
        "std": np.sqrt(variance),
        "rms": np.sqrt((shares * values["rms"] ** 2).sum(axis=0)),
        "min": values["min"].min(axis=0),
        "max": values["max"].max(axis=0),
    }
