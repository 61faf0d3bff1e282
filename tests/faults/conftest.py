"""Validated data sets for the tests of damage."""

import shutil
from pathlib import Path

import pytest

from pipeline.data.dataset import Dataset
from tests.faults.driving import run_drift, run_drift_in_process
from tests.support.launching import require_success


@pytest.fixture(scope="module")
def undamaged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a validated data set."""
    run = tmp_path_factory.mktemp("undamaged")
    run_drift_in_process("generate", run)
    with pytest.raises(ValueError, match=r"was not validated.*Run python -m pipeline.validate"):
        Dataset.open(run / "dataset")
    require_success(run_drift("validate", run, ranks=2))
    return run


@pytest.fixture
def run_copy(undamaged_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the run folder, which the test may damage."""
    shutil.copytree(undamaged_run, tmp_path, dirs_exist_ok=True)
    return tmp_path
