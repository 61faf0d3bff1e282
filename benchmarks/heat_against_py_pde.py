"""Explicit heat steps against py-pde's: the same scheme, grid and step, equal to round-off, on one core."""

from __future__ import annotations

import numba
import numpy as np
import pde
from mpi4py import MPI

from benchmarks.measuring import keep, medians
from pipeline.settings import build_solver

STEPS = 50


def main() -> None:
    """Prints and keeps cell updates a second of both, at several sizes."""
    numba.set_num_threads(1)
    rows = [_compare(cells) for cells in (128, 512, 1024)]
    keep(
        "heat_against_py_pde",
        "Explicit heat step in 2-D, periodic, constant diffusivity",
        rows,
        ["py-pde", "numba"],
    )


def _compare(cells: int) -> dict[str, object]:
    diffusivity, spacing = 0.2, 1 / cells
    step = 0.2 * spacing**2 / diffusivity
    initial = np.random.default_rng(0).standard_normal((cells, cells))

    grid = pde.CartesianGrid([[0, 1], [0, 1]], cells, periodic=True)
    field = pde.ScalarField(grid, initial)
    peer = pde.DiffusionPDE(diffusivity)

    # Compiled once, as a long run would have it: only the steps are timed.
    stepper = pde.EulerSolver(peer, backend="numba").make_stepper(field.copy(), dt=step)

    def run_peer() -> np.ndarray:
        state = field.copy()
        stepper(state, 0.0, STEPS * step)
        return np.asarray(state.data)

    solver = build_solver(_options(cells, diffusivity, step), MPI.COMM_SELF)
    parameters = solver.sample(np.random.default_rng(0))

    def run_ours() -> np.ndarray:
        return solver.advance(initial[None], parameters, 0.0, STEPS * step)[0]

    difference = np.abs(run_peer() - run_ours()).max()
    if difference > 1e-10:
        raise SystemExit(f"the two codes differ by {difference} at {cells} cells: nothing is compared")
    seconds = medians({"py-pde": run_peer, "ours": run_ours}, rounds=5)
    updates = {name: STEPS * cells**2 / 1e6 / value for name, value in seconds.items()}
    return {
        "cells": f"{cells}^2",
        "py-pde, million updates/s": updates["py-pde"],
        "ours, million updates/s": updates["ours"],
        "ratio": updates["ours"] / updates["py-pde"],
        "largest difference": float(difference),
    }


def _options(cells: int, diffusivity: float, step: float) -> dict[str, object]:
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    overrides = [
        f"solver.resolution={cells}",
        "solver.diffusivity.kind=constant",
        f"solver.diffusivity.range=[{diffusivity},{diffusivity}]",
        "solver.scheme=euler",
        f"solver.time_step={step * 1.0000001}",
    ]
    with initialize_config_module("configs", version_base="1.3"):
        plain = OmegaConf.to_container(compose("config", overrides=overrides).solver, resolve=True)
    assert isinstance(plain, dict)
    return plain  # type: ignore[return-value]


if __name__ == "__main__":
    main()
