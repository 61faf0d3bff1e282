"""MPI datatypes of slabs, compared with slices of NumPy for real and complex arrays."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from solvers.numerics.transpose import slab_datatype


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("slab", [slice(0, 2), slice(1, 3), slice(1, 1)])
def test_a_slab_is_sent_as_numpy_slices_it(dtype: type, axis: int, slab: slice) -> None:
    array = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(dtype)
    expected = array[tuple(slab if array_axis == axis else slice(None) for array_axis in range(3))]
    received_slab = np.zeros_like(expected)
    send_type, receive_type = (
        slab_datatype(array, axis, slab),
        slab_datatype(received_slab, axis, slice(0, slab.stop - slab.start)),
    )
    MPI.COMM_SELF.Sendrecv([array, 1, send_type], 0, recvbuf=[received_slab, 1, receive_type], source=0)
    assert np.array_equal(received_slab, expected)
    for datatype in (send_type, receive_type):
        datatype.Free()
