"""Faults of a writer in otherwise clean data: each is found by the name of its check, and clean data pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.checks.adopted import (
    CELLS,
    NUM_TRAIN,
    NUM_TRAJECTORIES,
    STEP,
    failed,
    temperatures,
    validation_of,
    warned,
)

#: A fault changes the states (N, T, X) of the array in place.
Fault = Callable[[np.ndarray], None]


def millikelvin_in_two_shards(states: np.ndarray) -> None:
    states[8:24] *= 1000


def celsius_in_one_shard(states: np.ndarray) -> None:
    states[16:24] -= 273.15


def celsius_in_the_test_split(states: np.ndarray) -> None:
    states[40:48] -= 273.15


def repeated_last_frame(states: np.ndarray) -> None:
    states[10:13, 5:] = states[10:13, 4:5]


def zeros_at_the_end(states: np.ndarray) -> None:
    states[36, 6:] = 0


def frame_twice(states: np.ndarray) -> None:
    states[28, 4] = states[28, 3]


def no_fault(states: np.ndarray) -> None:
    """Change nothing: the statistics of an overflow have no digits of the other values."""


def saturated(states: np.ndarray) -> None:
    states[12:14, :, 3] = np.finfo(np.float32).max


@pytest.mark.parametrize(
    "faults",
    [
        {
            millikelvin_in_two_shards: (
                "unlike_shards",
                r"train-00001, train-00002.*10\^3, as between units",
            ),
            frame_twice: ("repeated_frames", r"trajectory 28 of train repeats its frame at 0\.3 s at 0\.4 s"),
        },
        {
            celsius_in_one_shard: ("unlike_shards", r"train-00002.*degrees Celsius and kelvin"),
            repeated_last_frame: (
                "truncated_times",
                r"trajectory 10 of train changes until 0\.4 s.*: 3 of 48\)",
            ),
        },
        {
            celsius_in_the_test_split: ("unlike_shards", r"test-00000.*degrees Celsius and kelvin"),
            zeros_at_the_end: ("truncated_times", r"trajectory 4 of valid changes until 0\.6 s"),
        },
        {
            saturated: ("float32_range", r"t0_fields/u reaches 3\.4028235e\+38 in frame 0 of row 4"),
            no_fault: ("variation", "no field changes from frame to frame in float32"),
        },
    ],
    ids=["prefix and repeated frame", "Celsius in a shard", "Celsius in a split", "overflow"],
)
@pytest.mark.fault(
    "a writer has a fault in some shards",
    cause="another unit, a time axis that ends early, a repeated frame, an overflow",
    result="validate names the check and the trajectory",
    lost="nothing",
)
def test_planted_faults_are_found_by_name(faults: dict[Fault, tuple[str, str]], tmp_path: Path) -> None:
    states, diffusivity = temperatures()
    for fault in faults:
        fault(states)
    records = validation_of(tmp_path, states, diffusivity)
    assert failed(records) == sorted(check for check, _ in faults.values())
    for check, message in faults.values():
        assert re.search(message, records[check].message), records[check].message


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_test_trajectory_inside_a_training_trajectory_is_found(noise: float, tmp_path: Path) -> None:
    states, diffusivity = temperatures(frames=12)
    whole, states = states, states[:, :8].copy()
    # The training trajectory goes on where the test trajectory is cut from the same solution.
    states[43] = whole[5, 3:11]
    states[43] += noise * np.random.default_rng(0).normal(size=states[43].shape)
    diffusivity[43] = diffusivity[5]
    records = validation_of(tmp_path, states, diffusivity)
    assert failed(records) == ["overlapping_windows"]
    relation = "nearly equals" if noise else "equals"
    assert records["overlapping_windows"].message.startswith(
        f"trajectory 3 of test starts inside trajectory 5 of train: its first window {relation} the window "
        "there 3 frames later"
    )


def test_an_overlap_in_one_split_is_a_warning(tmp_path: Path) -> None:
    states, diffusivity = temperatures(frames=12)
    whole, states = states, states[:, :8].copy()
    states[9] = whole[5, 2:10]
    records = validation_of(tmp_path, states, diffusivity)
    assert failed(records) == []
    assert warned(records) == ["overlapping_windows"]
    assert "(overlaps in one split: " in records["overlapping_windows"].message


@pytest.mark.parametrize(("noise", "check"), [(0.0, "equal_rows"), (1e-3, "near_rows")])
def test_a_repeated_trajectory_is_found(noise: float, check: str, tmp_path: Path) -> None:
    states, diffusivity = temperatures()
    states[NUM_TRAIN + 9] = states[3] + noise * np.random.default_rng(0).normal(size=states[3].shape)
    records = validation_of(tmp_path, states, diffusivity)
    assert failed(records) == [check]
    assert records[check].numbers["pairs_across_splits"] == 1


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_a_repeated_initial_state_is_a_warning(noise: float, tmp_path: Path) -> None:
    states, diffusivity = temperatures()
    # The other diffusivity gives another trajectory from the same initial state.
    points = states[3, 0] - 300
    for frame in range(8):
        states[45, frame] = 300 + points * np.exp(-STEP * frame)
    states[45, 0] += noise * np.random.default_rng(0).normal(size=len(points))
    records = validation_of(tmp_path, states, diffusivity)
    assert failed(records) == []
    assert warned(records) == ["initial_states"]
    assert "trajectory 5 of test" in records["initial_states"].message
    assert "trajectory 3 of train" in records["initial_states"].message


def test_a_constant_field_and_a_repeated_medium_are_warnings(tmp_path: Path) -> None:
    states, diffusivity = temperatures()
    states[11] = 300
    media = np.random.default_rng(0).normal(size=(NUM_TRAJECTORIES, CELLS)).astype(np.float32)
    media[45] = media[3]
    records = validation_of(tmp_path, states, diffusivity, media)
    assert failed(records) == []
    assert warned(records) == ["coefficient_fields", "constant_fields"]
    assert records["constant_fields"].message.startswith("u is constant in trajectory 11 of train")
    assert records["coefficient_fields"].message.startswith(
        "trajectory 5 of test has the coefficient field of trajectory 3 of train"
    )


def test_a_trajectory_far_from_all_others_is_a_warning(tmp_path: Path) -> None:
    states, diffusivity = temperatures()
    states[11] = 300 + 1000 * (states[11] - 300)
    records = validation_of(tmp_path, states, diffusivity)
    assert failed(records) == []
    assert "outliers" in warned(records)
    assert "in trajectory 11 of train" in records["outliers"].message


def test_data_that_are_sorted_by_a_parameter_are_a_warning(tmp_path: Path) -> None:
    states, diffusivity = temperatures()
    order = np.argsort(diffusivity)
    diffusivity = diffusivity[order]
    # The training split has the values in the lower part of the range alone.
    diffusivity[:NUM_TRAIN] = 0.005 + 0.5 * (diffusivity[:NUM_TRAIN] - 0.005)
    records = validation_of(tmp_path, states[order], diffusivity)
    assert {"alike_splits", "parameter_box"} <= {*warned(records)}
    assert "no training value of nu lies between 0.006" in records["parameter_box"].message
    assert "nu has another distribution in" in records["alike_splits"].message
    assert failed(records) == []


def test_clean_data_pass_and_inapplicable_checks_say_why(tmp_path: Path) -> None:
    records = validation_of(tmp_path, *temperatures())
    assert failed(records) == []
    assert warned(records) == []
    reasons = {name: item.message for name, item in records.items() if item.outcome == "not applicable"}
    without_solver = reasons.pop("recomputed")
    assert "adopted from files without a solver" in without_solver
    assert {name for name, reason in reasons.items() if reason == without_solver} == {
        *("solver", "draws", "redrawn", "residual", "steps", "budget", "self_stated_error"),
    }
    assert {name: reason for name, reason in reasons.items() if reason != without_solver} == {
        "coefficient_fields": "the data have no coefficient fields",
        "extrapolation": "there is no split test_extrapolation",
        "conserved_means": "no field has a constant mean over the box",
        "divergence": "no field is free of divergence",
        "boundary_values": "no axis has walls",
    }
    assert records["overlapping_windows"].numbers["first_windows"] == 48
    assert records["parameter_box"].numbers["discrepancy"] < 0.2
