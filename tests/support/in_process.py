"""The generate stage in the process of the test, for tests of solvers that need a data set of one rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from unittest import mock

import hydra
from omegaconf import OmegaConf

from pipeline import generate
from pipeline.config import settings
from pipeline.data.card import figures


def generated(folder: Path, *overrides: str) -> Path:
    """Return the data set that `python -m pipeline.generate run=FOLDER OVERRIDES` makes.

    The data card has no figures: drawing them takes longer than everything else.
    """
    with hydra.initialize_config_module("configs", version_base="1.3"):
        config = hydra.compose("config", overrides=[f"run={folder}", *overrides])
    plain = OmegaConf.to_container(config, resolve=True)
    run_settings = settings.read(cast(dict[str, Any], plain))
    with mock.patch.object(figures, "draw", return_value=[]):
        generate.run(run_settings)
    return run_settings.dataset
