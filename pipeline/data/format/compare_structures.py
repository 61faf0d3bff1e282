"""A program that compares the structure of an HDF5 file with that of a file of the expected structure.

    python -P compare_structures.py EXPECTED FILE < VARYING

A file from elsewhere can crash the HDF5 library, or use all its time and memory. This program therefore runs
as a process of its own, limits itself, and imports nothing of the project. VARYING is a JSON list of the
datasets whose values may differ. The program prints a JSON object: `difference` is a sentence or null, and
`offsets` holds the offset of the values of each dataset by path.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Any

if __name__ == "__main__":
    # h5py may have been built with MPI. A process that a rank starts must not start MPI.
    with suppress(ImportError):
        import mpi4py

        mpi4py.rc.initialize = False

import h5py
import numpy as np

#: The limits of this process: address space (bytes), processor time (s), and the size of written files.
_LIMITS = (
    (resource.RLIMIT_AS, 2**30),
    (resource.RLIMIT_CPU, 20),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
)
_MAX_MESSAGE_LENGTH = 300


class StructureError(Exception):
    """A difference between the structures of both files."""


def difference_and_offsets(
    expected: h5py.File, file: h5py.File, varying: Collection[str]
) -> tuple[str | None, dict[str, int]]:
    """Return how the structure of `file` differs from the expected structure, and its offsets of values."""
    try:
        paths = _common_paths(expected, file)
        names, expected_names = _names_of_objects(file, paths), _names_of_objects(expected, paths)
        if file.userblock_size:
            raise StructureError("the file has a user block, none expected")
        for path in paths:
            if names[_address(file[path])] != expected_names[_address(expected[path])]:
                raise StructureError(f"{path} leads to another object than expected")
        own_paths = [path for path in paths if path in expected_names.values()]
        offsets = {}
        for path in own_paths:
            if isinstance(file[path], h5py.Dataset):
                _compare_datasets(path, expected[path], file[path], compares_values=path not in varying)
                offsets[path] = file[path].id.get_offset() or 0
        # Later, because the attributes of a dataset refer to other datasets.
        for path in own_paths:
            _compare_attributes(path, (expected, expected_names), (file, names))
    except StructureError as error:
        return str(error), {}
    # The HDF5 library reports a damaged structure by exceptions of many types.
    except Exception as error:
        return f"the HDF5 library reports {type(error).__name__}: {error}", {}
    return None, offsets


def _common_paths(expected: h5py.File, file: h5py.File) -> list[str]:
    """Return the path of each group and dataset; both files have the same paths, and hard links only."""
    paths, groups = ["/"], [""]
    while groups:
        prefix = groups.pop()
        names, expected_names = (set(root[prefix or "/"]) for root in (file, expected))
        for name in sorted(names ^ expected_names):
            raise StructureError(f"{prefix}{name} is {'not expected' if name in names else 'missing'}")
        for name in sorted(names):
            path = prefix + name
            if not isinstance(file.get(path, getlink=True), h5py.HardLink):
                raise StructureError(f"{path} is a link that can lead outside of the file")
            if type(file[path]) is not type(expected[path]):
                raise StructureError(
                    f"{path}: {type(file[path]).__name__} found, {type(expected[path]).__name__} expected"
                )
            paths.append(path)
            if isinstance(file[path], h5py.Group):
                groups.append(f"{path}/")
    return paths


def _address(item: h5py.HLObject) -> int:
    """Return the address of an object in its file."""
    return int(h5py.h5o.get_info(item.id).addr)


def _names_of_objects(file: h5py.File, paths: list[str]) -> dict[int, str]:
    """Return a path of each object by its address: the path in a group, not the link at the root."""
    return {_address(file[path]): path for path in paths}


def _compare_attributes(
    path: str, expected: tuple[h5py.File, dict[int, str]], found: tuple[h5py.File, dict[int, str]]
) -> None:
    """Compare the attributes of an object: their names, types and values."""
    (expected_file, _), (file, _) = expected, found
    attributes, expected_attributes = file[path].attrs, expected_file[path].attrs
    for name in sorted(set(attributes) ^ set(expected_attributes)):
        raise StructureError(f"{path} {name} is {'not expected' if name in attributes else 'missing'}")
    for name in expected_attributes:
        value, expected_value = (
            _plain(root[path].attrs[name], root, names) for root, names in (found, expected)
        )
        if repr(value) != repr(expected_value):
            raise StructureError(f"{path} {name}: {value!r} found, {expected_value!r} expected")
        attribute, expected_attribute = attributes.get_id(name), expected_attributes.get_id(name)
        if attribute.shape != expected_attribute.shape or not _same_type(attribute, expected_attribute):
            raise StructureError(f"{path} {name} has another type or shape than expected")


def _plain(value: Any, file: h5py.File, names: dict[int, str]) -> Any:
    """Return the value of an attribute as numbers, texts and nested lists; a reference is a path."""
    if isinstance(value, h5py.Reference):
        address = h5py.h5o.get_info(h5py.h5r.dereference(value, file.id)).addr
        return f"reference to {names.get(address, 'an unknown object')}"
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), file, names)
    if isinstance(value, list | tuple):
        return [_plain(entry, file, names) for entry in value]
    return value


def _same_type(found: Any, expected: Any) -> bool:
    """Return whether two attributes or datasets have the same type, down to the bits of a number.

    The library never reports types of variable length in different files as equal. Such types are compared
    as NumPy types.
    """
    if expected.dtype.hasobject:
        return _signature(found.dtype) == _signature(expected.dtype)
    return bool(found.get_type().equal(expected.get_type()))


def _signature(dtype: np.dtype[Any]) -> str:
    """Return a description of a type that distinguishes references, texts and arrays of variable length."""
    fields = {name: _signature(dtype.fields[name][0]) for name in dtype.names or ()} if dtype.fields else {}
    return f"{dtype.str} {dtype.metadata} {fields}"


def _compare_datasets(
    path: str, expected: h5py.Dataset, dataset: h5py.Dataset, *, compares_values: bool
) -> None:
    """Compare layout, type and shape of a dataset, and its values if they may not vary."""
    # First, because the library opens other files to determine the shape of a virtual dataset.
    creation_properties = dataset.id.get_create_plist()
    external, expected_external = _external(dataset), _external(expected)
    if (
        creation_properties.get_layout() != h5py.h5d.CONTIGUOUS
        or external != expected_external
        or creation_properties.get_nfilters()
    ):
        raise StructureError(
            f"{path} is virtual, external, compact or chunked. The datasets of a shard are contiguous parts "
            "of its file, or of the file that was adopted"
        )
    if (dataset.shape, dataset.dtype) != (expected.shape, expected.dtype):
        raise StructureError(
            f"{path}: {dataset.dtype}{dataset.shape} found, {expected.dtype}{expected.shape} expected"
        )
    is_allocated = dataset.id.get_offset() is not None or not dataset.size or bool(external)
    if (
        dataset.maxshape != expected.maxshape
        or not _same_type(dataset.id, expected.id)
        or dataset.id.get_storage_size() != expected.id.get_storage_size()
        or not is_allocated
    ):
        raise StructureError(f"{path} is stored in another type or size than expected")
    if compares_values and not external and dataset[...].tobytes() != expected[...].tobytes():
        raise StructureError(f"{path}: {dataset[...][:4]}... found, {expected[...][:4]}... expected")


def _external(dataset: h5py.Dataset) -> list[tuple[bytes, int, int]]:
    """Return the parts of other files that hold the values of a linked dataset."""
    creation_properties = dataset.id.get_create_plist()
    return [
        creation_properties.get_external(number) for number in range(creation_properties.get_external_count())
    ]


def _limit_this_process() -> None:
    for kind, limit in _LIMITS:
        _, hard_limit = resource.getrlimit(kind)
        is_lower = hard_limit != resource.RLIM_INFINITY and hard_limit < limit
        # Some systems do not know some limits.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (hard_limit if is_lower else limit, hard_limit))


def main() -> None:
    """Compare the files on the command line and print the result."""
    expected_path, path = sys.argv[1:]
    varying = json.load(sys.stdin)
    difference: str | None
    offsets: dict[str, int] = {}
    with h5py.File(expected_path, "r", locking=False) as expected:
        _limit_this_process()
        try:
            file = h5py.File(path, "r", locking=False)
        except Exception as error:
            difference = f"it is not a readable HDF5 file: {error}"
        else:
            difference, offsets = difference_and_offsets(expected, file, varying)
    if difference is not None:
        difference = difference.encode("ascii", "backslashreplace").decode()[:_MAX_MESSAGE_LENGTH]
    print(json.dumps({"difference": difference, "offsets": offsets}), flush=True)
    # The library may fail when it closes a damaged file.
    os._exit(0)


if __name__ == "__main__":
    main()
