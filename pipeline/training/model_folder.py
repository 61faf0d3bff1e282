"""The folder of a model: made ready for a configuration, and how far the training in it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.training import checkpoint
from simsurrogate.errors import UserError
from simsurrogate.files import differences, writable_folder
from surrogates import store


def prepare(folder: Path, configuration: Mapping[str, Any], start_anew: bool) -> bool:
    """Makes the folder ready for this configuration; True where its model is there already.

    Raises:
        UserError: the folder cannot be written, or holds a model or checkpoints of another configuration
            and `start_anew` does not allow to delete them.
    """
    writable_folder(folder)
    try:
        found = _found_configuration(folder)
    except ValueError:
        if not start_anew:
            raise
        found = {}
    if found is not None and found != configuration:
        if not start_anew:
            raise UserError(
                f"{folder} was trained with another configuration: "
                f"{'; '.join(differences(found, dict(configuration)))} (there -> requested). Choose another "
                "name with model=, or delete the model there with start_anew=true"
            )
        shutil.rmtree(folder)
        writable_folder(folder)
    return found == configuration and store.is_whole(folder)


def steps_done(folder: Path, steps: int) -> int:
    """The optimiser steps that a model has behind it: all of `steps`, or those of its newest checkpoint."""
    if store.is_whole(folder):
        return steps
    found = checkpoint.paths(folder / "checkpoints")
    return checkpoint.step_of(found[-1]) if found else 0


def _found_configuration(folder: Path) -> Mapping[str, Any] | None:
    """The configuration whose model or checkpoints are in a folder; None where there are none."""
    if store.is_whole(folder):
        return dict(store.description(folder).get("configuration", {}))
    newest = checkpoint.newest_good(folder / "checkpoints")
    if newest is not None:
        return checkpoint.load(newest).configuration
    # Members of an ensemble that is not complete have its configuration beside their number.
    for member in store.member_folders(folder):
        found = _found_configuration(member)
        if found is not None:
            return {key: value for key, value in found.items() if key != "member"}
    return None
