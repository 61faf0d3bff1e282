"""HDF5 files of other people: nothing is read before links, storage, shapes and types are checked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.adoption.contents import Location
from pipeline.adoption.readers.reader import check_size, number_type
from simsurrogate.errors import UserError

_MAX_OBJECTS = 2**18
_MAX_ATTRIBUTE_BYTES = 2**20
#: The HDF5 library reads whole chunks.
_MAX_CHUNK_BYTES = 2**30
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Return whether a file starts as an HDF5 file without a user block does."""
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def open_checked(path: Path) -> h5py.File:
    """Open a file whose objects all lie in the file.

    Raises:
        UserError: the file is damaged, or one of its objects leads to another file or declares far more
            values than are stored.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{path} is not a readable HDF5 file: {error}. Only whole files are read. Copy the file again"
        ) from None
    _check_objects(path, file)
    return file


def _check_objects(path: Path, file: h5py.File) -> None:
    """Check every link and every dataset, without reading a value."""
    groups, visited = ["/"], {_address(file)}
    num_objects = 0
    while groups:
        prefix = groups.pop()
        group = file[prefix]
        for name in group:
            num_objects += 1
            if num_objects > _MAX_OBJECTS:
                raise UserError(
                    f"{path} has more than {_MAX_OBJECTS} objects. Fewer objects are allowed. Use another "
                    "file"
                )
            item_path = f"{prefix.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UserError(
                    f"{path}: {item_path} is a link that can lead outside of the file. Only objects in the "
                    "file itself are read. Write the data to one file"
                )
            item = group[name]
            if _address(item) in visited:
                continue
            visited.add(_address(item))
            if isinstance(item, h5py.Dataset):
                _check_dataset(f"{path}: {item_path}", item)
            elif isinstance(item, h5py.Group):
                groups.append(item_path)


def _address(item: Any) -> int:
    return int(h5py.h5o.get_info(item.id).addr)


def _check_dataset(name: str, dataset: h5py.Dataset) -> None:
    # First, because the library opens other files to determine the shape of a virtual dataset.
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise UserError(
            f"{name} is virtual or has external storage, so its values lie in other files. Only values in "
            "the file itself are read. Write the data to one file"
        )
    itemsize = dataset.id.get_type().get_size()
    check_size(name, dataset.shape or (), itemsize, dataset.id.get_storage_size())
    if properties.get_layout() == h5py.h5d.CHUNKED:
        chunk_bytes = int(np.prod(properties.get_chunk(), dtype=object)) * itemsize
        if chunk_bytes > _MAX_CHUNK_BYTES:
            raise UserError(
                f"{name} has chunks of {chunk_bytes} bytes. At most {_MAX_CHUNK_BYTES} bytes are allowed. "
                "Write the data in smaller chunks"
            )


def numbers(name: str, dataset: Any) -> h5py.Dataset:
    """Return an object that is a dataset of real numbers.

    Raises:
        UserError: it is a group, or has other values.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise UserError(f"{name} is a group or missing. A dataset of numbers is allowed. Use another file")
    number_type(name, dataset.dtype)
    return dataset


def location(path: Path, dataset: h5py.Dataset, dtype: str) -> Location | None:
    """Return where a dataset's values lie in its file, as one array of this type; None if they do not."""
    properties = dataset.id.get_create_plist()
    is_plain = properties.get_layout() == h5py.h5d.CONTIGUOUS and not properties.get_nfilters()
    # h5py shows some other types, such as bfloat16, as float32.
    has_type = dataset.id.get_type().equal(h5py.h5t.py_create(np.dtype(dtype)))
    has_all_values = dataset.id.get_storage_size() == dataset.size * np.dtype(dtype).itemsize
    offset = dataset.id.get_offset()
    return Location(str(path), offset) if is_plain and has_type and has_all_values and offset else None


def attribute(item: Any, name: str) -> Any:
    """Return the value of an attribute as Python objects; None if it is missing or large."""
    if name not in item.attrs:
        return None
    stored = item.attrs.get_id(name)
    if math.prod(stored.shape) * stored.dtype.itemsize > _MAX_ATTRIBUTE_BYTES:
        return None
    value = item.attrs[name]
    if isinstance(value, h5py.Empty):
        return None
    return _plain(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_plain(item) for item in value] if isinstance(value, list) else value


def text(item: Any, name: str) -> str | None:
    """Return an attribute that is a text, or None."""
    value = attribute(item, name)
    return value[:200] if isinstance(value, str) and value.strip() else None


def texts(item: Any, name: str) -> list[str]:
    """Return an attribute that is a text or a list of texts; empty if it is neither."""
    value = attribute(item, name)
    values = value if isinstance(value, list) else [value]
    return [entry for entry in values if isinstance(entry, str)]
