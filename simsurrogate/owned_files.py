"""The files of a folder that this project wrote: deletion by their names, and the refusal of links."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from simsurrogate.errors import UserError
from simsurrogate.files import remove_partials


def delete_files(folder: Path, name_pattern: str) -> None:
    """Delete the files of a folder whose whole name matches a regular expression, and temporary files.

    Other files and folders are kept. The folder is deleted too if nothing is left in it.
    """
    if not folder.is_dir():
        return
    remove_partials(folder)
    for path in folder.iterdir():
        if re.fullmatch(name_pattern, path.name) and (path.is_symlink() or path.is_file()):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def refuse_links(paths: Iterable[Path]) -> None:
    """Refuse symbolic links at the given paths and below them; a write or a deletion could follow a link.

    Raises:
        UserError: a path is a link, or a folder holds a link; the message names the link and its target.
    """
    for path in paths:
        link = path if path.is_symlink() else _first_link(path)
        if link is not None:
            raise UserError(
                f"{link} is a link to {os.readlink(link)}. A run folder may not hold links, because a stage "
                "would write or delete files of another folder. Remove the link, or name the other folder "
                "with run= or dataset="
            )


def _first_link(folder: Path) -> Path | None:
    """Return a link inside a folder, or None."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink():
                return path
    return None
