"""Heat trajectories are independent of the number of ranks that share them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.launching import mpi, run, succeeded

RANKS = 4


@pytest.fixture(scope="module")
def report() -> Any:
    command = mpi(RANKS, "-m", "tests.support.heat_on_ranks")
    return json.loads(succeeded(run(command, cwd=Path(__file__).parents[3])).stdout)


def test_one_to_four_ranks_agree_to_round_off(report: Any) -> None:
    differences = report["differences"]
    assert len(differences) == 5 * 5 * (RANKS - 1)
    too_large = {name: errors for name, errors in differences.items() if not max(errors.values()) < 1e-12}
    assert not too_large


def test_nan_on_one_rank_ends_the_trajectory_on_all_ranks(report: Any) -> None:
    assert len(report["diverged"]) == 5
    assert all(report["diverged"].values())


def test_more_ranks_than_rows_are_refused(report: Any) -> None:
    assert report["too_many_ranks"] == (
        "4 ranks cannot share a grid of 3 rows along x. Each rank needs at least one row. Choose "
        "group_size=3 or less, or a finer solver.resolution"
    )


def test_adi_on_several_ranks_is_refused(report: Any) -> None:
    assert report["adi"] == (
        "solver.scheme=adi cannot share a box among 4 ranks: it solves along whole lines of cells. Several "
        "ranks need another scheme. Type solver.scheme=rkl2 or group_size=1"
    )
    assert "RKL2" in report["automatic"]
