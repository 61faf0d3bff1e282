"""The weights of a trained model as the initial weights of a training: `training.start_from`."""

from __future__ import annotations

from pathlib import Path

import torch

from simsurrogate.errors import UserError
from surrogates import store
from surrogates.contract import Surrogate


def checksum(folder: Path) -> str:
    """Return the checksum of the weights of a single model.

    Raises:
        UserError: the folder holds no trained model, or an ensemble.
    """
    content = store.description(folder)
    if "weights_sha256" not in content:
        raise UserError(
            f"training.start_from={folder} holds an ensemble. A training starts from a single model. Type "
            f"training.start_from={store.member_folder(folder, 0)}"
        )
    return str(content["weights_sha256"])


def lineage(folder: Path) -> list[dict[str, object]]:
    """Return the origin of the weights of a trained model, and of the models that it started from before it.

    Each entry has the checksum of the weights, the identity of their data set, the number of training
    trajectories, the seed, the steps and the error on the valid split.
    """
    content = store.description(folder)
    configuration = content.get("configuration", {})
    own_entry = {
        "weights_sha256": content.get("weights_sha256"),
        "dataset": configuration.get("dataset"),
        "trajectories": configuration.get("data", {}).get("trajectories", {}).get("train"),
        "seed": configuration.get("seed"),
        "steps": configuration.get("training", {}).get("steps"),
        "valid_error": content.get("valid_error"),
    }
    return [*configuration.get("lineage", []), own_entry]


def copy_weights(surrogate: Surrogate, name: str, folder: Path, path: Path | None) -> None:
    """Copy the weights of the model in a folder into a new surrogate.

    The constants of the new surrogate, such as the means and deviations of its data, stay.

    Args:
        surrogate: the new surrogate.
        name: the name of the new surrogate.
        folder: the folder of the trained model.
        path: the user's own file with the class of the surrogate, or None.

    Raises:
        UserError: the model cannot be read, or has other weights than the new surrogate.
    """
    content = store.description(folder)
    own_shapes = {key: tuple(weight.shape) for key, weight in surrogate.named_parameters()}
    if content["surrogate"] == name:
        weights = dict(store.load(folder, path=path).named_parameters())
        if {key: tuple(weight.shape) for key, weight in weights.items()} == own_shapes:
            with torch.no_grad():
                for key, weight in surrogate.named_parameters():
                    weight.copy_(weights[key])
            return
    options = ", ".join(f"{key}={value}" for key, value in content["options"].items())
    raise UserError(
        f"training.start_from={folder} holds a model {content['surrogate']} with other weights than this "
        f"model {name}. Both models need the same surrogate with the same options, for data of the same "
        f"fields. The options of the trained model are: {options}"
    )
