"""The solver of an external program: parameters in an input file, and all frames in output files."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from solvers.contract import DivergedError, Parameters, Solver, Trajectory
from solvers.executable.description import (
    SEED_NAME,
    AxisOptions,
    FieldOptions,
    ParameterOptions,
    ParticleOptions,
    spec_of,
)
from solvers.executable.output import Output, OutputError, OutputReader
from solvers.executable.program import Program, ProgramOptions
from solvers.executable.run import ProgramRun
from solvers.numerics.grid import slab
from solvers.numerics.parameter_sampling import draw
from solvers.waits import call_hook

#: The number of seeds that a program may receive: Fortran's and C's integers hold them.
_NUM_SEEDS = 2**31 - 1
#: The first and the longest time (s) between two looks at a running program.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


class Executable(Solver):
    """A program that computes whole trajectories, in a process of its own for each trajectory.

    The first rank of the communicator starts the program, and the other ranks wait, so that a program with
    ranks of its own (`program.launch`) has their processors. Each rank holds a slab along the first axis.

    Args:
        problem: the name of the data.
        program: the program, see `ProgramOptions`.
        output: the output files, see `solvers.executable.output`.
        fields: the fields, by name.
        axes: the axes of a grid, by name.
        particles: the particles, instead of a grid.
        coefficient_fields: the fields that are constant in time, which the program writes too. The program is
            then also started for the time 0 alone.
        parameters: the scalar parameters, by name.
        random_seed: whether the program draws random numbers, from an integer that it receives.
        equation: the equation as a formula.
        autonomous: whether the equation does not depend explicitly on time.
        time_scale: the time (s) in which a typical solution changes by about its own size.
        communicator: the ranks that share a trajectory.

    Raises:
        UserError: an option is wrong, or a file is missing.
    """

    method = "external program"
    order_in_time = order_in_space = math.nan

    def __init__(
        self,
        *,
        problem: str,
        program: ProgramOptions,
        output: Output,
        fields: dict[str, FieldOptions],
        axes: dict[str, AxisOptions],
        particles: ParticleOptions | None = None,
        coefficient_fields: dict[str, FieldOptions],
        parameters: dict[str, ParameterOptions],
        random_seed: bool = False,
        equation: str = "",
        autonomous: bool = True,
        time_scale: float = 1.0,
        communicator: MPI.Intracomm,
    ):
        self.communicator = communicator
        self.time_scale = time_scale
        self.spec = spec_of(
            problem=problem,
            equation=equation,
            axes=axes,
            particles=particles,
            fields=fields,
            coefficient_fields=coefficient_fields,
            parameters=parameters,
            random_seed=random_seed,
            autonomous=autonomous,
        )
        self._random_seed = random_seed
        self._reader = OutputReader(output, self.spec)
        num_rows = self.spec.shape[0]
        if communicator.size > num_rows:
            raise UserError(
                f"{communicator.size} ranks cannot share {num_rows} rows. Each rank needs at least one row. "
                f"Type group_size={num_rows} or less"
            )
        rows = slab(num_rows, communicator.size, communicator.rank)
        self.block = (rows, *(slice(0, count) for count in self.spec.shape[1:]))
        parameters_of_trial, times = self.sample(np.random.default_rng(0)), np.array([0.0, 1.0])
        reserved = {SEED_NAME, *self._values_of_grid(times)}
        if clashes := sorted(reserved & set(parameters)):
            raise UserError(
                f"solver.parameters has the name {clashes[0]}, which the templates already use. These names "
                f"are taken: {', '.join(sorted(reserved))}. Rename the parameter"
            )
        self.program = Program(program, self._values(parameters_of_trial, times))

    def program_identity(self) -> dict[str, Any]:
        """Return names, checksums and version of the program, see `Solver.program_identity`."""
        is_first = self.communicator.rank == 0
        identity: dict[str, Any] = self.communicator.bcast(self.program.identity() if is_first else None)
        return identity

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the scalar parameters and, for a program with random numbers, its seed."""
        parameters: Parameters = draw(self.spec.parameters, rng, outside)  # type: ignore[assignment]
        if self._random_seed:
            parameters[SEED_NAME] = np.array([float(rng.integers(_NUM_SEEDS))])
        return parameters

    def prepare(self, parameters: Parameters) -> ProgramTrajectory:
        """Return the trajectory; the program starts when its frames are needed."""
        return ProgramTrajectory(self, parameters)

    def run(self, parameters: Parameters, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the program; return the states (T, C, *block) and coefficient fields (K, *block) of this rank.

        Raises:
            DivergedError: the last attempt failed; raised on all ranks.
        """
        attempts, failure = 1 + self.program.options.retries, ""
        for _ in range(attempts):
            result = self._attempt(parameters, times)
            if not isinstance(result, str):
                states, coefficients = result
                return states[:, :, *self.block], coefficients[:, *self.block]
            failure = result
        count = f" in {attempts} attempts" if attempts > 1 else ""
        raise DivergedError(f"the program {self.program.name} failed{count}: it {failure}")

    def _attempt(self, parameters: Parameters, times: np.ndarray) -> tuple[np.ndarray, np.ndarray] | str:
        """Run the program once; return the states and coefficient fields of all ranks, or the failure."""
        result: tuple[np.ndarray, np.ndarray] | str
        if self.communicator.rank > 0:
            self._wait(None)
            result = self.communicator.bcast(None)
            return result
        values, options = self._values(parameters, times), self.program.options
        inputs = {options.input: self.program.input_text(values)}
        try:
            run = ProgramRun(self.program.command(values), inputs, options.time_limit, options.scratch)
        except OSError as error:
            self.communicator.bcast(False)
            result = f"cannot be started: {error}"
        else:
            with run:
                self._wait(run)
                result = self._outputs(run, times)
        self.communicator.bcast(result)
        return result

    def _outputs(self, run: ProgramRun, times: np.ndarray) -> tuple[np.ndarray, np.ndarray] | str:
        """Return the states and the coefficient fields of all ranks after the run, or the failure."""
        try:
            run.check_exit()
            return self._reader.states(run.folder, times), self._reader.coefficient_fields(run.folder)
        except OutputError as error:
            return f"{error}{run.messages()}"

    def _wait(self, run: ProgramRun | None) -> None:
        """Wait for the end of the program; only the first rank has the run."""
        pause = _FIRST_PAUSE
        while self.communicator.bcast(run.is_running if run is not None else None):
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
            call_hook()

    def _values(self, parameters: Parameters, times: np.ndarray) -> dict[str, Any]:
        """Return the values of the names that templates may use."""
        scalars = {name: float(parameters[name]) for name in self.spec.parameter_names}
        seed = {SEED_NAME: int(parameters[SEED_NAME][0])} if self._random_seed else {}
        return {**scalars, **self._values_of_grid(times), "parameters": scalars, **seed}

    def _values_of_grid(self, times: np.ndarray) -> dict[str, Any]:
        return {
            "parameters": {},
            "times": [float(value) for value in times],
            "num_frames": len(times),
            "duration": float(times[-1]),
            "frame_step": float(times[1] - times[0]) if len(times) > 1 else 0.0,
            "cells": {axis.name: axis.size for axis in self.spec.axes},
            "lower": {axis.name: axis.lower for axis in self.spec.axes},
            "upper": {axis.name: axis.upper for axis in self.spec.axes},
            "ranks": self.communicator.size,
        }


@dataclass(frozen=True)
class ProgramTrajectory(Trajectory):
    """The whole solution that the program computes for one set of parameters."""

    solver: Executable
    parameters: Parameters

    @cached_property
    def coefficient_fields(self) -> np.ndarray | None:  # type: ignore[override]
        """The coefficient fields, from a run for the time 0 alone; None if the spec has none."""
        if not self.solver.spec.coefficient_fields:
            return None
        return self.solver.run(self.parameters, np.array([0.0]))[1]

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the states of one run of the program, see `Trajectory.solve`."""
        yield from self.solver.run(self.parameters, times)[0]
