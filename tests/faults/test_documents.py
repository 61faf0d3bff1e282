"""Damaged documents of a data set: each stage names the file in one message; damaged records are skipped."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.dataset import Dataset
from pipeline.runs import provenance, records
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from tests.faults.driving import run_drift_in_process
from tests.faults.test_validate import failure_of

CONTENTS = {
    "empty": b"",
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "nested deeply": b"[" * 10**5 + b"]" * 10**5,
    "not UTF-8": b'{"a": "\xff"}',
    "another object": b'{"a": 1}',
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("content", [*CONTENTS.values(), None], ids=[*CONTENTS, "a pipe"])
@pytest.mark.parametrize("name", ["manifest.json", "validation.json", "stats.yaml"])
def test_a_damaged_document_is_named(name: str, content: bytes | None, run_copy: Path) -> None:
    path = run_copy / "dataset" / name
    path.unlink()
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError) as error_info:
        Dataset.open(run_copy / "dataset")
    assert name in str(error_info.value) or "there is no data set" in str(error_info.value)
    if name == "manifest.json":
        assert "manifest.json" in failure_of("validate", run_copy)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("content", [*CONTENTS.values(), None], ids=[*CONTENTS, "a pipe"])
@pytest.mark.fault(
    "a receipt is damaged or no regular file",
    cause="empty, nested, not JSON, not UTF-8, a named pipe",
    result="validate names the file",
    lost="nothing",
)
def test_a_damaged_receipt_is_named(content: bytes | None, run_copy: Path) -> None:
    path = run_copy / "dataset" / "receipts" / "train-00001.json"
    path.unlink()
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    assert "train-00001.json" in failure_of("validate", run_copy)


def set_value(*keys: str | int, value: object) -> Callable[[dict], None]:
    """Return a function that sets a nested value of a document."""

    def change(document: dict) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


def describe_long_times(document: dict) -> None:
    """Describe 2^40 frames, and shards that hold these frames."""
    document["configuration"]["output"]["steps"] = 2**40
    for shard in document["shards"]:
        shard["size"] = 2**60


def describe_empty_shards(document: dict) -> None:
    """Describe 2^40 frames in shards without trajectories."""
    document["configuration"]["output"]["steps"] = 2**40
    for shard in document["shards"]:
        shard["trajectories"] = 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("manifest.json", set_value("configuration", "samples", "train", value=10**15), "samples.train"),
        ("manifest.json", set_value("configuration", "samples", "train", value=10**9), "at most 1048576"),
        ("manifest.json", set_value("configuration", "samples", "per_shard", value=0), "samples.per_shard"),
        ("manifest.json", set_value("configuration", "samples", value=3), "samples"),
        ("manifest.json", set_value("configuration", "output", "steps", value=10**15), "bytes of fields"),
        ("manifest.json", set_value("configuration", "output", "steps", value=2.5), "output.steps"),
        ("manifest.json", describe_long_times, "4398046511156 bytes of coordinates in each shard"),
        ("manifest.json", describe_empty_shards, "shards.0.trajectories"),
        ("manifest.json", set_value("spec", "fields", value=[]), "spec.fields"),
        ("manifest.json", set_value("spec", "sites", "axes", 0, "size", value=0), "axes.0.size"),
        ("manifest.json", set_value("configuration", "output", "duration", value=1e999), "output.duration"),
        ("manifest.json", set_value("configuration", "storage", value={}), "storage.precision"),
        ("manifest.json", set_value("configuration", "solver", "name", value=[1]), "solver.name"),
        ("manifest.json", set_value("spec", "autonomous", value="no"), "spec.autonomous"),
        ("manifest.json", set_value("parameter_shapes", "speed", value=[-1]), "parameter_shapes.speed.0"),
        ("receipts/train-00001.json", set_value("core_seconds", value=float("nan")), "core_seconds"),
        ("receipts/train-00001.json", set_value("split", value="../../.."), "split"),
        ("receipts/train-00001.json", set_value("number", value=7), "train 7"),
        ("receipts/train-00001.json", set_value("size", value=-1), "size"),
        ("receipts/train-00001.json", set_value("statistics", "fields", "mean", value=[1e999]), "mean"),
    ],
)
def test_values_that_no_data_set_can_have_are_refused(
    name: str, change: Callable[[dict], None], message: str, run_copy: Path
) -> None:
    path = run_copy / "dataset" / name
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    text = failure_of("validate", run_copy)
    assert path.name in text
    assert message in text


@pytest.mark.fault(
    "records are damaged or foreign",
    cause="wrong content, a named pipe, foreign names",
    result="skipped with a note",
    lost="the damaged records",
)
def test_damaged_records_are_skipped_with_a_note(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder.at(run_copy).records
    for name, content in CONTENTS.items():
        (folder / f"validate-9{len(name):02d}.json").write_bytes(content)
    (folder / "validate-backup.json").write_bytes(b"[]")
    os.mkfifo(folder / "validate-777.json")
    intact = [record for record in records.of_stage(run_copy, "validate") if record["outcome"] == "complete"]
    assert len(intact) == 1
    assert len(provenance.attempts(run_copy, "validate")) == 1
    notes = capsys.readouterr().err
    assert "validate-777.json" in notes
    assert "The record is skipped" in notes
    run_drift_in_process("validate", run_copy)
    assert len(provenance.attempts(run_copy, "validate")) == 2


def test_records_are_in_the_order_of_their_numbers(run_copy: Path) -> None:
    folder = RunFolder.at(run_copy).records
    record = json.loads((folder / "validate-000.json").read_text())
    for number in (999, 1000):
        (folder / f"validate-{number}.json").write_text(json.dumps(record | {"host": str(number)}))
    assert [entry["host"] for entry in records.of_stage(run_copy, "validate")][1:] == ["999", "1000"]
    run_drift_in_process("validate", run_copy)
    assert (folder / "validate-1001.json").is_file()
