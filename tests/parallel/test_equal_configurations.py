"""Ranks with different command lines: a stage refuses them before it writes data."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.launching import SMALL_DATASET, mpi_command, run
from tests.support.trainings.training_cases import TINY_TRAINING, generate_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("stage", ["generate", "train"])
@pytest.mark.fault(
    "ranks of {stage} have different configurations",
    cause="mpirun -n 1 A : -n 1 B",
    result="refused before work starts",
    lost="nothing",
)
def test_ranks_with_different_configurations_are_refused(stage: str, dataset: Path, tmp_path: Path) -> None:
    options = SMALL_DATASET if stage == "generate" else (f"dataset={dataset}", *TINY_TRAINING)
    arguments = ("-m", f"pipeline.{stage}", f"run={tmp_path}", *options)
    command = [*mpi_command(1, *arguments), ":", "-n", "1", sys.executable, *arguments, "seed=1"]
    result = run(command, timeout=60)
    assert result.returncode == 2, result.stderr
    assert (
        "the ranks have different configurations: seed: 0 -> 1; training.seed: 0 -> 1 (rank 0 -> rank 1)"
        in result.stderr
    )
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "dataset").exists()
    assert not (tmp_path / "models").exists()
