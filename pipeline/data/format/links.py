"""Files of other programs that hold the fields of a shard, in place."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic

from simsurrogate.errors import UserError
from simsurrogate.files import FileIdentity, identity_of, open_regular


@dataclass(frozen=True)
class LinkedFile:
    """A file of another program that holds fields of one shard.

    Attributes:
        path: the absolute path.
        identity: the identity of the file, see `simsurrogate.files.file_identity`.
        sha256: the checksum of its content.
        offsets: the offset of the values of each field, by the path of its dataset in a shard.
    """

    path: str
    identity: FileIdentity
    sha256: str
    offsets: dict[str, Annotated[int, pydantic.Field(ge=0)]]

    @property
    def checked_path(self) -> Path:
        """The path, after a check that the file there is the file that was adopted.

        A manifest from elsewhere cannot know the inode and the times of another file, so it opens none.

        Raises:
            UserError: the file is missing, or is another file.
        """
        try:
            if identity_of(os.lstat(self.path)) == self.identity:
                return Path(self.path)
            reason = "is not the file that was adopted: it has changed, or is a copy"
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        raise UserError(
            f"{self.path} {reason}. The fields of a linked data set are in the files that were adopted. Type "
            "the command of python -m pipeline.adopt again, then python -m pipeline.validate"
        )

    def bytes(self, end: int) -> np.ndarray:
        """Return the file as a memory map of at least `end` bytes.

        Raises:
            UserError: the file is missing, is another file, or is shorter.
        """
        if end > self.identity[0]:
            raise UserError(
                f"{self.path} has {self.identity[0]} bytes, and the manifest describes {end} bytes of "
                "fields in it. Type the command of python -m pipeline.adopt again with overwrite=true"
            )
        return _mapped(self.checked_path, self.identity)


@functools.lru_cache(maxsize=64)
def _mapped(path: Path, identity: FileIdentity) -> np.ndarray:
    """Return a file as a memory map, which all shards with values in this file share."""
    with open_regular(path) as file:
        return np.memmap(file, np.uint8, "r")
