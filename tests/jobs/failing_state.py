"""A surrogate whose training fails once it has a checkpoint, as a file demands."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import Problem


class FailingState(AutoregressiveSurrogate):
    """A state times a factor. The file `failures`/MODEL holds the way to fail: kill, raise or always."""

    def __init__(self, problem: Problem, *, factor: float = 0.0, failures: str):
        super().__init__(problem)
        self.factor, self.failures = torch.nn.Parameter(torch.tensor(factor)), Path(failures)

    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        overrides = dict(argument.split("=", 1) for argument in sys.argv if "=" in argument)
        model, run = overrides.get("model", ""), overrides["run"].strip('"')
        failure = self.failures / model
        if torch.is_grad_enabled() and failure.is_file() and has_checkpoint(Path(run, "models", model)):
            way = failure.read_text()
            if way != "always":
                failure.unlink()
            if way == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("this training fails")
        return self.factor * inputs_BXI[..., : len(self.problem.spec.channels)]


def has_checkpoint(model_folder: Path) -> bool:
    return any((model_folder / "checkpoints").glob("*.safetensors"))
