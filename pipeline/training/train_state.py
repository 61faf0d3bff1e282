"""The state of a training run, and its conversion to and from checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch.optim.swa_utils import AveragedModel

from pipeline.config.settings import Training
from pipeline.training.checkpoint import Checkpoint
from pipeline.training.learning_rate import learning_rate
from pipeline.training.restorable import Metadata, refuse_impossible
from surrogates.contract import Surrogate


@dataclass
class TrainState:
    """Everything that changes during training; a checkpoint holds all of it.

    The state has no random generator: random numbers are seeded at every step.

    Attributes:
        surrogate: the model that is trained.
        optimiser: AdamW with its moments.
        ema: exponential moving average of the weights, with `training.ema`.
        step: optimiser steps done.
        damping: λ of Levenberg-Marquardt.
        loss_weights: weight of each loss, with `training.balance_every`; if empty, all weights are 1.
        loss_sum: sum of the losses of the steps since the last row, as a mean over ranks.
        pending_losses: losses of each rank that are not in `loss_sum` yet.
        skipped_steps: steps whose gradient was not finite.
        rows: rows of log.csv.
        best_error: smallest rollout error on the valid split.
        best_step: step of the smallest error.
        best_weights: weights of the smallest error.
    """

    surrogate: Surrogate
    optimiser: torch.optim.AdamW
    ema: AveragedModel | None = None
    step: int = 0
    damping: float = 1e-3
    loss_weights: dict[str, float] = field(default_factory=dict)
    loss_sum: float = 0.0
    pending_losses: list[float] = field(default_factory=list)
    skipped_steps: list[int] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    best_error: float = math.inf
    best_step: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def evaluated_model(self) -> Surrogate:
        """The model that is validated and saved, with averaged weights if training averages the weights."""
        return self.surrogate if self.ema is None else cast(Surrogate, self.ema.module)

    def count_step(self, norm: float) -> None:
        """Count a step, as skipped if the gradient norm is not finite."""
        self.step += 1
        if not math.isfinite(norm):
            self.skipped_steps.append(self.step)

    def add_validation(self, error: float, options: Training) -> None:
        """Add a row to the log, and keep the weights if their rollout error is the smallest so far."""
        last_row = self.rows[-1][0] if self.rows else 0
        num_steps = self.step - last_row - sum(step > last_row for step in self.skipped_steps)
        mean_loss = self.loss_sum / num_steps if num_steps else math.nan
        step_rate = learning_rate(self.step - 1, options) if self.step <= options.steps else 0.0
        row = [self.step, step_rate, mean_loss, error, len(self.skipped_steps)]
        weights = [self.loss_weights[name] for name in self.surrogate.losses if self.loss_weights]
        self.rows.append(row + weights)
        self.loss_sum = 0.0
        # No error is smaller than NaN, so weights whose rollouts diverge would stay the best forever.
        comparable_error = error if math.isfinite(error) else math.inf
        if comparable_error < self.best_error or not self.best_weights:
            self.best_error, self.best_step = comparable_error, self.step
            tensors = self.evaluated_model.state_dict()
            self.best_weights = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def to_checkpoint(self, configuration: Mapping[str, object]) -> Checkpoint:
        """Return a checkpoint of this state."""
        tensors = {f"weights.{name}": tensor for name, tensor in self.surrogate.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        optimiser_state = self.optimiser.state_dict()
        for parameter_index, moments in optimiser_state["state"].items():
            tensors |= {f"optimiser.{parameter_index}.{name}": tensor for name, tensor in moments.items()}
        if self.ema is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.ema.state_dict().items()}
        metadata: Metadata = {
            "damping": self.damping,
            "loss_weights": self.loss_weights,
            "loss_sum": self.loss_sum,
            "pending": self.pending_losses,
            "skipped": self.skipped_steps,
            "rows": self.rows,
            "best_error": self.best_error,
            "best_step": self.best_step,
            "without_moments": [
                index
                for index in optimiser_state["param_groups"][0]["params"]
                if index not in optimiser_state["state"]
            ],
        }
        return Checkpoint(self.step, configuration, metadata, tensors)

    def restore(self, checkpoint: Checkpoint, options: Training) -> None:
        """Replace this state by the state in a checkpoint of the same surrogate.

        Raises:
            UserError: the checkpoint holds a state that a training with these options cannot have.
        """
        refuse_impossible(checkpoint, self.surrogate, self.ema, options)
        self.surrogate.load_state_dict(_tensors_under("weights.", checkpoint.tensors))
        if self.ema is not None:
            self.ema.load_state_dict(_tensors_under("average.", checkpoint.tensors))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in _tensors_under("optimiser.", checkpoint.tensors).items():
            parameter_index, name = key.split(".")
            moments.setdefault(int(parameter_index), {})[name] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        metadata = cast(Metadata, checkpoint.metadata)
        self.step, self.damping = checkpoint.step, metadata["damping"]
        self.loss_weights = dict(metadata["loss_weights"])
        self.loss_sum, self.pending_losses = metadata["loss_sum"], metadata["pending"]
        self.skipped_steps, self.rows = list(metadata["skipped"]), list(metadata["rows"])
        self.best_error, self.best_step = metadata["best_error"], metadata["best_step"]
        self.best_weights = _tensors_under("best.", checkpoint.tensors)


def _tensors_under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with the prefix, by their names without the prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
