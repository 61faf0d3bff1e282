"""Solvers that break their contract, and the sentence of `python -m pipeline.check` for each."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from pipeline import check
from simsurrogate.spec import Axis, Field, Grid, Parameter, Quantity, Spec
from solvers.contract import Parameters, Solver
from solvers.contract_checks import draws, orders, ranks, solutions
from solvers.whole import WholeSolver
from tests.support.in_process import run_command_line
from tests.support.launching import run_stage

ROOT = Path(__file__).parents[2]
TIMES = np.linspace(0.0, 1.0, 5)
NUM_CELLS = 6


class Sound(WholeSolver):
    """u_t = -rate (u - mean of u): a solver that keeps its contract, with a conserved mean."""

    def __init__(self, communicator: MPI.Intracomm = MPI.COMM_SELF, **changes: Any):
        options: dict[str, Any] = {
            "name": "sound",
            "equation": "u_t = -rate (u - mean of u)",
            "sites": Grid((Axis("x", "m", NUM_CELLS, 0.0, 1.0, "periodic"),)),
            "fields": (Field("density", "kg/m", "the density", conserved=True),),
            "coefficient_fields": (),
            "parameters": (Parameter("rate", "s^-1", "the rate", 1.0, 2.0),),
            "invariants": (Quantity("mass", "kg", "the mass"),),
            "autonomous": True,
            "parametric": False,
        }
        super().__init__(Spec(**options | changes), communicator)

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return {**super().sample(rng, outside), "start": rng.uniform(0.0, 1.0, NUM_CELLS)}

    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        start, mean = parameters["start"], parameters["start"].mean()
        return (mean + np.exp(-parameters["rate"] * times)[:, None] * (start - mean))[:, None]

    def invariants(self, state: np.ndarray, parameters: Parameters) -> dict[str, float]:
        return {"mass": float(state.mean())}


def all_mistakes(solver: Solver) -> list[str]:
    """Return the mistakes that the checks of one rank find, until the first check that finds any."""
    checks: tuple[Iterator[str], ...] = (
        draws.declarations(solver),
        draws.samples(solver),
        draws.seeds(solver),
        solutions.shapes(solver, TIMES),
        solutions.trajectories_of_seeds(solver, TIMES),
        solutions.determinism(solver, TIMES),
        solutions.frames(solver, TIMES),
        solutions.conservation(solver, TIMES),
    )
    return next(filter(None, map(list, checks)), [])


def test_a_sound_solver_has_no_mistakes() -> None:
    assert all_mistakes(Sound()) == []


class GlobalDraws(Sound):
    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return super().sample(rng, outside) | {"start": np.random.rand(NUM_CELLS)}  # noqa: NPY002


class WideDraws(Sound):
    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return super().sample(rng, outside) | {"rate": float(rng.uniform(0.0, 3.0))}


class OneDraw(Sound):
    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return super().sample(rng, outside) | {"start": np.arange(float(NUM_CELLS))}


class IntegerDraws(Sound):
    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return super().sample(rng, outside) | {"rate": 1}


class NoOutside(Sound):
    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        return super().sample(rng)


class SinglePrecision(Sound):
    def prepare(self, parameters: Parameters) -> Any:
        trajectory: Any = super().prepare(parameters)
        solve = trajectory.solve
        trajectory.solve = lambda times: (state.astype(np.float32) for state in solve(times))
        return trajectory


class NotFinite(Sound):
    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        return super().states(parameters, times) / np.where(times == 0.5, 0.0, 1.0)[:, None, None]


class OtherInvariants(Sound):
    def invariants(self, state: np.ndarray, parameters: Parameters) -> dict[str, float]:
        return {"energy": 1.0}


class IgnoredParameters(Sound):
    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        return super().states({"rate": 1.0, "start": np.arange(float(NUM_CELLS))}, times)


class Memory(Sound):
    calls = itertools.count()

    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        return super().states(parameters, times) + 1e-9 * next(self.calls)


class ChangedArguments(Sound):
    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        parameters["start"] *= 1.1
        return super().states(parameters, times)


class LateFrames(Sound):
    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        step = times[1] - times[0] if len(times) > 1 else 0.0
        return super().states(parameters, times + step)


class Steady(Sound):
    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        return super().states(parameters, 0 * times)


class Leak(Sound):
    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        return super().states(parameters, times) * (1 - 0.01 * times)[:, None, None]


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (
            Sound(equation="", fields=(Field("Density", "", "x"),)),
            "the name 'Density' in the spec is not of low",
        ),
        (
            Sound(parameters=(Parameter("rate", "s^-1", "r", 2.0, 1.0),)),
            r"the range of rate is \[2, 1\]: low",
        ),
        (GlobalDraws(), "sample returns another start for an equal generator"),
        (WideDraws(), "sample draws rate outside of the range in the spec"),
        (OneDraw(), "sample returns the same start for different generators"),
        (IntegerDraws(), "sample returns rate of the type int, not a float"),
        (NoOutside(), "draws every parameter inside of its range"),
        (SinglePrecision(), "the state at 0 s has the type float32, not float64"),
        (NotFinite(), "the state at 0.5 s has values that are not finite"),
        (OtherInvariants(), r"returns the invariants \['energy'\]"),
        (IgnoredParameters(), "two draws of the parameters have the same solution"),
        (Memory(), "a second solution for equal parameters differs from 0 s on"),
        (ChangedArguments(), "the solution changes the parameter start of its caller"),
        (LateFrames(), "the solution for every second time differs from that for all times"),
        (Steady(), "the solution does not change between 0 s and 1 s"),
        (Leak(), "says that density is conserved, and its mean changes from"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Solver) else "",
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_each_mistake_has_a_sentence(solver: Solver, message: str) -> None:
    with np.errstate(all="ignore"):
        mistakes = all_mistakes(solver)
    assert any(re.search(message, mistake) for mistake in mistakes), mistakes


def test_a_wrong_order_is_observed() -> None:
    class FirstOrder(Sound):
        def __init__(self, step: float, order: float):
            super().__init__()
            self.step, self.order_in_time = step, order

        def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
            return super().states(parameters, times) + self.step * times[:, None, None]

    assert not list(orders.in_time(lambda step: FirstOrder(step, 1.0), 1.0))
    (mistake,) = orders.in_time(lambda step: FirstOrder(step, 2.0), 1.0)
    assert mistake.startswith("observed is order 1.")
    assert "declared is 2 (relative errors" in mistake


def test_different_solutions_on_ranks_are_found() -> None:
    assert not list(ranks.ranks(Sound(), Sound(), TIMES))
    assert "the solution on 1 ranks differs from that on one rank by" in next(
        ranks.ranks(Leak(), Sound(), TIMES)
    )


def test_the_command_passes_a_sound_solver_on_two_ranks() -> None:
    result = run_stage(
        "check", "solver=nbody", "solver.integrator=leapfrog", "solver.time_step=0.01", ranks=2
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for name in (
        "declarations",
        "samples",
        "seeds",
        "shapes",
        "determinism",
        "frames",
        "invariants",
        "ranks",
    ):
        assert f"check: {name}: passed" in result.stdout, result.stdout


def test_the_command_fails_in_plain_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "examples" / "own_solver" / "fisher.py").read_text()
    path = tmp_path / "forgetful.py"
    path.write_text(text.replace("def states(self, parameters", "def states(self, parameter"))
    assert run_command_line(check.run, "solver=custom", "+solver.name=forgetful", f"+solver.path={path}") == 2
    printed = capfd.readouterr()
    assert "check: shapes: FAILED: the solver raises " in printed.out
    assert "forgetful.py, line" in printed.out
    assert "error: 1 of 4 checks of the solver fisher failed: shapes." in printed.err
    assert "Traceback" not in printed.err


def test_the_command_checks_an_external_program(tmp_path: Path) -> None:
    if shutil.which("gfortran") is None:
        pytest.skip("there is no gfortran")
    shutil.copytree(ROOT / "examples" / "own_solver", tmp_path / "examples" / "own_solver")
    command = ["gfortran", "-O2", "-o", "heat_line", "examples/own_solver/heat_line.f90"]
    subprocess.run(command, cwd=tmp_path, check=True)
    arguments = ("--config-dir", "examples/own_solver", "solver=heat_line", "output.duration=0.5")
    result = run_stage("check", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "check: the solver heat_line passed 8 checks" in result.stdout
