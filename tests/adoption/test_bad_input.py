"""Files and descriptions that do not suffice: one clear message, and nothing half-made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline import adopt
from pipeline.adoption import description as descriptions
from pipeline.adoption.contents import Contents, FoundAxis, FoundField, FoundParameter
from pipeline.adoption.description import Description
from pipeline.adoption.readers.choose import open_source
from pipeline.adoption.specification import Specification, specification
from pipeline.adoption.splits import divided
from pipeline.data import units
from simsurrogate.errors import UserError
from tests.adoption import sources
from tests.support.in_process import settings_of


def described(text: str, folder: Path) -> Description:
    (folder / "adopt.yaml").write_text(text)
    return descriptions.read(folder / "adopt.yaml")


def contents_of(**changes: Any) -> Contents:
    """Return the contents of files that say nothing but numbers."""
    values: dict[str, Any] = {
        "layout": "NumPy arrays",
        "num_trajectories": 4,
        "fields": [FoundField("u", 0, False, "float32")],
        "axes": [FoundAxis("x", 8)],
        "times": None,
        "num_frames": 5,
    }
    return Contents(**values | changes)


def specified(contents: Contents, text: str, folder: Path) -> Specification:
    return specification(contents, described(text, folder), "name", np.arange(contents.num_trajectories))


COMPLETE = """
fields: {u: {unit: K}}
axes: {x: {unit: m, extent: 1.0, boundary: periodic}}
times: {unit: s, step: 0.1}
"""


def test_everything_that_is_missing_is_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error_info:
        specified(contents_of(), "{}", tmp_path)
    for key in (
        "fields.u.unit",
        "axes.x.unit",
        "axes.x.extent",
        "axes.x.boundary",
        "times.step",
        "times.unit",
    ):
        assert f"  {key}: " in str(error_info.value)
    assert specified(contents_of(), COMPLETE, tmp_path).spec.summary == "name: 8 cells, u"


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (COMPLETE.replace("K", "furlongz"), {}, r"fields\.u\.unit='furlongz' in the description is no unit"),
        (COMPLETE.replace("unit: s", "unit: m"), {}, r"times\.unit='m' is no unit of time"),
        (COMPLETE.replace("x:", "q:"), {}, r"axes\.q is not in the files\. They have the axes x"),
        (COMPLETE.replace("u:", "v:"), {}, r"fields\.v has the source v, which is no array in the files"),
        (
            COMPLETE.replace("u: {", "time: {source: u, "),
            {},
            "the field time has a name that a data set uses",
        ),
        (
            COMPLETE.replace("{unit: K}", "{unit: K, source: [u, u]}"),
            {},
            "one scalar for each of the 1 direc",
        ),
        (COMPLETE + "symmetries: [exchange_xy]", {}, "Possible are shift_x, reflection_x"),
        (COMPLETE, {"num_frames": 1}, "1 frame in each trajectory"),
        (COMPLETE, {"axes": [FoundAxis("x", 3, points=[0.0, 1.0, 3.0])]}, "coordinates x are not even"),
        (COMPLETE, {"fields": [FoundField("u", 0, True, "float32")]}, "no field changes in time"),
        (COMPLETE.replace("step: 0.1", ""), {"times": [0.0, 1.0, 2.0, 2.0, 3.0]}, "do not increase"),
        (COMPLETE + "parameters: {nu: {unit: '1'}}", {}, r"parameters\.nu is not in the files"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    text: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        specified(contents_of(**changes), text, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fields: {u: {units: K}}", r"fields\.u\.units: there is no such key; did you mean 'unit'"),
        ("axes: {x: {boundary: cyclic}}", "periodic or dirichlet or neumann or open"),
        ("axes: {x: {extent: -1.0}}", "greater than 0"),
        ("fields: {'a b': {}}", "fields"),
        ("- 1", "Write the file as docs/adopt.md describes"),
        ("a: &a [*a]", "aliases"),
    ],
)
def test_a_wrong_key_or_value_of_the_description_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        described(text, tmp_path)


def test_a_unit_of_the_files_is_used_and_checked(tmp_path: Path) -> None:
    text = COMPLETE.replace("fields: {u: {unit: K}}", "")
    found = contents_of(fields=[FoundField("u", 0, False, "float32", unit="degC")])
    assert specified(found, text, tmp_path).spec.channel_units == ("degC",)
    wrong = contents_of(fields=[FoundField("u", 0, False, "float32", unit="zorkmids")])
    with pytest.raises(UserError, match="'zorkmids' in the files"):
        specified(wrong, text, tmp_path)


def test_units_come_from_pint() -> None:
    assert all(map(units.is_known, ("1", "m/s", "kg/m^3", "W/(m K)", "degC", "1/s", "m**2")))
    assert not any(map(units.is_known, ("", "m/", "furlongz", "a" * 100, "__import__('os')", "m\0")))
    # Powers of numbers, which pint would compute for minutes.
    assert not any(
        map(units.is_known, ("9**9**7", "m*9**9**9", "m**9**9**9", "9^9^9", "m*9⁹⁹⁹⁹⁹⁹", "(m)**9**9"))
    )
    assert units.is_known("m²")
    assert (units.seconds("ms"), units.seconds("day"), units.seconds("1")) == (1e-3, 86400.0, 1.0)
    assert units.seconds("m") is None


def test_uneven_times_are_refused_or_interpolated(tmp_path: Path) -> None:
    times = [1.0, 1.1, 1.3, 1.4, 1.5]
    text = COMPLETE.replace(", step: 0.1", "")
    with pytest.raises(UserError, match=r"steps are 0\.1 to 0\.2 s.*resample: true"):
        specified(contents_of(times=times), text, tmp_path)
    resampled = specified(
        contents_of(times=times), text.replace("unit: s", "unit: s, resample: true"), tmp_path
    )
    assert resampled.is_resampled
    assert resampled.times == pytest.approx([0.0, 0.125, 0.25, 0.375, 0.5])
    even = specified(contents_of(times=[0.0, 0.1, 0.2, 0.3, 0.4]), text, tmp_path)
    assert not even.is_resampled


def test_points_of_the_files_are_the_centres_of_the_cells(tmp_path: Path) -> None:
    found = contents_of(axes=[FoundAxis("x", 4, "m", [0.0, 0.25, 0.5, 0.75], "periodic")])
    (axis,) = specified(
        found, COMPLETE.replace("axes: {x: {unit: m, extent: 1.0, boundary: periodic}}", ""), tmp_path
    ).spec.axes
    assert (axis.lower, axis.upper) == (-0.125, 0.875)
    assert axis.centres == pytest.approx([0.0, 0.25, 0.5, 0.75])


def test_parameters_that_do_not_vary_are_left_out(tmp_path: Path) -> None:
    found = contents_of(
        parameters=[
            FoundParameter("nu", [1.0, 2.0, 3.0, 9.0], "m^2/s"),
            FoundParameter("constant", [1.0] * 4, "m"),
        ]
    )
    description = described(COMPLETE, tmp_path)
    (parameter,) = specification(found, description, "name", np.arange(3)).spec.parameters
    assert (parameter.name, parameter.low, parameter.high) == ("nu", 1.0, 3.0)


@pytest.mark.parametrize(
    ("splits", "counts"),
    [
        ({}, {"train": 8, "valid": 1, "test": 1}),
        ({"train": 5, "valid": 2, "test": 3}, {"train": 5, "valid": 2, "test": 3}),
        ({"train": 0.5, "valid": 0.3, "test": 0.2}, {"train": 5, "valid": 3, "test": 2}),
    ],
)
def test_a_new_division_has_every_trajectory_once(splits: dict[str, float], counts: dict[str, int]) -> None:
    description = Description.model_validate({"splits": splits})
    division = divided(contents_of(num_trajectories=10), description, 0)
    assert {split: len(items) for split, items in division.items()} == counts
    assert len(np.unique(np.concatenate(list(division.values())))) == sum(counts.values())
    other = divided(contents_of(num_trajectories=10), description, 1)
    assert any(not np.array_equal(division[split], other[split]) for split in counts)


@pytest.mark.parametrize(
    "splits", [{"train": 9, "valid": 1, "test": 1}, {"train": 9, "valid": 1}, {"train": 2.5}]
)
def test_an_impossible_division_is_refused(splits: dict[str, float]) -> None:
    description = Description.model_validate({"splits": splits})
    with pytest.raises(UserError, match="do not divide 10 trajectories"):
        divided(contents_of(num_trajectories=10), description, 0)


def test_files_with_some_of_the_splits_are_refused(tmp_path: Path) -> None:
    source, text = sources.well_splits(tmp_path / "source")
    shutil.rmtree(source / "data" / "valid")
    with pytest.raises(UserError, match="the files have the splits train, test, without valid"):
        adopt.run(settings_of(tmp_path / "run", *sources.adopt_overrides(tmp_path, source, text)))


def test_a_source_and_the_adopted_data_do_not_overlap(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    source, text = sources.npy_folder(tmp_path / "source")
    for run, changes in ((source / "run", ()), (tmp_path / "run", (f"dataset={source.parent}",))):
        before = {path: path.read_bytes() for path in source.iterdir() if path.is_file()}
        overrides = (*sources.adopt_overrides(tmp_path, source, text), *changes, "overwrite=true")
        with pytest.raises(UserError, match="overlap"):
            adopt.run(settings_of(run, *overrides))
        assert {path: path.read_bytes() for path in source.iterdir() if path.is_file()} == before


def test_a_file_of_no_known_layout_is_listed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["first"] = file["second"] = 1.0
    with pytest.raises(UserError, match=r"no known layout\. At its root are first, second\. Known are well"):
        open_source(tmp_path / "other.h5", None, Description())
    (tmp_path / "notes.hdf5").write_text("no data")
    with pytest.raises(UserError, match="its first bytes are b'no data'"):
        open_source(tmp_path / "notes.hdf5", None, Description())
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "readme.md").write_text("text")
    with pytest.raises(UserError, match=r"It holds readme\.md\. Known are"):
        open_source(tmp_path / "texts", None, Description())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t0_fields/u": np.float64}, "disagree in their dtype of the field u: float32 and float64"),
        ({"dimensions/x": 2.0}, "disagree in their coordinates x: 0.0625 to 0.9375 and 0.125 to 1.875"),
        ({"dimensions/time": 2.0}, "disagree in their times"),
    ],
)
def test_files_that_disagree_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    source, _ = sources.well_splits(tmp_path)
    with h5py.File(source / "data" / "valid" / "waves_6.hdf5", "r+") as file:
        for path, value in change.items():
            dataset = file[path]
            attributes, values = dict(dataset.attrs), dataset[...]
            del file[path]
            file[path] = values.astype(value) if isinstance(value, type) else value * values
            file[path].attrs.update(attributes)
    with pytest.raises(UserError, match=message):
        open_source(source, None, Description())


def test_times_that_differ_between_trajectories_are_refused(tmp_path: Path) -> None:
    source, _ = sources.pdebench_components(tmp_path)
    with h5py.File(source, "r+") as file:
        file["t"][1] = 2 * sources.TIMES
    with pytest.raises(UserError, match="t differs between trajectories"):
        open_source(source, None, Description())


def test_arrays_need_named_axes(tmp_path: Path) -> None:
    source, _ = sources.npy(tmp_path)
    with pytest.raises(UserError, match=r"temperatures float32\(10, 4, 8, 8\).*Add axes:"):
        open_source(source, None, Description())
    with pytest.raises(UserError, match="order="):
        open_source(
            source, None, Description.model_validate({"axes": {"x": {}, "y": {}}, "order": ["x", "y"]})
        )


def test_a_table_without_masses_asks_for_them(tmp_path: Path) -> None:
    source, text = sources.csv_particles(tmp_path)
    source.write_text(source.read_text().replace("mass", "weight"))
    with pytest.raises(UserError, match=r"lacks the columns mass.*columns: \{mass: NAME\}"):
        open_source(source, None, described(text, tmp_path))
