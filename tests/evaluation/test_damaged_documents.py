"""Damaged records and logs of a training: an evaluation writes its report, and names the damaged files."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline import evaluate
from pipeline.evaluation import schema
from pipeline.evaluation.report import origin_part
from pipeline.runs.folder import RunFolder
from tests.support.trainings.training_cases import (
    generate_dataset,
    read_settings,
    tiny_arguments,
    train_model,
)

CONTENTS = (b"[]", b"", b"\xff", b"[" * 10**5, b'{"outcome": "complete"}', b'{"outcome": 3, "started": []}')


@pytest.mark.timeout(120)
@pytest.mark.fault(
    "records, log and metrics of a model are damaged",
    cause="wrong types, missing keys, deep nesting, not UTF-8, a named pipe",
    result="evaluate writes its report, and names the files",
    lost="the curves of the training",
)
def test_an_evaluation_ignores_damaged_records_and_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = generate_dataset(tmp_path)
    folder = train_model(tmp_path, dataset, "training.steps=10")
    for number, content in enumerate(CONTENTS, start=777):
        (tmp_path / "records" / f"train-{number}.json").write_bytes(content)
    os.mkfifo(tmp_path / "records" / "train-800.json")
    settings = read_settings(*tiny_arguments(tmp_path, dataset, "training.steps=10", "evaluation.figures=0"))
    evaluation = RunFolder.of(settings).evaluation
    for log in (b"\xff", b"a,b\n1,2\n", b"step,loss\n1e308,1\n-1e308,2\n"):
        (folder / "log.csv").write_bytes(log)
        evaluation.mkdir(exist_ok=True)
        (evaluation / "metrics.json").write_bytes(log)
        capsys.readouterr()
        with patch.object(origin_part, "draw_training", side_effect=AssertionError("the log is damaged")):
            evaluate.run(settings)
        assert (evaluation / "report.html").is_file()
        assert schema.read(evaluation / "metrics.json").surrogate == "fno"
        (evaluation / "report.html").unlink()
        assert "note: the report has no figure of the training. " in capsys.readouterr().out
