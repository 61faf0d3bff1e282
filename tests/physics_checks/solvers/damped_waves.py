"""Solvers of u_t = k u_xx by Fourier series, with a mistake that only a check of the physics finds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from mpi4py import MPI

from simsurrogate.spec import Axis, Field, Grid, Parameter, Quantity, Spec
from solvers.contract import Parameters, Solver, SteppedTrajectory


class DampedWaves(Solver):
    """u_t = k u_xx on a periodic axis, exact in space and time.

    Args:
        mistake: `none`, `sign` (the solution of u_t = -k u_xx), `unseeded` (the phases do not follow from the
            generator), `memory` (each solution changes the next one), `budget` (the walls supply heat) or
            `unit` (no unit has the name).
        num_cells: the cells of the axis.
        communicator: one rank.
    """

    method = "Fourier series"
    order_in_time = math.inf
    order_in_space = math.inf
    time_scale = 1.0

    def __init__(
        self,
        mistake: Literal["none", "sign", "unseeded", "memory", "budget", "unit"] = "none",
        num_cells: int = 32,
        *,
        communicator: MPI.Intracomm,
    ):
        self.communicator = communicator
        self.block = (slice(0, num_cells),)
        self.mistake = mistake
        self.num_solutions = 0
        self.spec = Spec(
            name="damped_waves",
            equation="u_t = k u_xx",
            sites=Grid((Axis("x", "m", num_cells, 0.0, 1.0, "periodic"),)),
            fields=(Field("u", "kelwin" if mistake == "unit" else "K", "temperature"),),
            coefficient_fields=(),
            parameters=(Parameter("k", "m^2/s", "diffusivity", 0.01, 0.02),),
            invariants=(Quantity("mean", "K", "mean temperature"),),
            autonomous=True,
            parametric=False,
        )

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        phases = np.random.default_rng() if self.mistake == "unseeded" else rng
        return {"k": float(rng.uniform(0.01, 0.02)), "phases": phases.uniform(0, 2 * np.pi, 2)}

    def prepare(self, parameters: Parameters) -> WavesTrajectory:
        self.num_solutions += 1
        k = parameters["k"] * (-1 if self.mistake == "sign" else 1)
        if self.mistake == "memory":
            k *= 1 + 1e-3 * self.num_solutions
        supply = 1e-3 if self.mistake == "budget" else 0.0
        return WavesTrajectory(k, parameters["phases"], self.block[0].stop, supply)

    def residual(self, fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        u = fields["u"]
        return {"diffusion": derivative(u, "t") - parameters["k"] * derivative(derivative(u, "x"), "x")}


@dataclass(frozen=True)
class WavesTrajectory(SteppedTrajectory):
    """Two damped waves."""

    k: float
    phases: np.ndarray
    num_cells: int
    supply: float

    @property
    def initial_state(self) -> np.ndarray:  # type: ignore[override]
        x = (np.arange(self.num_cells) + 0.5) / self.num_cells
        waves = (np.sin(2 * np.pi * (n + 1) * x + phase) for n, phase in enumerate(self.phases))
        return np.array([1 + sum(waves)])

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        wave_numbers = 2 * np.pi * np.arange(self.num_cells // 2 + 1)
        # Waves of rounding errors do not grow.
        decay = np.exp(-self.k * wave_numbers**2 * duration) * (np.arange(len(wave_numbers)) < 3)
        return np.fft.irfft(np.fft.rfft(state) * decay, self.num_cells)

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        return {"mean": float(state.mean())}

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        return {"mean": self.supply * duration}
