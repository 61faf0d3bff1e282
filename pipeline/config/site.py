"""The defaults of a site: environment variables that an administrator sets, for example in a module file.

SIMSURROGATE_CONFIG_DIR=/sw/simsurrogate    # a folder with launcher/site.yaml, added to Hydra's search path
SIMSURROGATE_LAUNCHER=site                  # the launcher of command lines without launcher=
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pipeline.config import overrides
from simsurrogate.errors import UserError

_FOLDER, _LAUNCHER = "SIMSURROGATE_CONFIG_DIR", "SIMSURROGATE_LAUNCHER"


def with_site_defaults(arguments: Sequence[str]) -> list[str]:
    """Return a command line with the overrides that the site's variables stand for.

    Typed arguments take precedence. The stages of a chain receive these overrides on their command lines, so
    their jobs do not need the variables.

    Raises:
        UserError: a variable names no folder or no launcher.
    """
    defaults = []
    folders = [Path(str(files("configs")))]
    if folder := os.environ.get(_FOLDER):
        if not Path(folder).is_dir():
            raise UserError(
                f"the environment variable {_FOLDER}={folder} names no folder. A folder that holds "
                f"launcher/site.yaml is allowed. Type unset {_FOLDER}, or ask the administrator of this site"
            )
        folders.append(Path(folder))
        if not _is_typed("hydra.searchpath", arguments):
            url = f"file://{Path(folder).absolute()}"
            if not re.fullmatch(r"[\w:/.+-]+", url):
                url = "'" + url.replace("\\", "\\\\").replace("'", "\\'") + "'"
            defaults.append(f"hydra.searchpath=[{url}]")
    if (launcher := os.environ.get(_LAUNCHER)) and not _is_typed("launcher", arguments):
        names = sorted({path.stem for folder in folders for path in folder.glob("launcher/*.yaml")})
        if launcher not in names:
            raise UserError(
                f"the environment variable {_LAUNCHER}={launcher} names no launcher. Launchers are "
                f"{', '.join(names)}. Type launcher=NAME, or unset {_LAUNCHER}"
            )
        defaults.append(f"launcher={launcher}")
    return overrides.inserted(defaults, arguments)


def _is_typed(key: str, arguments: Sequence[str]) -> bool:
    return any(argument.startswith(f"{key}=") for argument in arguments)
