"""Sweeps, Hydra's `-m`: one command line for several runs with models of different names."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from pipeline.config.compose import hydra_arguments, plain_configuration, refuse_launcher
from pipeline.config.settings import Settings
from pipeline.parallel import launch

#: The keys that change a model on the same data; a sweep over them adds their values to the model's name.
_MODEL_KEYS = re.compile(r"(surrogate|training)\..+|seed|ensemble")


@dataclass
class Job:
    """One run of a sweep: its overrides, its settings if they were legal, and the message of its failure."""

    overrides: tuple[str, ...]
    settings: Settings | None = None
    failure: str = ""


@dataclass
class Sweep:
    """The runs of this command line so far."""

    jobs: list[Job] = field(default_factory=list)

    def begin(self, config: DictConfig) -> dict[str, object]:
        """Add a run; return its configuration as plain data, with the model named by the varied values.

            surrogate=fno surrogate.width=16,32    gives RUN/models/fno-width-16 and fno-width-32

        A model name on the command line is kept.
        """
        refuse_launcher(str(HydraConfig.get().runtime.choices.get("hydra/launcher")))
        overrides = tuple(HydraConfig.get().overrides.task)
        self.jobs.append(Job(overrides))
        varied_overrides = _varied_overrides()
        if launch.detect().rank == 0:
            varied_texts = [text for text in overrides if _key(text) in varied_overrides]
            total = _num_runs(varied_overrides.values())
            print(f"job {len(self.jobs)} of {total}: {' '.join(varied_texts)}", flush=True)
        values = plain_configuration(config)
        if not any(override.startswith("model=") for override in overrides):
            varied_options = [
                (key, OmegaConf.select(config, key)) for key in varied_overrides if _MODEL_KEYS.fullmatch(key)
            ]
            name_parts = [_name_part(key, value) for key, value in varied_options]
            values["model"] = "-".join([str(values["model"]), *name_parts])
        return values


def _varied_overrides() -> dict[str, Override]:
    """Return the overrides of the command line or of the sweeper's parameters with several values, by key."""
    arguments = hydra_arguments(sys.argv[1:])
    override_texts = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    sweeper_parameters = HydraConfig.get().sweeper.get("params") or {}
    parameter_texts = [f"{key}={value}" for key, value in sweeper_parameters.items()]
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    overrides = {override.key_or_group: override for override in parser.parse_overrides(override_texts)}
    # The command line takes precedence over the parameters.
    for override in parser.parse_overrides(parameter_texts):
        overrides.setdefault(override.key_or_group, override)
    return {key: override for key, override in overrides.items() if override.is_sweep_override()}


def _num_runs(varied_overrides: Iterable[Override]) -> int:
    """Return the number of runs of the sweep: the trials of a search, or all combinations of the values."""
    num_trials = HydraConfig.get().sweeper.get("n_trials")
    if num_trials is not None:
        return int(num_trials)
    return math.prod(len(list(override.sweep_string_iterator())) for override in varied_overrides)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def _name_part(key: str, value: Any) -> str:
    """Return the part of a model's name for a value: letters, digits, and characters safe in a shell."""
    text = re.sub(r"[^\w.+]+", "_", str(value)).strip("_")
    return f"{key.partition('.')[2] or key}-{text}"
