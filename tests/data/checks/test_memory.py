"""Validate reads a data set ten times larger than the memory that it may allocate."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import numpy as np

from pipeline import adopt
from pipeline.data.card import figures
from tests.support import launching
from tests.support.in_process import settings_of

LIMIT = 24  # MiB
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
    command = ["-m", "tests.support.limited_memory", "validate", str(LIMIT), f"run={run}"]
    result = launching.run([sys.executable, *command], timeout=300, cwd=Path(__file__).parents[3])
    assert result.returncode == 0, result.stderr
    assert "passed" in result.stdout
