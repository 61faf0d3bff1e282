"""Quantities of interest: their values in the data, their view as a data set, and wrong declarations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from pipeline import validate
from pipeline.config.quantities import with_quantities
from pipeline.config.settings import QuantitySettings
from pipeline.data.dataset import Dataset
from pipeline.data.quantity_data import QuantityDataset
from pipeline.problem import problem_of
from simsurrogate.errors import UserError
from simsurrogate.spec import Spec
from solvers.reductions import Reductions
from tests.support import problems
from tests.support.in_process import generate_in_process, settings_of

QUANTITIES = (
    "quantities=["
    "{name: hottest, of: temperature, reduce: max, region: {x: [0.0, 0.5]}},"
    "{name: coldest, of: temperature, reduce: min},"
    "{name: core, of: temperature, reduce: mean, region: {x: [0.3, 0.7], y: [0.2, 0.6]}},"
    "{name: warm, of: temperature, reduce: time_above, threshold: 0.2}]"
)
HEAT = (
    "solver=heat",
    "solver.resolution=[16,12]",
    "solver.boundary={x: dirichlet, y: neumann}",
    "solver.wall_fluxes=[x_upper]",
    "solver.diffusivity.kind=constant",
    "solver.initial={kind: harmonics, count: 2}",
    "output={duration: 0.2, steps: 8}",
    "samples={train: 6, valid: 1, test: 1, per_shard: 3}",
    "storage={precision: float64, max_error: 0.2}",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a data set of heat with five quantities."""
    folder = tmp_path_factory.mktemp("quantities")
    generate_in_process(folder, *HEAT, QUANTITIES)
    validate.run(settings_of(folder, *HEAT, QUANTITIES))
    return Dataset.open(folder / "dataset")


def test_the_values_are_those_of_the_stored_fields(dataset: Dataset) -> None:
    view = QuantityDataset(dataset)
    assert view.spec.channels == ("flux_x_upper", "hottest", "coldest", "core", "warm")
    assert view.spec.channel_units == ("K m^2/s", "K", "K", "K", "s")
    x, y = (axis.centres for axis in dataset.spec.axes)
    for position in range(6):
        trajectory, quantities = (data.trajectory("train", position) for data in (dataset, view))
        assert quantities.parameters == trajectory.parameters
        u = trajectory.state[:, 0]
        k = trajectory.parameters["diffusivity"]
        core = u[:, (x >= 0.3) & (x <= 0.7)][:, :, (y >= 0.2) & (y <= 0.6)]
        expected = [
            (2 * k * 16 * u[:, -1]).sum(axis=1) / 12,
            u[:, x <= 0.5].max(axis=(1, 2)),
            u.min(axis=(1, 2)),
            core.mean(axis=(1, 2)),
            warm_seconds(u.max(axis=(1, 2)), trajectory.time),
        ]
        np.testing.assert_allclose(quantities.state[..., 0].T, expected, rtol=1e-9, atol=1e-12)


def warm_seconds(hottest: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the time above 0.2 K up to each frame, from many points between the frames."""
    fine_times = np.linspace(0.0, times[-1], 800_001)
    is_above = np.interp(fine_times, times, hottest) > 0.2
    elapsed = np.cumsum(is_above) * (fine_times[1] - fine_times[0])
    return np.round(np.interp(times, fine_times, elapsed), 5)


def test_the_view_has_the_windows_and_the_statistics_of_the_quantities(dataset: Dataset) -> None:
    view = QuantityDataset(dataset)
    windows = view.windows("train", 3)
    assert len(windows) == len(dataset.windows("train", 3)) == 6 * 7
    batch = windows.take(np.array([8, 40]))
    np.testing.assert_array_equal(batch["state"][0], view.trajectory("train", 1).state[1:4])
    np.testing.assert_array_equal(batch["time"][1], dataset.times[5:8])
    stats = problem_of(view).statistics
    values = np.stack([view.trajectory("train", position).state for position in range(6)])[..., 0]
    np.testing.assert_allclose(stats.mean, values.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(stats.std, values.std(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(stats.delta_std, np.diff(values, axis=1).std(axis=(0, 1)), rtol=1e-12)


def test_data_without_quantities_have_no_view(tmp_path: Path) -> None:
    generate_in_process(tmp_path, *HEAT, "solver.wall_fluxes=[]")
    validate.run(settings_of(tmp_path, *HEAT, "solver.wall_fluxes=[]"))
    with pytest.raises(UserError, match="has no quantities of interest"):
        QuantityDataset(Dataset.open(tmp_path / "dataset"))


class FakeCommunicator:
    """A communicator of three ranks; rank 1 has the given block."""

    def __init__(self, others: list[np.ndarray]):
        self.others = others

    def allgather(self, values: np.ndarray) -> list[np.ndarray]:
        return [values, *self.others]


def grid_spec(**changes: object) -> Spec:
    return problems.grid_problem((8, 6), ("periodic", "dirichlet"), **changes).spec  # type: ignore[arg-type]


def quantity(**changes: object) -> QuantitySettings:
    return QuantitySettings(**({"name": "hottest", "of": "pressure", "reduce": "max"} | changes))


@pytest.mark.parametrize("reduce", ["max", "min", "mean"])
def test_blocks_of_several_ranks_have_the_values_of_the_whole_box(reduce: str) -> None:
    # The region lies in the middle block alone.
    spec = with_quantities(grid_spec(), [quantity(reduce=reduce, region={"x": [0.8, 1.2]})])
    state = np.random.default_rng(0).standard_normal((2, 8, 6))
    whole = Reductions(spec, (slice(0, 8), slice(0, 6)), MPI.COMM_SELF).of_state(state)
    blocks = [(slice(start, stop), slice(0, 6)) for start, stop in ((0, 3), (3, 5), (5, 8))]
    own = [
        Reductions(spec, block, MPI.COMM_SELF).of_states(state[(slice(None), *block)])["hottest"]
        for block in blocks
    ]
    # The ranks exchange sums for a mean.
    communicator = FakeCommunicator([12 * values if reduce == "mean" else values for values in own[1:]])
    first = Reductions(spec, blocks[0], communicator)  # type: ignore[arg-type]
    assert first.of_state(state[(slice(None), *blocks[0])]) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": "density"}, "is of 'density', which two fields does not have. The channels are temperature"),
        ({"region": {"z": [0, 1]}}, "has the unknown axis 'z'. The axes are x, y"),
        ({"region": {"y": [0.0, 0.1]}}, r"is empty: no cell centre lies in \[0, 0.1\] along y"),
        ({"region": {"x": [1.5, 0.5]}}, r"is empty: no cell centre lies in \[1.5, 0.5\] along x"),
        ({"name": "temperature"}, "has the name 'temperature' twice"),
        ({"name": "hot test"}, "A name begins with a letter"),
    ],
)
def test_wrong_quantities_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_quantities(grid_spec(), [quantity(**changes)])


def test_particles_have_no_regions() -> None:
    with pytest.raises(UserError, match=r"are particles\. Only grids have regions"):
        with_quantities(problems.particle_problem().spec, [quantity(of="position_x")])


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("{name: a, of: temperature, reduce: max, threshold: 1.0}", "threshold .* has no effect"),
        ("{name: a, of: temperature, reduce: time_above}", "threshold .* is missing"),
        ("{name: a, of: temperature, reduce: time_above, threshold: nan}", "The value must be finite"),
        (
            "{name: a, of: temperature, reduce: __import__}",
            r"quantities\[0\].reduce='__import__' is not allowed. The value must be max or min or mean",
        ),
        (
            "{name: a, of: temperature, reduce: max, regions: {x: [0, 1]}}",
            r"quantities\[0\].regions: there is no such key; did you mean 'region'",
        ),
    ],
)
def test_wrong_declarations_are_refused_before_work_starts(
    declaration: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        settings_of(tmp_path, *HEAT, f"quantities=[{declaration}]")
