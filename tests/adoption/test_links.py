"""Files that are read in place: no copy, the same values, and no other file is opened."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest
import xarray

from pipeline import adopt, evaluate, train, validate
from pipeline.adoption import placement
from pipeline.adoption.contents import Contents, MappableRows
from pipeline.data.card import figures
from pipeline.data.dataset import Dataset
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, read_document
from simsurrogate.errors import UserError
from tests.adoption import sources
from tests.adoption.test_layouts import _FNO, _TRAINING, checksums, source_rows
from tests.support.in_process import settings_of
from tests.support.opened_files import watched

DESCRIPTION = "fields: {u: {}, flux: {}}\n"


def linked(run: Path, source: Path, description: str = DESCRIPTION, *overrides: str) -> Path:
    with mock.patch.object(figures, "draw", return_value=[]):
        adopt.run(settings_of(run, *sources.adopt_overrides(run.parent, source, description), *overrides))
    return run / "dataset"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sources.well_splits(tmp_path_factory.mktemp("well"))[0]


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("linked") / "run"
    linked(run, source)
    validate.run(settings_of(run))
    return run


def test_the_shards_hold_no_copy_of_the_fields(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checksums(source)
    dataset = linked(tmp_path / "run", source)
    assert "read in place, without a copy" in capsys.readouterr().out
    copy = linked(tmp_path / "copy", source, DESCRIPTION + "in_place: false\n")
    assert "copied into" in capsys.readouterr().out
    names = ["train-00000.hdf5", "train-00001.hdf5", "test-00000.hdf5", "valid-00000.hdf5"]
    assert sorted(path.name for path in dataset.glob("data/*/*")) == sorted(names)
    with (
        h5py.File(dataset / "data/train/train-00000.hdf5") as own,
        h5py.File(source / "data/train/waves_0.hdf5") as original,
    ):
        assert own["t0_fields/u"].external is not None
        assert np.array_equal(own["t0_fields/u"][...], original["t0_fields/u"][...])
    for name in ("stats.yaml",):
        assert (dataset / name).read_bytes() == (copy / name).read_bytes()
    assert checksums(source) == before


def test_a_linked_data_set_is_trained_and_evaluated(run: Path, source: Path) -> None:
    before = checksums(source)
    dataset = Dataset.open(run / "dataset")
    assert source_rows(dataset, sources.HEAT) == {"train": list(range(6)), "valid": [6, 7], "test": [8, 9]}
    train.run(settings_of(run, *_FNO, *_TRAINING))
    assert 0 < evaluate.run(settings_of(run, *_FNO, *_TRAINING)) < 10
    assert checksums(source) == before


def test_other_readers_open_linked_shards(run: Path) -> None:
    the_well = pytest.importorskip("the_well.data")
    options = {"well_split_name": "train", "n_steps_input": 1, "n_steps_output": 1}
    read = the_well.WellDataset(path=str(run / "dataset"), **options)
    assert np.array_equal(read[0]["input_fields"][0, ..., 0], sources.HEAT[0, 0])
    shard = xarray.open_dataset(run / "dataset/data/test/test-00000.hdf5", engine="h5netcdf")
    assert np.array_equal(shard.u, sources.HEAT[8:])


@pytest.mark.fault(
    "a file that was adopted in place changes",
    cause="one changed byte; a copy in its place",
    result="refused by validate, train and evaluate, with the command of adopt",
    lost="nothing",
)
@pytest.mark.parametrize("change", ["byte", "copy", "missing"])
def test_a_changed_source_is_refused(change: str, source: Path, tmp_path: Path) -> None:
    own_source = tmp_path / "source"
    shutil.copytree(source, own_source)
    run = tmp_path / "run"
    linked(run, own_source)
    validate.run(settings_of(run))
    victim = own_source / "data/train/waves_0.hdf5"
    content = victim.read_bytes()
    victim.unlink()
    if change != "missing":
        victim.write_bytes(content if change == "copy" else content[:-1] + b"x")
    dataset = Dataset.open(run / "dataset")
    with pytest.raises(UserError, match=r"waves_0\.hdf5 .*adopted"):
        dataset.trajectory("train", 0)
    with pytest.raises(UserError, match=r"waves_0\.hdf5 .*adopted"):
        validate.run(settings_of(run))
    if change == "copy":
        linked(run, own_source)
        validate.run(settings_of(run))
        assert Dataset.open(run / "dataset").trajectory("train", 0).state.any()


def test_a_forged_link_opens_no_other_file(run: Path, tmp_path: Path) -> None:
    copy, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(run, copy)
    victim.write_bytes(b"secret" * 10**5)
    manifest_path = copy / "dataset" / "manifest.json"
    manifest = json.loads(manifest_path.read_text())
    (link,) = manifest["links"]["data/train/train-00000.hdf5"]
    link["path"] = str(victim)
    manifest_path.write_text(json.dumps(manifest))
    with watched(victim) as watch:
        with pytest.raises(UserError, match="is not the file that was adopted"):
            validate.run(settings_of(copy))
        assert not watch.was_opened()


#: The layouts whose arrays are those of shards, apart from their splits.
MAPPED = ("well", "pdebench_tensor", "npy", "npy_folder")


@pytest.mark.parametrize("layout", MAPPED)
def test_arrays_are_read_in_place_in_the_order_of_the_files(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").mkdir()
    source, description = sources.LAYOUTS[layout](tmp_path / "source")
    if layout == "well":
        description = DESCRIPTION
    before = checksums(source)
    run = tmp_path / "run"
    linked(run, source, description + "in_place: true\n", "samples.per_shard=3")
    assert "8 train, 1 valid, 1 test trajectories read in place" in capsys.readouterr().out
    validate.run(settings_of(run))
    dataset = Dataset.open(run / "dataset")
    assert source_rows(dataset, sources.HEAT) == {"train": list(range(8)), "valid": [8], "test": [9]}
    if layout == "npy_folder":
        coefficients = [dataset.trajectory("train", index).coefficient_fields[0] for index in range(8)]
        assert np.array_equal(coefficients, sources.HEAT[:8, 0])
    with h5py.File(run / "dataset/data/train/train-00002.hdf5") as shard:
        assert shard["t0_fields/u"].external is not None
        assert np.array_equal(shard["t0_fields/u"][...], sources.HEAT[6:8])
    assert checksums(source) == before


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ("pdebench_groups", "the values of data_0, data_1 are not one array"),
        ("pdebench_fields", "the components of velocity are different arrays"),
        ("npz_folder", "the values of u are not one array"),
        ("netcdf4", "the values of u are not one array"),
        ("csv_particles", "not one array"),
    ],
)
def test_the_reason_for_a_copy_is_named(
    layout: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").mkdir()
    source, description = sources.LAYOUTS[layout](tmp_path / "source")
    with pytest.raises(UserError, match=f"cannot be read in place: .*{reason}"):
        linked(tmp_path / "refused", source, description + "in_place: true\n")
    linked(tmp_path / "run", source, description)
    output = capsys.readouterr()
    assert "copied into" in output.out
    assert reason in output.err


def test_a_random_division_copies_an_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, description = sources.npy(tmp_path)
    linked(tmp_path / "run", source, description)
    assert "in_place: true in the description divides" in capsys.readouterr().err


def test_a_validation_reads_a_file_of_many_shards_once(tmp_path: Path) -> None:
    source, description = sources.npy(tmp_path)
    linked(tmp_path / "run", source, description + "in_place: true\n", "samples.per_shard=1")
    with mock.patch.object(validate, "sha256_of", side_effect=validate.sha256_of) as checksum:
        validate.run(settings_of(tmp_path / "run"))
    assert sum(call.args[0] == source for call in checksum.call_args_list) == 1


def test_linked_shards_of_another_release_of_the_library_are_read(tmp_path: Path) -> None:
    source, description = sources.npy(tmp_path)
    with mock.patch.object(h5py, "File", functools.partial(h5py.File, libver="latest")):
        dataset = linked(tmp_path / "run", source, description + "in_place: true\n")
    validate.run(settings_of(tmp_path / "run"))
    assert source_rows(Dataset.open(dataset), sources.HEAT)["train"] == list(range(8))
    shard = dataset / "data/train/train-00000.hdf5"
    content = shard.read_bytes()
    # Another file of the same length.
    shard.write_bytes(content.replace(b"temperatures.npy", b"temperaturez.npy"))
    with pytest.raises(UserError, match="SHA-256"):
        validate.run(settings_of(tmp_path / "run"))
    manifest = read_document(dataset / "manifest.json", Manifest)
    with pytest.raises(UserError, match="another structure"):
        Structures(manifest.header).locations(shard, 8)


def test_shards_of_one_file_share_its_map(tmp_path: Path) -> None:
    source, description = sources.npy(tmp_path)
    linked(tmp_path / "run", source, description + "in_place: true\n", "samples.per_shard=1")
    validate.run(settings_of(tmp_path / "run"))
    dataset = Dataset.open(tmp_path / "run" / "dataset")
    num_open = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(8):
        dataset.trajectory("train", number)
    maps = Path("/proc/self/maps").read_text().count(str(source))
    assert maps == 1
    # Each shard has a descriptor of its own file, and all shards one of the source.
    assert len(list(Path("/proc/self/fd").iterdir())) <= num_open + 8 + 1


@pytest.mark.parametrize(
    ("counts", "typed", "per_shard"),
    [((4, 4, 2), 8, 4), ((4, 4, 2), 2, 2), ((5, 5), 3, 5), ((3, 3, 4), 8, 3)],
)
def test_each_shard_lies_in_one_file(
    counts: tuple[int, ...], typed: int, per_shard: int, tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    start = 0
    for count in counts:
        sources.well_file(folder / f"part{start}.hdf5", slice(start, start + count))
        start += count
    description = DESCRIPTION + "in_place: true\nsplits: {train: 8, valid: 1, test: 1}\n"
    dataset = linked(tmp_path / "run", folder, description, f"samples.per_shard={typed}")
    samples = json.loads((dataset / "manifest.json").read_text())["configuration"]["samples"]
    assert samples["per_shard"] == per_shard
    validate.run(settings_of(tmp_path / "run"))
    rows = source_rows(Dataset.open(dataset), sources.HEAT)
    assert rows == {"train": list(range(8)), "valid": [8], "test": [9]}


def test_numbers_that_h5py_shows_as_another_type_are_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = h5py.h5t.IEEE_F32LE.copy()
    half.set_fields(15, 7, 8, 0, 7)
    half.set_size(2)
    half.set_ebias(127)
    source, description = sources.pdebench_tensor(tmp_path)
    with h5py.File(source, "r+") as file:
        del file["tensor"]
        space = h5py.h5s.create_simple(sources.HEAT.shape)
        h5py.h5d.create(file.id, b"tensor", half, space).write(h5py.h5s.ALL, h5py.h5s.ALL, sources.HEAT)
        assert file["tensor"].dtype == np.float32
    linked(tmp_path / "run", source, description)
    assert "the values of tensor are not one array" in capsys.readouterr().err
    validate.run(settings_of(tmp_path / "run"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "/etc/passwd"}, "outside of the files"),
        ({"path": "{source}/../other/temperatures.npy"}, "outside of the files"),
        ({"offset": -8}, "outside of the files"),
        ({"offset": 2**70}, "outside of the files"),
        ({"num_trajectories": 11}, "outside of the files"),
        ({"num_trajectories": 9}, r"hold \[9\] trajectories, 10 expected"),
    ],
)
def test_a_deceived_reader_leads_to_no_other_bytes(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source, description = sources.npy(tmp_path)

    def deceived(contents: Contents) -> Contents:
        (rows,) = contents.rows
        location = rows.locations["u"]
        location = dataclasses.replace(
            location,
            **{
                key: value.format(source=source) if isinstance(value, str) else value
                for key, value in change.items()
                if key != "num_trajectories"
            },
        )
        count = change.get("num_trajectories", rows.num_trajectories)
        return dataclasses.replace(contents, rows=[MappableRows(count, {"u": location})])

    original = placement.placement_of
    with (
        mock.patch.object(
            adopt,
            "placement_of",
            side_effect=lambda source, contents, *others: original(source, deceived(contents), *others),
        ),
        pytest.raises(UserError, match=message),
    ):
        linked(tmp_path / "run", source, description + "in_place: true\n")


def test_files_that_cannot_be_mapped_are_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = sources.well_splits(tmp_path / "source")
    with h5py.File(source / "data/valid/waves_6.hdf5", "r+") as file:
        values, attributes = file["t0_fields/u"][...], dict(file["t0_fields/u"].attrs)
        del file["t0_fields/u"]
        dataset = file["t0_fields"].create_dataset("u", data=values, compression="gzip")
        dataset.attrs.update(attributes)
    linked(tmp_path / "run", source)
    assert "copied into" in capsys.readouterr().out
