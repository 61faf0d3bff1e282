"""Inputs of `predict`: every kind of array, refused non-finite values, and the range of the training data."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray

from pipeline.data.dataset import Dataset
from pipeline.problem import problem_of
from simsurrogate.errors import UserError
from surrogates import store
from surrogates.contract import ExtrapolationWarning, Surrogate
from tests.support.trainings.training_cases import generate_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(generate_dataset(tmp_path_factory.mktemp("inputs")))


@pytest.fixture(scope="module")
def surrogate(dataset: Dataset) -> Surrogate:
    options = {"width": 4, "modes": 4, "layers": 1}
    return store.build("fno", options, problem_of(dataset), "float64").requires_grad_(False)


def arguments_of(dataset: Dataset, position: int = 0) -> dict[str, Any]:
    trajectory = dataset.trajectory("test", position)
    fields = dict(zip(dataset.spec.coefficient_channels, trajectory.coefficient_fields, strict=True))
    return {
        "initial_state": trajectory.state[:1].astype(np.float64),
        "parameters": {**trajectory.parameters, **fields},
        "times": trajectory.time[:2],
    }


def test_inputs_like_the_training_data_give_no_warning(dataset: Dataset, surrogate: Surrogate) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for position in range(dataset.num_trajectories("test")):
            surrogate.predict(**arguments_of(dataset, position), strict=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state, field: (0 * state + 300, field),
            "the initial temperature reaches 300, far outside",
        ),
        (lambda state, field: (1000 * state, field), "the initial temperature reaches "),
        (lambda state, field: (state, 100 * field), "diffusivity reaches "),
    ],
)
@pytest.mark.fault(
    "a surrogate is asked outside its training data",
    cause="300 K where the data have 3 K; a field times 1000; a coefficient times 100",
    result="a warning; refused with strict=True",
    lost="nothing",
)
def test_fields_far_outside_the_training_data_are_reported(
    change: Any, message: str, dataset: Dataset, surrogate: Surrogate
) -> None:
    arguments = arguments_of(dataset)
    (name,) = dataset.spec.coefficient_channels
    state, field = change(arguments["initial_state"], arguments["parameters"][name])
    arguments |= {"initial_state": state, "parameters": arguments["parameters"] | {name: field}}
    with pytest.warns(ExtrapolationWarning, match=message):
        surrogate.predict(**arguments)
    with pytest.raises(UserError, match=message):
        surrogate.predict(**arguments, strict=True)


@pytest.mark.parametrize("wrong_value", [np.nan, np.inf])
@pytest.mark.fault(
    "a surrogate is asked about NaN or infinity",
    cause="{wrong_value} in a state and in each parameter",
    result="refused with the name",
    lost="nothing",
)
def test_values_that_are_not_finite_are_refused(
    wrong_value: float, dataset: Dataset, surrogate: Surrogate
) -> None:
    arguments = arguments_of(dataset)
    state = arguments["initial_state"].copy()
    state[0, 0, 3] = wrong_value
    with pytest.raises(UserError, match="initial_state holds NaN or infinity in 1 of 24 values"):
        surrogate.predict(**arguments | {"initial_state": state})
    with pytest.raises(UserError, match="initial_state holds NaN or infinity in 1 of 24 values"):
        surrogate.predict(**arguments | {"initial_state": torch.from_numpy(state)})
    for name, value in arguments["parameters"].items():
        parameters = arguments["parameters"] | {name: value * wrong_value}
        with pytest.raises(UserError, match=f"{name} holds NaN or infinity in "):
            surrogate.predict(**arguments | {"parameters": parameters})


@pytest.mark.parametrize(
    "convert",
    [
        lambda array: np.flip(np.flip(np.asarray(array)).copy()),
        lambda array: np.asarray(array).astype(">f8"),
        lambda array: np.asarray(array, dtype=np.longdouble),
        lambda array: xarray.DataArray(np.asarray(array)),
        lambda array: np.asarray(array).tolist(),
        lambda array: torch.tensor(np.asarray(array)),
        lambda array: np.broadcast_to(np.asarray(array), np.shape(array)),
    ],
    ids=["reversed", "big-endian", "long double", "xarray", "list", "tensor", "read-only"],
)
def test_every_kind_of_array_gives_the_same_prediction(
    convert: Any, dataset: Dataset, surrogate: Surrogate
) -> None:
    arguments = arguments_of(dataset)
    expected = surrogate.predict(**arguments).mean
    converted_arguments = {
        "initial_state": convert(arguments["initial_state"]),
        "parameters": {name: convert(value) for name, value in arguments["parameters"].items()},
        "times": convert(arguments["times"]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prediction = surrogate.predict(**converted_arguments).mean
    assert torch.equal(prediction, expected)


def test_text_is_refused(dataset: Dataset, surrogate: Surrogate) -> None:
    arguments = arguments_of(dataset)
    parameters = {name: "hot" for name in arguments["parameters"]}
    with pytest.raises(UserError, match=r"The values have the type <U3\. Real numbers are allowed"):
        surrogate.predict(**arguments | {"parameters": parameters})


def test_a_model_of_an_earlier_release_has_no_range(dataset: Dataset, tmp_path: Path) -> None:
    document = problem_of(dataset).to_json()
    del document["statistics"]["channel_ranges"], document["statistics"]["coefficient_ranges"]
    problem = type(problem_of(dataset)).from_json(document)
    surrogate = store.build("fno", {"width": 4, "modes": 4, "layers": 1}, problem, "float64")
    arguments = arguments_of(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surrogate.predict(**arguments | {"initial_state": arguments["initial_state"] + 300})
