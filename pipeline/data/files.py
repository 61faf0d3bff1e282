"""Files that are whole or absent, and folders that can be written."""

from __future__ import annotations

import os
from pathlib import Path


def writable_folder(folder: Path) -> Path:
    """Makes `folder` where it is missing.

    Raises:
        ValueError: it cannot be made or written; the message names the folder and the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot make the folder {folder}: {error.strerror}; choose another with run="
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"the folder {folder} is not writable; choose another with run=")
    return folder


def write_whole(path: Path, text: str) -> None:
    """Writes a text file that is whole or absent, also when the machine stops in between."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
