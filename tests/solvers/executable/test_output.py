"""Readers of a program's output: HDF5, NetCDF (classic and NetCDF-4), npy and text, and damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray
from scipy.io import netcdf_file

from solvers.executable.description import AxisOptions, FieldOptions, spec_of
from solvers.executable.output import (
    Hdf5Output,
    NetcdfOutput,
    NpyOutput,
    Output,
    OutputError,
    OutputReader,
    TextOutput,
)

TIMES = np.array([0.0, 0.5, 1.0])
SPEC = spec_of(
    problem="channel",
    equation="",
    axes={"x": AxisOptions(4), "y": AxisOptions(3)},
    particles=None,
    fields={"flow": FieldOptions("m/s", vector=True)},
    coefficient_fields={"depth": FieldOptions("m")},
    parameters={},
    random_seed=False,
    autonomous=True,
)
VALUES = np.random.default_rng(0).normal(size=(3, len(SPEC.channels), 4, 3))
DEPTH = np.arange(12.0).reshape(4, 3)
ARRAYS = dict(zip(SPEC.channels, VALUES.swapaxes(0, 1), strict=True)) | {"depth": DEPTH}


def write_hdf5(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    with h5py.File(folder / "out.h5", "w") as file:
        for name, values in arrays.items():
            file[f"results/{name}"] = values


def write_classic(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    with netcdf_file(folder / "out.nc", "w") as file:
        for size in (3, 4):
            file.createDimension(f"n{size}", size)
        for name, values in arrays.items():
            file.createVariable(name, "d", [f"n{size}" for size in values.shape])[:] = values


def write_netcdf4(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    variables = {
        name: ([f"{name}{axis}" for axis in range(values.ndim)], values) for name, values in arrays.items()
    }
    encoding = {"depth": {"scale_factor": 0.5, "add_offset": 1.0, "dtype": "int32", "_FillValue": -1}}
    xarray.Dataset(variables).to_netcdf(folder / "out.nc", engine="h5netcdf", encoding=encoding)


def write_npy(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.asfortranarray(values))


def write_text(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        lines = "\n".join(", ".join(map(repr, row.ravel().tolist())) for row in values)
        (folder / f"{name}.txt").write_text("# a comment\n" + lines.replace("e-", "D-") + "  # the end\n")


NAMES = {channel: f"results/{channel}" for channel in ARRAYS}
Write = Callable[[Path, dict[str, np.ndarray]], None]
FORMATS: dict[str, tuple[Output, Write]] = {
    "hdf5": (Hdf5Output("hdf5", "out.h5", NAMES), write_hdf5),
    "netcdf classic": (NetcdfOutput("netcdf", "out.nc"), write_classic),
    "netcdf 4": (NetcdfOutput("netcdf", "out.nc"), write_netcdf4),
    "npy": (NpyOutput("npy"), write_npy),
    "text": (TextOutput("text"), write_text),
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_returns_the_written_values(name: str, tmp_path: Path) -> None:
    output, write = FORMATS[name]
    write(tmp_path, ARRAYS)
    reader = OutputReader(output, SPEC)
    states, fields = reader.states(tmp_path, TIMES), reader.coefficient_fields(tmp_path)
    assert (states.dtype, fields.dtype) == (np.float64, np.float64)
    assert np.array_equal(states, VALUES)
    np.testing.assert_array_equal(fields, DEPTH[None])


def test_another_order_of_the_axes_is_transposed(tmp_path: Path) -> None:
    write_npy(tmp_path, {name: values.T for name, values in ARRAYS.items()})
    reader = OutputReader(NpyOutput("npy", order=("y", "x", "time")), SPEC)
    assert np.array_equal(reader.states(tmp_path, TIMES), VALUES)
    np.testing.assert_array_equal(reader.coefficient_fields(tmp_path), DEPTH[None])


@pytest.mark.parametrize("name", FORMATS)
def test_another_shape_is_refused(name: str, tmp_path: Path) -> None:
    output, write = FORMATS[name]
    write(tmp_path, {channel: values[:, :3] for channel, values in ARRAYS.items()})
    with pytest.raises(OutputError, match=r"^wrote .*flow_x.* instead of "):
        OutputReader(output, SPEC).states(tmp_path, TIMES)


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_file_is_refused(name: str, tmp_path: Path) -> None:
    output, write = FORMATS[name]
    write(tmp_path, ARRAYS)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(OutputError, match=r"^wrote .*(flow_x|out\.)"):
        OutputReader(output, SPEC).states(tmp_path, TIMES)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_array_is_named(name: str, tmp_path: Path) -> None:
    output, write = FORMATS[name]
    write(tmp_path, {"flow_x": ARRAYS["flow_x"], "depth": DEPTH})
    with pytest.raises(OutputError, match="flow_y"):
        OutputReader(output, SPEC).states(tmp_path, TIMES)


def test_a_missing_value_of_netcdf_is_not_finite(tmp_path: Path) -> None:
    write_netcdf4(tmp_path, ARRAYS | {"depth": np.where(DEPTH == 5, np.nan, DEPTH)})
    with pytest.raises(OutputError, match="wrote a value of depth that is not finite"):
        OutputReader(NetcdfOutput("netcdf", "out.nc"), SPEC).coefficient_fields(tmp_path)


def write_archive(folder: Path) -> None:
    np.savez(folder / "archive.npz", values=VALUES)
    (folder / "archive.npz").rename(folder / "flow_x.npy")


def write_broken_archive(folder: Path) -> None:
    (folder / "flow_x.npy").write_bytes(b"PK\x03\x04" + b"x" * 100)


def write_empty(folder: Path) -> None:
    with h5py.File(folder / "out.h5", "w") as file:
        file["results/flow_x"] = h5py.Empty("f8")


def write_wrong_fill_value(folder: Path) -> None:
    with h5py.File(folder / "out.nc", "w") as file:
        file["flow_x"] = VALUES[:, 0]
        file["flow_x"].attrs["_FillValue"] = "missing"


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("npy", write_archive),
        ("npy", write_broken_archive),
        ("hdf5", write_empty),
        ("netcdf 4", write_wrong_fill_value),
    ],
)
def test_an_odd_file_is_a_failure_of_its_trajectory(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(OutputError, match=r"^wrote .*(flow_x|out\.)"):
        OutputReader(FORMATS[name][0], SPEC).states(tmp_path, TIMES)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    values: Any = np.empty((3, 4, 3), object)
    np.save(tmp_path / "flow_x.npy", values, allow_pickle=True)
    with pytest.raises(OutputError, match=r"wrote flow_x\.npy, which NumPy cannot read"):
        OutputReader(NpyOutput("npy"), SPEC).states(tmp_path, TIMES)
