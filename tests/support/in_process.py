"""The generate stage in the process of the test, for tests that need a data set of one rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from unittest import mock

import hydra
from omegaconf import OmegaConf

from pipeline import generate
from pipeline.config import settings
from pipeline.data.card import figures


def settings_of(folder: Path, *overrides: str) -> settings.Settings:
    """Return the settings of a stage with `run=FOLDER` and Hydra's overrides."""
    with hydra.initialize_config_module("configs", version_base="1.3"):
        config = hydra.compose("config", overrides=[f"run={folder}", *overrides])
    container = OmegaConf.to_container(config, resolve=True)
    return settings.read(cast(dict[str, Any], container))


def generate_in_process(folder: Path, *overrides: str) -> Path:
    """Return the data set that `python -m pipeline.generate run=FOLDER OVERRIDES` generates.

    The data card has no figures, because figures take longer than the rest of the stage.
    """
    run_settings = settings_of(folder, *overrides)
    with mock.patch.object(figures, "draw", return_value=[]):
        generate.run(run_settings)
    return run_settings.dataset
