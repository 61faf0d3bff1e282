"""A trajectory does not depend on how many ranks share it."""

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
    too_far = {name: found for name, found in differences.items() if not max(found.values()) < 1e-12}
    assert not too_far


def test_a_nan_on_one_rank_ends_the_trajectory_on_all(report: Any) -> None:
    assert len(report["diverged"]) == 5
    assert all(report["diverged"].values())


def test_more_ranks_than_rows_are_refused_with_the_legal_counts(report: Any) -> None:
    assert report["too_many_ranks"] == (
        "4 ranks cannot share a grid of 3 rows along x: a rank needs at least one; use 1 to 3 ranks a group, "
        "or a finer resolution"
    )


def test_lines_of_alternating_directions_are_not_shared_among_ranks(report: Any) -> None:
    assert report["adi"] == (
        "scheme=adi solves along whole lines of cells and cannot share a box among 4 ranks; use scheme=rkl2, "
        "or groups of one rank"
    )
    assert "RKL2" in report["automatic"]
