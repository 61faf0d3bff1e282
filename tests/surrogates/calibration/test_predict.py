"""`predict` with intervals, `strict`, and calibrations on disk."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

import surrogates
from simsurrogate.errors import UserError
from simsurrogate.spec import QuantityOfInterest
from surrogates import contract, store
from surrogates.calibration import Calibration, ErrorModel, Guard, Inputs, Intervals, files
from surrogates.calibration.error_model import error_predictors
from surrogates.calibration.intervals import hierarchical_quantiles
from surrogates.contract import ExtrapolationWarning, Surrogate
from surrogates.deep_ensemble import Ensemble
from tests.support import problems, surrogate_cases

QUANTITY = QuantityOfInterest("hottest", "K", "", "temperature", "max", (("x", 0.0, 1.0),))
PROBLEM = problems.grid_problem((16, 17), ("periodic", "dirichlet"), quantities=(QUANTITY,))
TIMES = np.array([0.0, 0.25, 0.5])


def inputs_of(surrogate: Surrogate, seed: int, size: int = 12) -> dict:
    """Return the arguments of `predict` for random windows."""
    torch.manual_seed(seed)
    arguments = surrogate_cases.arguments_of(surrogate.problem, TIMES.tolist(), size)
    arguments["initial_state"] = arguments["initial_state"] + torch.randn(size, 2, 1, 1)
    arguments["parameters"]["power"] = arguments["parameters"]["power"].clip(1, 3)
    return arguments


def calibration_of(surrogate: Surrogate) -> Calibration:
    """Return a calibration by random residuals of 9 trajectories."""
    spec, std = surrogate.problem.spec, surrogate.problem.statistics.std
    scores = np.abs(np.random.default_rng(1).normal(size=(9, 2, 2, 16 * 17)))
    lead_times = torch.from_numpy(TIMES[1:])

    def intervals(values: np.ndarray, scale: torch.Tensor) -> Intervals:
        marginal = torch.from_numpy(hierarchical_quantiles(values))
        joint = torch.from_numpy(np.sort(values.reshape(9, -1).max(1)))
        return Intervals(lead_times, scale, torch.ones(values.shape[1:3]), marginal, joint)

    arguments = inputs_of(surrogate, 0)
    inputs = Inputs(spec, std, arguments["initial_state"], arguments["parameters"], uses_initial_state=True)
    guard = Guard.of(inputs.features, inputs.features)
    predictors = error_predictors(surrogate.predict(**arguments), inputs, guard)[:, 1:]
    return Calibration(
        "data",
        intervals(scores, torch.rand(2, 2, 16, 17) + 0.5),
        intervals(scores[:, :, :1, :1], torch.ones(2, 1)),
        guard,
        ErrorModel.of(TIMES[1:], predictors, np.exp(predictors[..., 0])),
    )


@pytest.fixture
def surrogate() -> Surrogate:
    """Return a new surrogate with a calibration."""
    result = surrogate_cases.build("fno", PROBLEM)
    result.calibration = calibration_of(result)
    return result


def test_a_prediction_has_the_ends_of_its_intervals(surrogate: Surrogate) -> None:
    arguments = inputs_of(surrogate, 0)
    plain = surrogate.predict(**arguments)
    assert plain.lower is None
    assert plain.predicted_error is None
    widths = {}
    for kind in ("marginal", "joint"):
        prediction = surrogate.predict(**arguments, interval=0.9, interval_kind=kind)
        assert prediction.mean.equal(plain.mean)
        widths[kind] = prediction.upper - prediction.lower
        assert widths[kind].shape == plain.mean.shape
        assert (widths[kind][:, 0] == 0).all()
        assert (widths[kind][:, 1:] > 0).all()
        torch.testing.assert_close((prediction.upper + prediction.lower) / 2, plain.mean)
        quantity = prediction.quantities["hottest"]
        # Cells of x have centres 1/16, 3/16, ... m; 8 of them are below 1 m.
        torch.testing.assert_close(quantity.mean, plain.mean[:, :, 0, :8].flatten(2).amax(-1))
        assert (quantity.upper - quantity.lower)[:, 1:].min() > 0
    assert (widths["joint"] >= widths["marginal"]).all()
    assert widths["joint"].sum() > widths["marginal"].sum()
    assert prediction.predicted_error.shape == (12, 3)
    assert (prediction.predicted_error[:, 0] == 0).all()
    assert "with intervals" in repr(prediction)
    some_times = surrogate.predict(**(arguments | {"times": TIMES[[0, 2]]}), interval=0.9)
    all_times = surrogate.predict(**arguments, interval=0.9)
    torch.testing.assert_close(some_times.upper[:, 1], all_times.upper[:, 2])


def test_without_a_calibration_the_error_says_what_to_type(surrogate: Surrogate) -> None:
    arguments = inputs_of(surrogate, 0)
    with pytest.raises(UserError, match=r"needs at least 19 .* has 9.*samples.calibration=19"):
        surrogate.predict(**arguments, interval=0.95)
    surrogate.calibration = Calibration("data", guard=surrogate.calibration.guard)
    with pytest.raises(UserError, match=r"interval=0.9 needs a calibration split.*samples.calibration=40"):
        surrogate.predict(**arguments, interval=0.9)
    bare = surrogate_cases.build_cached("fno", PROBLEM)
    assert bare.predict(**arguments, strict=True).predicted_error is None
    with pytest.raises(UserError, match=r"interval=0.9 needs a calibration: .*python -m pipeline.evaluate"):
        bare.predict(**arguments, interval=0.9)


def test_the_expected_error_needs_no_calibration_split(surrogate: Surrogate) -> None:
    arguments = inputs_of(surrogate, 0)
    expected = surrogate.predict(**arguments, interval=0.9).predicted_error
    whole = surrogate.calibration
    surrogate.calibration = Calibration("data", guard=whole.guard, error_model=whole.error_model)
    prediction = surrogate.predict(**arguments, strict=True)
    assert prediction.predicted_error.equal(expected)
    assert prediction.lower is None
    later = surrogate.predict(**(arguments | {"times": np.append(TIMES, 0.75)}), strict=True)
    assert later.predicted_error[:, :3].equal(expected)
    assert later.predicted_error[:, 3].isnan().all()
    with patch.object(contract, "Inputs", side_effect=AssertionError):
        assert surrogate.predict(**arguments).predicted_error is None


def test_strict_refuses_unusual_inputs_inside_the_range(surrogate: Surrogate) -> None:
    """A rough initial state has usual values and another spectrum."""
    usual = inputs_of(surrogate, 0)
    surrogate.predict(**usual, strict=True)
    unusual = inputs_of(surrogate, 0)
    state = unusual["initial_state"]
    state[3] = state[3].flatten(1).sort(dim=1).values.reshape(state[3].shape)
    message = r"case 3 has the distance .* from the training inputs, above .* \(1 of 12 cases are unusual\)"
    with pytest.raises(UserError, match=message):
        surrogate.predict(**unusual, strict=True)
    with pytest.warns(ExtrapolationWarning, match=message) as records:
        surrogate.predict(**unusual, interval=0.5)
    assert records[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surrogate.predict(**unusual)


def test_an_ensemble_has_wider_intervals_where_its_members_disagree() -> None:
    members = [surrogate_cases.build("fno", PROBLEM), surrogate_cases.build_perturbed("fno", PROBLEM)]
    ensemble = Ensemble(members).eval()
    ensemble.calibration = calibration_of(ensemble)
    prediction = ensemble.predict(**inputs_of(ensemble, 0), interval=0.9)
    width, spread = (prediction.upper - prediction.lower)[:, 1:], prediction.standard_deviation[:, 1:]
    is_high = spread > spread.mean((0, 3, 4), keepdim=True)
    assert width[is_high].mean() > 1.2 * width[~is_high].mean()
    assert ensemble.compiled().calibration is ensemble.calibration


def test_a_calibration_is_the_same_after_it_was_stored(surrogate: Surrogate, tmp_path: Path) -> None:
    store.save(tmp_path, surrogate, "fno", problems.options("fno"), {})
    arguments = inputs_of(surrogate, 0)
    loaded = surrogates.load(tmp_path)
    with pytest.raises(UserError, match=rf"needs a calibration: {tmp_path} holds no calibration"):
        loaded.predict(**arguments, interval=0.9)
    model = str(store.description(tmp_path)["sha256"])
    files.save(tmp_path, surrogate.calibration, model)
    assert files.is_current(tmp_path, model, "data")
    assert not files.is_current(tmp_path, model, "other data")
    loaded = surrogates.load(tmp_path)
    expected = surrogate.predict(**arguments, interval=0.9)
    prediction = loaded.predict(**arguments, interval=0.9)
    for name in ("mean", "lower", "upper", "predicted_error"):
        assert torch.equal(getattr(prediction, name), getattr(expected, name)), name
    assert loaded.calibration.guard.threshold == surrogate.calibration.guard.threshold
    # Weights on another grid predict, but the calibration belongs to its own grid, and so does a guard alone.
    for calibration in (surrogate.calibration, Calibration("data", guard=surrogate.calibration.guard)):
        files.save(tmp_path, calibration, model)
        other = surrogates.load(tmp_path, shape=(24, 17))
        assert "belongs to the grid of the training, (16, 17), and this grid has (24, 17)" in str(
            other.calibration
        )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("arrays", r"calibration.safetensors cannot be used: its checksum differs"),
        ("missing", r"calibration.safetensors cannot be used: .*No such file"),
        ("document", r"calibration.json was changed"),
        ("format", r"calibration.json is not a document"),
        ("model", r"belongs to another model than model.json"),
    ],
)
def test_a_damaged_calibration_is_refused_and_plain_predictions_go_on(
    surrogate: Surrogate, tmp_path: Path, damage: str, message: str
) -> None:
    store.save(tmp_path, surrogate, "fno", problems.options("fno"), {})
    model = "another" if damage == "model" else str(store.description(tmp_path)["sha256"])
    files.save(tmp_path, surrogate.calibration, model)
    arrays, document = tmp_path / files.ARRAYS, tmp_path / files.DOCUMENT
    if damage == "arrays":
        content = bytearray(arrays.read_bytes())
        content[-1] ^= 1
        arrays.write_bytes(content)
    elif damage == "missing":
        arrays.unlink()
    elif damage != "model":
        content = json.loads(document.read_text())
        content["dataset" if damage == "document" else "format"] = "other"
        if damage == "format":
            from simsurrogate.files import digest

            del content["sha256"]
            content["sha256"] = digest(content)
        document.write_text(json.dumps(content))
    loaded = surrogates.load(tmp_path)
    arguments = inputs_of(surrogate, 0)
    loaded.predict(**arguments)
    with pytest.raises(UserError, match=message + r".*Type python -m pipeline.evaluate"):
        loaded.predict(**arguments, interval=0.9)
