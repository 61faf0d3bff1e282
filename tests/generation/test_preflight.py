"""Estimates and checks before a data set is generated: expected error, round-off and cautions."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from pipeline import chain
from pipeline.data import store
from pipeline.data.accuracy import ExpectedError
from pipeline.data.manifest import Manifest, read_document
from pipeline.parallel.stopping import StoppedError
from simsurrogate.errors import UserError
from solvers.contract import DiscretisationError, Parameters
from solvers.heat import Heat, discretisation_error
from tests.support.in_process import generate_in_process, settings_of

HEAT = (
    "solver=heat",
    "samples={train: 3, valid: 1, test: 1, test_extrapolation: 3, per_shard: 3}",
    "output.steps=2",
)


@pytest.mark.fault(
    "the grid is too coarse for the data",
    cause="solver.resolution=8",
    result="refused before work starts, with the error and a sufficient resolution",
    lost="nothing",
)
def test_a_coarse_grid_is_refused_with_its_error_before_any_data_are_written(tmp_path: Path) -> None:
    # The error of 8 cells is 6 to 8 %; 8 (8 / 2)^(1/2) = 16 cells suffice.
    message = (
        r"expected error of split train at 0.1 s is 7\.\d+ %.*storage.max_error=0.02 allows 2 %.*\[16,16\]"
    )
    with pytest.raises(UserError, match=message):
        generate_in_process(tmp_path, *HEAT, "solver.resolution=8")
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_the_parameters_outside_the_ranges_are_estimated_too(tmp_path: Path) -> None:
    message = (
        r"split test_extrapolation .* 3\.\d %.*outside the training ranges.*samples.test_extrapolation=0"
    )
    with pytest.raises(UserError, match=message):
        generate_in_process(tmp_path, *HEAT, "solver.resolution=16")
    generate_in_process(tmp_path, *HEAT, "solver.resolution=16", "samples.test_extrapolation=0")


def test_a_flow_that_grows_finer_with_time_is_refused_by_its_duration_and_its_outside_ranges(
    tmp_path: Path,
) -> None:
    flow = (
        "solver=navier_stokes", "solver.resolution=32", "solver.viscosity=[2e-4,4e-4]", "output.steps=4",
        "samples={train: 3, valid: 1, test: 1, test_extrapolation: 3, per_shard: 3}",
    )  # fmt: skip
    # The steady forcing feeds ever shorter waves: the error is 0.002 % after 10 s and 1.5 % after 24 s.
    with pytest.raises(UserError, match=r"error of split train at 30 s is 3\.\d+ %.*finer solver.resolution"):
        generate_in_process(tmp_path, *flow, "output.duration=30.0", "samples.test_extrapolation=0")
    message = (
        r"split test_extrapolation at 24 s is 3\.\d+ % .*outside the training ranges.*test_extrapolation=0"
    )
    with pytest.raises(UserError, match=message):
        generate_in_process(tmp_path, *flow, "output.duration=24.0")
    dataset = generate_in_process(tmp_path, *flow, "output.duration=24.0", "samples.test_extrapolation=0")
    errors = read_document(dataset / "manifest.json", Manifest).expected_errors
    assert 0.01 < errors["train"].grid < 0.02


def test_an_error_in_time_that_is_not_small_next_to_the_grids_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The error in time of small discs of high contrast hardly depends on the grid.
    discs = (
        *HEAT, "solver.resolution=64", "solver.scheme=adi", "solver.diffusivity.kind=inclusions",
        "solver.diffusivity.contrast=[100,100]", "solver.diffusivity.inclusion_radius=[0.05,0.06]",
        "samples={train: 1, valid: 1, test: 1, test_extrapolation: 0}",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"grid 1\.2 %, time 2\.6 %.*Type a smaller solver.tolerance"):
        generate_in_process(tmp_path, *discs, "solver.tolerance=3e-2")
    capsys.readouterr()
    generate_in_process(tmp_path, *discs, "solver.tolerance=1e-2", "storage.max_error=0.03")
    caution = r"caution: the error in time of train, (\S+) %, is not small next to that of the grid, (\S+) %"
    printed = re.search(caution, capsys.readouterr().out)
    assert printed
    time_error, grid_error = (float(number) / 100 for number in printed.groups())
    assert 0.1 * grid_error < time_error < grid_error
    card = (tmp_path / "dataset" / "README.md").read_text()
    assert f"| {100 * grid_error:.2g} % | {100 * time_error:.2g} % |" in card
    generate_in_process(tmp_path / "accurate", *discs)
    assert "caution" not in capsys.readouterr().out


def test_a_solver_without_an_outside_refuses_the_split_before_any_data_are_written(tmp_path: Path) -> None:
    options = ("solver=nbody", "surrogate=hamiltonian", "samples.test_extrapolation=1")
    message = "three_body has no trajectories outside the training range"
    with pytest.raises(UserError, match=message):
        generate_in_process(tmp_path, *options)
    assert not (tmp_path / "dataset" / "manifest.json").exists()
    with pytest.raises(UserError, match=message):
        chain.check(settings_of(tmp_path, *options))


def test_the_expected_error_is_printed_and_written_to_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = generate_in_process(tmp_path, *HEAT, "solver.resolution=16", "storage.max_error=0.05")
    line = r"expected error at 0.1 s: train, valid and test (1\.\d|2) % .*; test_extrapolation 3\.\d % "
    assert re.search(line, capsys.readouterr().out)
    card = (dataset / "README.md").read_text()
    assert re.search(
        r"\| train, valid, test \| (1\.\d|2) % \| \S+ % \|\n\| test_extrapolation \| 3\.\d % ", card
    )
    generate_in_process(tmp_path, *HEAT, "solver.resolution=16", "storage.max_error=0.06")
    assert "expected error" not in capsys.readouterr().out  # the data set is complete


def test_steps_that_are_too_long_are_refused_with_their_error(tmp_path: Path) -> None:
    options = ("solver.scheme=rkl2", "solver.time_step=0.3", "output={duration: 0.3, steps: 1}")
    message = r"error of split train at 0.3 s is \S+ %.*Type a smaller solver.tolerance or solver.time_step"
    with pytest.raises(UserError, match=message):
        generate_in_process(tmp_path, *HEAT, "solver.resolution=32", *options)


@pytest.mark.parametrize(
    ("options", "num_lost"),
    [
        # The values are small, but float32 has as many digits for them.
        (("solver.initial.amplitude=[1e-7,2e-7]",), 0),
        # A signal of 1e-4 K around walls of 300 K has four distinct values in float32.
        (
            (
                "solver.boundary={x: dirichlet, y: dirichlet}",
                "solver.boundary_values={x: [300, 300], y: [300, 300]}",
                "solver.initial.amplitude=[1e-4,1e-4]",
            ),
            3,
        ),
        # The longest wave decays by exp(-10 s 4 pi^2 0.1 m^2/s) = 7e-18 or less until 10 s.
        (("output.duration=20.0",), 2),
    ],
)
def test_frames_of_round_off_are_refused(options: tuple[str, ...], num_lost: int, tmp_path: Path) -> None:
    arguments = (*HEAT, "solver.resolution=32", "samples.test_extrapolation=0", *options)
    if not num_lost:
        generate_in_process(tmp_path, *arguments)
        return
    with pytest.raises(
        UserError, match=rf"{num_lost} of 3 frames of the first trajectory are round-off: at .*At most 10 %"
    ):
        generate_in_process(tmp_path, *arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        # float32 stores 0 for these values.
        (("solver.initial.amplitude=[1e-60,1e-59]",), r"below 1\.2e-38, .* in float32.*=float64"),
        # No value changes in this time.
        (("output.duration=1e-30",), r"does not change until 1e-30 s: temperature changes by at most 0 K"),
    ],
)
def test_values_that_cannot_vary_in_the_files_are_refused(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    arguments = (*HEAT, "solver.resolution=32", "samples.test_extrapolation=0", *options)
    with pytest.raises(UserError, match=message):
        generate_in_process(tmp_path, *arguments)
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_cautions_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate_in_process(
        tmp_path,
        *HEAT,
        "solver.resolution=32",
        "solver.initial.correlation_length=0.005",
        "samples.test_extrapolation=0",
        "storage.max_error=0.5",
    )
    assert "generate: caution: solver.initial.modes=16 hold at most" in capsys.readouterr().out


def test_a_stop_during_the_estimate_ends_it_after_the_trajectory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates = stop_in_estimate(monkeypatch, 1)
    with pytest.raises(StoppedError, match=r"not estimated. Run the same command again"):
        generate_in_process(tmp_path, *HEAT, "solver.resolution=16", "storage.max_error=0.05")
    assert len(estimates) == 1


def test_a_stop_in_the_last_trajectory_keeps_the_estimate_and_starts_no_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    estimates = stop_in_estimate(monkeypatch, 6)
    arguments = (*HEAT, "solver.resolution=16", "storage.max_error=0.05")
    with pytest.raises(StoppedError, match=r"0 of 8 missing trajectories were made"):
        generate_in_process(tmp_path, *arguments)
    manifest = read_document(tmp_path / "dataset" / "manifest.json", Manifest)
    assert set(manifest.expected_errors) == {"train", "test_extrapolation"}
    dataset = generate_in_process(tmp_path, *arguments)
    assert len(estimates) == 6
    finished_manifest = read_document(dataset / "manifest.json", Manifest)
    assert finished_manifest.complete
    assert finished_manifest.expected_errors == manifest.expected_errors


def test_a_part_without_errors_keeps_those_that_another_part_has_recorded(tmp_path: Path) -> None:
    generate_in_process(tmp_path, *HEAT, "solver.resolution=32", "samples.test_extrapolation=0", "part=[0,2]")
    folder = tmp_path / "dataset"
    manifest = read_document(folder / "manifest.json", Manifest)
    assert set(manifest.expected_errors) == {"train"}
    # The other part has read a folder without errors before.
    plan = manifest.model_copy(update={"expected_errors": {}})
    assert store.claim(folder, plan, overwrite=False) == manifest
    assert read_document(folder / "manifest.json", Manifest) == manifest
    # Errors that a part has estimated replace recorded errors.
    errors = {"train": ExpectedError(grid=0.1, time=0.0)}
    store.claim(folder, manifest.model_copy(update={"expected_errors": errors}), overwrite=False)
    assert read_document(folder / "manifest.json", Manifest).expected_errors == errors


def test_a_data_set_without_an_estimate_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(discretisation_error, "MAX_CELLS", 0)
    generate_in_process(tmp_path, *HEAT, "solver.resolution=16", "samples.test_extrapolation=0")
    output = capsys.readouterr().out
    assert "generate: the expected error is not estimated: heat has no estimate for these options" in output


def stop_in_estimate(monkeypatch: pytest.MonkeyPatch, number: int) -> list[DiscretisationError | None]:
    """Send SIGUSR1 to this process during estimate `number`, and return the list of all estimates."""
    estimates: list[DiscretisationError | None] = []
    estimate = Heat.discretisation_error

    def estimate_and_stop(
        solver: Heat, parameters: Parameters, times: np.ndarray
    ) -> DiscretisationError | None:
        estimates.append(estimate(solver, parameters, times))
        if len(estimates) == number:
            os.kill(os.getpid(), signal.SIGUSR1)
        return estimates[-1]

    monkeypatch.setattr(Heat, "discretisation_error", estimate_and_stop)
    return estimates
