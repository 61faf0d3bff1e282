"""The folder of a model: its preparation for a configuration, and its progress."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.training import checkpoint
from simsurrogate.errors import UserError
from simsurrogate.files import differences, writable_folder
from surrogates import store


def prepare(folder: Path, configuration: Mapping[str, object], overwrite: bool) -> bool:
    """Prepare the folder for a configuration, and return whether it holds the trained model already.

    Raises:
        UserError: the folder cannot be written, or it holds a model or checkpoints of another configuration
            and `overwrite` is false.
    """
    writable_folder(folder)
    saved: Mapping[str, object] | None
    try:
        saved = _saved_configuration(folder)
    except ValueError:
        if not overwrite:
            raise
        saved = {}
    if saved is not None and saved != configuration:
        if not overwrite:
            raise UserError(
                f"{folder} was trained with another configuration: "
                f"{'; '.join(differences(saved, dict(configuration)))} (there -> requested). A model folder "
                "holds one configuration. Choose another name with model=, or delete the model there with "
                "overwrite=true"
            )
        shutil.rmtree(folder)
        writable_folder(folder)
    return saved == configuration and store.is_whole(folder)


def steps_done(folder: Path, steps: int) -> int:
    """Return the optimiser steps of a model: `steps` if complete, else those of its newest checkpoint."""
    if store.is_whole(folder):
        return steps
    existing = checkpoint.paths(folder / "checkpoints")
    return checkpoint.step_of(existing[-1]) if existing else 0


def _saved_configuration(folder: Path) -> Mapping[str, object] | None:
    """Return the configuration of the model or the checkpoints in a folder, or None for an empty folder."""
    if store.is_whole(folder):
        return dict(store.description(folder).get("configuration", {}))
    newest = checkpoint.newest_good(folder / "checkpoints")
    if newest is not None:
        return checkpoint.load(newest).configuration
    # Members of an incomplete ensemble have the ensemble's configuration and their number.
    for member in store.member_folders(folder):
        saved = _saved_configuration(member)
        if saved is not None:
            return {key: value for key, value in saved.items() if key != "member"}
    return None
