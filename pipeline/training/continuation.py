"""A training that continues: a finished model to more steps, or not at all because its data set has grown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.training import checkpoint
from pipeline.training.learning_rate import learning_rate
from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from pipeline.config.settings import Training

#: The keys of an identity that follow from its other keys, from the data or from earlier commands.
_DERIVED_KEYS = ("continued_after", "data", "lineage", "failed_checks")


def requested_keys(identity: Mapping[str, object]) -> dict[str, object]:
    """Return the keys of an identity that a command line determines."""
    return {key: value for key, value in identity.items() if key not in _DERIVED_KEYS}


def continued_steps(saved: Mapping[str, Any], requested: Mapping[str, Any]) -> int | None:
    """Return `training.steps` of a saved model that `requested` raises, and changes nothing else; else None.

    A second-order method ends a training, so its model is not continued.
    """
    if not isinstance(saved.get("training"), dict):
        return None
    saved_training, training = dict(saved["training"]), dict(requested["training"])
    saved_steps, steps = saved_training.pop("steps", None), training.pop("steps")
    is_same = requested_keys({**saved, "training": saved_training}) == requested_keys(
        {**requested, "training": training}
    )
    has_finish = training["finish"]["method"] != "none"
    if not is_same or has_finish or not isinstance(saved_steps, int) or steps <= saved_steps:
        return None
    return saved_steps


def continued_after(folder: Path, saved: Mapping[str, Any]) -> list[int]:
    """Return the steps at which the configuration of a model changed, now at its newest checkpoint.

    Raises:
        UserError: the folder holds no checkpoint.
    """
    newest_path = checkpoint.newest_intact(folder / "checkpoints")
    if newest_path is None:
        raise UserError(
            f"{folder} holds no checkpoint. A training continues from the checkpoint of its last step. Type "
            f"model=NAME training.start_from={folder} to start another training from the weights alone"
        )
    return [*saved.get("continued_after", []), checkpoint.step_of(newest_path)]


def growth_message(folder: Path, saved: Mapping[str, Any], requested: Mapping[str, Any]) -> str:
    """Return the message that the data set of a model has grown; an empty text if it has not."""
    saved_data, data = saved.get("data"), requested["data"]
    if not saved_data or saved_data["shards"] != data["shards"]:
        return ""
    pairs = {
        split: (saved_data["trajectories"].get(split, 0), count)
        for split, count in data["trajectories"].items()
    }
    growth = [f"{old} -> {new} {split}" for split, (old, new) in pairs.items() if old < new]
    if not growth or any(old > new for old, new in pairs.values()):
        return ""
    return (
        f"{folder} was trained on fewer trajectories of this data set ({', '.join(growth)}). It stays a "
        f"model of the smaller data set. Type model=NAME training.start_from={folder} to train a new model "
        "from its weights, model=NAME to train from random weights, or overwrite=true to replace the model"
    )


def continuation_message(identity: Mapping[str, Any], training: Training) -> str:
    """Return the message about a continued training and its learning rate; an empty text for any other."""
    if not (history := identity.get("continued_after")):
        return ""
    rate = learning_rate(history[-1], training)
    return (
        f"the training continues after step {history[-1]} to step {training.steps}. The learning rate is "
        f"that of an uninterrupted training of {training.steps} steps: {rate:.3g} at first, then "
        f"training.schedule={training.schedule}"
    )
