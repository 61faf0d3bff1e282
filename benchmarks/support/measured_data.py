"""Measured heat conduction: a finer solver with noise, gaps, and a conductivity that is recorded too low.

The true conductivity is `OFF` times the recorded one, so a simulation of the recorded conductivity differs
from the measurement even without noise. The solver has three times as many cells along each axis as the
sensors. A sensor measures the mean over its cell, with noise. Some sensors fail in each frame after the first
one, and their values are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from benchmarks.support.training import generate_dataset
from pipeline.data.dataset import Dataset
from tests.adoption.sources import write_periodic_boundaries

CELLS, FINER = 24, 3
#: The true conductivity over the recorded conductivity.
OFF = 1.25
#: The standard deviation of the noise, K. The temperature at time 0 has a root mean square of 0.5 to 1.5 K.
NOISE = 0.02
#: The share of the values after the first frame that are missing.
GAPS = 0.05
#: The recorded range of the geometric mean of the conductivity, m²/s.
RANGE = (0.1, 0.3)
#: The frames after the initial one, and the options of the data.
STEPS = 10
OUTPUT = (f"output={{duration: 0.05, steps: {STEPS}}}", "storage.max_error=0.2")


@dataclass(frozen=True)
class Measured:
    """The trajectories of a split.

    Attributes:
        truth: the temperature without noise (B, T, X, Y), K.
        values: the measured temperature (B, T, X, Y), K; NaN where it is missing.
        diffusivity: the recorded conductivity (B, X, Y), m²/s.
        parameters: the recorded scalar parameters (B,) by name.
        time: the times of the frames (T,), s.
    """

    truth: np.ndarray
    values: np.ndarray
    diffusivity: np.ndarray
    parameters: dict[str, np.ndarray]
    time: np.ndarray

    def first(self, count: int) -> Measured:
        """Return the first `count` trajectories."""
        return Measured(
            self.truth[:count],
            self.values[:count],
            self.diffusivity[:count],
            {name: values[:count] for name, values in self.parameters.items()},
            self.time,
        )


def measure(folder: Path, seed: int, samples: dict[str, int]) -> dict[str, Measured]:
    """Solve the true trajectories, and return their measurement by split."""
    low, high = (OFF * value for value in RANGE)
    counts = ", ".join(f"{split}: {count}" for split, count in samples.items())
    dataset = Dataset.open(
        generate_dataset(
            folder,
            f"solver.resolution={CELLS * FINER}",
            f"solver.diffusivity.range=[{low},{high}]",
            *OUTPUT,
            f"seed={seed}",
            f"samples={{{counts}, test_extrapolation: 0, per_shard: 8}}",
        )
    )
    return {
        split: _measure_split(dataset, split, np.random.default_rng([seed, number]))
        for number, split in enumerate(samples)
    }


def _measure_split(dataset: Dataset, split: str, rng: np.random.Generator) -> Measured:
    trajectories = [dataset.trajectory(split, index) for index in range(dataset.num_trajectories(split))]
    truth = _cell_means(np.stack([trajectory.state[:, 0] for trajectory in trajectories]))
    conductivity = _cell_means(np.stack([trajectory.coefficient_fields[0] for trajectory in trajectories]))
    parameters = {
        name: np.array([trajectory.parameters[name] for trajectory in trajectories])
        for name in dataset.spec.parameter_names
    }
    parameters["mean_diffusivity"] = parameters["mean_diffusivity"] / OFF
    values = truth + NOISE * rng.standard_normal(truth.shape)
    is_missing = rng.random(truth.shape) < GAPS
    is_missing[:, 0] = False
    values[is_missing] = np.nan
    return Measured(truth, values, conductivity / OFF, parameters, dataset.times)


def _cell_means(values: np.ndarray) -> np.ndarray:
    """Return the means over the cells of the sensors, of values (..., X, Y) on the solver's grid."""
    shape = (*values.shape[:-2], CELLS, FINER, CELLS, FINER)
    means: np.ndarray = values.astype(np.float64).reshape(shape).mean(axis=(-3, -1))
    return means


def write(folder: Path, splits: dict[str, Measured]) -> Path:
    """Write the splits as files of The Well, and return their folder."""
    for split, measured in splits.items():
        path = folder / "data" / split / "measured.hdf5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            _write_file(file, measured)
    return folder


#: The description of the files for `adopt`. The symmetries are those of the simulation.
DESCRIPTION = f"""\
name: heat
equation: u_t = div(k grad u) + f
origin: {{kind: measurement, source: a finer solver with noise and gaps, uncertainty: {NOISE} K}}
gaps: true
fields:
  temperature: {{unit: K, noise: {NOISE}}}
  diffusivity: {{unit: m^2/s}}
symmetries: [shift_x, shift_y, reflection_x, reflection_y, exchange_xy]
"""


def _write_file(file: h5py.File, measured: Measured) -> None:
    text = h5py.string_dtype()
    file.attrs.update(
        {
            "dataset_name": "heat",
            "grid_type": "cartesian",
            "n_spatial_dims": 2,
            "n_trajectories": len(measured.values),
            "simulation_parameters": np.array(list(measured.parameters), dtype=text),
        }
    )
    points = (np.arange(CELLS) + 0.5) / CELLS
    dimensions = file.create_group("dimensions")
    dimensions.attrs["spatial_dims"] = np.array(["x", "y"], dtype=text)
    for name, values, unit in (("time", measured.time, "s"), ("x", points, "m"), ("y", points, "m")):
        dataset = dimensions.create_dataset(name, data=values.astype(np.float32))
        dataset.attrs.update({"sample_varying": False, "time_varying": False, "units": unit})
    scalars = file.create_group("scalars")
    scalars.attrs["field_names"] = np.array(list(measured.parameters), dtype=text)
    for name, values in measured.parameters.items():
        dataset = scalars.create_dataset(name, data=values)
        unit = {"mean_diffusivity": "m^2/s", "log_deviation": "1", "amplitude": "K"}[name]
        dataset.attrs.update({"sample_varying": True, "time_varying": False, "units": unit})
    write_periodic_boundaries(file, CELLS)
    group = file.create_group("t0_fields")
    group.attrs["field_names"] = np.array(["temperature", "diffusivity"], dtype=text)
    for name, values, unit in (
        ("temperature", measured.values, "K"),
        ("diffusivity", measured.diffusivity, "m^2/s"),
    ):
        dataset = group.create_dataset(name, data=values.astype(np.float32))
        attributes = {"sample_varying": True, "time_varying": name == "temperature", "units": unit}
        dataset.attrs.update({"dim_varying": np.ones(2, bool), **attributes})
    for order in (1, 2):
        file.create_group(f"t{order}_fields").attrs["field_names"] = np.array([], dtype=text)
