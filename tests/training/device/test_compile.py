"""The compiled forward trains the same weights, and is not used if it fails or computes something else."""

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
from tests.support.launching import stage, succeeded
from tests.support.training_cases import are_identical, read, train_together, words

COMPILED = ("training.compile=true", "training.gradient_accumulation_steps=2")


def test_the_compiled_forward_trains_the_same_and_resumes_exactly(
    dataset: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """On two ranks and in micro-batches, compared with the plain forward on one rank."""
    stopped, straight = (words(tmp_path / name, dataset, *COMPILED) for name in ("stopped", "straight"))
    result = train_together(tmp_path / "runs.json", [stopped, stopped, straight], stops=[17])
    assert "ignored" not in result.stdout
    folders = [tmp_path / name / "models" / "fno" for name in ("stopped", "straight")]
    assert are_identical(*folders)
    logs = [np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1) for folder in (folders[1], undisturbed)]
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-3)


def test_the_plain_forward_trains_without_a_compiler(dataset: Path, tmp_path: Path) -> None:
    environment = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    arguments = words(tmp_path, dataset, "training.steps=4", "training.compile=true")
    output = succeeded(stage("train", *arguments, **environment)).stdout
    assert output.count("training.compile=true is ignored: compiling fails: ") == 1


def test_a_compiled_forward_with_another_loss_is_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = problems.problem((20,), ("periodic",))
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")

    class Wrong(torch.nn.Module):
        """A forward whose losses are 1 % too large."""

        def __init__(self, right: FNO, **options: object):
            super().__init__()
            self.right = right

        def forward(self, batch: object) -> dict[str, torch.Tensor]:
            return {name: 1.01 * loss for name, loss in self.right(batch).items()}

    monkeypatch.setattr(torch, "compile", Wrong)
    ranks = Ranks(0, 1, torch.device("cpu"), {"here": 1})
    forward = compile.compiled(surrogate, problems.batch(problem, 4), read().training, ranks)
    assert forward is surrogate
    assert "its loss is off by 1.0e-02, more than 3.5e-04" in capsys.readouterr().out
    assert all(weight.grad is None for weight in surrogate.parameters())
