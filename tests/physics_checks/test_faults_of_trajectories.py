"""Trajectories with other physics, in a shard whose documents all agree: validate names the cause."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from pipeline import validate
from pipeline.coarsening.solver import coarsened
from pipeline.config.build import build_solver
from pipeline.data.plan import generator, index
from simsurrogate.errors import UserError
from tests.faults.driving import forge
from tests.support.in_process import generate_in_process, settings_of

#: The shard of the split `test` with the faulty row. Shards of other splits have no statistics.
VICTIM = "data/test/test-00000.hdf5"
ROW = 4

SAMPLES = (
    *("samples.train=4", "samples.valid=1", "samples.test=8", "samples.per_shard=8"),
    "samples.test_extrapolation=0",
    "samples.calibration=0",
)
FLOW = (
    *("experiment=navier_stokes", "solver.resolution=32", "solver.viscosity=[2e-3,4e-3]"),
    *("output.duration=5.0", "output.steps=10"),
    *SAMPLES,
)
COARSE_FLOW = (*FLOW, "output.coarsen=2")
HEAT = ("experiment=heat_fno", "solver.resolution=24", *SAMPLES)
WALLS = ("experiment=heat_parametric", "solver.resolution=16", *SAMPLES)

States = np.ndarray


def states_of(options: tuple[str, ...], row: int = ROW, **factors: float) -> States:
    """Return the states (T, C, *sites) of a row, with some parameters multiplied by factors."""
    settings = settings_of(Path(), *options)
    solver = coarsened(build_solver(settings.solver, MPI.COMM_SELF), settings.output.model_dump())
    times = settings.output.duration * np.arange(settings.output.steps + 1) / settings.output.steps
    parameters = solver.sample(generator(settings.seed, index("test", row)))
    for name, factor in factors.items():
        parameters[name] = factor * parameters[name]
    return np.array(list(solver.prepare(parameters).solve(times)))


def store(run: Path, states_by_row: dict[int, States]) -> None:
    """Write the states (T, C, *sites) of some rows to the shard, and correct all documents."""

    def change_shard(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            for row, states in states_by_row.items():
                if "temperature" in file["t0_fields"]:
                    file["t0_fields/temperature"][row] = states[:, 0]
                else:
                    file["t0_fields/vorticity"][row] = states[:, 0]
                    file["t1_fields/velocity"][row] = np.moveaxis(states[:, 1:], 1, -1)

    forge(run, change_shard, VICTIM)


def failure_of(run: Path, options: tuple[str, ...]) -> str:
    with pytest.raises(UserError) as error_info:
        validate.run(settings_of(run, *options))
    return str(error_info.value)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """Return the run folder of each validated data set, by its options."""
    runs = {}
    for options in (FLOW, COARSE_FLOW, HEAT, WALLS):
        runs[options] = tmp_path_factory.mktemp("clean")
        generate_in_process(runs[options], *options)
        validate.run(settings_of(runs[options], *options))
    return runs


def copy_of(datasets: dict[tuple[str, ...], Path], options: tuple[str, ...], folder: Path) -> Path:
    shutil.copytree(datasets[options], folder, dirs_exist_ok=True)
    return folder


def named_viscosity(failure: str) -> float:
    """Return the viscosity in a message over the stored one."""
    found = re.search(
        rf"residual: trajectory {index('test', ROW)}: .* Likely cause: the fields are those of "
        r"viscosity=(\S+) m\^2/s, and the stored value is (\S+)\. ",
        failure,
    )
    assert found, failure
    return float(found[1]) / float(found[2])


@pytest.mark.fault(
    "one trajectory of many has other physics",
    cause="1.1 times the viscosity in one trajectory, whose documents all agree",
    result="validate names the trajectory and the viscosity",
    lost="nothing",
)
def test_a_trajectory_with_another_viscosity_is_named(
    datasets: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    run = copy_of(datasets, FLOW, tmp_path)
    store(run, {ROW: states_of(FLOW, viscosity=1.1)})
    failure = failure_of(run, FLOW)
    assert named_viscosity(failure) == pytest.approx(1.1, rel=1e-3)
    assert f"steps: trajectory {index('test', ROW)}: the frame at " in failure


@pytest.mark.fault(
    "the viscosity has the wrong sign in one trajectory",
    cause="the negative of the flow backwards in time, which solves the equation with -nu",
    result="validate names the trajectory and the negative viscosity",
    lost="nothing",
)
def test_a_wrong_sign_of_the_viscosity_is_named(
    datasets: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    run = copy_of(datasets, FLOW, tmp_path)
    store(run, {ROW: -states_of(FLOW)[::-1]})
    assert named_viscosity(failure_of(run, FLOW)) == pytest.approx(-1, rel=1e-3)


def test_a_shifted_field_is_named(datasets: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    run = copy_of(datasets, FLOW, tmp_path)
    states = states_of(FLOW)
    states[:, 1:] = np.roll(states[:, 1:], 1, axis=2)
    store(run, {ROW: states})
    assert "Likely cause: velocity is shifted by one cell along x." in failure_of(run, FLOW)


def test_a_shift_of_later_frames_is_named(datasets: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    run = copy_of(datasets, HEAT, tmp_path)
    states = states_of(HEAT)
    states[5:] = np.roll(states[5:], -1, axis=3)
    store(run, {ROW: states})
    assert (
        f"residual: trajectory {index('test', ROW)}: the fields do not satisfy the equation heat"
        in failure_of(run, HEAT)
    )
    assert "the fields are shifted by one cell along y from frame 5 on" in failure_of(run, HEAT)


@pytest.mark.fault(
    "a shard is computed with other physics",
    cause="twice the viscosity in all trajectories of a shard on a coarser grid",
    result="validate names the shard",
    lost="nothing",
)
def test_a_shard_of_other_physics_is_named(datasets: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    run = copy_of(datasets, COARSE_FLOW, tmp_path)
    store(run, {row: states_of(COARSE_FLOW, row, viscosity=2.0) for row in range(8)})
    failure = failure_of(run, COARSE_FLOW)
    assert f"{VICTIM}: steps: trajectory {index('test', 0)}: the frame at 0.5 s differs by" in failure


def test_an_unresolved_front_is_named(
    datasets: dict[tuple[str, ...], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of(datasets, HEAT, tmp_path)
    states = states_of(HEAT)
    front = np.where(np.arange(24) < 12, 1.0, -1.0)[:, None]
    states[-1] = states[-1].mean() + np.abs(states[-1]).max() * front
    store(run, {ROW: states})
    failure = failure_of(run, HEAT)
    assert f"residual: trajectory {index('test', ROW)}" in failure
    assert (
        f"warning: resolution: trajectory {index('test', ROW)}: at 0.1 s, the grid does not resolve a front "
        "of temperature"
    ) in capsys.readouterr().err


def test_a_changed_mean_is_named(datasets: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    run = copy_of(datasets, HEAT, tmp_path)
    states = states_of(HEAT)
    states[3:] += 1e-3 * np.abs(states).max()
    store(run, {ROW: states})
    assert f"conserved_means: trajectory {index('test', ROW)}: the mean of temperature" in failure_of(
        run, HEAT
    )


def test_a_divergence_is_named(datasets: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    run = copy_of(datasets, COARSE_FLOW, tmp_path)
    states = states_of(COARSE_FLOW)
    states[1:, 1] = np.roll(states[1:, 1], 1, axis=1)
    store(run, {ROW: states})
    assert f"divergence: trajectory {index('test', ROW)}: the divergence of velocity" in failure_of(
        run, COARSE_FLOW
    )


def test_other_wall_values_are_named(datasets: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    run = copy_of(datasets, WALLS, tmp_path)
    store(run, {ROW: states_of(WALLS) + 0.01})
    failure = failure_of(run, WALLS)
    assert f"boundary_values: trajectory {index('test', ROW)}: temperature does not meet the " in failure
    # A constant satisfies the equation.
    assert "residual: " not in failure
