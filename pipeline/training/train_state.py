"""What changes while training, and how a checkpoint holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel

from pipeline.training.checkpoint import Checkpoint
from surrogates.contract import Surrogate


@dataclass
class State:
    """What changes while training; a checkpoint holds all of it.

    `rows` are those of log.csv; `loss_sum` is that of the steps since the last row, as a mean over ranks,
    and `pending` each rank's own since `loss_sum` was last added to. `skipped` are the steps whose gradient
    was not finite. `average` follows the weights, with `training.ema`. `loss_weights` are those of the losses
    by name, with `training.balance_every`; empty, all are 1.
    There is no state of a random generator: it is seeded anew at every step.
    """

    surrogate: Surrogate
    optimiser: torch.optim.AdamW
    average: AveragedModel | None = None
    step: int = 0
    damping: float = 1e-3
    loss_weights: dict[str, float] = field(default_factory=dict)
    loss_sum: float = 0.0
    pending: list[float] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    best_error: float = math.inf
    best_step: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def judged(self) -> Surrogate:
        """What is validated and saved: the surrogate, with its averaged weights where they are kept."""
        return self.surrogate if self.average is None else cast(Surrogate, self.average.module)

    def to_checkpoint(self, configuration: Mapping[str, Any]) -> Checkpoint:
        """A checkpoint of this state."""
        tensors = {f"weights.{name}": tensor for name, tensor in self.surrogate.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in moments.items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        facts = {
            "damping": self.damping,
            "loss_weights": self.loss_weights,
            "loss_sum": self.loss_sum,
            "pending": self.pending,
            "skipped": self.skipped,
            "rows": self.rows,
            "best_error": self.best_error,
            "best_step": self.best_step,
        }
        return Checkpoint(self.step, configuration, facts, tensors)

    def restore(self, saved: Checkpoint) -> None:
        """Takes over the state of a checkpoint of the same surrogate."""
        self.surrogate.load_state_dict(_under("weights.", saved.tensors))
        if self.average is not None:
            self.average.load_state_dict(_under("average.", saved.tensors))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in _under("optimiser.", saved.tensors).items():
            number, name = key.split(".")
            moments.setdefault(int(number), {})[name] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.damping = saved.step, saved.facts["damping"]
        self.loss_weights = dict(saved.facts["loss_weights"])
        self.loss_sum, self.pending = saved.facts["loss_sum"], saved.facts["pending"]
        self.skipped, self.rows = list(saved.facts["skipped"]), list(saved.facts["rows"])
        self.best_error, self.best_step = saved.facts["best_error"], saved.facts["best_step"]
        self.best_weights = _under("best.", saved.tensors)


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
