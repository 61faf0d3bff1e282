"""The time of a Navier-Stokes step of order 4, compared with ETDRK4 in exponax and RK4 in fluidsim.

ETDRK4 and RK4 are (exponential) Runge-Kutta schemes. All codes run in two dimensions and float64 on one core,
from the same smooth vorticity with equal steps. Before the timing, the results must agree to the error of the
schemes. A timed run starts and ends with the vorticity in physical space. A separate run measures the
fraction of our time in calls of fast Fourier transforms (FFTs).
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import yaml
from mpi4py import MPI

import configs
from benchmarks.support.measuring import medians, print_and_store
from pipeline.config.build import build_solver
from simsurrogate.relative_l2 import relative_l2
from solvers.navier_stokes import NavierStokes
from solvers.navier_stokes.trajectory import FlowTrajectory
from solvers.numerics import dealiased_fourier, fourier_plans
from solvers.numerics.fourier_plans import Plan

VISCOSITY = 1e-3
EXTENT = 2 * np.pi
STEPS = 32
ROUNDS = {128: 21, 256: 11, 512: 5}
PACKAGES = ["exponax", "jax", "fluidsim", "fluidfft", "pyfftw", "ducc0", "numba"]

Run = Callable[[], np.ndarray]


def main() -> None:
    """Print and store the time of a step (ms) of all codes, and the fraction of our time in FFTs."""
    os.environ["FLUIDSIM_PATH"] = tempfile.gettempdir()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        rows = [_compare(cells, rounds) for cells, rounds in ROUNDS.items()]
    finally:
        os.sched_setaffinity(0, cores)
    print_and_store(
        "navier_stokes_step",
        "Navier-Stokes step of order 4: 2-D vorticity, 2/3 rule, float64, one core, ms per step",
        rows,
        PACKAGES,
    )


def _compare(cells: int, rounds: int) -> dict[str, object]:
    step = 0.4 / cells
    trajectory, state = _our_case(cells, step)
    vorticity = state[0]

    def ours() -> np.ndarray:
        final_vorticity: np.ndarray = trajectory.advance(state, 0.0, STEPS * step)[0]
        return final_vorticity

    runs: dict[str, Run] = {
        "exponax": _build_exponax_run(vorticity, step),
        "fluidsim": _build_fluidsim_run(vorticity, step),
        "ours": ours,
    }
    reference = ours()
    differences = {name: _relative_error(run(), reference) for name, run in runs.items()}
    if max(differences.values()) > 1e-7:
        raise SystemExit(f"the results differ by {differences} at {cells}^2 cells; at most 1e-7 is allowed")
    seconds = medians(runs, rounds)
    fraction = _transform_fraction(cells, step)
    return {
        "cells": f"{cells}^2",
        **{f"{name}, ms": 1e3 * value / STEPS for name, value in seconds.items()},
        "exponax / ours": seconds["exponax"] / seconds["ours"],
        "fluidsim / ours": seconds["fluidsim"] / seconds["ours"],
        "share of FFTs in ours, %": 100 * fraction,
        "exponax - ours, relative": differences["exponax"],
        "fluidsim - ours, relative": differences["fluidsim"],
    }


def _our_case(cells: int, step: float) -> tuple[FlowTrajectory, np.ndarray]:
    """Return a trajectory with a declared step, and a smooth state that developed from a random state."""
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "navier_stokes.yaml").read_text())
    options |= {
        "extent": [EXTENT, EXTENT],
        "resolution": cells,
        "viscosity": [VISCOSITY, VISCOSITY],
        "time_step": step,
    }
    options["forcing"] |= {"kind": "none"}
    options["initial"] |= {"kind": "random_field", "amplitude": [1.0, 1.0], "correlation_length": 0.6}
    options["initial"] |= {"modes": 13, "spectral_exponent": 8.0}
    solver = build_solver(options, MPI.COMM_SELF)
    assert isinstance(solver, NavierStokes)
    trajectory = solver.prepare(solver.sample(np.random.default_rng(0)))
    return trajectory, trajectory.advance(trajectory.initial_state, 0.0, 64 * 0.4 / 128)


def _build_exponax_run(vorticity: np.ndarray, step: float) -> Run:
    """Return a run of ETDRK4 in exponax, with the opposite sign of the vorticity."""
    import exponax
    import jax

    jax.config.update("jax_enable_x64", True)
    stepper = exponax.stepper.NavierStokesVorticity(
        2, EXTENT, len(vorticity), step, diffusivity=VISCOSITY, order=4, dealiasing_fraction=2 / 3
    )

    @jax.jit
    def run(field: jax.Array) -> jax.Array:
        modes = jax.lax.fori_loop(
            0, STEPS, lambda _, current_modes: stepper.step_fourier(current_modes), exponax.fft(field)
        )
        return exponax.ifft(modes, num_spatial_dims=2, num_points=len(vorticity))

    start = jax.numpy.asarray(-vorticity[None])
    return lambda: -np.asarray(run(start))[0]


def _build_fluidsim_run(vorticity: np.ndarray, step: float) -> Run:
    """Return a run of RK4 in fluidsim with the exact viscous factor; the first axis of fluidsim is y."""
    from fluidsim.solvers.ns2d.solver import Simul

    params = Simul.create_default_params()
    params.oper.nx = params.oper.ny = len(vorticity)
    params.oper.Lx = params.oper.Ly = EXTENT
    params.oper.type_fft = "fft2d.with_pyfftw"
    params.nu_2 = VISCOSITY
    params.time_stepping.USE_CFL = False
    params.time_stepping.deltat0 = step
    params.time_stepping.type_time_scheme = "RK4"
    params.init_fields.type = "in_script"
    params.output.HAS_TO_SAVE = False
    with contextlib.redirect_stdout(io.StringIO()):
        simulation = Simul(params)
    operators = simulation.oper

    def run() -> np.ndarray:
        simulation.state.init_statespect_from(rot_fft=operators.fft(np.ascontiguousarray(vorticity.T)))
        for _ in range(STEPS):
            simulation.time_stepping.one_time_step_computation()
        return np.asarray(operators.ifft(simulation.state.get_var("rot_fft"))).T

    return run


def _transform_fraction(cells: int, step: float) -> float:
    """Return the median fraction of the time of a run in calls of FFTs."""
    seconds = [0.0]

    def timed_plan(source: np.ndarray, target: np.ndarray, axis: int, forward: bool) -> Plan:
        transform = fourier_plans.plan(source, target, axis, forward)

        def timed_transform() -> None:
            start = time.perf_counter()
            transform()
            seconds[0] += time.perf_counter() - start

        return timed_transform

    with mock.patch.object(dealiased_fourier, "plan", timed_plan):
        trajectory, state = _our_case(cells, step)
    fractions = []
    for _ in range(7):
        seconds[0], start = 0.0, time.perf_counter()
        trajectory.advance(state, 0.0, STEPS * step)
        fractions.append(seconds[0] / (time.perf_counter() - start))
    return float(np.median(fractions))


def _relative_error(vorticity: np.ndarray, expected: np.ndarray) -> float:
    return float(relative_l2(vorticity, expected, np.linalg.norm, floor=0.0))


if __name__ == "__main__":
    main()
