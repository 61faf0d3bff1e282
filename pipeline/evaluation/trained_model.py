"""The checks of a trained model before its evaluation: its description, and its agreement with its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic reads it

from pipeline.data.dataset import Dataset
from pipeline.data.quantity_data import QuantityDataset
from pipeline.problem import problem_of
from simsurrogate.documents import typed
from simsurrogate.errors import UserError
from simsurrogate.files import differences
from surrogates import store
from surrogates.contract import Surrogate

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


def description(folder: Path) -> Mapping[str, Any]:
    """Return the content of `model.json` of a model that the train stage wrote.

    Raises:
        UserError: the file cannot be read, or lacks what the report shows.
    """
    content = store.description(folder)
    typed(content, _Model, str(folder / store.DESCRIPTION), _REMEDY)
    return content


def refuse_changed_problem(
    surrogate: Surrogate, content: Mapping[str, Any], dataset: Dataset, folder: Path
) -> None:
    """Raise `UserError` if a model evaluated on its training data holds another problem than the data.

    On another data set, spec and statistics may differ.
    """
    if content["configuration"]["dataset"] != dataset.identity:
        return
    data = problem_of(dataset)
    data = dataclasses.replace(data, statistics=data.statistics.rounded_to(content["precision"]))
    if changed := differences(surrogate.problem.to_json(), data.to_json()):
        raise UserError(
            f"{folder / store.DESCRIPTION} differs from its own data set {dataset.folder} "
            f"(model -> data set): {'; '.join(changed[:3])}. Both hold the same spec and statistics. "
            f"{_REMEDY}"
        )


def data_of(surrogate: Surrogate, dataset: Dataset) -> Dataset:
    """Return the data set, or its quantities of interest for a surrogate that learns them."""
    return QuantityDataset(dataset) if surrogate.learns_quantities else dataset
