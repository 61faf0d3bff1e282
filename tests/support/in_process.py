"""The generate stage in the process of the test, for tests that need a data set of one rank."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from unittest import mock

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from pipeline import cli, generate
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


def run_command_line(stage: Callable[[settings.Settings], None], *arguments: str) -> int:
    """Return the exit code of `python -m pipeline.STAGE ARGUMENTS`, run in this process."""
    with mock.patch.object(sys, "argv", ["stage", *arguments]):
        try:
            cli.main(stage)
        except SystemExit as system_exit:
            return int(system_exit.code or 0)
        finally:
            # Hydra keeps the command line of its last run, which later tests in this process must not see.
            HydraConfig.instance().cfg = None
    return 0
