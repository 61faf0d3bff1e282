"""The checks of a trained model before its evaluation: its description, and its agreement with its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic reads it

import surrogates
from pipeline.config import overrides
from pipeline.config.build import user_file
from pipeline.config.settings import Settings
from pipeline.data.dataset import Dataset
from pipeline.data.quantity_data import QuantityDataset
from pipeline.problem import mismatches, problem_of
from pipeline.runs.folder import RunFolder
from simsurrogate.documents import typed
from simsurrogate.errors import UserError
from simsurrogate.files import differences
from surrogates import store
from surrogates.contract import Problem, Surrogate
from surrogates.other_grid import any_grid_names

_REMEDY = "Train the model again with overwrite=true"


class _Configuration(TypedDict):
    """The part of a model's configuration that the report shows."""

    training: dict[str, object]
    seed: int
    dataset: str


@with_config(ConfigDict(extra="allow"))
class _Model(TypedDict):
    """The keys of `model.json` that the train stage adds and the report shows."""

    configuration: _Configuration
    options: dict[str, object]
    step: int | list[int]
    valid_error: float
    versions: dict[str, str]


def load(
    settings: Settings, folder: RunFolder, device: torch.device, dataset: Dataset
) -> tuple[Surrogate, Dataset]:
    """Return the trained model of a run folder on the grid of the data, and the data that it predicts.

    Only a surrogate with `any_grid` leaves the grid of its training data. A surrogate of quantities of
    interest predicts these quantities of the data set.

    Raises:
        UserError: there is no trained model, it cannot be loaded, or model and data set do not match.
    """
    if not (folder.model_folder / "model.json").is_file():
        name = settings.surrogate["name"]
        model_override = "" if folder.model == name else f" model={folder.model}"
        raise UserError(
            f"{folder.model_folder} holds no trained model. evaluate needs one. Type "
            f"python -m pipeline.train {overrides.typed('run', folder.path)} surrogate={name}{model_override}"
        )
    path = user_file(settings.surrogate)
    surrogate = surrogates.load(folder.model_folder, device, path=path)
    if surrogate.learns_quantities:
        dataset = QuantityDataset(dataset)
    shape, trained_shape = dataset.spec.shape, surrogate.problem.spec.shape
    is_other_grid = surrogate.any_grid and shape != trained_shape and len(shape) == len(trained_shape)
    if is_other_grid:
        surrogate = surrogates.load(folder.model_folder, device, path=path, shape=shape)
    refuse_mismatch(
        surrogate, problem_of(dataset), folder.model_folder, dataset.folder, is_other_grid=is_other_grid
    )
    return surrogate, dataset


def description(folder: Path) -> Mapping[str, Any]:
    """Return the content of `model.json` of a model that the train stage wrote.

    Raises:
        UserError: the file cannot be read, or lacks what the report shows.
    """
    content = store.description(folder)
    typed(content, _Model, str(folder / store.DESCRIPTION), _REMEDY)
    return content


def settings_of(folder: Path, description: Mapping[str, Any]) -> dict[str, object]:
    """Return the keys of the configuration that determined the model in a folder, from its model.json."""
    configuration = description.get("configuration", {})
    training: dict[str, object] = {}
    if {"training", "seed"} <= configuration.keys():
        options, seed = configuration["training"], configuration["seed"]
        training = {"training": {**options, "seed": seed}, "seed": seed}
    return {
        "surrogate": {"name": description["surrogate"], **description["options"]},
        "ensemble": max(store.num_members(folder), 1),
        **training,
    }


def is_trained_on(configuration: Mapping[str, Any], dataset: Dataset) -> bool:
    """Return whether a model was trained on a data set, perhaps before the data set grew.

    `configuration` is that of `model.json`; models of earlier releases do not record the size of their data.
    """
    if configuration["dataset"] == dataset.identity:
        return True
    trained, present = configuration.get("data"), dataset.size
    return (
        trained is not None
        and trained["shards"] == present["shards"]
        and all(
            trained["trajectories"].get(split, 0) <= count for split, count in present["trajectories"].items()
        )
    )


def refuse_changed_problem(
    surrogate: Surrogate, content: Mapping[str, Any], dataset: Dataset, folder: Path
) -> None:
    """Raise `UserError` if a model evaluated on its training data holds another problem than the data.

    On another data set, spec and statistics may differ. A model of a mixture has the statistics of the
    mixture and the symmetries that all its data sets have.
    """
    if content["configuration"]["dataset"] != dataset.identity or "mixture" in content["configuration"]:
        return
    data = problem_of(dataset)
    data = dataclasses.replace(data, statistics=data.statistics.rounded_to(content["precision"]))
    if changed := differences(surrogate.problem.to_json(), data.to_json()):
        raise UserError(
            f"{folder / store.DESCRIPTION} differs from its own data set {dataset.folder} "
            f"(model -> data set): {'; '.join(changed[:3])}. Both hold the same spec and statistics. "
            f"{_REMEDY}"
        )


def refuse_mismatch(
    surrogate: Surrogate, data_problem: Problem, model: Path, data: Path, *, is_other_grid: bool = False
) -> None:
    """Raise `UserError` if the model in the folder `model` was trained for another problem than `data`."""
    found = mismatches(surrogate.problem, data_problem, is_other_grid=is_other_grid)
    incompatibility = type(surrogate).incompatibility(data_problem)
    found += [incompatibility] if incompatibility else []
    if found:
        raise UserError(
            f"the model in {model} does not fit the data set {data}:\n  "
            + "\n  ".join(found)
            + "\nModel and data set must agree. Train on this data set, or name the model's own data set "
            f"with dataset={_grid_remedy(surrogate, data_problem)}"
        )


def _grid_remedy(surrogate: Surrogate, data_problem: Problem) -> str:
    """Return a sentence about the surrogates that predict on any grid, if only the grid excludes this one."""
    model_shape, shape = surrogate.problem.spec.shape, data_problem.spec.shape
    if surrogate.any_grid or model_shape == shape or len(model_shape) != len(shape):
        return ""
    return f". Only {', '.join(any_grid_names())} predict on another grid than that of their training data"
