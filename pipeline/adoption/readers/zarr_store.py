"""The check of a Zarr store before the library opens it: links, codecs, types and declared sizes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.adoption.readers.reader import check_size, regular_files
from simsurrogate.errors import UserError

#: The documents of the formats 2 and 3 of Zarr.
_DOCUMENTS = (".zarray", ".zgroup", ".zattrs", ".zmetadata", "zarr.json")
_MAX_DOCUMENT_BYTES = 2**22
#: Codecs that decode numbers. Others, such as pickle, may run code.
_CODECS = {
    "zlib", "gzip", "bz2", "lzma", "blosc", "lz4", "zstd", "shuffle", "delta", "fixedscaleoffset", "quantize",
    "bitround", "astype", "packbits", "crc32", "crc32c", "adler32", "fletcher32", "bytes", "transpose",
    "sharding_indexed",
}  # fmt: skip
_MAX_CHUNK_BYTES = 2**30


def is_store(path: Path) -> bool:
    """Return whether a folder is a Zarr group."""
    return path.is_dir() and any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def check(store: Path) -> None:
    """Check all of a store without reading a chunk.

    Raises:
        UserError: a link, an unknown codec, values that are no numbers, or an array that declares far more
            bytes than its chunks have.
    """
    sizes: dict[Path, int] = {}
    documents = []
    for path in regular_files(store):
        if path.name in _DOCUMENTS:
            documents.append(path)
            continue
        for folder in path.parents:
            sizes[folder] = sizes.get(folder, 0) + path.stat().st_size
            if folder == store:
                break
    for path in documents:
        if path.name in (".zarray", "zarr.json"):
            document = _read(path)
            if path.name == ".zarray" or document.get("node_type") == "array":
                _check_array(path, document, sizes.get(path.parent, 0))


def _read(path: Path) -> Mapping[str, Any]:
    content = path.read_bytes() if path.stat().st_size <= _MAX_DOCUMENT_BYTES else b""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UserError(
            f"{path} is not a JSON object of at most {_MAX_DOCUMENT_BYTES} bytes. Copy the store again"
        )
    return document


def _check_array(path: Path, document: Mapping[str, Any], stored_bytes: int) -> None:
    codecs = [name for key in ("compressor", "filters", "codecs") for name in _codecs(document.get(key))]
    unknown = [name for name in codecs if name.removeprefix("numcodecs.") not in _CODECS]
    if unknown:
        raise UserError(
            f"{path}: the codec {unknown[0]} is not allowed, because it may run code. The codecs of numbers "
            f"are {', '.join(sorted(_CODECS))}. Write the array without this codec"
        )
    shape = document.get("shape")
    grid = document.get("chunk_grid")
    chunks = document.get("chunks") or (
        grid.get("configuration", {}).get("chunk_shape") if isinstance(grid, dict) else None
    )
    dtype = document.get("dtype") or document.get("data_type")
    try:
        itemsize = np.dtype(str(dtype)).itemsize
    except TypeError:
        itemsize = 0
    has_sizes = all(
        isinstance(sizes, list) and all(isinstance(size, int) and size >= 0 for size in sizes)
        for sizes in (shape, chunks)
    )
    if not has_sizes or not itemsize or np.dtype(str(dtype)).hasobject:
        raise UserError(
            f"{path} has no shape, no chunks, or values of the type {str(dtype)[:60]}. Arrays of numbers are "
            "read. Write the array as float32 or float64"
        )
    check_size(str(path.parent), shape or (), itemsize, stored_bytes)
    if math.prod(chunks or ()) * itemsize > _MAX_CHUNK_BYTES:
        raise UserError(
            f"{path.parent} has chunks {chunks}. A chunk has at most {_MAX_CHUNK_BYTES} bytes. Write the "
            "array in smaller chunks"
        )


def _codecs(value: Any) -> Iterator[str]:
    """Yield the names of codecs, also of those in a shard's configuration."""
    entries: Sequence[Any] = value if isinstance(value, list) else [] if value is None else [value]
    for entry in entries:
        if not isinstance(entry, dict):
            yield str(entry)
            continue
        yield str(entry.get("id", entry.get("name")))
        configuration = entry.get("configuration")
        if isinstance(configuration, dict):
            for key in ("codecs", "index_codecs"):
                yield from _codecs(configuration.get(key))
