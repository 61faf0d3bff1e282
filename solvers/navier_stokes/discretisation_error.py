"""The estimate of the discretisation error of a flow, from solutions on two grids."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from solvers.contract import DiscretisationError, Parameters, Solver, last_state

#: The number of cells of the fine grid divided by that of the actual grid, along each axis.
RATIO = 1.5


def estimate_error(
    build: Callable[[list[int], bool], Solver],
    resolution: tuple[int, ...],
    parameters: Parameters,
    times: np.ndarray,
) -> DiscretisationError:
    """Return the estimate of the error at the last of `times` (s), see `Solver.discretisation_error`.

    The fine grid keeps half as many waves again, and its error is far smaller.

    Args:
        build: returns the solver on a grid, and with True, a solver whose error in time is negligible.
        resolution: the number of cells along each axis.
        parameters: the parameters of the trajectory.
        times: the times of all frames, s.

    Raises:
        DivergedError: a trajectory cannot be computed.
    """
    cells = list(resolution)
    fine_cells = [2 * math.ceil(RATIO * count / 2) for count in cells]
    runs = ((cells, False), (cells, True), (fine_cells, True))
    spectra = []
    for grid_cells, is_accurate in runs:
        solver = build(grid_cells, is_accurate)
        state = last_state(solver, solver.prepare(parameters), times)
        # The velocity follows from the vorticity.
        spectra.append(_spectrum(state[[0, *range(3, len(state))]], fine_cells))
    state, exact_in_time, truth = spectra
    return DiscretisationError(
        _relative(exact_in_time - truth, truth), _relative(state - exact_in_time, truth)
    )


def _spectrum(fields: np.ndarray, fine_cells: list[int]) -> np.ndarray:
    """Return the Fourier coefficients relative to the origin, in the arrangement of the fine grid."""
    cells = fields.shape[1:]
    waves = [np.rint(np.fft.fftfreq(count) * count).astype(int) for count in cells]
    phase = np.exp(-1j * np.pi * np.add.outer(waves[0] / cells[0], waves[1] / cells[1]))
    spectrum = np.zeros((len(fields), *fine_cells), complex)
    spectrum[:, waves[0][:, None], waves[1]] = np.fft.fft2(fields) * phase / math.prod(cells)
    return spectrum


def _relative(difference: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest relative L2 norm over the fields; 0 for fields without a value."""
    norms = np.linalg.norm(truth.reshape(len(truth), -1), axis=1)
    differences = np.linalg.norm(difference.reshape(len(truth), -1), axis=1)
    return max((float(d / norm) for d, norm in zip(differences, norms, strict=True) if norm > 0), default=0.0)
