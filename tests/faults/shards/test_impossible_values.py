"""Shards with finite values that the seed, the solver or another split contradicts; all documents agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.faults.driving import forge, run_drift_in_process
from tests.faults.test_validate import failure_of

VICTIM = "data/test/test-00000.hdf5"
FIELDS = ("t0_fields/density", "t1_fields/velocity")


def changing(names: tuple[str, ...], change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Return the change of the values of some datasets as a change of a shard."""

    def change_shard(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            for name in names:
                file[name][...] = change(file[name][...])

    return change_shard


def huge_cell(values: np.ndarray) -> np.ndarray:
    values[1, 2, 5] = 3e38
    return values


def negative_row(values: np.ndarray) -> np.ndarray:
    values[1] = -5
    return values


@pytest.mark.fault(
    "a shard has impossible values",
    cause="fields that are zero, exchanged, reversed in time or negative, with a correct checksum",
    result="validate names trajectory and value",
    lost="nothing",
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changing(FIELDS, np.zeros_like), "trajectory 2199023255552: density at 0 s differs by"),
        (changing(("t0_fields/background",), negative_row), "553: background at 0 s differs by"),
        (
            changing(FIELDS, lambda values: values[::-1]),
            "trajectory 2199023255552: density at 0 s differs",
        ),
        (changing(("scalars/speed",), lambda values: values[::-1]), "552: speed differs by"),
        (changing(("parameters/phases",), lambda values: values[::-1]), "552: phases differs by"),
        (changing(FIELDS, lambda values: values[:, ::-1]), "552: density at 0 s differs by"),
        (changing(("scalars/mass",), lambda values: 2 * values), "552: mass at 0"),
    ],
    ids=[
        *("zero", "negative coefficient", "exchanged fields", "exchanged scalars", "exchanged arrays"),
        *("reversed time", "invariants"),
    ],
)
def test_values_that_the_seed_or_the_solver_contradicts_are_refused(
    change: Callable[[Path], None], message: str, run_copy: Path
) -> None:
    forge(run_copy, change, VICTIM)
    failure = failure_of("validate", run_copy)
    assert f"{VICTIM}: redrawn: trajectory " in failure
    assert message in failure


def test_a_value_far_from_all_others_is_refused(run_copy: Path) -> None:
    forge(run_copy, changing(FIELDS[:1], huge_cell), VICTIM)
    assert (
        f"{VICTIM}: isolated_values: t0_fields/density reaches 3e+38 in frame 2 of row 1, and "
        in failure_of("validate", run_copy)
    )


def test_a_training_trajectory_in_the_test_split_is_refused(run_copy: Path) -> None:
    def copy_row(path: Path) -> None:
        with (
            h5py.File(path, "r+") as file,
            h5py.File(run_copy / "dataset/data/train/train-00001.hdf5") as train,
        ):
            for name in FIELDS:
                file[name][1] = train[name][0]

    forge(run_copy, copy_row, VICTIM)
    assert (
        "equal_rows: trajectory 1 of test equals trajectory 2 of train in its first, middle and last frame"
        in failure_of("validate", run_copy)
    )


def test_equal_trajectories_by_fixed_options_are_refused(tmp_path: Path) -> None:
    options = (
        "solver=nbody",
        "solver.system.kind=figure_eight",
        "solver.system.perturbation=[0,0]",
        "samples.test_extrapolation=0",
    )
    run_drift_in_process("generate", tmp_path, *options)
    assert "equal_rows: " in failure_of("validate", tmp_path, *options)
