"""Reading of the shards by The Well and by xarray."""

from pathlib import Path

import numpy as np
import pytest
import xarray
from the_well.data import WellDataset
from the_well.data.normalization import ZScoreNormalization

from pipeline.data.dataset import Dataset
from pipeline.data.plan import SPLITS
from tests.faults.driving import run_drift_in_process

HEAT = (
    "solver=heat",
    "samples.test_extrapolation=2",
    "solver.extent=[1.0,2.0]",
    "solver.resolution=[8,6]",
    "storage.max_error=1",
    "solver.boundary.x=dirichlet",
)


COARSE_HEAT = (*HEAT, "solver.resolution=[24,18]", "output.coarsen=[3,3]")


@pytest.fixture(scope="module", params=["heat", "drift", "coarse heat"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a data set: heat between walls in x, drift with a vector field, or heat on a coarser grid."""
    run = tmp_path_factory.mktemp(request.param)
    cases = {"heat": HEAT, "drift": ("solver.resolution=[8,6]",), "coarse heat": COARSE_HEAT}
    overrides = cases[request.param]
    for stage in ("generate", "validate"):
        run_drift_in_process(stage, run, "samples.calibration=2", *overrides)
    return Dataset.open(run / "dataset")


@pytest.mark.parametrize("split", SPLITS)
def test_well_dataset_reads_every_split(dataset: Dataset, split: str) -> None:
    well_dataset = WellDataset(
        path=str(dataset.folder),
        well_split_name=split,
        use_normalization=True,
        normalization_type=ZScoreNormalization,
        boundary_return_type="padding",
        n_steps_input=1,
        n_steps_output=3,
    )
    assert len(well_dataset) == dataset.num_trajectories(split) > 0
    has_walls = dataset.spec.axes[0].boundary == "dirichlet"
    for position in range(len(well_dataset)):
        sample, trajectory = well_dataset[position], dataset.trajectory(split, position)
        mean, std = (
            np.hstack([dataset.statistics[key][field.name] for field in dataset.spec.fields])
            for key in ("mean", "std")
        )
        fields = np.concatenate([sample["input_fields"], sample["output_fields"]])
        expected = (np.moveaxis(trajectory.state, 1, -1) - mean) / std
        np.testing.assert_allclose(fields, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(
            sample["boundary_conditions"], [[0, 0] if has_walls else [2, 2], [2, 2]]
        )
        np.testing.assert_allclose(sample["constant_scalars"], list(trajectory.parameters.values()))
        np.testing.assert_allclose(sample["output_time_grid"], trajectory.time[1:], rtol=1e-6)
        axes = dataset.spec.axes
        assert sample["space_grid"].shape == (*(axis.size for axis in axes), len(axes))


def test_xarray_opens_a_shard_with_names_units_and_coordinates(dataset: Dataset) -> None:
    path = sorted(dataset.folder.glob("data/train/*.hdf5"))[1]
    with xarray.open_dataset(path, engine="h5netcdf") as shard:
        field = dataset.spec.fields[0]
        values = shard[field.name]
        assert values.dims == ("sample", "time", "x", "y")
        assert values.attrs["units"] == field.unit
        np.testing.assert_allclose(shard["time"], dataset.times, rtol=1e-6)
        for axis in dataset.spec.axes:
            np.testing.assert_allclose(shard[axis.name], axis.centres, rtol=1e-6)
        last_trajectory = dataset.trajectory("train", dataset.num_trajectories("train") - 1)
        assert shard["sample"][-1] == last_trajectory.index
        np.testing.assert_array_equal(values[-1], last_trajectory.state[:, 0])
        for name, value in last_trajectory.parameters.items():
            assert shard[name].sel(sample=last_trajectory.index) == value
        if "velocity" in shard:
            assert shard["velocity"].dims == ("sample", "time", "x", "y", "component")


def test_a_shard_records_its_origin(dataset: Dataset) -> None:
    path = next(Path(dataset.folder).glob("data/train/*.hdf5"))
    with xarray.open_dataset(path, engine="h5netcdf") as shard:
        assert shard.attrs["complete"]
        assert shard.attrs["schema_version"] == 2
        assert shard.attrs["seed"] == 0
        coarsening = dataset.spec.coarsening
        assert shard.attrs.get("coarsen_method") == (coarsening.method if coarsening else None)
        assert np.array_equal(shard.attrs.get("coarsen", []), coarsening.cells if coarsening else [])
        assert shard.attrs["solver"] == dataset.spec.name
        assert shard.attrs["code_version"] == dataset.configuration["code_version"]
