"""Overrides as a user types them in a shell, and their place on a command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

#: Hydra's options that take the next argument.
_OPTIONS_WITH_VALUE = (
    "--config-dir",
    "-cd",
    "--config-name",
    "-cn",
    "--config-path",
    "-cp",
    "--package",
    "-p",
)


def typed(key: str, value: object) -> str:
    """Return the override KEY=VALUE with the quotes that Hydra and a shell need for a text."""
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9_./+-]([A-Za-z0-9_./+ -]*[A-Za-z0-9_./+-])?", text):
        escaped_text = re.sub(r"(\\*)\"", r'\1\1\\"', text)
        escaped_text = re.sub(r"(\\+)$", r"\1\1", escaped_text)
        text = f'"{escaped_text}"'
    return shlex.quote(f"{key}={text}")


def inserted(overrides: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return the arguments with additional overrides before their first override, or else at the end.

    Hydra accepts only consecutive overrides.
    """
    for index, argument in enumerate(arguments):
        is_value = index > 0 and arguments[index - 1] in _OPTIONS_WITH_VALUE
        if "=" in argument and not argument.startswith("-") and not is_value:
            return [*arguments[:index], *overrides, *arguments[index:]]
    return [*arguments, *overrides]
