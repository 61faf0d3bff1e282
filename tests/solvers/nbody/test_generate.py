"""Trajectories of bodies that fail while a data set is made: left out with their reason, the rest goes on."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from pipeline.data.manifest import Failure, complete_manifest
from tests.support.launching import stage, succeeded

OPTIONS = (
    "solver=nbody", "solver.dimension=3", "solver.max_steps=150", "solver.system.kind=plummer",
    "solver.system.total_mass=1", "solver.system.num_bodies=24", "output={duration: 0.2, steps: 2}",
    "samples={train: 6, valid: 1, test: 1, test_extrapolation: 0, per_shard: 6}",
    "storage.precision=float64", "storage.max_failed_share=0.9",
)  # fmt: skip


def made(folder: Path, *options: str, ranks: int = 0) -> tuple[list[Failure], np.ndarray]:
    """What failed of a data set, and the positions and velocities that it holds."""
    succeeded(stage("generate", *OPTIONS, *options, f"run={folder}", ranks=ranks))
    states = []
    for path in sorted((folder / "dataset" / "data").glob("*/*.hdf5")):
        with h5py.File(path) as file:
            states.append(np.stack([file["t0_fields"][name][:] for name in ("x", "y", "velocity_x")]))
    return complete_manifest(folder / "dataset").failed, np.concatenate(states, axis=1)


def test_too_many_steps_fail_a_trajectory_on_every_rank_alike(tmp_path: Path) -> None:
    failed, states = made(tmp_path / "alone")
    assert 0 < len(failed) < 8
    for failure in failed:
        assert failure.reason.startswith("more than max_steps=")
        assert "the smallest separation met is" in failure.reason
        assert failure.parameters
    on_ranks, shared = made(tmp_path / "ranks", "group_size=2", ranks=2)
    assert on_ranks == failed
    assert np.max(np.abs(shared - states)) < 1e-9 * np.max(np.abs(states))
