"""The datasets of a shard as the HDF5 library reads them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """Return the values of all datasets by each of their paths."""
    with h5py.File(path, "r", locking=False) as file:
        arrays = {}
        groups = [""]
        while groups:
            prefix = groups.pop()
            for name in file[prefix or "/"]:
                item = file[prefix + name]
                if isinstance(item, h5py.Group):
                    groups.append(f"{prefix}{name}/")
                else:
                    arrays[prefix + name] = item[...]
        return arrays


def offset_of(path: Path, name: str) -> int:
    """Return the offset of a dataset's values in a file."""
    with h5py.File(path, "r", locking=False) as file:
        return int(file[name].id.get_offset())
