"""The sources of a mixture: units, missing fields, gaps, statistics and windows."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pytest

from pipeline import adopt, validate
from pipeline.data.card import figures
from pipeline.data.dataset import Dataset
from pipeline.data.mixture import Mixture, is_measured, mixture_of
from pipeline.data.mixture.mixture import mixed_statistics
from pipeline.data.units import conversion
from simsurrogate.errors import UserError
from tests.adoption import sources
from tests.support.in_process import settings_of

#: The measured data have no flux and another unit of u. The file keeps its own numbers.
MEASURED = "fields: {u: {unit: mK, noise: 20}, source: {}}\ngaps: true\n"
SIMULATED = "fields: {u: {}, flux: {}, source: {}}\n"


def adopted(folder: Path, description: str, *, with_gaps: bool = False) -> Path:
    """Return a validated data set of The Well's file of waves, with gaps on request.

    Data with noise are a measurement; those without are of a solver.
    """
    folder.mkdir()
    source, _ = sources.well(folder)
    if with_gaps:
        with h5py.File(source, "r+") as file:
            values = file["t0_fields/u"][...]
            values[:, 1, 2, 3] = np.nan
            values[0, 2] = np.nan
            file["t0_fields/u"][...] = values
    overrides = sources.adopt_overrides(folder, source, description)
    if "noise" not in description:
        overrides = [item for item in overrides if not item.startswith("origin.")]
        overrides += ["origin.kind=solver", "origin.name=waves"]
    run = settings_of(folder / "run", *overrides, "samples.per_shard=4")
    with mock.patch.object(figures, "draw", return_value=[]):
        adopt.run(run)
    validate.run(run)
    return run.dataset


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopted(tmp_path_factory.mktemp("simulated") / "data", SIMULATED)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopted(tmp_path_factory.mktemp("measured") / "data", MEASURED, with_gaps=True)


def test_a_source_has_the_fields_and_units_of_the_first(simulated: Path, measured: Path) -> None:
    datasets = [Dataset.open(folder) for folder in (simulated, measured)]
    mixture = Mixture(datasets, [0.75, 0.25])
    first, second = mixture.sources
    assert [is_measured(source) for source in mixture.sources] == [False, True]
    assert mixture.measured == (1,)
    # One standard deviation of 20 mK.
    assert second.noise == pytest.approx([0.02, 0, 0])
    assert first.noise.tolist() == [0, 0, 0]
    windows = second.windows("train", 3).take(np.arange(4))
    own = datasets[1].windows("train", 3).take(np.arange(4))
    assert np.isnan(own["state"]).any()
    assert windows["state"].shape[2] == 3
    np.testing.assert_allclose(windows["state"][:, :, 0], own["state"][:, :, 0] / 1000, rtol=1e-6)
    assert np.isnan(windows["state"][:, :, 1:]).all()
    np.testing.assert_array_equal(windows["parameters"], own["parameters"])
    trajectory = second.trajectory("test", 0)
    np.testing.assert_allclose(
        trajectory.state[:, 0], datasets[1].trajectory("test", 0).state[:, 0] / 1000, rtol=1e-6
    )
    joined = mixture.windows("train", 2)
    count = len(first.windows("train", 2))
    assert len(joined) == 2 * count
    indices = np.array([count, 0, count + 3])
    states = joined.take(indices)["state"]
    np.testing.assert_array_equal(states[1], first.windows("train", 2)[0]["state"])
    for position, own_index in ((0, 0), (2, 3)):
        np.testing.assert_array_equal(states[position], second.windows("train", 2)[own_index]["state"])


def test_the_statistics_are_those_of_all_values_by_their_shares(simulated: Path, measured: Path) -> None:
    mixture = Mixture([Dataset.open(folder) for folder in (simulated, measured)], [0.75, 0.25])
    states = [source.windows("train", 4).take(np.arange(8))["state"] for source in mixture.sources]
    values = [state[:, :, 0][~np.isnan(state[:, :, 0])].astype(np.float64) for state in states]
    mean = 0.75 * values[0].mean() + 0.25 * values[1].mean()
    square = 0.75 * np.mean(values[0] ** 2) + 0.25 * np.mean(values[1] ** 2)
    stats = mixture.statistics
    assert stats["mean"]["u"] == pytest.approx(mean, abs=1e-6)
    assert stats["std"]["u"] == pytest.approx(np.sqrt(square - mean**2), rel=1e-5)
    # Only the first data set has the flux.
    assert stats["std"]["flux"] == pytest.approx(mixture.sources[0].statistics["std"]["flux"], rel=1e-12)
    assert stats["max"]["u"] == pytest.approx(max(value.max() for value in values), rel=1e-6)


def test_equal_parts_have_the_statistics_of_one(simulated: Path) -> None:
    dataset = Dataset.open(simulated)
    stats = mixed_statistics(dataset.spec, [dataset.statistics] * 3, [0.2, 0.3, 0.5])
    for name in ("mean", "std", "rms", "std_delta", "max"):
        for field, value in dataset.statistics[name].items():  # type: ignore[literal-required]
            assert stats[name][field] == pytest.approx(value, rel=1e-12, abs=1e-12)  # type: ignore[literal-required]


def test_declared_gaps_pass_and_are_counted(measured: Path) -> None:
    validation = json.loads((measured / "validation.json").read_text())
    assert validation["outcome"] == "passed"
    gaps = [result["numbers"]["u"] for result in validation["results"] if result["check"] == "gaps"]
    # One of 64 sites in one of 4 frames, and one frame more in one shard.
    assert min(gaps) == pytest.approx(1 / 256)
    assert max(gaps) > 1 / 256
    stats = Dataset.open(measured).statistics
    assert np.isfinite([stats["mean"]["u"], stats["std"]["u"], stats["std_delta"]["u"]]).all()


def test_a_single_data_set_is_a_mixture_only_with_gaps_or_noise(simulated: Path, measured: Path) -> None:
    assert not isinstance(mixture_of([Dataset.open(simulated)], ()), Mixture)
    assert isinstance(mixture_of([Dataset.open(measured)], ()), Mixture)


def test_sources_that_do_not_fit_are_refused(simulated: Path, tmp_path: Path) -> None:
    first = Dataset.open(simulated)
    pressure = Dataset.open(adopted(tmp_path / "a", "fields: {u: {unit: Pa}, source: {}}\n"))
    with pytest.raises(UserError, match=r"has u in Pa, and the first data set in K. Only units of the same"):
        Mixture([first, pressure], [0.5, 0.5])
    other = Dataset.open(adopted(tmp_path / "b", "fields: {w: {unit: K, source: u}, source: {}}\n"))
    with pytest.raises(UserError, match=r"has none of the fields u, flux of the first data set"):
        Mixture([first, other], [0.5, 0.5])
    bare = Dataset.open(adopted(tmp_path / "c", "fields: {u: {}}\n"))
    with pytest.raises(UserError, match=r"has no source, which the first data set has"):
        Mixture([first, bare], [0.5, 0.5])
    description = MEASURED + "splits: {train: 8, test: 2}\n"
    # The error on measured data selects the weights of the model.
    with pytest.raises(UserError, match=r"The splits train, valid and test need at least one trajectory"):
        adopted(tmp_path / "d", description, with_gaps=True)


@pytest.mark.parametrize(
    ("unit", "target", "expected"),
    [("K", "K", (1, 0)), ("mK", "K", (1e-3, 0)), ("degC", "K", (1, 273.15)), ("K", "Pa", None)],
)
def test_units_are_converted_by_a_factor_and_an_offset(
    unit: str, target: str, expected: tuple[float, float] | None
) -> None:
    result = conversion(unit, target)
    assert (result is None) if expected is None else result == pytest.approx(expected)


def test_undeclared_gaps_and_wrong_declarations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trajectories failed"):
        adopted(tmp_path / "a", "fields: {u: {unit: mK, noise: 20}, source: {}}\n", with_gaps=True)
    with pytest.raises(UserError, match=r"gaps: true declares missing values.*Remove conserved"):
        adopted(tmp_path / "b", "fields: {u: {conserved: true}, source: {}}\ngaps: true\n")
    with pytest.raises(UserError, match=r"fields.source.noise=1 belongs to a field that is constant"):
        adopted(tmp_path / "c", "fields: {u: {}, source: {noise: 1}}\n")
