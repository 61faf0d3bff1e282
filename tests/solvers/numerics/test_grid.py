"""Grids: division among ranks, cell centres, walls and ghost cells."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

from solvers.numerics.grid import Grid, slab


@given(num_rows=st.integers(1, 2000), num_ranks=st.integers(1, 200))
def test_slabs_cover_all_rows_once_and_evenly(num_rows: int, num_ranks: int) -> None:
    slabs = [slab(num_rows, num_ranks, rank) for rank in range(num_ranks)]
    assert [row for rank_slab in slabs for row in range(rank_slab.start, rank_slab.stop)] == list(
        range(num_rows)
    )
    counts = [rank_slab.stop - rank_slab.start for rank_slab in slabs]
    assert max(counts) - min(counts) <= 1
    assert min(counts) >= 1 or num_ranks > num_rows


def test_cells_are_centred_between_the_ends() -> None:
    grid = Grid(MPI.COMM_SELF, (1.0, 3.0), (4, 6), ("periodic", "dirichlet"))
    assert grid.spacing == (0.25, 0.5)
    assert grid.cell_volume == 0.125
    assert np.allclose(grid.coordinates(0), [0.125, 0.375, 0.625, 0.875])
    assert np.allclose(grid.coordinates(1), [0.25, 0.75, 1.25, 1.75, 2.25, 2.75])


def test_walls_are_the_outermost_layers_of_axes_that_are_not_periodic() -> None:
    grid = Grid(MPI.COMM_SELF, (1.0, 3.0), (4, 6), ("periodic", "dirichlet"))
    cells = np.arange(24).reshape(4, 6)
    assert not list(grid.walls(0))
    layers = {end_index: cells[layer].ravel().tolist() for end_index, layer in grid.walls(1)}
    assert layers == {0: [0, 6, 12, 18], 1: [5, 11, 17, 23]}


def test_one_rank_fills_only_the_ghost_cells_of_periodic_axes() -> None:
    values = np.arange(6.0).reshape(3, 2)
    for condition, ghosts in (
        ("periodic", (values[-1], values[0])),
        ("dirichlet", (np.zeros(2), np.zeros(2))),
    ):
        grid = Grid(MPI.COMM_SELF, (1.0, 1.0), (3, 2), (condition, condition))
        padded_values = grid.padded_array(values)
        grid.exchange(padded_values)
        rows, columns = grid.interior()
        assert np.array_equal(padded_values[rows.start - 1, columns], ghosts[0])
        assert np.array_equal(padded_values[rows.stop, columns], ghosts[1])
        assert np.array_equal(padded_values[grid.interior()], values)
