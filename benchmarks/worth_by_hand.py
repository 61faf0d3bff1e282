"""The worth of `pod` on `shear_layers`, measured without the code of the evaluation, as a second opinion.

    python -m pipeline.chain experiment=shear_layers
    python -m benchmarks.worth_by_hand

Compare the result with the row of docs/results.md. The script reads the test trajectories by h5py, calls the
solver on each of its grids, and truncates the spectra by numpy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import torch
from mpi4py import MPI

import simsurrogate
from benchmarks.support.measuring import print_and_store
from pipeline.config.build import build_recorded_solver
from solvers.contract import SteppedTrajectory

RUN = Path("runs") / "shear_layers"
NUM_TRAJECTORIES = 4
#: The smallest number of calls, whose median is the time, and the time (s) that short calls fill.
NUM_CALLS, SECONDS = 3, 0.05

Result = TypeVar("Result")


def main() -> None:
    """Print and store the time of a query, of each setting of the solver, and the speed-up."""
    torch.set_num_threads(1)
    (shard, *_) = sorted((RUN / "dataset" / "data" / "test").glob("*.hdf5"))
    parameters, states, times = _read(shard)
    cells = states.shape[-1]
    model = simsurrogate.load(RUN / "models" / "pod")
    configuration = simsurrogate.open_dataset(RUN).configuration
    # Without output.coarsen, the settings are those of the solver on its own grids.
    solver = build_recorded_solver({**configuration, "output": {"coarsen": 1}}, {}, MPI.COMM_SELF)
    reference = solver.reference_setting()
    assert reference is not None
    truths = []
    for values in parameters:
        (*_, state) = reference.solver.prepare(values).solve(times)
        truths.append(_truncated(state, cells))
    queries = [
        _timed(partial(model.predict, state[None], values, times))
        for values, state in zip(parameters, states, strict=True)
    ]
    query_seconds = [seconds for seconds, _ in queries]
    predictions = [prediction.mean[0, -1].numpy() for _, prediction in queries]
    own_errors = [_error(p, t) for p, t in zip(predictions, truths, strict=True)]
    settings: list[dict[str, Any]] = []
    best_seconds = np.full(NUM_TRAJECTORIES, np.inf)
    for setting in solver.cheaper_settings():
        setting_seconds, errors = [], []
        for row, values in enumerate(parameters):
            trajectory = setting.solver.prepare(values)
            assert isinstance(trajectory, SteppedTrajectory)
            # A solution counts once it is on the cells of the data, as the prediction is.
            seconds, on_cells = _timed(partial(_solve_on_cells, trajectory, times, cells))
            setting_seconds.append(seconds)
            errors.append(_error(on_cells[-1], truths[row]))
            if errors[-1] <= own_errors[row]:
                best_seconds[row] = min(best_seconds[row], seconds)
        settings.append(
            {
                "": f"solver, {setting.name}",
                "seconds": statistics.median(setting_seconds),
                "error": statistics.median(errors),
            }
        )
    speed_up = float(np.median(best_seconds / query_seconds))
    print_and_store(
        "worth_by_hand",
        f"One query of pod on shear_layers is {speed_up:.0f} times faster than the solver at equal error "
        f"({NUM_TRAJECTORIES} trajectories, one thread; measured without the code of the evaluation)",
        [
            {
                "": "surrogate, one query",
                "seconds": statistics.median(query_seconds),
                "error": statistics.median(own_errors),
            },
            *_front(settings),
        ],
        ["simsurrogate", "torch", "numpy"],
    )


def _read(shard: Path) -> tuple[list[dict[str, float]], np.ndarray, np.ndarray]:
    """Return the parameters of each trajectory, its initial state (B, 3, *cells), and the times (T,)."""
    with h5py.File(shard) as file:
        names = ("amplitude", "layer_thickness", "scalars/viscosity")
        columns = {name.rpartition("/")[2]: file[name][:NUM_TRAJECTORIES] for name in names}
        vorticity = file["t0_fields/vorticity"][:NUM_TRAJECTORIES, 0]
        velocity = file["t1_fields/velocity"][:NUM_TRAJECTORIES, 0]
        times = file["dimensions/time"][:].astype(float)
    states = np.concatenate([vorticity[:, None], np.moveaxis(velocity, -1, 1)], axis=1)
    rows = range(NUM_TRAJECTORIES)
    return [{name: float(values[row]) for name, values in columns.items()} for row in rows], states, times


def _solve_on_cells(trajectory: SteppedTrajectory, times: np.ndarray, cells: int) -> list[np.ndarray]:
    """Return the states (C, cells, cells) of all times."""
    return [_truncated(state, cells) for state in trajectory.solve(times)]


def _truncated(state: np.ndarray, cells: int) -> np.ndarray:
    """Return the state (C, n, n) on cells x cells cells, with the waves that both grids hold.

    Cell centres are at half cells, so a wave has a phase that depends on the grid.
    """
    num = state.shape[-1]
    half = min(num, cells) // 2
    rows = np.r_[0:half, -half + 1 : 0]
    wave_numbers = rows[:, None] + np.arange(half)
    spectrum = np.fft.rfft2(state)[:, rows, :half] * (cells / num) ** 2
    spectrum *= np.exp(1j * np.pi * wave_numbers * (1 / cells - 1 / num))
    result = np.zeros((len(state), cells, cells // 2 + 1), complex)
    result[:, rows, :half] = spectrum
    values: np.ndarray = np.fft.irfft2(result, (cells, cells))
    return values


def _front(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings that no faster one beats in accuracy."""
    front: list[dict[str, Any]] = []
    for setting in sorted(settings, key=lambda entry: entry["seconds"]):
        if not front or setting["error"] < front[-1]["error"]:
            front.append(setting)
    return front


def _error(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return the relative L2 error, mean over vorticity and velocity."""
    fields = (slice(0, 1), slice(1, 3))
    norm = np.linalg.norm
    return float(np.mean([norm((prediction - truth)[field]) / norm(truth[field]) for field in fields]))


def _timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Return the median time of a call after a warm-up, s, and its result."""
    result = call()
    seconds: list[float] = []
    while len(seconds) < NUM_CALLS or sum(seconds) < SECONDS:
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


if __name__ == "__main__":
    main()
