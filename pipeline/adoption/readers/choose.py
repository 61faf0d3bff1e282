"""The choice of the reader of a source: by `format`, or by what the files are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import h5py

from pipeline.adoption.description import Description
from pipeline.adoption.readers import hdf5_file, pdebench, well, zarr_store
from pipeline.adoption.readers.arrays import ArraysReader
from pipeline.adoption.readers.particle_tables import ParticleTable
from pipeline.adoption.readers.reader import Reader, joined, regular_files
from simsurrogate.errors import UserError

Format = Literal["well", "pdebench", "npy", "xarray", "csv_particles"]

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "well": (".hdf5", ".h5"),
    "pdebench": (".hdf5", ".h5"),
    "npy": (".npy", ".npz"),
    "xarray": (".nc", ".nc4", ".cdf"),
    "csv_particles": (".csv",),
}
#: The splits by the names of folders.
_SPLITS = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "test": "test",
    "test_extrapolation": "test_extrapolation",
    "calibration": "calibration",
}
_MAX_LISTED_FILES = 8


def open_source(source: Path, form: Format | None, description: Description) -> Reader:
    """Return the checked reader of a file or a folder.

    Raises:
        UserError: the layout is unknown, a file is damaged or hostile, or files disagree.
    """
    if form in (None, "npy") and _is_array_source(source, form):
        return ArraysReader(source, description)
    paths = _paths(source, form)
    if not paths:
        raise UserError(
            f"{source} holds no file of a known layout. It holds {_listing(source)}. Known are {_known()}. "
            "Type format= and a folder of such files"
        )
    splits = [_split(path, source) for path in paths]
    order = sorted(range(len(paths)), key=lambda index: (_split_number(splits[index]), str(paths[index])))
    readers = [_opener(paths[index], form)(description) for index in order]
    names = [str(paths[index]) for index in order]
    ordered_splits = [splits[index] for index in order]
    return (
        readers[0] if len(readers) == 1 and not ordered_splits[0] else joined(readers, names, ordered_splits)
    )


def _is_array_source(source: Path, form: str | None) -> bool:
    if source.is_file():
        return form == "npy" or source.suffix in _SUFFIXES["npy"]
    return any(path.suffix == ".npy" for path in source.iterdir()) and not zarr_store.is_store(source)


def _paths(source: Path, form: str | None) -> list[Path]:
    """Return the files, or the Zarr stores, of a source."""
    if source.is_file() or (form in (None, "xarray") and zarr_store.is_store(source)):
        return [source]
    if form in (None, "xarray"):
        stores = [path for path in sorted(source.iterdir()) if zarr_store.is_store(path)]
        if stores:
            return stores
    suffixes = {
        suffix
        for key, items in _SUFFIXES.items()
        if form in (None, key)
        for suffix in items
        if suffix != ".npy"
    }
    return [
        path for path in regular_files(source) if path.suffix in suffixes and not path.name.startswith(".")
    ]


def _opener(path: Path, form: Format | None) -> Callable[[Description], Reader]:
    """Return the function that opens a file."""
    from pipeline.adoption.readers.xarray_files import XarrayReader  # xarray takes half a second

    if form == "csv_particles" or (form is None and path.suffix == ".csv"):
        return partial(ParticleTable, path)
    if path.suffix == ".npz":
        return partial(ArraysReader, path)
    if path.is_dir() or form == "xarray" or (form is None and path.suffix in _SUFFIXES["xarray"]):
        return partial(XarrayReader, path)
    if not hdf5_file.is_hdf5(path):
        raise UserError(
            f"{path} has no known layout: it is no HDF5 file, and its first bytes are {_first_bytes(path)}. "
            f"Known are {_known()}. Type format= with one of these names"
        )
    file = hdf5_file.open_checked(path)
    readers: dict[str, tuple[Callable[[h5py.File], bool], Callable[..., Reader]]] = {
        "well": (well.is_layout, well.WellReader),
        "pdebench": (
            pdebench.is_layout,
            pdebench.GroupPerTrajectory if pdebench.is_grouped(file) else pdebench.RootArrays,
        ),
    }
    for name, (is_layout, reader) in readers.items():
        if form in (None, name) and (is_layout(file) or (form == name == "pdebench")):
            return partial(reader, path, file)
    if form is None and ("_NCProperties" in file.attrs or _has_scales(file)):
        return partial(XarrayReader, path)
    raise UserError(
        f"{path} is an HDF5 file of no known layout. At its root are "
        f"{', '.join(file)[:300] or 'no objects'}. Known are {_known()}. Type format= with one of these names"
    )


def _has_scales(file: h5py.File) -> bool:
    return any(isinstance(item, h5py.Dataset) and item.is_scale for item in file.values())


def _split(path: Path, source: Path) -> str | None:
    return _SPLITS.get(path.parent.name) if source.is_dir() and path.parent != source else None


def _split_number(split: str | None) -> int:
    return list(dict.fromkeys(_SPLITS.values())).index(split) if split else -1


def _first_bytes(path: Path) -> str:
    with path.open("rb") as file:
        return repr(file.read(12))


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    more = f" and {len(names) - _MAX_LISTED_FILES} more" if len(names) > _MAX_LISTED_FILES else ""
    return (", ".join(names[:_MAX_LISTED_FILES]) or "no files") + more


def _known() -> str:
    return ", ".join(f"{name} ({' '.join(suffixes)})" for name, suffixes in _SUFFIXES.items())
