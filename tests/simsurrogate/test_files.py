"""Files that are whole or absent, and named differences of plain data."""

from __future__ import annotations

from pathlib import Path

import pytest

from simsurrogate.errors import StorageError, UserError
from simsurrogate.files import differences, digest, writable_folder, write_whole


def test_a_file_is_written_whole_and_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_whole(path, "first")
    write_whole(path, b"second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file.json"
    with pytest.raises(StorageError, match=r"cannot write the 4 bytes of .*file.json.*Make room, then wait"):
        write_whole(path, "text", advice="wait")
    with pytest.raises(UserError, match="cannot create the folder"):
        writable_folder(Path("/dev/null/folder"))


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
