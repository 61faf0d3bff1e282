"""Data sets whose fields do not vary in the precision of the files."""

from pathlib import Path

import pytest

from pipeline.data.dataset import Dataset
from simsurrogate.errors import UserError
from tests.faults.driving import run_drift_in_process
from tests.faults.stage import drift_trajectory
from tests.faults.test_validate import failure_of


@pytest.mark.parametrize(
    ("scale", "duration", "message"),
    [
        (1e-60, "0.1", "variation: density has no variance in the training split, its values are 0.0 to 0.0"),
        (1.0, "1e-30", "variation: no field changes from frame to frame in float32"),
    ],
)
def test_fields_that_do_not_vary_are_refused(
    scale: float, duration: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original_state = drift_trajectory()._state
    monkeypatch.setattr(drift_trajectory(), "_state", lambda self, time: scale * original_state(self, time))
    run_drift_in_process("generate", tmp_path, f"output.duration={duration}")
    assert message in failure_of("validate", tmp_path, f"output.duration={duration}")
    with pytest.raises(UserError, match="failed its validation"):
        Dataset.open(tmp_path / "dataset")
