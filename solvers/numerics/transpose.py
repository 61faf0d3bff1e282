"""MPI datatypes of slabs, for the transpose of a distributed array by `Alltoallw`."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI


def slab_datatype(array: np.ndarray, axis: int, part: slice) -> MPI.Datatype:
    """Return the committed datatype of a part of a contiguous array.

    Args:
        array: float64 or complex128, C-contiguous.
        axis: the axis that is cut.
        part: the indices along this axis; an empty part gives a datatype of no elements.
    """
    element = MPI.DOUBLE_COMPLEX if np.iscomplexobj(array) else MPI.DOUBLE
    shape, start = list(array.shape), [0] * array.ndim
    shape[axis], start[axis] = part.stop - part.start, part.start
    if 0 in shape:
        return element.Create_contiguous(0).Commit()
    return element.Create_subarray(list(array.shape), shape, start).Commit()
