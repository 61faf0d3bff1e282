"""Failed trajectories of a data set of bodies are left out and recorded with their reason."""

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


def generate(folder: Path, *options: str, ranks: int = 0) -> tuple[list[Failure], np.ndarray]:
    """Return the failures of a new data set, and its positions and velocities."""
    succeeded(stage("generate", *OPTIONS, *options, f"run={folder}", ranks=ranks))
    states = []
    for path in sorted((folder / "dataset" / "data").glob("*/*.hdf5")):
        with h5py.File(path) as file:
            states.append(np.stack([file["t1_fields"][name][:] for name in ("position", "velocity")]))
    return complete_manifest(folder / "dataset").failed, np.concatenate(states, axis=1)


def test_a_trajectory_with_too_many_steps_fails_equally_on_all_ranks(tmp_path: Path) -> None:
    failed, states = generate(tmp_path / "alone")
    assert 0 < len(failed) < 8
    for failure in failed:
        assert failure.reason.startswith("more than max_steps=")
        assert "the smallest separation is" in failure.reason
        assert failure.parameters
    on_ranks, shared = generate(tmp_path / "ranks", "group_size=2", ranks=2)
    assert on_ranks == failed
    assert np.max(np.abs(shared - states)) < 1e-9 * np.max(np.abs(states))
