"""Validate reads data sets and trajectories that are much larger than the memory that it may allocate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np

from pipeline import adopt
from pipeline.config.compose import hydra_arguments
from pipeline.data.card import figures
from tests.support import launching
from tests.support.in_process import generate_in_process, settings_of

LIMIT = 24  # MiB
WAVES = Path(__file__).parents[2] / "physics_checks/solvers/damped_waves.py"
DESCRIPTION = """
fields: {u: {unit: K}}
axes: {x: {unit: m, extent: 1.0, boundary: periodic}, y: {unit: m, extent: 1.0, boundary: periodic}}
times: {unit: s, step: 0.1}
in_place: true
splits: {train: 12, valid: 4, test: 4}
"""


def test_a_data_set_ten_times_the_memory_limit_is_validated(tmp_path: Path) -> None:
    path, run = tmp_path / "u.npy", tmp_path / "run"
    cells, frames, rows = 256, 48, 20
    states = np.lib.format.open_memmap(path, "w+", np.float32, (rows, frames, cells, cells))
    noise = np.random.default_rng(0).random(cells * cells + rows * frames, np.float32)
    for row in range(rows):
        for frame in range(frames):
            states[row, frame].flat = noise[row * frames + frame :][: cells * cells]
    states.flush()
    assert path.stat().st_size >= 10 * LIMIT * 2**20
    (tmp_path / "adopt.yaml").write_text(DESCRIPTION)
    with mock.patch.object(figures, "draw", return_value=[]):
        adopt.run(settings_of(run, f"source={path}", f"description={tmp_path / 'adopt.yaml'}"))
    assert "passed" in validated(run, LIMIT)


def test_the_physics_of_long_trajectories_is_checked_in_parts(tmp_path: Path) -> None:
    frames, cells = 640, 4096
    options = [
        *(f"solver.path={WAVES}", f"solver.num_cells={cells}", "storage.precision=float64"),
        *("samples.train=1", "samples.valid=1", "samples.test=1", "samples.test_extrapolation=0"),
        *("samples.calibration=0", f"output.steps={frames - 1}", "output.duration=2.0"),
    ]
    generate_in_process(tmp_path, *hydra_arguments(options))
    assert 8 * frames * cells < 2**27, "the residual compares all frames"
    # The residual needs several copies of the frames that it reads together.
    output = validated(tmp_path, 3 * LIMIT, *options)
    checks = {
        record["check"]
        for record in json.loads((tmp_path / "dataset/validation.json").read_text())["results"]
        if record["outcome"] == "passed"
    }
    assert {"residual", "steps", "budget", "resolution", "recomputed"} <= checks, output


def validated(run: Path, limit: int, *options: str) -> str:
    """Return the output of a validation that may allocate `limit` MiB."""
    command = ["-m", "tests.support.limited_memory", "validate", str(limit), f"run={run}", *options]
    result = launching.run([sys.executable, *command], timeout=300, cwd=Path(__file__).parents[3])
    assert result.returncode == 0, result.stderr
    return result.stdout
