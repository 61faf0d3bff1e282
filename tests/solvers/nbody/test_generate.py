"""Failed trajectories of bodies: the data set omits them and records their reasons."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from pipeline.data.manifest import Failure, read_complete_manifest
from tests.support.in_process import generate_in_process
from tests.support.launching import require_success, run_stage

OPTIONS = (
    "solver=nbody", "solver.dimension=3", "solver.max_steps=150", "solver.system.kind=plummer",
    "solver.system.total_mass=1", "solver.system.num_bodies=24", "output={duration: 0.2, steps: 2}",
    "samples={train: 6, valid: 1, test: 1, test_extrapolation: 0, per_shard: 6}",
    "storage.precision=float64", "storage.max_failed_share=0.9",
)  # fmt: skip


def failures_and_states(dataset: Path) -> tuple[list[Failure], np.ndarray]:
    """Return the failures, and the positions and velocities, of a data set."""
    states = []
    for path in sorted((dataset / "data").glob("*/*.hdf5")):
        with h5py.File(path) as file:
            states.append(np.stack([file["t1_fields"][name][:] for name in ("position", "velocity")]))
    return read_complete_manifest(dataset).failed, np.concatenate(states, axis=1)


def test_a_trajectory_with_too_many_steps_fails_equally_on_all_ranks(tmp_path: Path) -> None:
    failures, states = failures_and_states(generate_in_process(tmp_path / "alone", *OPTIONS))
    assert 0 < len(failures) < 8
    for failure in failures:
        assert failure.reason.startswith("more than solver.max_steps=")
        assert "the smallest separation is" in failure.reason
        assert failure.parameters
    run = tmp_path / "ranks"
    require_success(run_stage("generate", *OPTIONS, "group_size=2", f"run={run}", ranks=2))
    failures_of_two_ranks, states_of_two_ranks = failures_and_states(run / "dataset")
    assert failures_of_two_ranks == failures
    assert np.max(np.abs(states_of_two_ranks - states)) < 1e-9 * np.max(np.abs(states))
