"""A validated data set for the tests of damage."""

import shutil
from pathlib import Path

import pytest

from pipeline.data.dataset import Dataset
from tests.faults.driving import drift, drift_in_process
from tests.support.launching import succeeded


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a validated data set."""
    run = tmp_path_factory.mktemp("undamaged")
    drift_in_process("generate", run)
    with pytest.raises(ValueError, match=r"was not validated.*Run python -m pipeline.validate"):
        Dataset.open(run / "dataset")
    succeeded(drift("validate", run, ranks=2))
    return run


@pytest.fixture
def copy(undamaged: Path, tmp_path: Path) -> Path:
    """A copy of the run folder, for the test to damage."""
    shutil.copytree(undamaged, tmp_path, dirs_exist_ok=True)
    return tmp_path
