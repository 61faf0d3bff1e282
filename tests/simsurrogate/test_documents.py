"""Documents from anywhere: only regular files of bounded size and depth with the declared types are read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typing_extensions import TypedDict

from simsurrogate import documents
from simsurrogate.errors import UserError
from simsurrogate.files import sha256_of


class Numbers(TypedDict):
    """A document with a list of numbers."""

    numbers: list[float]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_a_file(path: Path) -> None:
    target = path.with_name("target.json")
    target.write_text('{"numbers": []}')
    path.symlink_to(target)


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))


def make_socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    os.chdir(path.parent)
    server.bind(path.name)


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def write_large_file(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(2**40)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("read", [documents.read_json, documents.read_yaml])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_pipe, "is a pipe or a device. Only regular files are read"),
        (make_socket, "is a socket"),
        (Path.mkdir, "is a folder"),
        (link_to_a_file, "is a symbolic link"),
        (link_to_zeros, "is a symbolic link"),
        pytest.param(
            make_device,
            "is a pipe or a device",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices"),
        ),
        (lambda path: None, "cannot be read: No such file"),
        (write_large_file, "has 1099511627776 bytes. A document has at most "),
        (write(b""), "document"),
        (write(b"\xff\xfe\x00"), "cannot be read as"),
        (write(b"[" * 10**5), "document"),
        (write(b"3"), "is not a numbers of this release: the whole document: Input should be"),
        (write(b'{"numbers": 3}'), "numbers: Input should be a valid"),
        (write(b'{"numbers": ["3"]}'), "numbers.0: Input should be a valid number"),
        (write(b"{}"), "numbers: Field required"),
    ],
)
def test_other_files_and_other_content_are_refused_with_the_path(
    read: Callable[..., object], make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "numbers.json"
    make(path)
    with pytest.raises(UserError) as error_info:
        read(path, Numbers, "Write it again")
    text = str(error_info.value)
    assert text.startswith(str(path))
    if message != "document":
        assert message in text


@pytest.mark.parametrize("read", [documents.read_json, documents.read_yaml])
def test_a_document_is_returned_with_its_types(read: Callable[..., object], tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    path.write_text('{"numbers": [1, 0.1, 5.0e-324]}')
    assert read(path, Numbers, "") == {"numbers": [1.0, 0.1, 5e-324]}


def test_yaml_with_aliases_or_tags_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.yaml"
    laughs = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    path.write_text(f"a0: &a0 [1]\n{laughs}numbers: *a59\n")
    with pytest.raises(UserError, match="aliases"):
        documents.read_yaml(path, Numbers, "")
    path.write_text("numbers: !!python/object/apply:os.system [touch hacked]\n")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        documents.read_yaml(path, Numbers, "")
    path.write_text("[" * 40 + "]" * 40)
    with pytest.raises(UserError, match="too many levels"):
        documents.read_yaml(path, Numbers, "")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"numbers: [2001-99-99]", "cannot be read as YAML: month must be in 1..12"),
        (b"numbers: [2001-01-01 00:00:00 +99:99]", "cannot be read as YAML"),
        (b"numbers: !!timestamp x", "cannot be read as YAML"),
        (b"numbers: !!bool x", "cannot be read as YAML"),
        (b"numbers: !!int ''", "cannot be read as YAML"),
        (b"numbers: [" + b"1" * 5000 + b"]", "At most 50000 values of 4096 characters"),
        (b"numbers: [1" + b":1" * 2**18 + b"]", "At most 50000 values of 4096 characters"),
        (b"numbers: [" + b"1," * (5 * 10**4) + b"]", "At most 50000 values of 4096 characters"),
        (b"#" * (2**20 + 1), "has 1048577 bytes. A document has at most 1048576 bytes"),
    ],
    ids=["month", "zone", "timestamp", "bool", "int", "digits", "sexagesimal", "values", "bytes"],
)
def test_yaml_values_that_cannot_be_read_in_a_short_time_are_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "numbers.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"numbers.yaml .*{message}.*Write it again"):
        documents.read_yaml(path, Numbers, "Write it again")


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n", b"a\nx\n", b"a\n\xff\n", b"a,b\n1,2,3\n"])
def test_a_damaged_table_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"log.csv is not a table of numbers: .*Train"):
        documents.read_csv(path, "Train again")


def test_a_table_is_returned_by_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,0.5\n2,nan\n")
    columns = documents.read_csv(path, "")
    assert columns["step"] == [1.0, 2.0]
    assert columns["loss"][0] == 0.5
    path.write_text("step,loss\n")
    assert documents.read_csv(path, "") == {"step": [], "loss": []}


@pytest.mark.timeout(30)
def test_a_checksum_of_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is a pipe or a device"):
        sha256_of(tmp_path / "pipe")
