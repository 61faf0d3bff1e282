"""Files of every layout that `adopt` reads, with equal trajectories, and their descriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray

TRAJECTORIES, FRAMES, CELLS = 10, 4, 8
STEP = 0.1
TIMES = STEP * np.arange(FRAMES)
POINTS = (np.arange(CELLS) + 0.5) / CELLS


def decaying_waves(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return fields (N, T, X, Y) of heat conduction on a periodic square, and the diffusivities (N,)."""
    rng = np.random.default_rng(seed)
    diffusivity = rng.uniform(0.01, 0.05, TRAJECTORIES)
    phases, amplitudes = rng.uniform(0, 2 * np.pi, (2, TRAJECTORIES, 2))
    waves = [
        amplitudes[:, axis, None] * np.sin(2 * np.pi * POINTS + phases[:, axis, None]) for axis in range(2)
    ]
    start = waves[0][:, :, None] + waves[1][:, None, :]
    decay = np.exp(-diffusivity[:, None] * 4 * np.pi**2 * TIMES)
    return (start[:, None] * decay[:, :, None, None]).astype(np.float32), diffusivity


HEAT, DIFFUSIVITY = decaying_waves()
AXIS = "{unit: m, extent: 1.0, boundary: periodic}"
AXES = f"axes:\n  x: {AXIS}\n  y: {AXIS}\n"
ALONE = "fields: {u: {unit: K}}\n" + AXES


def well_file(path: Path, rows: slice = slice(None), **attributes: Any) -> None:
    """Write some trajectories as The Well does, with units, a vector field and a constant field."""
    heat, diffusivity = HEAT[rows], DIFFUSIVITY[rows]
    text = h5py.string_dtype()
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {
                "dataset_name": "waves",
                "grid_type": "cartesian",
                "n_spatial_dims": 2,
                "n_trajectories": len(heat),
                "simulation_parameters": np.array(["diffusivity"], dtype=text),
            }
        )
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = np.array(["x", "y"], dtype=text)
        for name, values, unit in (("time", TIMES, "s"), ("x", POINTS, "m"), ("y", POINTS, "m")):
            dataset = dimensions.create_dataset(name, data=values.astype(np.float32))
            dataset.attrs.update({"sample_varying": False, "time_varying": False, "units": unit})
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = np.array(["diffusivity"], dtype=text)
        scalar = scalars.create_dataset("diffusivity", data=diffusivity)
        scalar.attrs.update({"sample_varying": True, "time_varying": False, "units": "m^2/s"})
        write_periodic_boundaries(file, CELLS)
        fields: tuple[dict[str, tuple[np.ndarray, str]], ...] = (
            {"u": (heat, "K"), "source": (np.ones((CELLS, CELLS), np.float32), "K/s")},
            {"flux": (np.stack([heat, 2 * heat], axis=-1), "K m/s")},
            {},
        )
        for order, datasets in enumerate(fields):
            group = file.create_group(f"t{order}_fields")
            group.attrs["field_names"] = np.array(list(datasets), dtype=text)
            for name, (values, unit) in datasets.items():
                dataset = group.create_dataset(name, data=values)
                is_varying = values.ndim > 2
                dataset.attrs.update(
                    {
                        "dim_varying": np.ones(2, bool),
                        "sample_varying": is_varying,
                        "time_varying": is_varying,
                        "units": unit,
                    }
                )
        file.attrs.update(attributes)


def write_periodic_boundaries(file: h5py.File, num_cells: int) -> None:
    """Write the group of the boundary conditions of a periodic box with the axes x and y."""
    text = h5py.string_dtype()
    conditions = file.create_group("boundary_conditions")
    for axis in "xy":
        group = conditions.create_group(f"{axis}_periodic")
        group.attrs.update(
            {
                "associated_dims": np.array([axis], dtype=text),
                "associated_fields": np.array([], dtype=text),
                "bc_type": "PERIODIC",
                "sample_varying": False,
                "time_varying": False,
            }
        )
        group["mask"] = np.isin(np.arange(num_cells), (0, num_cells - 1))


def well(folder: Path) -> tuple[Path, str]:
    well_file(folder / "waves.hdf5")
    return folder / "waves.hdf5", ""


def well_splits(folder: Path) -> tuple[Path, str]:
    for split, rows in (
        ("train", slice(0, 3)),
        ("train", slice(3, 6)),
        ("valid", slice(6, 8)),
        ("test", slice(8, 10)),
    ):
        well_file(folder / "data" / split / f"waves_{rows.start}.hdf5", rows)
    return folder, ""


def pdebench_tensor(folder: Path) -> tuple[Path, str]:
    with h5py.File(folder / "tensor.hdf5", "w") as file:
        file["tensor"] = HEAT
        file["x-coordinate"] = file["y-coordinate"] = POINTS
        # PDEBench stores one time more than frames.
        file["t-coordinate"] = STEP * np.arange(FRAMES + 1)
        file["nu"] = DIFFUSIVITY
    description = ALONE.replace("{u: {unit: K}}", "{u: {unit: K, source: tensor}}").replace(
        "extent: 1.0, ", ""
    )
    return folder / "tensor.hdf5", description + "times: {unit: s}\nparameters: {nu: {unit: m^2/s}}\n"


def pdebench_fields(folder: Path) -> tuple[Path, str]:
    with h5py.File(folder / "flow.hdf5", "w") as file:
        file["Vx"], file["Vy"], file["density"] = HEAT, 2 * HEAT, 1 + HEAT
        file["x-coordinate"] = file["y-coordinate"] = POINTS
        file["t-coordinate"] = TIMES
    fields = "fields:\n  u: {unit: kg/m^3, source: density}\n  velocity: {unit: m/s, source: [Vx, Vy]}\n"
    return folder / "flow.hdf5", fields + AXES + "times: {unit: ms}\n"


def pdebench_groups(folder: Path) -> tuple[Path, str]:
    with h5py.File(folder / "groups.h5", "w") as file:
        for index, heat in enumerate(HEAT):
            group = file.create_group(f"{index:04d}")
            group["data"] = np.stack([heat, 2 * heat], axis=-1)
            group["grid/x"] = group["grid/y"] = POINTS
            group["grid/t"] = TIMES
    fields = "fields:\n  u: {unit: '1', source: data_0}\n  inhibitor: {unit: '1', source: data_1}\n"
    return folder / "groups.h5", fields + AXES + "times: {unit: s}\n"


def pdebench_components(folder: Path) -> tuple[Path, str]:
    with h5py.File(folder / "ns_incom.h5", "w") as file:
        file["velocity"] = np.stack([HEAT, 2 * HEAT], axis=-1)
        file["particles"] = HEAT[..., None]
        file["force"] = np.stack([HEAT[:, 0], HEAT[:, 0]], axis=-1)
        file["t"] = np.broadcast_to(TIMES, (TRAJECTORIES, FRAMES))
    fields = "fields:\n  u: {unit: '1', source: particles}\n  velocity: {unit: m/s}\n  force: {unit: m/s^2}\n"
    return folder / "ns_incom.h5", fields + AXES + "times: {unit: s}\n"


def npy(folder: Path) -> tuple[Path, str]:
    np.save(folder / "temperatures.npy", HEAT)
    return folder / "temperatures.npy", ALONE + f"times: {{unit: s, step: {STEP}}}\n"


def npy_folder(folder: Path) -> tuple[Path, str]:
    for name, values in (
        ("u", HEAT),
        ("nu", DIFFUSIVITY),
        ("time", TIMES),
        ("x", POINTS),
        ("conductivity", HEAT[:, 0]),
    ):
        np.save(folder / f"{name}.npy", values)
    fields = "fields:\n  u: {unit: K}\n  conductivity: {unit: W/(m K)}\n"
    return folder, fields + AXES + "times: {unit: s}\nparameters: {nu: {unit: m^2/s}}\n"


def npz(folder: Path) -> tuple[Path, str]:
    np.savez_compressed(folder / "all.npz", all=np.stack([HEAT, 2 * HEAT]), times=TIMES)
    fields = "fields:\n  u: {unit: K, source: all_0}\n  w: {unit: K, source: all_1}\n"
    return folder / "all.npz", fields + AXES + "times: {unit: s}\norder: [channel, trajectory, time, x, y]\n"


def npz_folder(folder: Path) -> tuple[Path, str]:
    for first in (0, 5):
        np.savez(folder / f"part{first}.npz", u=HEAT[first : first + 5], nu=DIFFUSIVITY[first : first + 5])
    description = ALONE + f"times: {{unit: s, step: {STEP}}}\nparameters: {{nu: {{unit: m^2/s}}}}\n"
    return folder, description


def waves_dataset() -> xarray.Dataset:
    dimensions = ("trajectory", "time", "x", "y")
    return xarray.Dataset(
        {
            "u": (dimensions, HEAT, {"units": "K", "long_name": "temperature"}),
            "nu": (("trajectory",), DIFFUSIVITY, {"units": "m^2/s"}),
        },
        {
            "time": ("time", TIMES, {"units": "seconds since 2000-01-01"}),
            "x": ("x", POINTS, {"units": "m"}),
            "y": ("y", POINTS, {"units": "m"}),
        },
    )


BOUNDARIES = "axes: {x: {boundary: periodic}, y: {boundary: periodic}}\n"


def netcdf4(folder: Path) -> tuple[Path, str]:
    waves_dataset().to_netcdf(folder / "waves.nc", engine="h5netcdf")
    return folder / "waves.nc", BOUNDARIES


def netcdf3(folder: Path) -> tuple[Path, str]:
    for index in range(TRAJECTORIES):
        waves_dataset().isel(trajectory=index).drop_vars("nu").to_netcdf(
            folder / f"{index}.nc", engine="scipy"
        )
    return folder, BOUNDARIES


def zarr2(folder: Path) -> tuple[Path, str]:
    waves_dataset().to_zarr(folder / "waves.zarr", zarr_format=2, consolidated=True)
    return folder / "waves.zarr", BOUNDARIES


def zarr3(folder: Path) -> tuple[Path, str]:
    waves_dataset().to_zarr(folder / "waves.zarr", zarr_format=3, consolidated=False)
    return folder / "waves.zarr", BOUNDARIES


def particle_rows() -> Iterator[tuple[float, ...]]:
    """Yield trajectory, time, particle, x, y, vx, vy and mass of particles that fall, the last row first."""
    rng = np.random.default_rng(1)
    starts = rng.normal(size=(TRAJECTORIES, 3, 4))
    for trajectory in reversed(range(TRAJECTORIES)):
        for time in TIMES:
            for particle in range(3):
                x, y, vx, vy = starts[trajectory, particle]
                position = x + vx * time, y + vy * time - 4.905 * time**2
                yield trajectory, time, particle, *position, vx, vy - 9.81 * time, 1.0 + particle


def csv_particles(folder: Path) -> tuple[Path, str]:
    rows = np.array(list(particle_rows()))
    header = "run,time,particle,x,y,vx,vy,mass"
    np.savetxt(folder / "falling.csv", rows, delimiter=",", header=header, comments="", fmt="%.17g")
    units = "fields: {position: {unit: m}, velocity: {unit: m/s}, mass: {unit: kg}}\ntimes: {unit: s}\n"
    return folder / "falling.csv", units + "columns: {trajectory: run}\n"


#: The function that writes a source and returns its path with its description, by layout.
LAYOUTS: dict[str, Callable[[Path], tuple[Path, str]]] = {
    function.__name__: function
    for function in (
        well,
        well_splits,
        pdebench_tensor,
        pdebench_fields,
        pdebench_groups,
        pdebench_components,
        npy,
        npy_folder,
        npz,
        npz_folder,
        netcdf4,
        netcdf3,
        zarr2,
        zarr3,
        csv_particles,
    )
}


def adopt_overrides(folder: Path, source: Path, description: str) -> list[str]:
    """Return the overrides of `adopt` for a source; the description is written to a file in `folder`.

    The origin is a measurement, because training refuses data of unknown origin.
    """
    overrides = [f"source={source}", "origin.kind=measurement", "origin.source=thermometers"]
    if description:
        (folder / "adopt.yaml").write_text(description)
        overrides.append(f"description={folder / 'adopt.yaml'}")
    return overrides
