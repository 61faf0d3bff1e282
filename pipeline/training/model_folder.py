"""The folder of a model: its preparation for a configuration, and its progress."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pipeline.config.settings import Training
from pipeline.runs.folder import EVALUATION_FIGURE_NAME
from pipeline.training import checkpoint
from pipeline.training.continuation import continued_after, continued_steps, growth_message, requested_keys
from pipeline.training.task import TrainingIdentity
from simsurrogate.errors import UserError
from simsurrogate.files import differences, writable_folder
from simsurrogate.owned_files import delete_files
from surrogates import store


def prepare(folder: Path, configuration: TrainingIdentity, overwrite: bool) -> TrainingIdentity | None:
    """Prepare the folder for a configuration; return None if it holds the trained model already.

    The result is the configuration with the steps at which `training.steps` was raised, see
    `pipeline.training.continuation`.

    Raises:
        UserError: the folder cannot be written, or it holds a model or checkpoints of another configuration
            and `overwrite` is false.
    """
    requested = requested_keys(configuration)
    saved: Mapping[str, Any] | None
    try:
        if store.is_whole(folder) and requested_keys(_model_configuration(folder)) == requested:
            return None
        saved = _saved_configuration(folder)
    except ValueError:
        if not overwrite:
            raise
        saved = {}
    history = cast(list[int], saved.get("continued_after", [])) if saved else []
    if saved is not None and requested_keys(saved) != requested:
        if continued_steps(saved, configuration) and not overwrite:
            # An ensemble has no checkpoints. Its members continue one by one.
            is_ensemble = "ensemble" in configuration and "member" not in configuration
            history = [] if is_ensemble else continued_after(folder, saved)
        elif overwrite:
            _delete_model(folder)
            history = []
        else:
            raise UserError(_difference_message(folder, saved, configuration))
    writable_folder(folder)
    return {**configuration, "continued_after": history} if history else configuration


def refuse_model_of_smaller_data(folder: Path, configuration: TrainingIdentity) -> None:
    """Refuse a whole model of the data set before the growth that `configuration` has in its key `data`.

    Raises:
        UserError: the folder holds such a model.
    """
    if store.is_whole(folder) and (
        message := growth_message(folder, _model_configuration(folder), configuration)
    ):
        raise UserError(message)


def _difference_message(folder: Path, saved: Mapping[str, object], configuration: TrainingIdentity) -> str:
    """Return the message about a model of another configuration."""
    if saved.get("dataset") != configuration["dataset"] and (
        message := growth_message(folder, saved, configuration)
    ):
        return message
    changes = "; ".join(differences(requested_keys(saved), requested_keys(configuration)))
    return (
        f"{folder} was trained with another configuration: {changes} (stored -> requested). A model "
        "folder holds one configuration, and only its training.steps may grow. Choose another name with "
        "model=, or delete the stored model with overwrite=true"
    )


def steps_done(folder: Path, training: Training) -> int:
    """Return the optimiser steps of a model: all if it is complete, else those of its newest checkpoint."""
    if store.is_whole(folder) and _model_configuration(folder)["training"]["steps"] == training.steps:
        return training.total_steps
    checkpoint_paths = checkpoint.paths(folder / "checkpoints")
    return min(training.total_steps, checkpoint.step_of(checkpoint_paths[-1])) if checkpoint_paths else 0


def _delete_model(folder: Path) -> None:
    """Delete the output of `train` and `evaluate` for a model. Files of the user are kept."""
    for member in store.member_folders(folder):
        _delete_model(member)
    evaluation = folder / "evaluation"
    delete_files(evaluation / "figures", EVALUATION_FIGURE_NAME)
    delete_files(evaluation, r"metrics\.json|mlperf\.log|report\.html")
    delete_files(folder / "tensorboard", r"events\.out\.tfevents\..+")
    delete_files(folder / "checkpoints", checkpoint.FILE_NAME)
    names = r"(log|timing)\.csv|curves\.png|README\.md|(model|calibration)\.(json|safetensors)"
    delete_files(folder, names)


def _model_configuration(folder: Path) -> Mapping[str, Any]:
    """Return the configuration of a whole model."""
    return dict(store.description(folder).get("configuration", {}))


def _saved_configuration(folder: Path) -> Mapping[str, object] | None:
    """Return the configuration of the checkpoints or the model in a folder, or None for an empty folder.

    A model whose training continues has newer checkpoints.
    """
    newest_path = checkpoint.newest_intact(folder / "checkpoints")
    if newest_path is not None:
        return checkpoint.load(newest_path).configuration
    if store.is_whole(folder):
        return _model_configuration(folder)
    # Members of an incomplete ensemble have the ensemble's configuration and their number.
    for member in store.member_folders(folder):
        member_configuration = _saved_configuration(member)
        if member_configuration is not None:
            return {key: value for key, value in member_configuration.items() if key != "member"}
    return None
