"""Messages for mistakes on the command line, with the wrong key or choice and the nearest legal one."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.compose import config_folder
from pipeline.config.parsing import nearest
from simsurrogate.errors import UserError
from simsurrogate.memory import allocation_failure

#: The exceptions whose message is for the user. Every other exception is a bug and keeps its traceback.
USER_ERRORS = (UserError, HydraException, OmegaConfBaseException)


def is_for_user(error: Exception) -> bool:
    """Return whether an error is printed as a message, without its traceback."""
    return isinstance(error, USER_ERRORS) or allocation_failure(error) is not None


def message(error: Exception) -> str:
    """Return the text of an error. For an unknown key or choice, the text names the nearest legal one."""
    if isinstance(error, UserError) or not isinstance(error, USER_ERRORS):
        return allocation_failure(error) or str(error)
    text = str(error.__cause__ or error)
    key_match = re.search(r"Key '([^']+)' is not in struct\s+full_key: ([\w.\[\]]+)", text)
    if key_match:
        return f"{key_match[2]}: there is no such key; {_nearest_key(key_match[2])}"
    choice_match = re.search(r"Could not find '([\w/]+)/([^/']+)'", str(error))
    if choice_match:
        group, choice = choice_match.groups()
        return f"{group}={choice}: there is no such choice; {_nearest_choice(group, choice)}"
    section_match = re.search(r"Error merging override \+*(([\w.]+)=.*)", str(error), re.DOTALL)
    if section_match:
        argument, key = section_match.groups()
        return (
            f"{argument[:80]} does not fit the section {key}. A section takes one value for each key. "
            f"Type {key}.NAME=VALUE; --cfg job prints the keys"
        )
    argument_match = re.search(r"Error parsing override '([^']*)'\s+missing EQUAL", str(error))
    if argument_match:
        return f"{argument_match[1]!r} is not of the form KEY=VALUE, such as run=runs/heat"
    return str(error)


def _nearest_key(full_key: str) -> str:
    """Return the part of a message that names the nearest key, which may be in another section."""
    with hydra.initialize_config_module("configs", version_base="1.3"):
        config = hydra.compose("config", overrides=_group_choices())
    keys = list(_dotted_keys(OmegaConf.to_container(config, resolve=False), ""))
    section, name = _split(full_key)
    siblings = [key for key in keys if _split(key)[0] == section]
    if section and siblings:
        return nearest(full_key, siblings)
    # A key without its section, or with an abbreviated name, such as lr for training.learning_rate.
    for key in keys:
        other_name = _split(key)[1]
        if name in (other_name, "".join(word[:1] for word in other_name.split("_"))):
            return f"did you mean {key!r}?"
    is_close = bool(difflib.get_close_matches(full_key, keys, n=1, cutoff=0.5))
    return nearest(full_key, [key for key in keys if is_close or "." not in key])


def _split(key: str) -> tuple[str, str]:
    """Return the section and the name of a dotted key."""
    section, _, name = key.rpartition(".")
    return section, name


def _dotted_keys(options: Any, prefix: str) -> Iterator[str]:
    """Yield the full key of every option, those of subsections included."""
    for name, value in options.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _dotted_keys(value, f"{prefix}{name}.")


def _group_choices() -> list[str]:
    """Return the overrides of this command line that choose a YAML, which determine the legal keys."""
    groups = {folder.name for folder in config_folder().iterdir() if folder.is_dir()}
    return [
        argument
        for argument in sys.argv[1:]
        if argument.split("=")[0].lstrip("+") in groups and "{" not in argument
    ]


def _nearest_choice(group: str, choice: str) -> str:
    return nearest(choice, [path.stem for path in (config_folder() / group).glob("*.yaml")])
