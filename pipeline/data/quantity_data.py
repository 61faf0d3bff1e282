"""The quantities of interest of a data set, as a data set with one field of one cell for each quantity.

Shape letters: B windows, L frames of a window, T frames, Q quantities, P scalar parameters, N trajectories.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.data.format.layout import PREDICTABLE_TIME
from pipeline.data.statistics import ByField, TrainingStatistics
from pipeline.data.windows import StoredTrajectory, Windows
from simsurrogate.errors import UserError
from simsurrogate.spec import Axis, Field, Grid, Spec


def quantity_spec(spec: Spec, origin: str) -> Spec:
    """Return the spec of the quantities of `spec` as fields on a single cell.

    Raises:
        UserError: the spec has no quantities; `origin` says where it comes from.
    """
    if not spec.quantities:
        raise UserError(
            f"{origin} has no quantities of interest. A surrogate of scalars learns the quantities in the "
            "data. Generate data with quantities=[{name: hottest, of: FIELD, reduce: max}]"
        )
    return dataclasses.replace(
        spec,
        sites=Grid((Axis("quantity", "1", 1, 0.0, 1.0, "open"),)),
        fields=tuple(Field(item.name, item.unit, item.description) for item in spec.quantities),
        coefficient_fields=(),
        invariants=(),
        quantities=(),
        linear_in=(),
        symmetries=(),
        coarsening=None,
    )


class QuantityDataset(Dataset):
    """A view of a data set whose state is the quantities of interest, (Q, 1).

    Attributes: see `Dataset`. All quantities are in memory. `quantities` are those of the data set.

    Raises:
        UserError: the data set has no quantities.
    """

    def __init__(self, dataset: Dataset):
        self.folder, self.configuration = dataset.folder, dataset.configuration
        self.identity, self.times = dataset.identity, dataset.times
        self.core_seconds, self.family = dataset.core_seconds, dataset.family
        # The errors of the fields are not those of the quantities.
        self.validation = dataset.validation.model_copy(update={"self_stated_error": None})
        self.spec = quantity_spec(dataset.spec, f"the data set in {dataset.folder}")
        self.quantities = dataset.spec.quantities
        names = [field.name for field in self.spec.fields]
        self._arrays = {
            split: _split_arrays(dataset, split, names)
            for split in dataset.splits
            if dataset.num_trajectories(split)
        }
        self.statistics = _statistics(dataset.statistics, names, self._arrays["train"]["state"])
        self._sizes = {split: dataset.num_trajectories(split) for split in dataset.splits}

    def num_trajectories(self, split: str) -> int:
        """Return the number of trajectories of a split, see `Dataset.num_trajectories`."""
        return self._sizes[split]

    def parameter_values(self, split: str) -> np.ndarray:
        """Return the scalar parameters of all trajectories, see `Dataset.parameter_values`."""
        return self._arrays[split]["parameters"]

    def trajectory(self, split: str, position: int) -> StoredTrajectory:
        """Return the quantities of a trajectory as its state (T, Q, 1), see `Dataset.trajectory`."""
        arrays = self._arrays[split]
        return StoredTrajectory(
            state=arrays["state"][position].copy(),
            coefficient_fields=np.empty((0, 1)),
            parameters=dict(
                zip(self.spec.parameter_names, arrays["parameters"][position].tolist(), strict=True)
            ),
            arrays={},
            time=self.times.copy(),
            index=int(arrays["sample"][position]),
            predictable_time=float(arrays[PREDICTABLE_TIME.name][position]) if self.spec.chaotic else None,
        )

    def windows(self, split: str, length: int, *, reuse_buffers: bool = False) -> QuantityWindows:
        """Return the windows of a split, see `Dataset.windows`."""
        return QuantityWindows(self._arrays[split], self.times, length)


class QuantityWindows(Windows):
    """The windows of the quantities in memory, see `Windows`."""

    def __init__(self, arrays: Mapping[str, np.ndarray], times: np.ndarray, length: int):
        num_frames = len(times)
        if not 1 <= length <= num_frames:
            raise UserError(
                f"windows of {length} frames do not fit into trajectories of {num_frames} frames. Lower "
                "training.unroll, or generate more frames with output.steps"
            )
        self._arrays, self._times, self._length = arrays, times, length
        self._num_starts = num_frames - length + 1

    def __len__(self) -> int:
        return len(self._arrays["state"]) * self._num_starts

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the windows at `indices` (B,), see `Windows.take`."""
        positions, starts = self.locate(indices)
        frames = starts[:, None] + np.arange(self._length)
        return {
            "state": self._arrays["state"][positions[:, None], frames],
            "coefficient_fields": np.empty((len(indices), 0, 1)),
            "parameters": self._arrays["parameters"][positions],
            "time": self._times[frames],
        }


def _split_arrays(dataset: Dataset, split: str, names: list[str]) -> dict[str, np.ndarray]:
    """Return the quantities (N, T, Q, 1), the parameters (N, P) and the indices (N,) of a split."""
    others = ["parameters", "sample"]
    if dataset.spec.chaotic:
        others.append(f"scalars/{PREDICTABLE_TIME.name}")
    columns = dataset.columns(split, [f"scalars/{name}" for name in names] + others)
    state = np.stack([columns[f"scalars/{name}"] for name in names], axis=2)[..., None]
    return {"state": state} | {path.removeprefix("scalars/"): columns[path] for path in others}


def _statistics(recorded: TrainingStatistics, names: list[str], state: np.ndarray) -> TrainingStatistics:
    """Return the statistics of the quantities of the training split, (N, T, Q, 1)."""
    change = np.diff(state, axis=1)

    def by_name(values: np.ndarray) -> ByField:
        return dict(zip(names, values.tolist(), strict=True))

    def five(values: np.ndarray, suffix: str) -> dict[str, ByField]:
        axes = (0, 1, 3)
        return {
            f"mean{suffix}": by_name(values.mean(axes)),
            f"std{suffix}": by_name(values.std(axes)),
            f"rms{suffix}": by_name(np.sqrt(np.square(values).mean(axes))),
            f"min{suffix}": by_name(values.min(axes)),
            f"max{suffix}": by_name(values.max(axes)),
        }

    return {**recorded, **five(state, ""), **five(change, "_delta")}  # type: ignore[typeddict-item]
