"""Public functions of the pipeline from MPI-parallel simulation to trained surrogates.

    surrogate = simsurrogate.load("runs/first")
    dataset = simsurrogate.open_dataset("runs/first")

Importing this package imports neither torch nor MPI. The functions import both on the first call.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from surrogates.contract import Surrogate

__all__ = ["load", "open_dataset"]


def load(
    path: str | Path,
    device: str = "cpu",
    *,
    surrogate_path: str | Path | None = None,
    shape: Sequence[int] | None = None,
) -> Surrogate:
    """Return the trained surrogate in a model folder, or the only model of a run folder.

    Args:
        path: a model folder RUN/models/MODEL, or a run folder RUN with exactly one model.
        device: the torch device of the surrogate, `cpu` or `cuda`.
        surrogate_path: the user's file that defines the class of the surrogate, if any. Loading executes this
            file.
        shape: the number of cells along each axis, to predict on another grid than that of the training data,
            with a surrogate that allows any grid.

    Raises:
        UserError: the model does not exist, the run has several models, or the model does not allow the grid.
    """
    folder = _model_folder(Path(path))
    file = None if surrogate_path is None else Path(surrogate_path)
    return cast(
        "Surrogate", importlib.import_module("surrogates").load(folder, device, path=file, shape=shape)
    )


def open_dataset(path: str | Path) -> Dataset:
    """Return the validated data set of a data set folder or of a run folder, read-only.

    Args:
        path: a data set folder with a manifest.json, or a run folder RUN with the data set RUN/dataset.

    Raises:
        UserError: the data set is missing, incomplete, changed or not validated.
    """
    folder = Path(path)
    if not (folder / "manifest.json").is_file() and (folder / "dataset").is_dir():
        folder /= "dataset"
    return cast("Dataset", importlib.import_module("pipeline.data.dataset").Dataset.open(folder))


def _model_folder(path: Path) -> Path:
    if (path / "model.json").is_file() or not (path / "models").is_dir():
        return path
    models = sorted(file.parent for file in path.glob("models/*/model.json"))
    if len(models) == 1:
        return models[0]
    if not models:
        raise UserError(
            f"{path} holds no trained model. A run holds models after its train stage. "
            f"Type python -m pipeline.train run={path}"
        )
    raise UserError(
        f"{path} holds {len(models)} models: {', '.join(folder.name for folder in models)}. One call loads "
        f'one model. Type simsurrogate.load("{models[0]}")'
    )
