"""croissant.json of a data set: its files, splits, names and provenance, read by MLCommons' own package."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.data import croissant
from pipeline.data.manifest import read_complete_manifest
from simsurrogate.files import sha256_of
from tests.support.in_process import generate_in_process
from tests.support.launching import SMALL_DATASET, require_success, run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_in_process(tmp_path_factory.mktemp("croissant"), *SMALL_DATASET)


def document_of(dataset: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((dataset / "croissant.json").read_text())
    return document


def test_the_files_are_the_shards_with_their_checksums(dataset: Path) -> None:
    entries = document_of(dataset)["distribution"]
    assert {entry["contentUrl"] for entry in entries} == {
        str(path.relative_to(dataset)) for path in dataset.glob("data/*/*.hdf5")
    }
    for entry in entries:
        path = dataset / entry["contentUrl"]
        assert entry["sha256"] == sha256_of(path)
        assert entry["contentSize"] == f"{path.stat().st_size} B"


def test_the_provenance_names_the_software_and_the_whole_configuration(dataset: Path) -> None:
    manifest = read_complete_manifest(dataset)
    activity = document_of(dataset)["prov:wasGeneratedBy"]
    assert json.loads(activity["prov:used"]["prov:value"]) == manifest.configuration
    assert activity["prov:wasAssociatedWith"]["prov:label"].startswith("simsurrogate ")
    limits = " ".join(document_of(dataset)["rai:dataLimitations"])
    assert "mean_diffusivity from 0.1 to 0.3 m^2/s" in limits
    assert "expected relative error of the last frame of train is " in limits


def test_a_second_description_of_the_same_data_has_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    manifest = read_complete_manifest(dataset)
    document = croissant.describe(manifest, "2020-02-29")
    path = tmp_path / "croissant.json"
    path.write_text(json.dumps(document))
    croissant.write(tmp_path, manifest)
    content = path.read_bytes()
    assert json.loads(content) == document
    croissant.write(tmp_path, manifest)
    assert path.read_bytes() == content
    # A description of other data, or a damaged one, is replaced and its date is not kept.
    for damage in ({"citeAs": "others"}, {"datePublished": "soon"}, {"datePublished": 3}):
        path.write_text(json.dumps(document | damage))
        croissant.write(tmp_path, manifest)
        assert json.loads(path.read_text())["datePublished"] > "2025"


#: A process of its own, because the logging of mlcroissant closes the captured output of later tests.
READER = """
import json, sys, mlcroissant
described = mlcroissant.Dataset(sys.argv[1])
issues = described.metadata.ctx.issues
print(json.dumps({
    "complaints": [*map(str, issues.errors), *map(str, issues.warnings)],
    "checksums": [file.sha256 for file in described.metadata.distribution],
    "shards": [[row["shards/file"], row["shards/trajectories"]] for row in described.records("shards")],
    "quantities": [row["quantities/name"] for row in described.records("quantities")],
    "splits": {row["splits/name"]: row["splits/url"] for row in described.records("splits")},
}, default=lambda text: text.decode()))
"""


def test_mlcroissant_reads_the_description_without_complaint(dataset: Path) -> None:
    result = require_success(run([sys.executable, "-c", READER, str(dataset / "croissant.json")]))
    described = json.loads(result.stdout.splitlines()[-1])
    assert described["complaints"] == []
    manifest = read_complete_manifest(dataset)
    assert described["checksums"] == [shard.sha256 for shard in manifest.shards]
    assert described["shards"] == [[shard.file, shard.trajectories] for shard in manifest.shards]
    spec = manifest.spec
    assert described["quantities"] == [
        entry.name for entry in (*spec.fields, *spec.coefficient_fields, *spec.parameters, *spec.quantities)
    ]
    assert described["splits"] == {
        "train": "cr:TrainingSplit",
        "valid": "cr:ValidationSplit",
        "test": "cr:TestSplit",
    }
