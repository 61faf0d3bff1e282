"""Bodies under their own gravity, in the plane or in space."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from mpi4py import MPI

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Field, Particles, Quantity, Spec
from solvers.contract import BatchedSolver, DivergedError, Parameters, SteppedTrajectory, TrajectoryBatch
from solvers.nbody.batched import embed, run, spread2
from solvers.nbody.diagnostics import (
    ANGULAR_MOMENTUM,
    ENERGY,
    LEAST_SEPARATION,
    MOMENTUM,
    NUM_OBSERVED,
    observe,
)
from solvers.nbody.distributed import SharedBodies
from solvers.nbody.integrators import COMPOSITIONS
from solvers.nbody.options import NonNegative, Positive, SystemOptions, check_system
from solvers.nbody.outcome import ARRIVED, CLOSE, ENERGY_LOST, NUM_NUMBERS, Outcome
from solvers.nbody.systems import SYSTEMS


class NBody(BatchedSolver):
    """d^2 x_i / dt^2 = G sum over j of m_j (x_j - x_i) / (|x_j - x_i|^2 + softening^2)^(3/2)

    State (2 d, n): positions x, y[, z] (m) and velocities (m/s) of n bodies in d dimensions; the masses (kg)
    are its coefficient field. The sum is direct, over all pairs (`nbody_gravity`); what is drawn is in
    `nbody_systems`, the integrators are in `nbody_integrators`:

    hermite4: fourth order, one step for all bodies, chosen anew at every frame and adapted at every step, so
        that close encounters are resolved.
    leapfrog, yoshida4: symplectic, of second and fourth order, with steps of `time_step` or a little less.

    Every output time is hit exactly. On several ranks each has a slab of the bodies; results are the same to
    round-off.

    Args:
        system: the bodies, and how their initial state is drawn.
        dimension: d.
        gravitational_constant: G, m^3/(kg s^2).
        softening: Plummer's softening length, m; 0 for point masses.
        integrator: see above.
        accuracy: Aarseth's eta, of hermite4: the step goes with its square root. In close encounters of a few
            bodies eta is less (`nbody_integrators`).
        time_step: of leapfrog and yoshida4, s; None for hermite4.
        energy_tolerance: a trajectory whose energy differs from that at time 0 by more than this share has
            failed.
        max_steps: a trajectory that takes more steps than that from one frame to the next has failed.
        communicator: the ranks that share one trajectory.

    Raises:
        UserError: options that do not work together, or more ranks than bodies.
    """

    def __init__(
        self,
        *,
        system: SystemOptions,
        dimension: Literal[2, 3],
        gravitational_constant: Positive,
        softening: NonNegative,
        integrator: Literal["hermite4", "leapfrog", "yoshida4"],
        accuracy: Positive,
        time_step: Positive | None,
        energy_tolerance: Positive,
        max_steps: Annotated[int, Ge(1)],
        communicator: MPI.Intracomm,
    ):
        self._system = SYSTEMS[system.kind](system, gravitational_constant, softening, dimension)
        check_system(system, dimension, self._system.least_dimension)
        if (time_step is None) != (integrator == "hermite4"):
            raise UserError(
                f"integrator={integrator} needs a time_step, s: its steps are of one length"
                if time_step is None
                else f"time_step={time_step:g} s has no use: hermite4 adapts its step; change accuracy "
                f"({accuracy:g}), or use leapfrog or yoshida4"
            )
        self.communicator = communicator
        self._dimension = dimension
        self._constant = gravitational_constant
        self._softening2 = softening**2
        self._lengths = np.array(COMPOSITIONS.get(integrator, ()))
        self._accuracy = accuracy
        self._time_step = time_step
        self._tolerance = energy_tolerance
        self._max_steps = max_steps
        self._shared = SharedBodies(communicator, self._system.num_bodies)
        self.block = (self._shared.block,)
        self.method = integrator + (
            f", accuracy {accuracy:g}" if time_step is None else f", steps of {time_step:g} s"
        )
        if communicator.size > 1:
            self.method += f", {self._shared.way}"
        self.spec = self._describe()

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """See `Solver.sample`."""
        return self._system.draw(rng, outside)

    def prepare(self, parameters: Parameters) -> BodiesTrajectory:
        """Return the trajectory of these parameters, see `Solver.prepare`."""
        return BodiesTrajectory(self, parameters, self._system.masses(parameters))

    def solve_batch(self, batch: Sequence[Parameters], times: np.ndarray) -> TrajectoryBatch:
        """See `BatchedSolver.solve_batch`."""
        mass = np.array([self._system.masses(parameters) for parameters in batch])
        first = np.array([self._initial_state(parameters) for parameters in batch])
        states = np.empty((len(batch), len(times), *first.shape[1:]))
        states[:, 0] = first
        observed = np.empty((*states.shape[:2], NUM_OBSERVED))
        for row, state, masses in zip(observed[:, 0], first, mass, strict=True):
            row[:] = self._observed(state, masses)
        duration = float(times[-1]) / max(len(times) - 1, 1)
        numbers = self._run(states, mass, observed[:, 0, ENERGY], observed, duration)
        failures: list[str | None] = []
        counts = dict(_NO_COUNTS)
        for b, row in enumerate(numbers):
            outcome = Outcome.of(row)
            outcome.add_to(counts)
            begun = float(times[max(outcome.frames - 1, 0)])
            energy = float(observed[b, 0, ENERGY])
            failures.append(
                _coincide(energy) or outcome.reason(begun + duration, self._tolerance, self._max_steps)
            )
        return TrajectoryBatch(
            states,
            mass[:, None],
            {name: observed[..., row] for name, row in self._rows.items()},
            failures,
            counts,
        )

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """See `Solver.residual`: dx/dt - v (m/s) and dv/dt - a (m/s^2), for each axis."""
        names = DIRECTIONS[: self._dimension]
        position = {name: fields[f"position_{name}"] for name in names}
        apart = {name: x[..., None, :] - x[..., :, None] for name, x in position.items()}
        q = sum(d * d for d in apart.values()) + self._softening2
        # A body does not act on itself: there q takes any value but zero.
        pull = self._constant * fields["mass"][..., None, :] * (q + (q == 0)) ** -1.5
        result = {}
        for name in names:
            result[f"motion_{name}"] = derivative(position[name], "t") - fields[f"velocity_{name}"]
            acceleration = (pull * apart[name]).sum(-1)
            result[f"gravity_{name}"] = derivative(fields[f"velocity_{name}"], "t") - acceleration
        return result

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """See `Solver.initial_condition`; the systems that are parametric lie in the plane."""
        if not self.spec.parametric:
            return super().initial_condition(coordinates, parameters, xp)
        mass, bodies = self._system.at(parameters, xp)
        x, y, velocity_x, velocity_y = (xp.stack(one, -1) for one in zip(*bodies, strict=True))
        planar = {"position_x": x, "position_y": y, "velocity_x": velocity_x, "velocity_y": velocity_y}
        fields = {name: planar.get(name, 0 * x) for name in self.spec.channels}
        return fields | {"mass": xp.stack(mass, -1)}

    def _initial_state(self, parameters: Parameters) -> np.ndarray:
        bodies = self._system.bodies(parameters)[:, self._shared.block]
        d = self._dimension
        return np.concatenate([bodies[:d], bodies[3 : 3 + d]])

    def _advance_all(
        self, state: np.ndarray, mass: np.ndarray, energy: float, duration: float
    ) -> tuple[np.ndarray, Outcome]:
        """Moves the bodies of all ranks on each of them."""
        everything = self._shared.gathered(state)
        states = np.empty((1, 2, *everything.shape))
        states[0, 0] = everything
        observed = np.empty((1, 2, NUM_OBSERVED))
        numbers = self._run(states, mass[None], np.array([energy]), observed, duration)
        return states[0, 1][:, self._shared.block], Outcome.of(numbers[0])

    def _run(
        self,
        states: np.ndarray,
        mass: np.ndarray,
        energies: np.ndarray,
        observed: np.ndarray,
        duration: float,
    ) -> np.ndarray:
        """See `nbody_ensemble.run`; the numbers of the outcomes."""
        numbers = np.empty((len(states), NUM_NUMBERS))
        run(
            states, mass, self._constant, self._softening2, self._lengths, self._accuracy,
            self._num_steps(duration), duration, energies, self._tolerance, observed, numbers,
        )  # fmt: skip
        return numbers

    def _advance_shared(
        self, state: np.ndarray, mass: np.ndarray, energy: float, duration: float
    ) -> tuple[np.ndarray, Outcome]:
        bodies, d = self._embedded(state), self._dimension
        close2 = CLOSE * spread2(self._shared.gathered(bodies))
        end, steps, nearest2 = self._shared.move(
            bodies, self._constant * mass, self._softening2, self._lengths, self._accuracy,
            self._num_steps(duration), duration, close2,
        )  # fmt: skip
        moved = np.concatenate([bodies[:d], bodies[3 : 3 + d]])
        observed = self._observed(moved, mass)
        error = abs(observed[ENERGY] - energy) / abs(energy)
        if end == ARRIVED and not error <= self._tolerance:
            end = ENERGY_LOST
        nearest2 = max(min(observed[LEAST_SEPARATION] ** 2, nearest2 - self._softening2), 0.0)
        return moved, Outcome(end, 1, steps, math.sqrt(nearest2), int(nearest2 < close2), float(error))

    def _num_steps(self, duration: float) -> int:
        """The steps of a frame, or for hermite4 their bound."""
        if self._time_step is None:
            return self._max_steps
        return max(math.ceil(duration / self._time_step * (1 - 1e-12)), 1)

    def _observed(self, state: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """What `nbody_observe.observe` gives of the bodies of all ranks."""
        everything = self._shared.gathered(self._embedded(state))
        potential, least2 = self._shared.pairs(everything, mass, self._constant * mass, self._softening2)
        observed = np.empty(NUM_OBSERVED)
        observe(everything, mass, potential, least2, observed)
        return observed

    def _embedded(self, state: np.ndarray) -> np.ndarray:
        bodies = np.empty((6, state.shape[1]))
        embed(np.ascontiguousarray(state), bodies)
        return bodies

    @property
    def _rows(self) -> dict[str, int]:
        """The invariants by name, as rows of what is observed."""
        names = DIRECTIONS[: self._dimension]
        turns = DIRECTIONS if self._dimension == 3 else ("z",)
        return (
            {"energy": ENERGY}
            | {f"momentum_{name}": MOMENTUM + DIRECTIONS.index(name) for name in names}
            | {f"angular_momentum_{name}": ANGULAR_MOMENTUM + DIRECTIONS.index(name) for name in turns}
            | {"least_separation": LEAST_SEPARATION}
        )

    def _describe(self) -> Spec:
        units = {"energy": "J", "momentum": "kg m/s", "angular_momentum": "kg m^2/s", "least_separation": "m"}
        words = {
            "energy": "kinetic and potential energy",
            "momentum": "momentum",
            "angular_momentum": "angular momentum about the origin",
            "least_separation": "distance of the nearest two bodies; not conserved: it tells of encounters",
        }
        kinds = {name: name if name in units else name.rpartition("_")[0] for name in self._rows}
        return Spec(
            name="nbody",
            equation="d2x_i/dt2 = G sum_j m_j (x_j - x_i) / (|x_j - x_i|^2 + softening^2)^(3/2)",
            sites=Particles(self._system.num_bodies, self._dimension),
            fields=(Field("position", "m", "position", 1), Field("velocity", "m/s", "velocity", 1)),
            coefficient_fields=(Field("mass", "kg", "mass"),),
            parameters=self._system.parameters,
            invariants=tuple(Quantity(name, units[kind], words[kind]) for name, kind in kinds.items()),
            autonomous=True,
            parametric=self._system.parametric,
        )


def _coincide(energy: float) -> str | None:
    """Why there is no trajectory from a state of this energy (J), if there is none."""
    if math.isfinite(energy):
        return None
    return "two bodies coincide at time 0, or their state is not finite; they need a softening length, m"


def _check_energy(energy: float) -> None:
    reason = _coincide(energy)
    if reason:
        raise DivergedError(reason)


_NO_COUNTS = {"steps": 0, "close_encounters": 0}


@dataclass(frozen=True)
class BodiesTrajectory(SteppedTrajectory):
    """The bodies under one set of parameters; `masses` (kg) are those of all ranks."""

    solver: NBody
    parameters: Parameters
    masses: np.ndarray
    counts: dict[str, int] = field(default_factory=lambda: dict(_NO_COUNTS))

    @cached_property
    def coefficient_fields(self) -> np.ndarray:  # type: ignore[override]
        """The masses."""
        return self.masses[None, self.solver._shared.block]

    @cached_property
    def initial_state(self) -> np.ndarray:  # type: ignore[override]
        """The positions and velocities at time 0."""
        return self.solver._initial_state(self.parameters)

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Advance the bodies. The energy to keep is that at time 0: of `state` there, else of the initial
        state of these parameters.

        Raises:
            DivergedError: the energy's error passes its bound, the bodies come so close that there are too
                many steps, or numbers are not finite.
        """
        solver = self.solver
        start = state if time == 0 else self.initial_state
        energy = float(solver._observed(start, self.masses)[ENERGY])
        _check_energy(energy)
        advance = solver._advance_all if solver._shared.moves_all else solver._advance_shared
        moved, outcome = advance(state, self.masses, energy, duration)
        outcome.add_to(self.counts)
        reason = outcome.reason(time + duration, solver._tolerance, solver._max_steps)
        if reason:
            raise DivergedError(reason)
        return moved

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the invariants about the origin; and the smallest separation, which is none."""
        observed = self.solver._observed(state, self.masses)
        return {name: float(observed[row]) for name, row in self.solver._rows.items()}
