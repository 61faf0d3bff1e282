"""The check that a checkpoint holds a possible state of a training run, before the run continues from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, NotRequired

import torch
from pydantic import Field
from torch.optim.swa_utils import AveragedModel
from typing_extensions import TypedDict  # pydantic reads it

from pipeline.config.settings import Training
from pipeline.training.checkpoint import Checkpoint
from simsurrogate.documents import typed
from simsurrogate.errors import UserError
from surrogates.contract import Surrogate

_REMEDY = "Delete the checkpoint, or train from the beginning with overwrite=true"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_Step = Annotated[int, Field(ge=0)]


class Metadata(TypedDict):
    """The plain data of a training state in a checkpoint.

    `without_moments` lists the parameters for which the optimiser has no state, because the loss does not
    depend on them or no step was taken.
    """

    damping: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    loss_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    loss_sum: float
    pending: list[float]
    skipped: list[_Step]
    rows: list[Annotated[list[float], Field(min_length=5)]]
    best_error: Annotated[float, Field(ge=0)]
    best_step: _Step
    without_moments: NotRequired[list[_Step]]


def refuse_impossible(
    checkpoint: Checkpoint, surrogate: Surrogate, ema: AveragedModel | None, options: Training
) -> None:
    """Refuse a checkpoint whose numbers or tensors no training of this surrogate can have.

    Raises:
        UserError: a number has a wrong type or is out of range, or a tensor is missing or has another shape.
    """
    name = f"the checkpoint of step {checkpoint.step}"
    typed(dict(checkpoint.metadata), Metadata, name, _REMEDY)
    for mistake in (
        *_wrong_numbers(checkpoint, options),
        *_wrong_tensors(checkpoint, surrogate, ema, options.steps),
    ):
        raise UserError(f"{name} {mistake}. {_REMEDY}")


def _wrong_numbers(checkpoint: Checkpoint, options: Training) -> Iterator[str]:
    step, metadata = checkpoint.step, checkpoint.metadata
    if not 0 <= step <= options.total_steps:
        yield f"is outside the {options.total_steps} steps of this training"
    skipped, rows = _list(metadata["skipped"]), _list(metadata["rows"])
    for key, steps in (("skipped steps", skipped), ("rows of steps", [row[0] for row in rows])):
        if steps != sorted(set(steps)) or any(not 0 < other <= step for other in steps):
            yield f"has {key} that are not increasing numbers from 1 to {step}"
    best_step = metadata["best_step"]
    if best_step not in [0, *(row[0] for row in rows)]:
        yield f"has its smallest error at step {best_step}, which was not validated"


def _list(value: object) -> list:
    assert isinstance(value, list)
    return value


def _wrong_tensors(
    checkpoint: Checkpoint, surrogate: Surrogate, ema: AveragedModel | None, adam_steps: int
) -> Iterator[str]:
    expected = {f"weights.{name}": tensor for name, tensor in surrogate.state_dict().items()}
    if ema is not None:
        expected |= {f"average.{name}": tensor for name, tensor in ema.state_dict().items()}
    if checkpoint.metadata["rows"]:
        expected |= {f"best.{name}": tensor for name, tensor in surrogate.state_dict().items()}
    expected |= _moments(checkpoint, surrogate, adam_steps)
    if names := sorted(set(expected) ^ set(checkpoint.tensors)):
        relation = "lacks" if names[0] in expected else "has the unknown tensor"
        yield f"{relation} {names[0]}"
        return
    for name, tensor in expected.items():
        found = checkpoint.tensors[name]
        if found.shape != tensor.shape:
            yield f"has {name} of shape {tuple(found.shape)}, {tuple(tensor.shape)} expected"


def _moments(checkpoint: Checkpoint, surrogate: Surrogate, adam_steps: int) -> Mapping[str, torch.Tensor]:
    """Return the tensors of the optimiser's state by name, with the shapes that they have."""
    absent = _list(checkpoint.metadata.get("without_moments", []))
    parameters = dict(enumerate(surrogate.parameters()))
    skipped = [step for step in _list(checkpoint.metadata["skipped"]) if step <= adam_steps]
    was_optimised = len(skipped) < min(checkpoint.step, adam_steps)
    if not was_optimised:
        absent = list(parameters)
    elif set(absent) >= set(parameters):
        absent = []
    return {
        f"optimiser.{index}.{name}": parameter.new_empty(()) if name == "step" else parameter
        for index, parameter in parameters.items()
        if index not in absent
        for name in _MOMENTS
    }
