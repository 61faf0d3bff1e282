"""Renamed configuration keys, whose previous names this release still accepts."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.parallel import launch

#: The current name of each renamed key.
RENAMED_KEYS = {
    "surrogate.reach": "surrogate.horizon_steps",
    "evaluation.pictures": "evaluation.figures",
    "start_anew": "overwrite",
}


def current_overrides(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments with the current names of their keys.

    Each renamed key prints a line to stderr on rank 0.
    """
    return [_current_override(argument) for argument in arguments]


def current_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed configuration with the current names of its keys.

    A previous name comes from a user's YAML file, and its value replaces the default of the current name.
    Each renamed key prints a line to stderr on rank 0.
    """
    result = dict(configuration)
    for previous_key, current_key in RENAMED_KEYS.items():
        section, _, previous_name = previous_key.rpartition(".")
        options = result.get(section) if section else result
        if isinstance(options, Mapping) and previous_name in options:
            _report(previous_key, current_key)
            current_options = {name: value for name, value in options.items() if name != previous_name}
            current_options[current_key.rpartition(".")[2]] = options[previous_name]
            result = result | {section: current_options} if section else current_options
    return result


def _current_override(argument: str) -> str:
    match = re.fullmatch(r"([+~]*)([\w.]+)(=.*)?", argument, re.DOTALL)
    if match is None or match[2] not in RENAMED_KEYS:
        return argument
    _report(match[2], RENAMED_KEYS[match[2]])
    return f"{match[1]}{RENAMED_KEYS[match[2]]}{match[3] or ''}"


def _report(previous_key: str, current_key: str) -> None:
    if launch.detect().rank == 0:
        print(
            f"note: {previous_key} is now {current_key}; the next release refuses {previous_key}",
            file=sys.stderr,
            flush=True,
        )
