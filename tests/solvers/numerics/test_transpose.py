"""Datatypes of slabs select the elements that NumPy slices, for real and complex arrays."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from solvers.numerics.transpose import slab_datatype


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("part", [slice(0, 2), slice(1, 3), slice(1, 1)])
def test_a_slab_is_sent_as_numpy_slices_it(dtype: type, axis: int, part: slice) -> None:
    array = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(dtype)
    expected = array[tuple(part if other == axis else slice(None) for other in range(3))]
    received = np.zeros_like(expected)
    send, receive = (
        slab_datatype(array, axis, part),
        slab_datatype(received, axis, slice(0, part.stop - part.start)),
    )
    MPI.COMM_SELF.Sendrecv([array, 1, send], 0, recvbuf=[received, 1, receive], source=0)
    assert np.array_equal(received, expected)
    for datatype in (send, receive):
        datatype.Free()
