"""The files of a source: their checksum before the adoption, and the check that they stay as they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.adoption.readers.reader import regular_files
from simsurrogate.errors import UserError
from simsurrogate.files import FileIdentity, file_identity, sha256_of


@dataclass(frozen=True)
class Source:
    """A file or a folder of files.

    Attributes:
        path: the absolute path, without links.
        files: the identity of each file by its path below the source.
        num_bytes: the bytes of all files.
        sha256: one checksum of all names and contents.
    """

    path: Path
    files: dict[str, FileIdentity]
    num_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Source:
        """Return a source with its checksum; every byte is read.

        Raises:
            UserError: there is no such file, or the folder holds a link, a pipe or a device.
        """
        if not path.exists():
            raise UserError(
                f"source={path} does not exist. A file or a folder of files is allowed. Type source=PATH"
            )
        path = path.resolve()
        files = [path] if path.is_file() else list(regular_files(path))
        if not files:
            raise UserError(
                f"source={path} holds no file. A file or a folder of files is allowed. Type source=PATH"
            )
        identities = {_name(file, path): file_identity(file) for file in files}
        checksum = hashlib.sha256()
        for file in files:
            checksum.update(f"{_name(file, path)} {sha256_of(file)}\n".encode())
        num_bytes = sum(identity[0] for identity in identities.values())
        return cls(path, identities, num_bytes, checksum.hexdigest())

    def refuse_changes(self) -> None:
        """Check that no file has changed since its checksum.

        Raises:
            UserError: a file has changed.
        """
        for name, identity in self.files.items():
            file = self.path / name if self.path.is_dir() else self.path
            if not file.is_file() or file_identity(file) != identity:
                raise UserError(
                    f"{file} has changed during the adoption. A source stays as it is until the data set is "
                    "complete. Type the same command again with overwrite=true"
                )


def _name(file: Path, source: Path) -> str:
    return file.name if file == source else str(file.relative_to(source))
