"""The errors of a field that dies out during the trajectory: bounded, and marked as not meaningful."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline import evaluate, train, validate
from pipeline.evaluation import schema
from pipeline.evaluation.model_table import rows_of
from pipeline.runs.folder import RunFolder
from pipeline.training import fit
from tests.support.in_process import generate_in_process, settings_of
from tests.support.trainings.training_cases import TINY_TRAINING, no_curves

WAVE = Path(__file__).parents[1] / "config" / "outside" / "decaying_wave.py"
OVERRIDES = (
    "solver=custom",
    "++solver.name=decaying_wave",
    f"++solver.path={WAVE}",
    "++solver.diffusivity=10.0",
    "samples={train: 4, valid: 2, test: 3, test_extrapolation: 0, per_shard: 4}",
    "output={steps: 4, duration: 0.17}",
    *TINY_TRAINING,
    "training.steps=4",
    "evaluation.figures=0",
    "evaluation.worth=0",
)


def test_a_field_that_dies_out_has_bounded_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate_in_process(tmp_path, *OVERRIDES)
    settings = settings_of(tmp_path, *OVERRIDES)
    with patch.object(fit, "draw_curves", no_curves):
        for stage in (validate, train, evaluate):
            stage.run(settings)
    folder = RunFolder.of(settings)
    result = schema.read(folder.evaluation / "metrics.json").splits["test"]
    # The truth is 7e-30 of its initial value at the end, and its standard deviation is about a third of it.
    assert result.below_floor["relative_l2"]["temperature"] == [3, 3, 3, 3]
    assert result.vanished_fields == ["temperature"]
    for predictor, headline in result.headline.items():
        assert headline.rollout_end.max is not None, predictor
        assert headline.rollout_end.max < 1e4, predictor
    assert "is not meaningful: the truth is below 0.01 standard deviations" in capsys.readouterr().out
    assert "not meaningful" in folder.report.read_text(encoding="utf-8")
    (row,) = rows_of(tmp_path)
    assert row.cells()[6:8] == ["not meaningful", "not meaningful"]
