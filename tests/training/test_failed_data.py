"""Data that failed their validation: refused, or used with `allow_failed=true` and named in the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest.mock import patch

import h5py
import pytest

from pipeline import evaluate, validate
from pipeline.data.validation import INTEGRITY_CHECKS
from pipeline.evaluation.report import report
from simsurrogate.errors import UserError
from tests.faults.driving import forge
from tests.support.trainings.training_cases import read_settings, tiny_arguments, train_model

TEST_SHARD = "data/test/test-00000.hdf5"


@pytest.fixture(scope="module")
def leaking_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose test split holds a training trajectory; its validation has failed."""
    run = tmp_path_factory.mktemp("leaking")
    shutil.copytree(dataset, run / "dataset")

    def copy_row(path: Path) -> None:
        with h5py.File(path, "r+") as test, h5py.File(run / "dataset/data/train/train-00000.hdf5") as train:
            for name in ("t0_fields/temperature", "t0_fields/diffusivity"):
                test[name][1] = train[name][2]

    forge(run, copy_row, TEST_SHARD)
    with pytest.raises(UserError, match="failed its validation"):
        validate.run(read_settings(f"run={run}"))
    return run


def test_failed_data_are_refused_with_the_words_to_type(leaking_run: Path) -> None:
    with pytest.raises(UserError, match=r"failed its validation.*equal_rows.*type allow_failed=true"):
        train_model(leaking_run, leaking_run / "dataset")
    assert not (leaking_run / "models").exists()


def test_the_model_and_its_report_name_the_failed_checks(leaking_run: Path) -> None:
    model = train_model(leaking_run, leaking_run / "dataset", "allow_failed=true")
    failed_checks = json.loads((model / "model.json").read_text())["configuration"]["failed_checks"]
    assert "equal_rows" in failed_checks
    arguments = tiny_arguments(leaking_run, leaking_run / "dataset", "evaluation.worth=0")
    with pytest.raises(UserError, match="type allow_failed=true"):
        evaluate.run(read_settings(*arguments))
    with patch.object(report, "parts", return_value=[]):
        evaluate.run(read_settings(*arguments, "allow_failed=true"))
    page = (model / "evaluation" / "report.html").read_text()
    assert f"allow_failed=true on data that failed the checks {', '.join(failed_checks)}" in page


def test_damaged_files_are_refused_all_the_same(leaking_run: Path, tmp_path: Path) -> None:
    shutil.copytree(leaking_run / "dataset", tmp_path / "dataset")
    path = tmp_path / "dataset/validation.json"
    document = json.loads(path.read_text())
    assert not {record["check"] for record in document["results"] if record["outcome"] == "failed"} & (
        INTEGRITY_CHECKS
    )
    (tmp_path / "dataset" / TEST_SHARD).write_bytes(b"")
    with pytest.raises(UserError, match="failed its validation"):
        validate.run(read_settings(f"run={tmp_path}"))
    with pytest.raises(UserError, match=r"allow_failed=true accepts no failed checks of files: .*size"):
        train_model(tmp_path, tmp_path / "dataset", "allow_failed=true")


def test_a_failed_validation_of_an_earlier_release_has_to_be_repeated(
    leaking_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(leaking_run / "dataset", tmp_path / "dataset")
    path = tmp_path / "dataset/validation.json"
    document = json.loads(path.read_text())
    del document["results"]
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"without the names of the failed checks.*validate again"):
        train_model(tmp_path, tmp_path / "dataset", "allow_failed=true")


def test_a_passed_validation_of_an_earlier_release_counts(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "dataset")
    path = tmp_path / "dataset/validation.json"
    document = json.loads(path.read_text())
    del document["results"]
    path.write_text(json.dumps(document))
    model = train_model(tmp_path, tmp_path / "dataset", "training.steps=10")
    assert "failed_checks" not in json.loads((model / "model.json").read_text())["configuration"]
