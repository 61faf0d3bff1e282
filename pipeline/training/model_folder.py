"""The folder of a model: its preparation for a configuration, and its progress."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.runs.folder import EVALUATION_FIGURE_NAME
from pipeline.training import checkpoint
from simsurrogate.errors import UserError
from simsurrogate.files import differences, writable_folder
from simsurrogate.owned_files import delete_files
from surrogates import store


def prepare(folder: Path, configuration: Mapping[str, object], overwrite: bool) -> bool:
    """Prepare the folder for a configuration, and return whether it holds the trained model already.

    Raises:
        UserError: the folder cannot be written, or it holds a model or checkpoints of another configuration
            and `overwrite` is false.
    """
    saved_configuration: Mapping[str, object] | None
    try:
        saved_configuration = _saved_configuration(folder)
    except ValueError:
        if not overwrite:
            raise
        saved_configuration = {}
    if saved_configuration is not None and saved_configuration != configuration:
        if not overwrite:
            changes = "; ".join(differences(saved_configuration, dict(configuration)))
            raise UserError(
                f"{folder} was trained with another configuration: {changes} (stored -> requested). A model "
                "folder holds one configuration. Choose another name with model=, or delete the stored model "
                "with overwrite=true"
            )
        _delete_model(folder)
    if saved_configuration == configuration and store.is_whole(folder):
        return True
    writable_folder(folder)
    return False


def steps_done(folder: Path, steps: int) -> int:
    """Return the optimiser steps of a model: `steps` if complete, else those of its newest checkpoint."""
    if store.is_whole(folder):
        return steps
    checkpoint_paths = checkpoint.paths(folder / "checkpoints")
    return min(steps, checkpoint.step_of(checkpoint_paths[-1])) if checkpoint_paths else 0


def _delete_model(folder: Path) -> None:
    """Delete the output of `train` and `evaluate` for a model. Files of the user are kept."""
    for member in store.member_folders(folder):
        _delete_model(member)
    evaluation = folder / "evaluation"
    delete_files(evaluation / "figures", EVALUATION_FIGURE_NAME)
    delete_files(evaluation, r"metrics\.json|report\.html")
    delete_files(folder / "tensorboard", r"events\.out\.tfevents\..+")
    delete_files(folder / "checkpoints", checkpoint.FILE_NAME)
    delete_files(folder, r"(log|timing)\.csv|curves\.png|model\.(json|safetensors)")


def _saved_configuration(folder: Path) -> Mapping[str, object] | None:
    """Return the configuration of the model or the checkpoints in a folder, or None for an empty folder."""
    if store.is_whole(folder):
        return dict(store.description(folder).get("configuration", {}))
    newest_path = checkpoint.newest_intact(folder / "checkpoints")
    if newest_path is not None:
        return checkpoint.load(newest_path).configuration
    # Members of an incomplete ensemble have the ensemble's configuration and their number.
    for member in store.member_folders(folder):
        member_configuration = _saved_configuration(member)
        if member_configuration is not None:
            return {key: value for key, value in member_configuration.items() if key != "member"}
    return None
