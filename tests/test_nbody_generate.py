"""Trajectories of bodies that fail while a data set is made: left out with their reason, the rest goes on."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.data.manifest import Failure, complete_manifest
from tests.launching import stage, succeeded

COMMON = (
    "solver=nbody", "storage.precision=float64", "storage.max_failed_share=0.9",
    "samples={train: 6, valid: 1, test: 1, test_extrapolation: 0, per_shard: 6}",
)  # fmt: skip
#: Every rank moves all of a few bodies; more are gathered before each force.
CASES: dict[str, tuple[str, ...]] = {
    "few": ("output={duration: 2.0, steps: 20}", "solver.max_steps=1000"),
    "gathered": (
        "output={duration: 0.2, steps: 2}", "solver.dimension=3", "solver.system.kind=plummer",
        "solver.system.total_mass=1", "solver.system.num_bodies=24", "solver.max_steps=150",
    ),
}  # fmt: skip


def made(folder: Path, *options: str, ranks: int = 0) -> tuple[list[Failure], np.ndarray]:
    """What failed of a data set, and the positions and velocities that it holds."""
    succeeded(stage("generate", *COMMON, *options, f"run={folder}", ranks=ranks))
    states = []
    for path in sorted((folder / "dataset" / "data").glob("*/*.hdf5")):
        with h5py.File(path) as file:
            states.append(np.stack([file["t0_fields"][name][:] for name in ("x", "y", "velocity_x")]))
    return complete_manifest(folder / "dataset").failed, np.concatenate(states, axis=1)


@pytest.mark.parametrize("case", CASES)
def test_too_many_steps_fail_a_trajectory_on_every_rank_alike(case: str, tmp_path: Path) -> None:
    failed, states = made(tmp_path / "alone", *CASES[case])
    assert 0 < len(failed) < 8
    for failure in failed:
        assert failure.reason.startswith("more than max_steps=")
        assert "the smallest separation met is" in failure.reason
        assert failure.parameters
    on_ranks, shared = made(tmp_path / "ranks", *CASES[case], "group_size=2", ranks=2)
    assert on_ranks == failed
    assert np.max(np.abs(shared - states)) < 1e-9 * np.max(np.abs(states))
