"""Messages for mistakes on the command line, with the wrong key or choice and the nearest legal one."""

from __future__ import annotations

import re
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.compose import config_folder
from pipeline.config.settings import nearest
from simsurrogate.errors import UserError

#: The exceptions whose message is for the user. Every other exception is a bug and keeps its traceback.
USER_ERRORS = (UserError, HydraException, OmegaConfBaseException)


def message(error: Exception) -> str:
    """Return the text of an error. For an unknown key or choice, the text names the nearest legal one."""
    if isinstance(error, UserError) or not isinstance(error, USER_ERRORS):
        return str(error)
    text = str(error.__cause__ or error)
    key_match = re.search(r"Key '([^']+)' is not in struct\s+full_key: ([\w.\[\]]+)", text)
    if key_match:
        return f"{key_match[2]}: there is no such key; {_nearest_key(key_match[2])}"
    choice_match = re.search(r"Could not find '([\w/]+)/([^/']+)'", str(error))
    if choice_match:
        group, choice = choice_match.groups()
        return f"{group}={choice}: there is no such choice; {_nearest_choice(group, choice)}"
    argument_match = re.search(r"Error parsing override '([^']*)'\s+missing EQUAL", str(error))
    if argument_match:
        return f"{argument_match[1]!r} is not of the form KEY=VALUE, such as run=runs/heat"
    return str(error)


def _nearest_key(full_key: str) -> str:
    *parents, key = full_key.split(".")
    with hydra.initialize_config_module("configs", version_base="1.3"):
        config = hydra.compose("config", overrides=_group_choices())
    section = OmegaConf.select(config, ".".join(parents)) if parents else config
    return nearest(key, [str(name) for name in section] if section is not None else [])


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
