"""Overrides as a user types them in a shell."""

from __future__ import annotations

import re
import shlex


def typed(key: str, value: object) -> str:
    """Return the override KEY=VALUE with the quotes that Hydra and a shell need for a text."""
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9_./+-]([A-Za-z0-9_./+ -]*[A-Za-z0-9_./+-])?", text):
        escaped_text = re.sub(r"(\\*)\"", r'\1\1\\"', text)
        escaped_text = re.sub(r"(\\+)$", r"\1\1", escaped_text)
        text = f'"{escaped_text}"'
    return shlex.quote(f"{key}={text}")
