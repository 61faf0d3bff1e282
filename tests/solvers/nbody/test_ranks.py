"""A trajectory of bodies does not depend on how many ranks share it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.launching import mpi, run, succeeded

RANKS = 4


@pytest.fixture(scope="module")
def report() -> Any:
    command = mpi(RANKS, "-m", "tests.support.nbody_on_ranks")
    return json.loads(succeeded(run(command, cwd=Path(__file__).parents[3])).stdout)


def test_one_to_four_ranks_agree_to_round_off(report: Any) -> None:
    differences = report["differences"]
    assert len(differences) == 3 * (2 + 3 + 3)
    too_far = {name: found for name, found in differences.items() if not max(found.values()) < 1e-12}
    assert not too_far


def test_many_bodies_go_round_a_ring_and_few_are_gathered(report: Any) -> None:
    assert {name for name, ring in report["rings"].items() if ring} == {
        name for name in report["rings"] if name.startswith("ring")
    }


def test_a_nan_on_one_rank_ends_the_trajectory_on_all(report: Any) -> None:
    assert len(report["diverged"]) == 6
    assert all(report["diverged"].values())


def test_an_encounter_within_a_frame_is_counted(report: Any) -> None:
    for alone, shared in report["flights"].values():
        assert alone[0] == 1
        assert alone[1] > 1
        assert shared == pytest.approx(alone, rel=1e-9)


def test_too_many_steps_end_the_trajectory_on_all_ranks_with_one_reason(report: Any) -> None:
    for (alone,), shared in report["reasons"].values():
        assert alone.startswith(
            "more than max_steps=5 steps before time 10 s; the smallest separation met is"
        )
        assert shared == [alone] * RANKS


def test_more_ranks_than_bodies_are_refused_with_the_legal_counts(report: Any) -> None:
    assert report["too_many_ranks"] == (
        "4 ranks cannot share 3 bodies: a rank needs at least one; use 1 to 3 ranks a group, or more bodies"
    )
