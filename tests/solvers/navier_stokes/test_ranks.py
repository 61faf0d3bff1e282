"""A flow is the same on every number of ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.launching import mpi, run, succeeded
from tests.support.navier_stokes_on_ranks import CASES

RANKS = 4


@pytest.fixture(scope="module")
def report() -> Any:
    command = mpi(RANKS, "-m", "mpi4py", "-m", "tests.support.navier_stokes_on_ranks")
    return json.loads(succeeded(run(command, cwd=Path(__file__).parents[3])).stdout)


def test_one_to_four_ranks_agree_to_round_off(report: Any) -> None:
    differences = report["differences"]
    assert len(differences) == len(CASES) * (RANKS - 1)
    too_large = {name: values for name, values in differences.items() if not max(values.values()) < 1e-11}
    assert not too_large


def test_all_ranks_take_the_same_steps(report: Any) -> None:
    assert {values["counts"] for values in report["differences"].values()} == {0.0}


def test_a_nan_on_one_rank_ends_the_trajectory_on_all(report: Any) -> None:
    assert report["diverged"] is True
