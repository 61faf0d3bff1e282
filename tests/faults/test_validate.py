"""Damage to a finished data set: validate names it, generate makes just that shard again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.data.dataset import Dataset
from pipeline.data.format import hdf5
from simsurrogate.files import sha256_of
from tests.faults.driving import drift, made
from tests.support.launching import succeeded

VICTIM = "data/train/train-00001.hdf5"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole")
    succeeded(drift("generate", run))
    with pytest.raises(ValueError, match=r"was not validated.*Run python -m pipeline.validate"):
        Dataset.open(run / "dataset")
    succeeded(drift("validate", run, ranks=2))
    return run


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[hdf5.dataset_locations(path)["t0_fields/density"].offset + 21] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "damages",
    [
        {"train-00001": (truncated, "size"), "valid-00000": (flipped, "checksum")},
        {
            "train-00000": (emptied, "size"),
            "test-00000": (text, "checksum"),
            "valid-00000": (removed, "size"),
        },
    ],
    ids=["cut and flipped", "emptied, replaced and removed"],
)
def test_damaged_shards_are_named_and_only_these_are_made_again(
    damages: dict[str, tuple[Callable[[Path], None], str]], whole: Path, copy: Path
) -> None:
    for name, (damage, _) in damages.items():
        damage(copy / "dataset" / "data" / name.split("-")[0] / f"{name}.hdf5")
    failed = drift("validate", copy)
    assert failed.returncode == 2
    for name, (_, check) in damages.items():
        assert f"{name}.hdf5: {check}: " in failed.stderr
    assert failed.stderr.count(".hdf5: ") == len(damages), "the other shards are well"
    assert "expected" in failed.stderr
    assert "python -m pipeline.generate" in failed.stderr
    with pytest.raises(ValueError, match=r"failed its validation: data/"):
        Dataset.open(copy / "dataset")
    assert f"({len(damages)} of 5 shards made now" in succeeded(drift("generate", copy)).stdout
    assert made(copy) == made(whole)
    with pytest.raises(ValueError, match=r"failed its validation: data/"):
        Dataset.open(copy / "dataset")
    succeeded(drift("validate", copy))
    Dataset.open(copy / "dataset")


def forge(run: Path, change: Callable[[Path], None]) -> None:
    """Changes a shard, and its receipt and the manifest with it, as a faulty or hostile maker would."""
    dataset = run / "dataset"
    change(dataset / VICTIM)
    size, sha256 = (dataset / VICTIM).stat().st_size, sha256_of(dataset / VICTIM)
    for name in ("receipts/train-00001.json", "manifest.json"):
        paper = json.loads((dataset / name).read_text())
        listed = [one for one in paper.get("shards", [paper]) if one.get("file", VICTIM) == VICTIM]
        listed[0] |= {"size": size, "sha256": sha256}
        (dataset / name).write_text(json.dumps(paper))


def changed(path: str, row: int, value: float) -> Callable[[Path], None]:
    def change(shard: Path) -> None:
        with h5py.File(shard, "r+") as file:
            values = file[path][...]
            values[row] = value
            file[path][...] = values

    return change


def not_complete(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file.attrs.modify("complete", False)


def rows_missing(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        for name in ("density", "t0_fields/density"):
            values = file["t0_fields/density"][:1] if name in file else None
            if name == "density":
                del file[name]
            else:
                del file[name]
                file.create_dataset(name, data=values)


def field_missing(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        del file["t1_fields/velocity"]


def external_link(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        del file["t0_fields/density"]
        file["t0_fields/density"] = h5py.ExternalLink("/etc/passwd", "/")


def external_storage(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        del file["t0_fields/density"], file["density"]
        file.create_dataset("t0_fields/density", (2, 4, 12), "f4", external=[("/etc/passwd", 0, 384)])


def virtual(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        del file["t0_fields/density"], file["density"]
        layout = h5py.VirtualLayout((2, 4, 12), "f4")
        layout[:] = h5py.VirtualSource("/tmp/other.hdf5", "data", (2, 4, 12))  # noqa: S108
        file.create_virtual_dataset("t0_fields/density", layout)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed("t0_fields/density", 1, np.nan), "finite: t0_fields/density[1, 0, 0] is nan"),
        (changed("scalars/speed", 0, 7.0), "parameter_range: speed=7 found, a value in [1, 2] expected"),
        (changed("sample", 0, 2**40), "indices: row 0 is trajectory 1099511627776, 2 expected"),
        (not_complete, "attributes: / complete: False found, True expected"),
        (rows_missing, "layout: t0_fields/density: float32(1, 4, 12) found, float32(2, 4, 12) expected"),
        (field_missing, "layout: t1_fields/velocity is missing"),
        (external_link, "no_external_links: "),
        (external_storage, "no_external_links: "),
        (virtual, "no_external_links: "),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_shard_with_true_papers_and_wrong_content_is_refused(
    change: Callable[[Path], None], words: str, copy: Path
) -> None:
    forge(copy, change)
    failed = drift("validate", copy)
    assert failed.returncode == 2, failed.stderr
    assert f"{VICTIM}: {words}" in failed.stderr
    with pytest.raises(ValueError, match=r"changed after its validation|failed its validation"):
        Dataset.open(copy / "dataset")


def test_a_foreign_file_among_the_shards_is_named(copy: Path) -> None:
    (copy / "dataset/data/valid/more.hdf5").touch()
    failed = drift("validate", copy)
    assert failed.returncode == 2
    assert "more.hdf5 is not a shard of this data set" in failed.stderr


def test_changed_statistics_are_found_and_made_again(whole: Path, copy: Path) -> None:
    statistics = copy / "dataset" / "stats.yaml"
    statistics.write_text(statistics.read_text().replace("density: 0.", "density: 1.", 1))
    with pytest.raises(ValueError, match=r"stats.yaml is missing or was changed"):
        Dataset.open(copy / "dataset")
    assert "stats.yaml differs" in drift("validate", copy).stderr
    succeeded(drift("generate", copy))
    assert made(copy) == made(whole)


def test_another_schema_version_or_a_lacking_key_is_refused(copy: Path) -> None:
    path = copy / "dataset" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(ValueError, match=r"another release wrote this data set \(schema version 99\)"):
        Dataset.open(copy / "dataset")
    assert "another release wrote this data set (schema version 99)" in drift("validate", copy).stderr
    del manifest["spec"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(
        ValueError, match=r"manifest.json is not a manifest of a data set: spec: Field required"
    ):
        Dataset.open(copy / "dataset")


def edited(*keys: str, value: object) -> Callable[[Path], None]:
    """Another value at one place of a manifest."""

    def edit(path: Path) -> None:
        manifest = json.loads(path.read_text())
        place = manifest
        for key in keys[:-1]:
            place = place[int(key)] if isinstance(place, list) else place[key]
        place[keys[-1]] = value
        path.write_text(json.dumps(manifest))

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            edited("configuration", "solver", "resolution", value=[14]),
            "manifest: its configuration was changed",
        ),
        (
            edited("failed", value=[{"index": 3, "reason": "?", "parameters": {}}]),
            "manifest: manifest and receipts differ",
        ),
        (
            edited("spec", "fields", "0", "unit", value="g"),
            "units_and_names: t0_fields/density units: 'kg/m^3' found",
        ),
    ],
    ids=["configuration", "failed", "spec"],
)
def test_a_changed_manifest_is_told_and_made_again_alone(
    edit: Callable[[Path], None], words: str, whole: Path, copy: Path
) -> None:
    edit(copy / "dataset" / "manifest.json")
    failed = drift("validate", copy)
    assert failed.returncode == 2
    assert words in failed.stderr
    assert "(0 of 5 shards made now" in succeeded(drift("generate", copy)).stdout
    assert made(copy) == made(whole)
    assert "passed" in succeeded(drift("validate", copy)).stdout


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "cannot be read as JSON"),
        (edited("schema_version", value=99), "another release wrote this data set (schema version 99)"),
    ],
    ids=["cut", "another schema"],
)
def test_a_manifest_that_cannot_be_read_is_left_until_asked_to_start_anew(
    damage: Callable[[Path], None], words: str, whole: Path, copy: Path
) -> None:
    damage(copy / "dataset" / "manifest.json")
    refused = drift("generate", copy)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert "start_anew=true" in refused.stderr
    assert made(copy) == made(whole)
    assert "(5 of 5" in succeeded(drift("generate", copy, "start_anew=true")).stdout
    assert made(copy) == made(whole)


def test_a_manifest_cannot_name_files_elsewhere(copy: Path) -> None:
    path = copy / "dataset" / "manifest.json"
    path.write_text(path.read_text().replace(VICTIM, "data/train/../../../elsewhere.hdf5"))
    with pytest.raises(ValueError, match=r"manifest.json lists other shards"):
        Dataset.open(copy / "dataset")


def test_a_missing_data_set_is_told_with_what_to_do(tmp_path: Path) -> None:
    failed = drift("validate", tmp_path / "none")
    assert failed.returncode == 2
    assert "there is no data set in" in failed.stderr
    assert "python -m pipeline.generate" in failed.stderr
    assert not (tmp_path / "none").exists()


def test_a_shard_gone_after_validation_is_told_by_name(copy: Path) -> None:
    truncated(copy / "dataset" / VICTIM)
    with pytest.raises(ValueError, match=r"train-00001.hdf5: \d+ bytes found, \d+ bytes expected"):
        Dataset.open(copy / "dataset")
