"""Several runs by one command line, Hydra's `-m`: models get names of their own, and one run that fails does
not end the others.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pipeline.config.settings import Settings

#: The keys that change a model on the same data; where several of their values are tried, its name has them.
_OF_THE_MODEL = re.compile(r"(surrogate|training)\..+|seed|ensemble")


@dataclass
class Job:
    """One run of a sweep: its overrides, its settings where they were legal, and why it failed."""

    words: tuple[str, ...]
    settings: Settings | None = None
    failure: str = ""


@dataclass
class Sweep:
    """The runs of this command line so far."""

    jobs: list[Job] = field(default_factory=list)

    def begin(self, config: DictConfig) -> dict[str, Any]:
        """Notes a run; its configuration as plain data, in which the model is named by what is tried.

            surrogate=fno surrogate.width=16,32    gives RUN/models/fno-width-16 and fno-width-32

        A name that the command line gives is left as it is.
        """
        words = tuple(HydraConfig.get().overrides.task)
        self.jobs.append(Job(words))
        found = plain(config)
        if not any(word.startswith("model=") for word in words):
            values = [
                (key, OmegaConf.select(config, key)) for key in _tried() if _OF_THE_MODEL.fullmatch(key)
            ]
            found["model"] = "-".join([str(found["model"]), *(_part(key, value) for key, value in values)])
        return found


def plain(config: DictConfig) -> dict[str, Any]:
    """A run's configuration as plain data."""
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return found  # type: ignore[return-value]


def is_one() -> bool:
    """Whether this run is one of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _tried() -> list[str]:
    """The keys for which the command line has several values."""
    words = [word for word in sys.argv[1:] if "=" in word and not word.startswith("-")]
    found = OverridesParser.create().parse_overrides(words)
    return [each.key_or_group for each in found if each.is_sweep_override()]


def _part(key: str, value: Any) -> str:
    """What a model's name says of a value: letters, digits, and what a shell leaves alone."""
    text = re.sub(r"[^\w.+]+", "_", str(value)).strip("_")
    return f"{key.partition('.')[2] or key}-{text}"
