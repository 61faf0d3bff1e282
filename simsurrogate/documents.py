"""The reading of documents: regular files of bounded size, as JSON of bounded depth and declared types.

A document may come from anywhere. Its reader never waits, never needs more memory than `MAX_BYTES` allow, and
never returns a value of another type than the caller declares. YAML has smaller limits, because its parser is
slow.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from simsurrogate.errors import UserError
from simsurrogate.files import open_regular

#: The largest document that is read, bytes.
MAX_BYTES = 2**26

#: The largest YAML document (bytes), its deepest nesting, its largest number of events (keys, values, starts
#: and ends of collections), and its longest value. The parser takes about 60 microseconds for each event.
MAX_YAML_BYTES = 2**20
_YAML_DEPTH = 16
_YAML_EVENTS = 5 * 10**4
_YAML_LENGTH = 2**12

#: The exceptions of the YAML parser for values that no type of Python can hold, such as the date 2001-99-99.
_YAML_ERRORS = (
    yaml.YAMLError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    TypeError,
    RecursionError,
)

Kind = TypeVar("Kind")


def read_text(path: Path, remedy: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a document.

    Args:
        path: the file.
        remedy: the last sentence of an error message: the command to type.
        max_bytes: the largest document that is read, bytes.

    Raises:
        UserError: the file is missing, larger than `max_bytes`, or not a regular file.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. {remedy}") from None
    if len(content) > max_bytes:
        raise UserError(f"{path} has {size} bytes. A document has at most {max_bytes} bytes. {remedy}")
    return content


def read_json(path: Path, kind: type[Kind], remedy: str) -> Kind:
    """Return the content of a JSON document.

    Args:
        path: the file.
        kind: the type of the content: a pydantic model, a dataclass, a TypedDict or a built-in type.
        remedy: the last sentence of an error message: the command to type.

    Raises:
        UserError: the file cannot be read, is not JSON, or has content of another type.
    """
    return parse_json(read_text(path, remedy), kind, str(path), remedy)


def parse_json(content: str | bytes, kind: type[Kind], name: str, remedy: str) -> Kind:
    """Return the content of JSON text; `name` names the text in error messages, see `read_json`.

    Raises:
        UserError: the text is not JSON, is nested too deeply, or has content of another type.
    """
    try:
        content_of_kind: Kind = TypeAdapter(kind).validate_json(content, strict=True)
    except ValidationError as error:
        raise UserError(f"{name} {_mistakes(error, kind)}. {remedy}") from None
    return content_of_kind


def read_yaml(path: Path, kind: type[Kind], remedy: str) -> Kind:
    """Return the content of a YAML document without aliases, which could multiply its size; see `read_json`.

    Raises:
        UserError: the file cannot be read, is not YAML, is too large, is nested too deeply, or has content of
            another type.
    """
    content = read_text(path, remedy, MAX_YAML_BYTES)
    depth = 0
    try:
        for num_events, event in enumerate(yaml.parse(content, Loader=yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _YAML_DEPTH:
                raise UserError(f"{path} has aliases or too many levels. It may have neither. {remedy}")
            if num_events > _YAML_EVENTS or len(getattr(event, "value", "")) > _YAML_LENGTH:
                raise UserError(
                    f"{path} has too many values or too long values. At most {_YAML_EVENTS} values of "
                    f"{_YAML_LENGTH} characters are read. {remedy}"
                )
        plain = yaml.safe_load(content)
    except UserError:
        raise
    except _YAML_ERRORS as error:
        raise UserError(f"{path} cannot be read as YAML: {_one_line(error)}. {remedy}") from None
    return typed(plain, kind, str(path), remedy)


def read_csv(path: Path, remedy: str) -> dict[str, list[float]]:
    """Return the columns of a table of numbers by name; NaN for an empty cell.

    Raises:
        UserError: the file cannot be read, or is not a table of numbers with one line of names.
    """
    content = read_text(path, remedy)
    try:
        names, *rows = csv.reader(content.decode().splitlines())
        table = [[float(cell or "nan") for cell in row] for row in rows]
        columns = zip(*table, strict=True) if table else ([] for _ in names)
        return {name: list(column) for name, column in zip(names, columns, strict=True)}
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is not a table of numbers: {error}. {remedy}") from None


def typed(content: object, kind: type[Kind], name: str, remedy: str) -> Kind:
    """Return data as a type; `name` names the data in error messages, see `read_json`.

    Raises:
        UserError: the data have another type.
    """
    try:
        content_of_kind: Kind = TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        raise UserError(f"{name} {_mistakes(error, kind)}. {remedy}") from None
    return content_of_kind


def _mistakes(error: ValidationError, kind: type[Any]) -> str:
    """Return the first three mistakes in words."""
    issues = error.errors(include_url=False, include_context=False, include_input=False)
    if issues[0]["type"] == "json_invalid":
        return f"cannot be read as JSON: {issues[0]['msg']}"
    lines = [": ".join([_location(issue["loc"]), issue["msg"]]) for issue in issues[:3]]
    name = {"dict": "JSON object", "tuple": "JSON list"}.get(kind.__name__, kind.__name__.strip("_").lower())
    return f"is not a {name} of this release: {'; '.join(lines)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _location(keys: Iterable[int | str]) -> str:
    return ".".join(map(str, keys)) or "the whole document"
