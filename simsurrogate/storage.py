"""The messages for files that the system refuses to write, with a remedy for each cause."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from simsurrogate.errors import StorageError


def storage_error(path: Path, num_bytes: int, error: OSError, advice: str) -> StorageError:
    """Return the error of a file that cannot be written; `num_bytes` is 0 for an empty file.

    `advice` is the command to type after the remedy.
    """
    size_text = f"the {num_bytes} bytes of " if num_bytes else ""
    cause = _cause(path.parent, error)
    return StorageError(f"cannot write {size_text}{path}: {error.strerror}. {cause}, then {advice}")


def _cause(folder: Path, error: OSError) -> str:
    """Return the state of the file system that explains an error, and the remedy."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            folder = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
            file_system = os.statvfs(folder)
            if file_system.f_files and not file_system.f_favail:
                return "The file system has no inode for another file. Delete files"
            quota = "; a quota may be used up" if error.errno == errno.EDQUOT else ""
            return f"The file system has {shutil.disk_usage(folder).free} bytes free{quota}. Make room"
        case errno.EFBIG:
            return f"A file may have at most {_file_size_limit()} bytes here. Raise the limit with ulimit -f"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"The folder {folder} must be writable. Change its permissions"
        case errno.ENOENT:
            return f"The folder {folder} must exist. Create the folder"
    return "The file system must accept writes. Check the file system"


def _file_size_limit() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_FSIZE)[0]
