"""Users of the test cluster other than root, in a view of the file system that only the tests see.

The view is a private mount namespace of this process and its children. In the view, /etc/passwd holds the
users, and all users may enter the folders above this Python, such as /root. Outside, no file changes.
"""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

#: The submitting user and a colleague: the numbers of user and group by name.
USERS = {"ada": 23456, "grace": 23457}
ROOT = Path(__file__).parents[3]
_CLONE_NEWNS, _MS_BIND, _MS_REC = 0x20000, 0x1000, 0x4000  # from Linux's sched.h and mount.h
_READ_AND_ENTER = stat.S_IROTH | stat.S_IXOTH


def enter_view() -> None:
    """Move this process into a view with the users; inside the view, change nothing.

    Raises:
        OSError: this process may not mount file systems.
    """
    if set(USERS) <= {line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}:
        return
    _call("unshare", _CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    _add_lines(Path("/etc/passwd"), "{name}:x:{number}:{number}::/nonexistent:/bin/bash\n")
    _add_lines(Path("/etc/group"), "{name}:x:{number}:\n")
    for path in (Path(sys.base_prefix), Path(sys.prefix), ROOT):
        for folder in (*reversed(path.parents), path):
            if folder.stat().st_mode & _READ_AND_ENTER != _READ_AND_ENTER:
                _open_to_all(folder)
    os.chdir(os.getcwd())


def _add_lines(file: Path, line: str) -> None:
    """Replace a file in the view by a copy with one more line for each user."""
    with tempfile.NamedTemporaryFile("w") as copy:
        lines = [line.format(name=name, number=number) for name, number in USERS.items()]
        copy.write("".join([file.read_text(), *lines]))
        copy.flush()
        os.chmod(copy.name, 0o644)
        _bind(Path(copy.name), file)


def _open_to_all(folder: Path) -> None:
    """Replace a folder in the view by a folder with the same content that all users may enter."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder], check=True)
    for entry in os.scandir(descriptor):
        target = folder / entry.name
        if entry.is_symlink():
            target.symlink_to(os.readlink(entry.name, dir_fd=descriptor))
            continue
        if entry.is_dir(follow_symlinks=False):
            target.mkdir()
        else:
            target.touch()
        # The descriptor leads to the folder below the new file system.
        _bind(Path(f"/proc/self/fd/{descriptor}") / entry.name, target)
    os.close(descriptor)


def _bind(source: Path, target: Path) -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
