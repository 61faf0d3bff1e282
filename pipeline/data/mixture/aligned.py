"""A data set as a source of a mixture: in the fields and the units of the first data set.

Shape letters: B windows, L frames of a window, T frames, C channels, K coefficient fields, P parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.data.mixture.conversion import Conversion, conversion_of, converted_statistics
from pipeline.data.recorded_configuration import has_gaps, noise_of
from pipeline.data.round_off import are_equal
from pipeline.data.windows import StoredTrajectory, Windows
from simsurrogate.errors import UserError
from simsurrogate.spec import Spec

#: The properties of the spec that all sources share. The channels, their units and the name may differ.
_SHARED_PROPERTIES = ("axis_names", "lower", "extent", "boundaries", "boundary_values", "autonomous")


class AlignedSource(Dataset):
    """A view of a data set in the fields, coefficient fields, parameters and units of another spec.

    Values in other units are converted. A field that the data set lacks is missing everywhere: NaN, as in
    the gaps of measured data. Fields that only the data set has are left out.

    Attributes: see `Dataset`. `noise` (C,) holds the declared standard deviation of each channel's noise, 0
    without noise. `has_channel` (C,) says which channels the data set has, and `lacks_values` whether states
    may hold NaN.

    Raises:
        UserError: the data set is of another system, on another grid, or in units that cannot be converted.
    """

    def __init__(self, dataset: Dataset, spec: Spec, time_step: float):
        _refuse_other_system(dataset, spec, time_step)
        self._dataset = dataset
        self.folder, self.configuration = dataset.folder, dataset.configuration
        self.identity, self.times = dataset.identity, dataset.times
        self.core_seconds, self.validation = dataset.core_seconds, dataset.validation
        self.family = dataset.family
        own, where = dataset.spec, str(dataset.folder)
        self._fields = conversion_of(spec, own, spec.fields, own.fields, where, may_lack=True)
        self._coefficients = conversion_of(
            spec, own, spec.coefficient_fields, own.coefficient_fields, where, may_lack=False
        )
        self._parameters = conversion_of(spec, own, spec.parameters, own.parameters, where, may_lack=False)
        self.spec = dataclasses.replace(
            spec, symmetries=tuple(item for item in spec.symmetries if item in own.symmetries)
        )
        self.statistics = converted_statistics(dataset.statistics, spec, own, where)
        self.has_channel = self._fields.source >= 0
        self.lacks_values = has_gaps(self.configuration) or not bool(self.has_channel.all())
        noise = noise_of(self.configuration)
        self.noise = self._fields.scaled(
            np.array([noise.get(field.name, 0.0) for field in own.fields for _ in own.components(field)])
        )

    def num_trajectories(self, split: str) -> int:
        """Return the number of trajectories of a split, see `Dataset.num_trajectories`."""
        return self._dataset.num_trajectories(split)

    def parameter_values(self, split: str) -> np.ndarray:
        """Return the scalar parameters of all trajectories, see `Dataset.parameter_values`."""
        return self._parameters(self._dataset.parameter_values(split), axis=1)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return self._dataset.splits

    def columns(self, split: str, paths: Sequence[str]) -> dict[str, np.ndarray]:
        """Return some datasets of all shards of a split in their own units, see `Dataset.columns`."""
        return self._dataset.columns(split, paths)

    def trajectory(self, split: str, position: int) -> StoredTrajectory:
        """Return a trajectory, see `Dataset.trajectory`."""
        trajectory = self._dataset.trajectory(split, position)
        values = np.array([trajectory.parameters[name] for name in self._dataset.spec.parameter_names])
        parameters = self._parameters(values, axis=0).tolist()
        return dataclasses.replace(
            trajectory,
            state=self._fields(trajectory.state, axis=1),
            coefficient_fields=self._coefficients(trajectory.coefficient_fields, axis=0),
            parameters=dict(zip(self.spec.parameter_names, parameters, strict=True)),
        )

    def windows(self, split: str, length: int, *, reuse_buffers: bool = False) -> AlignedWindows:
        """Return the windows of a split, see `Dataset.windows`."""
        try:
            windows = self._dataset.windows(split, length, reuse_buffers=reuse_buffers)
        except UserError as error:
            raise UserError(f"{self.folder}: {error}") from None
        return AlignedWindows(windows, self._fields, self._coefficients, self._parameters)


class AlignedWindows(Windows):
    """The windows of a data set with converted values, see `Windows`."""

    def __init__(
        self, windows: Windows, fields: Conversion, coefficients: Conversion, parameters: Conversion
    ):
        self._windows = windows
        self._fields, self._coefficients, self._parameters = fields, coefficients, parameters

    def __len__(self) -> int:
        return len(self._windows)

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the trajectory and the first frame of each window, see `Windows.locate`."""
        return self._windows.locate(indices)

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the windows at `indices` (B,), see `Windows.take`; a missing value is NaN."""
        batch = self._windows.take(indices)
        return {
            "state": self._fields(batch["state"], axis=2),
            "coefficient_fields": self._coefficients(batch["coefficient_fields"], axis=1),
            "parameters": self._parameters(batch["parameters"], axis=1),
            "time": batch["time"],
        }


def _refuse_other_system(dataset: Dataset, spec: Spec, time_step: float) -> None:
    """Refuse a data set whose sites, boundaries or time step differ.

    Raises:
        UserError: the message names each difference.
    """
    own = dataset.spec
    if own.shape != spec.shape:
        shapes = ("x".join(map(str, shape)) for shape in (own.shape, spec.shape))
        raise UserError(
            "dataset: {} has {} sites, and the first data set has {}. All data sets of a mixture have the "
            "same sites. Generate or resample it on these sites, or train on several grids with "
            "training.other_grids=[{}]".format(dataset.folder, *shapes, dataset.folder)
        )
    own_step = float(dataset.times[1] - dataset.times[0])
    pairs: dict[str, tuple[Any, Any]] = {
        name: (getattr(own, name), getattr(spec, name)) for name in _SHARED_PROPERTIES
    }
    pairs["time_step"] = (own_step, time_step)
    differences = [
        f"{name}: {value!r} here, {expected!r} in the first data set"
        for name, (value, expected) in pairs.items()
        if not are_equal(value, expected)
    ]
    if differences:
        raise UserError(
            f"dataset: {dataset.folder} does not fit the first data set: {'; '.join(differences)}. All data "
            "sets of a mixture hold the same system. Remove it from the list"
        )
