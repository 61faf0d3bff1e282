"""The compiled forward: equal weights, and the plain forward after a failure or a different loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.parallel.ranks import Ranks
from pipeline.training.device import compile
from surrogates import store
from surrogates.fno import FNO
from tests.support import problems
from tests.support.launching import require_success, run_stage
from tests.support.trainings.training_cases import (
    are_identical,
    read_settings,
    tiny_arguments,
    train_together,
)

COMPILED_TRAINING = ("training.compile=true", "training.gradient_accumulation_steps=2")


def test_the_compiled_forward_trains_the_same_weights_and_resumes_exactly(
    dataset: Path, undisturbed_model: Path, tmp_path: Path
) -> None:
    """Compare two ranks and micro-batches with the plain forward on one rank."""
    stopped_arguments, uninterrupted_arguments = (
        tiny_arguments(tmp_path / name, dataset, *COMPILED_TRAINING) for name in ("stopped", "uninterrupted")
    )
    result = train_together(
        tmp_path / "runs.json", [stopped_arguments, stopped_arguments, uninterrupted_arguments], stops=[17]
    )
    assert "ignored" not in result.stdout
    folders = [tmp_path / name / "models" / "fno" for name in ("stopped", "uninterrupted")]
    assert are_identical(*folders)
    logs = [
        np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1)
        for folder in (folders[1], undisturbed_model)
    ]
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-3)


def test_the_plain_forward_trains_without_a_compiler(dataset: Path, tmp_path: Path) -> None:
    environment = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    arguments = tiny_arguments(tmp_path, dataset, "training.steps=4", "training.compile=true")
    output = require_success(run_stage("train", *arguments, **environment)).stdout
    assert output.count("training.compile=true is ignored: compiling fails: ") == 1


def test_a_compiled_forward_with_another_loss_is_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = problems.grid_problem((20,), ("periodic",))
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")

    class WrongForward(torch.nn.Module):
        """A forward whose losses are 1 % too large."""

        def __init__(self, surrogate: FNO, **options: object):
            super().__init__()
            self.surrogate = surrogate

        def forward(self, batch: object) -> dict[str, torch.Tensor]:
            return {name: 1.01 * loss for name, loss in self.surrogate(batch).items()}

    monkeypatch.setattr(torch, "compile", WrongForward)
    ranks = Ranks(0, 1, torch.device("cpu"), {"here": 1})
    forward = compile.compiled(surrogate, problems.batch(problem, 4), read_settings().training, ranks)
    assert forward is surrogate
    assert "its loss is off by 1.0e-02, more than 3.5e-04" in capsys.readouterr().out
    assert all(weight.grad is None for weight in surrogate.parameters())
