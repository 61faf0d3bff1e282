"""The compiled forward trains what the surrogate trains, and is left out where it cannot be had."""

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
from tests.support.launching import mpi, run, stage, succeeded
from tests.support.training_cases import TINY, made_dataset, read, same, trained

COMPILED = ("training.compile=true", "training.gradient_accumulation_steps=2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_dataset(tmp_path_factory.mktemp("data"))


def test_the_compiled_forward_trains_the_same_and_resumes_exactly(dataset: Path, tmp_path: Path) -> None:
    """On two ranks and in parts, beside one rank and the forward as it is."""
    arguments = [f"run={tmp_path / 'killed'}", f"dataset={dataset}", *TINY, *COMPILED]
    assert run(mpi(2, "-m", "tests.faults.train_killed", *arguments), KILL_AT_STEP="18").returncode != 0
    said = succeeded(stage("train", *arguments, ranks=2)).stdout
    assert "left out" not in said
    succeeded(stage("train", f"run={tmp_path / 'straight'}", *arguments[1:], ranks=2))
    killed, straight = (tmp_path / name / "models" / "fno" for name in ("killed", "straight"))
    assert same(killed, straight)
    eager = trained(tmp_path / "eager", dataset)
    logs = [np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1) for folder in (straight, eager)]
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-3)


def test_without_a_compiler_the_surrogate_trains_as_it_is(dataset: Path, tmp_path: Path) -> None:
    nowhere = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    arguments = (f"run={tmp_path}", f"dataset={dataset}", *TINY, "training.steps=4", "training.compile=true")
    said = succeeded(stage("train", *arguments, **nowhere)).stdout
    assert said.count("training.compile=true is left out: compiling fails: ") == 1


def test_a_forward_that_computes_something_else_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = problems.problem((20,), ("periodic",))
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")

    class Wrong(torch.nn.Module):
        def __init__(self, right: FNO, **options: object):
            super().__init__()
            self.right = right

        def forward(self, batch: object) -> dict[str, torch.Tensor]:
            return {name: 1.01 * loss for name, loss in self.right(batch).items()}

    monkeypatch.setattr(torch, "compile", Wrong)
    ranks = Ranks(0, 1, torch.device("cpu"), {"here": 1})
    taken = compile.compiled(surrogate, problems.batch(problem, 4), read().training, ranks)
    assert taken is surrogate
    assert "its loss is off by 1.0e-02, more than 3.5e-04" in capsys.readouterr().out
    assert all(weight.grad is None for weight in surrogate.parameters())
