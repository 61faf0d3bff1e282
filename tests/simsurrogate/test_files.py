"""Files that are whole or absent, and named differences of plain data."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from simsurrogate.errors import StorageError, UserError
from simsurrogate.files import (
    create_partial,
    differences,
    digest,
    remove_partials,
    writable_folder,
    write_whole,
)
from simsurrogate.storage import storage_error
from tests.support.disks import NEEDS_ROOT, mounted_disk


def test_a_file_is_written_whole_and_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_whole(path, "first")
    write_whole(path, b"second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.fault(
    "a link waits at the name of a temporary file",
    cause="symbolic link to another file",
    result="the other file is unchanged",
    lost="nothing",
)
def test_a_link_at_the_name_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("data of another user")
    (tmp_path / ".file.json.partial").symlink_to(victim)
    write_whole(tmp_path / "file.json", "text")
    assert victim.read_text() == "data of another user"
    assert (tmp_path / "file.json").read_text() == "text"


def test_only_temporary_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    kept_files = [tmp_path / name for name in (".notes.partial", "a.partial", ".b.0123.partial", "file.json")]
    for path in kept_files:
        path.write_text("data of a user")
    descriptors, partials = zip(*(create_partial(tmp_path / name) for name in "ab"), strict=True)
    for descriptor in descriptors:
        os.close(descriptor)
    remove_partials(tmp_path, ["a"])
    assert sorted(tmp_path.iterdir()) == sorted([*kept_files, partials[1]])
    remove_partials(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept_files)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file.json"
    with pytest.raises(StorageError, match=r"cannot write the 4 bytes of .*file.json.*must exist.*then wait"):
        write_whole(path, "text", advice="wait")
    with pytest.raises(UserError, match="cannot create the folder"):
        writable_folder(Path("/dev/null/folder"))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, r"The file system has \d+ bytes free. Make room, then wait"),
        (errno.EFBIG, r"at most -?\d+ bytes here. Raise the limit with ulimit -f, then wait"),
        (errno.EACCES, r"The folder .* must be writable. Change its permissions, then wait"),
        (errno.EIO, r"The file system must accept writes. Check the file system, then wait"),
    ],
)
def test_a_refused_write_names_the_remedy_for_its_cause(number: int, remedy: str, tmp_path: Path) -> None:
    error = storage_error(tmp_path / "file", 4, OSError(number, os.strerror(number)), "wait")
    assert re.search(remedy, str(error))
    assert ("Make room" in str(error)) == (number == errno.ENOSPC)


@NEEDS_ROOT
@pytest.mark.fault(
    "the file system has no inode left",
    cause="tmpfs of two inodes",
    result="message with the cause; no partial file",
    lost="the file in work",
)
def test_a_file_system_without_inodes_is_named(tmp_path: Path) -> None:
    with mounted_disk(tmp_path, "1m,nr_inodes=2") as disk:
        (disk / "file").touch()
        with pytest.raises(StorageError, match=r"has no inode for another file. Delete files, then wait"):
            write_whole(disk / "other", "text", advice="wait")
        with pytest.raises(
            StorageError, match=r"has no inode for another file. Delete files, then run it again"
        ):
            writable_folder(disk / "new" / "folder")


def test_differences_of_plain_data_are_named_by_their_keys() -> None:
    current_configuration = {"surrogate": {"width": 8, "modes": [4, 4]}, "seed": 0}
    requested_configuration = {"surrogate": {"width": 16, "modes": [4, 4]}, "seed": 0, "dataset": "abc"}
    assert differences(current_configuration, requested_configuration) == [
        "surrogate.width: 8 -> 16",
        'dataset: null -> "abc"',
    ]
    assert differences(current_configuration, dict(current_configuration)) == []


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
