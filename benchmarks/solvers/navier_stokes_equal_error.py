"""The run time of a forced flow at equal error, compared with the scheme of the Fourier neural operator data.

The peer (Li et al. 2021, arXiv:2010.08895) is a Crank-Nicolson scheme for the diffusion and forward Euler for
the advection, with steps of 1e-4 s. The peer is implemented here in torch with real transforms, in float64 to
exclude rounding errors. Both codes start from the same vorticity at 128^2 with nu = 1e-3 m^2/s, and run for 1
s. Our tolerance is the largest power of ten for which our error is at most the error of the peer. The
reference is our solver with a tolerance of 1e-12. The peer must converge to the reference with order 1.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mpi4py import MPI

import configs
from benchmarks.support.measuring import medians, print_and_store
from pipeline.config.build import build_solver
from simsurrogate.relative_l2 import relative_l2
from solvers.contract import Parameters
from solvers.navier_stokes import NavierStokes

CELLS = 128
VISCOSITY = 1e-3
DURATION = 1.0
PEER_STEP = 1e-4
INITIALS: dict[str, dict[str, Any]] = {
    "N(0, 7^1.5 (-Lap + 49)^-2.5)": {"kind": "matern"},
    "random field, 1 1/s": {"kind": "random_field", "amplitude": [1.0, 1.0]},
    "random field, 3 1/s": {"kind": "random_field", "amplitude": [3.0, 3.0]},
}


def main() -> None:
    """Print and store the run time of a trajectory at equal error for both codes."""
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {max(cores)})
    torch.set_num_threads(1)
    try:
        rows = [_compare(name, initial) for name, initial in INITIALS.items()]
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, cores)
    claim = f"Forced Navier-Stokes at equal error: {CELLS}^2, nu = 1e-3, 1 s, float64, one core"
    print_and_store("navier_stokes_equal_error", claim, rows, ["torch", "ducc0", "pyfftw", "numba"])


def _compare(name: str, initial: dict[str, Any]) -> dict[str, object]:
    reference_solver = _solver(initial, 1e-12)
    parameters = reference_solver.sample(np.random.default_rng(0))
    reference_trajectory = reference_solver.prepare(parameters)
    state = reference_trajectory.initial_state
    reference = reference_trajectory.advance(state, 0.0, DURATION)[0]
    forcing = reference_trajectory.coefficient_fields[0]

    def peer(step: float = PEER_STEP) -> np.ndarray:
        return _crank_nicolson_euler(state[0], forcing, step)

    peer_error, coarse_error = _error(peer(), reference), _error(peer(10 * PEER_STEP), reference)
    order = np.log10(coarse_error / peer_error)
    if not abs(order - 1) < 0.1:
        raise SystemExit(
            f"the peer converges to the reference with order {order:.3g}; an order between 0.9 and 1.1 is "
            "needed"
        )
    solver, tolerance, error = _equally_accurate_solver(initial, state, parameters, reference, peer_error)
    trajectory = solver.prepare(parameters)

    def ours() -> np.ndarray:
        return trajectory.advance(state, 0.0, DURATION)

    ours()
    steps = trajectory.counts["steps"]
    seconds = medians({"peer": peer, "ours": ours}, rounds=2)
    return {
        "initial vorticity": name,
        "peer, error": peer_error,
        "ours, error": error,
        "peer, steps": round(DURATION / PEER_STEP),
        "ours, steps": steps,
        "ours, tolerance": tolerance,
        "peer, s": seconds["peer"],
        "ours, s": seconds["ours"],
        "ratio": seconds["peer"] / seconds["ours"],
    }


def _equally_accurate_solver(
    initial: dict[str, Any], state: np.ndarray, parameters: Parameters, reference: np.ndarray, bound: float
) -> tuple[NavierStokes, float, float]:
    """Return the solver with the largest tolerance for an error within the bound, its tolerance and error."""
    for exponent in range(2, 12):
        tolerance = 10.0**-exponent
        solver = _solver(initial, tolerance)
        error = _error(solver.prepare(parameters).advance(state, 0.0, DURATION)[0], reference)
        if error <= bound:
            return solver, tolerance, error
    raise SystemExit(f"no tolerance from 1e-2 to 1e-11 gives an error of at most {bound}")


def _crank_nicolson_euler(vorticity: np.ndarray, forcing: np.ndarray, step: float) -> np.ndarray:
    """Return the vorticity after 1 s by the peer, with five transforms in each step."""
    kx = 2 * torch.pi * torch.fft.fftfreq(CELLS, 1 / CELLS, dtype=torch.float64)[:, None]
    ky = 2 * torch.pi * torch.arange(CELLS // 2 + 1, dtype=torch.float64)
    squared = kx**2 + ky**2
    limit = 2 * torch.pi * CELLS / 3
    mask = (kx.abs() <= limit) & (ky <= limit)
    inverse = torch.where(squared > 0, 1 / squared, 0.0)
    to_velocity_x, to_velocity_y = 1j * ky * inverse, -1j * kx * inverse
    derivative_x, derivative_y = 1j * kx, 1j * ky
    half_decay = 0.5 * step * VISCOSITY * squared
    drive = step * torch.fft.rfft2(torch.from_numpy(forcing))
    modes = torch.fft.rfft2(torch.from_numpy(vorticity))
    for _ in range(round(DURATION / step)):
        u, v = torch.fft.irfft2(to_velocity_x * modes), torch.fft.irfft2(to_velocity_y * modes)
        w_x, w_y = torch.fft.irfft2(derivative_x * modes), torch.fft.irfft2(derivative_y * modes)
        advection = mask * torch.fft.rfft2(u * w_x + v * w_y)
        modes = (drive - step * advection + (1 - half_decay) * modes) / (1 + half_decay)
    return np.asarray(torch.fft.irfft2(modes))


def _solver(initial: dict[str, Any], tolerance: float) -> NavierStokes:
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "navier_stokes.yaml").read_text())
    options |= {"resolution": CELLS, "viscosity": [VISCOSITY, VISCOSITY], "tolerance": tolerance}
    options["initial"] |= initial
    solver = build_solver(options, MPI.COMM_SELF)
    assert isinstance(solver, NavierStokes)
    return solver


def _error(vorticity: np.ndarray, expected: np.ndarray) -> float:
    return float(relative_l2(vorticity, expected, np.linalg.norm, floor=0.0))


if __name__ == "__main__":
    main()
