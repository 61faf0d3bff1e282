"""The estimated size of a shard, for which space is reserved before the computation."""

from __future__ import annotations

from pathlib import Path

import pytest
from mpi4py import MPI

from pipeline import generate
from pipeline.config.build import build_solver
from pipeline.data.format import hdf5, writer
from pipeline.data.format.layout import dataset_layouts, group_attributes
from tests.support.trainings.training_cases import read_settings


@pytest.mark.parametrize(
    "options",
    [
        ("experiment=smoke",),
        ("experiment=three_body",),
        ("solver=navier_stokes",),
        ("solver.heaters.count=40",),
        ("solver.extent=[1.0]", "solver.resolution=24"),
    ],
)
def test_the_reserved_space_is_enough_and_close_to_the_size_of_the_file(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    settings = read_settings(f"run={tmp_path}", *options)
    header = generate._plan(settings, build_solver(settings.solver, MPI.COMM_SELF)).header
    groups, layouts = group_attributes(header, 4), dataset_layouts(header, 4)
    path = tmp_path / "shard.hdf5"
    hdf5.make_skeleton(path, groups, layouts)
    size = path.stat().st_size
    assert size <= writer._size_of(groups, layouts) <= 1.5 * size
