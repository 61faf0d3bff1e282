"""Public functions that open the models and data sets of a run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import simsurrogate
from simsurrogate.errors import UserError


def test_a_run_without_models_is_refused_with_the_command_that_trains_a_model(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(UserError, match=rf"no trained model.*python -m pipeline\.train run={tmp_path}"):
        simsurrogate.load(tmp_path)


def test_several_models_require_a_name(tmp_path: Path) -> None:
    for name in ("fno", "unet"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.json").touch()
    with pytest.raises(UserError, match=r"holds 2 models: fno, unet.*simsurrogate\.load"):
        simsurrogate.load(tmp_path)


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no data set in .*generate"):
        simsurrogate.open_dataset(tmp_path)
