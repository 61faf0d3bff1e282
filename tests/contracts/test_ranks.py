"""Independence of every solver's trajectories of the number of ranks that share a trajectory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from solvers.contract import solver_names
from tests.support import rank_cases
from tests.support.launching import forked_mpi_command, require_success, run

RANKS = 4
#: The tolerated relative differences: the default, and exceptions by solver.
TOLERANCE = 1e-12
TOLERANCES = {"navier_stokes": 1e-11}
DETECT_NAN = {"heat", "navier_stokes", "nbody"}


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Any:
    """Start the ranks once, for the solvers of the selected tests of this module."""
    selected_items = [item for item in request.session.items if item.path == request.path]
    names = {item.callspec.params["name"] for item in selected_items if hasattr(item, "callspec")}
    names |= {"heat", "nbody"} if any(not hasattr(item, "callspec") for item in selected_items) else set()
    command = forked_mpi_command(RANKS, "-m", "mpi4py", "-m", "tests.support.solve_on_ranks", *sorted(names))
    return json.loads(require_success(run(command, timeout=600, cwd=Path(__file__).parents[2])).stdout)


@pytest.mark.parametrize("name", solver_names())
def test_one_to_four_ranks_agree_to_round_off(report: Any, name: str) -> None:
    results = report["shared"][name]
    assert len(results) == len(rank_cases.shared_cases(name)) * (RANKS - 1)
    accepted_results = {case: result for case, result in results.items() if "refused" not in result}
    tolerance = TOLERANCES.get(name, TOLERANCE)
    large_differences = {
        case: result["differences"]
        for case, result in accepted_results.items()
        if not max(result["differences"].values()) < tolerance
    }
    assert not large_differences
    assert all(result["counts_equal"] for result in accepted_results.values())
    refused_cases = {case for case, result in results.items() if "refused" in result}
    # Three bodies cannot be shared by four ranks.
    assert refused_cases == {
        case for case in results if name == "nbody" and case.startswith("few") and "on 4" in case
    }


@pytest.mark.parametrize("name", solver_names())
def test_nan_on_one_rank_ends_the_trajectory_on_all_ranks(report: Any, name: str) -> None:
    # All ranks raise the error. A solver that does not detect NaN raises the error on no rank.
    counts = set(report["diverging_ranks"][name].values())
    assert counts in ([{RANKS}] if name in DETECT_NAN else [{RANKS}, {0}])


def test_many_bodies_use_the_ring_and_fewer_bodies_are_gathered(report: Any) -> None:
    results = {case: result for case, result in report["shared"]["nbody"].items() if "method" in result}
    ring_cases = {case for case, result in results.items() if result["method"].endswith("in a ring")}
    assert ring_cases == {case for case in results if case.startswith("ring")}


def test_a_close_encounter_within_a_frame_is_counted(report: Any) -> None:
    for results_of_one_rank, results_of_four_ranks in report["nbody"]["flights"].values():
        assert results_of_one_rank[0] == 1
        assert results_of_one_rank[1] > 1
        assert results_of_four_ranks == pytest.approx(results_of_one_rank, rel=1e-9)


def test_too_many_steps_end_the_trajectory_on_all_ranks_with_one_reason(report: Any) -> None:
    for (reason,), reasons in report["nbody"]["too_many_steps"].values():
        assert reason.startswith("more than solver.max_steps=5 steps are needed up to 10 s; the smallest")
        assert reasons == [reason] * RANKS


def test_more_ranks_than_sites_are_refused(report: Any) -> None:
    assert "4 ranks cannot share a grid of 3 rows along x" in report["heat"]["few rows"]
    assert report["nbody"]["few bodies"] == (
        "4 ranks cannot share 3 bodies. Each rank needs at least one body. Type group_size=3 or less, or "
        "choose a system of more bodies"
    )


def test_adi_on_several_ranks_is_refused(report: Any) -> None:
    assert "solver.scheme=adi cannot run on 4 ranks" in report["heat"]["adi"]
    assert "RKL2" in report["heat"]["automatic"]
