"""MPI datatypes of slabs, for the transpose of a distributed array by `Alltoallw`."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI


def slab_datatype(array: np.ndarray, axis: int, rows: slice) -> MPI.Datatype:
    """Return the committed MPI datatype of a slab of a contiguous array.

    Args:
        array: the C-contiguous array, float64 or complex128.
        axis: the axis of the slab.
        rows: the slice along this axis; an empty slice gives a datatype without elements.
    """
    element = MPI.DOUBLE_COMPLEX if np.iscomplexobj(array) else MPI.DOUBLE
    shape, start = list(array.shape), [0] * array.ndim
    shape[axis], start[axis] = rows.stop - rows.start, rows.start
    if 0 in shape:
        return element.Create_contiguous(0).Commit()
    return element.Create_subarray(list(array.shape), shape, start).Commit()
