"""Sweeps, Hydra's `-m`: one command line for several runs with models of different names."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from pipeline.config.compose import hydra_arguments, plain_configuration, refuse_launcher
from pipeline.config.settings import Settings

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
        values = plain_configuration(config)
        if not any(override.startswith("model=") for override in overrides):
            varied_options = [
                (key, OmegaConf.select(config, key)) for key in _varied_keys() if _MODEL_KEYS.fullmatch(key)
            ]
            name_parts = [_name_part(key, value) for key, value in varied_options]
            values["model"] = "-".join([str(values["model"]), *name_parts])
        return values


def _varied_keys() -> list[str]:
    """Return the keys for which the command line or the parameters of the sweeper have several values."""
    arguments = hydra_arguments(sys.argv[1:])
    override_texts = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    sweeper_parameters = HydraConfig.get().sweeper.get("params") or {}
    override_texts += [f"{key}={value}" for key, value in sweeper_parameters.items()]
    overrides = OverridesParser.create().parse_overrides(override_texts)
    return [override.key_or_group for override in overrides if override.is_sweep_override()]


def _name_part(key: str, value: Any) -> str:
    """Return the part of a model's name for a value: letters, digits, and characters safe in a shell."""
    text = re.sub(r"[^\w.+]+", "_", str(value)).strip("_")
    return f"{key.partition('.')[2] or key}-{text}"
