"""The files of a source: their checksum before the adoption, and the check that they stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.adoption.readers.reader import regular_files
from simsurrogate.errors import UserError
from simsurrogate.files import FileIdentity, digest, file_identity, sha256_of

#: A function that returns the mappings of all ranks, on all ranks.
Gather = Callable[[dict[str, str]], list[dict[str, str]]]


@dataclass(frozen=True)
class Source:
    """A file or a folder of files.

    Attributes:
        path: the absolute path, without links.
        files: the identity of each file by its path below the source.
        checksums: the checksum of each file.
        num_bytes: the bytes of all files.
    """

    path: Path
    files: dict[str, FileIdentity]
    checksums: dict[str, str]
    num_bytes: int

    @classmethod
    def of(cls, path: Path, rank: int, size: int, gather: Gather) -> Source:
        """Return a source with its checksums; the ranks share the files, and every byte is read.

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
        paths = {_name(file, path): file for file in files}
        identities = {name: file_identity(file) for name, file in paths.items()}
        own_checksums = {name: sha256_of(paths[name]) for name in list(paths)[rank::size]}
        checksums = {name: value for part in gather(own_checksums) for name, value in part.items()}
        return cls(path, identities, checksums, sum(identity[0] for identity in identities.values()))

    @property
    def sha256(self) -> str:
        """One checksum of all names and contents."""
        return digest(self.checksums)

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
