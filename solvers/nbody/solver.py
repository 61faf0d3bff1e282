"""The solver of the gravitational n-body problem, in the plane or in space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from mpi4py import MPI

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Field, Particles, Spec
from simsurrogate.symmetries import ParticleMap
from solvers.batches import BatchedSolver, TrajectoryBatch
from solvers.contract import Parameters, Setting
from solvers.nbody.diagnostics import ENERGY, NUM_OBSERVABLES
from solvers.nbody.distributed import SharedBodies
from solvers.nbody.invariants import Invariants
from solvers.nbody.motion import Integrator, Motion
from solvers.nbody.outcome import start_failure
from solvers.nbody.settings import cheaper_settings, reference_setting
from solvers.nbody.systems import SystemOptions, build_system
from solvers.nbody.trajectory import NO_COUNTS, BodiesTrajectory
from solvers.numerics.step_count import check_steps

_Positive = Annotated[float, Gt(0)]

_ORDERS = {"hermite4": 4, "leapfrog": 2, "yoshida4": 4}


class NBody(BatchedSolver):
    """The n-body equations d^2 x_i / dt^2 = G sum of m_j (x_j - x_i) / (|x_j - x_i|^2 + softening^2)^(3/2).

    A state (2 d, n) holds positions (m) and velocities (m/s) of n bodies in d dimensions. The masses (kg) are
    the coefficient field. The sum runs over all pairs (`gravity`). The integrators are (`integrators`):

    hermite4: scheme of fourth order with one adaptive step for all bodies, for close encounters.
    leapfrog, yoshida4: symplectic schemes of second and fourth order, with steps of at most `time_step`.

    Every integrator reaches each output time exactly. Each rank holds a slab of the bodies. Results are equal
    to round-off for any number of ranks.

    Args:
        system: the bodies and their random initial states (`systems`).
        dimension: the number of dimensions d, 2 or 3.
        gravitational_constant: G, m^3/(kg s^2).
        softening: the softening length of Plummer, m; 0 for point masses.
        integrator: the name of the integrator.
        accuracy: Aarseth's eta of hermite4; the step is proportional to the square root of eta. In close
            encounters of a few bodies eta is smaller (`integrators`).
        time_step: the step of leapfrog and yoshida4, s; None for hermite4.
        energy_tolerance: the largest relative energy error; a trajectory with a larger error fails.
        max_steps: the largest number of steps of hermite4 between two frames; a trajectory that needs more
            steps fails.
        communicator: the ranks that share one trajectory.

    Raises:
        UserError: options contradict each other, or there are more ranks than bodies.
    """

    order_in_space = math.inf

    def __init__(
        self,
        *,
        system: SystemOptions,
        dimension: Literal[2, 3],
        gravitational_constant: _Positive,
        softening: Annotated[float, Ge(0)],
        integrator: Integrator,
        accuracy: _Positive = 0.005,
        time_step: _Positive | None = None,
        energy_tolerance: _Positive,
        max_steps: Annotated[int, Ge(1), Le(10**9)] = 1_000_000,
        communicator: MPI.Intracomm,
    ):
        if time_step is None and integrator != "hermite4":
            raise UserError(
                f"solver.integrator={integrator} has no error control and needs a fixed step. Only hermite4 "
                "runs with solver.time_step=null. Type solver.time_step=SECONDS or solver.integrator=hermite4"
            )
        self._time_step = time_step if integrator != "hermite4" else None
        self._build = partial(
            NBody,
            system=system,
            dimension=dimension,
            gravitational_constant=gravitational_constant,
            softening=softening,
            integrator=integrator,
            max_steps=max_steps,
            communicator=communicator,
        )
        self._step_options = (accuracy, time_step, energy_tolerance)
        self._system = build_system(system, gravitational_constant, softening, dimension)
        shared_bodies = SharedBodies(communicator, self._system.num_bodies)
        self._motion = Motion(
            shared_bodies,
            dimension=dimension,
            gravitational_constant=gravitational_constant,
            softening=softening,
            integrator=integrator,
            accuracy=accuracy,
            time_step=time_step,
            energy_tolerance=energy_tolerance,
            max_steps=max_steps,
        )
        self._invariants = Invariants(dimension)
        self.communicator = communicator
        self.block = (shared_bodies.block,)
        self.method = integrator + (
            f", accuracy {accuracy:g}" if time_step is None else f", steps of {time_step:g} s"
        )
        if communicator.size > 1:
            self.method += f", {shared_bodies.description}"
        self.order_in_time = _ORDERS[integrator]
        self.time_scale = math.sqrt(self._system.length**3 / (gravitational_constant * system.total_mass))
        self.spec = Spec(
            name="nbody",
            equation="d2x_i/dt2 = G sum_j m_j (x_j - x_i) / (|x_j - x_i|^2 + softening^2)^(3/2)",
            sites=Particles(self._system.num_bodies, dimension),
            fields=(Field("position", "m", "position", 1), Field("velocity", "m/s", "velocity", 1)),
            coefficient_fields=(Field("mass", "kg", "mass"),),
            parameters=self._system.parameters,
            invariants=self._invariants.quantities,
            autonomous=True,
            parametric=self._system.parametric,
            chaotic=self._system.num_bodies > 2,
            # A boosted trajectory of a parametric system has no parameters.
            symmetries=self._system.symmetries + (() if self._system.parametric else (ParticleMap("boost"),)),
        )

    def cautions(self, duration: float) -> Iterator[str]:
        """Check the number of steps, see `Solver.cautions`."""
        check_steps("solver.time_step", self._time_step, duration)
        yield from ()

    @classmethod
    def unused_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the options of integrators that are not chosen, see `Solver.unused_options`."""
        keys = ("time_step",) if options["integrator"] == "hermite4" else ("accuracy", "max_steps")
        yield from ((key, f"solver.integrator={options['integrator']}") for key in keys)

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the parameters of one trajectory, see `Solver.sample`."""
        return self._system.draw(rng, outside)

    def prepare(self, parameters: Parameters) -> BodiesTrajectory:
        """Return the trajectory with these parameters, see `Solver.prepare`."""
        masses = self._system.masses(parameters)
        return BodiesTrajectory(
            motion=self._motion,
            invariant_entries=self._invariants,
            masses=masses,
            initial_state=self._initial_state(parameters),
            coefficient_fields=masses[None, self.block[0]],
        )

    def solve_batch(self, batch: Sequence[Parameters], times: np.ndarray) -> TrajectoryBatch:
        """Return the trajectories of `batch`, see `BatchedSolver.solve_batch`."""
        mass = np.array([self._system.masses(parameters) for parameters in batch])
        first_states = np.array([self._initial_state(parameters) for parameters in batch])
        states = np.full((len(batch), len(times), *first_states.shape[1:]), np.nan)
        states[:, 0] = first_states
        observables = np.empty((*states.shape[:2], NUM_OBSERVABLES))
        for row, state, masses in zip(observables[:, 0], first_states, mass, strict=True):
            row[:] = self._motion.observe(state, masses)
        energies = observables[:, 0, ENERGY]
        duration = float(times[-1]) / max(len(times) - 1, 1)
        outcomes = self._motion.advance_batch(states, mass, energies, observables, duration)
        failures: list[str | None] = []
        counts = dict(NO_COUNTS)
        for outcome, energy in zip(outcomes, energies, strict=True):
            outcome.add_to(counts)
            end = float(times[max(outcome.frames - 1, 0)]) + duration
            failures.append(start_failure(float(energy)) or self._motion.failure_reason(outcome, end))
        return TrajectoryBatch(states, mass[:, None], self._invariants.series(observables), failures, counts)

    def with_other_accuracy(self) -> tuple[NBody, float]:
        """Return the solver with 10 times the error of hermite4, or with half the steps of other schemes.

        See `Solver.with_other_accuracy`.
        """
        accuracy, time_step, energy_tolerance = self._step_options
        if time_step is None:
            # The error of hermite4 is proportional to the square of eta.
            other_solver = self._build(
                accuracy=math.sqrt(10) * accuracy, energy_tolerance=10 * energy_tolerance
            )
            return other_solver, 1 / 9
        other_solver = self._build(
            accuracy=accuracy, time_step=time_step / 2, energy_tolerance=energy_tolerance
        )
        return other_solver, 2**self.order_in_time / (2**self.order_in_time - 1)

    def cheaper_settings(self) -> Iterator[Setting]:
        """Yield all integrators with long steps, see `Solver.cheaper_settings`."""
        accuracy, time_step, energy_tolerance = self._step_options
        build = partial(self._build, communicator=MPI.COMM_SELF)
        own_solver = build(accuracy=accuracy, time_step=time_step, energy_tolerance=energy_tolerance)
        return cheaper_settings(build, Setting(own_solver.method, own_solver), self.time_scale)

    def reference_setting(self) -> Setting:
        """Return hermite4 with short steps, see `Solver.reference_setting`."""
        accuracy, _, energy_tolerance = self._step_options
        return reference_setting(
            partial(self._build, communicator=MPI.COMM_SELF), min(accuracy, 0.005), energy_tolerance
        )

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the residuals dx/dt - v (m/s) and dv/dt - a (m/s^2) of each axis, see `Solver.residual`."""
        motion = self._motion
        names = DIRECTIONS[: motion.dimension]
        positions = {name: fields[f"position_{name}"] for name in names}
        separations = {name: x[..., None, :] - x[..., :, None] for name, x in positions.items()}
        q = sum(d * d for d in separations.values()) + motion.softening_squared
        # A body exerts no force on itself. The replacement q = 1 avoids a division by q = 0.
        acceleration_factor = (
            motion.gravitational_constant * fields["mass"][..., None, :] * (q + (q == 0)) ** -1.5
        )
        residuals = {}
        for name in names:
            velocity = fields[f"velocity_{name}"]
            residuals[f"motion_{name}"] = derivative(positions[name], "t") - velocity
            acceleration = (acceleration_factor * separations[name]).sum(-1)
            residuals[f"gravity_{name}"] = derivative(velocity, "t") - acceleration
        return residuals

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return state and masses at time 0 s, see `Solver.initial_condition`.

        The bodies of all parametric systems move in the plane.
        """
        if not self.spec.parametric:
            return super().initial_condition(coordinates, parameters, xp)
        mass, bodies = self._system.initial_condition(parameters, xp)
        x, y, velocity_x, velocity_y = (xp.stack(component, -1) for component in zip(*bodies, strict=True))
        planar_channels = {
            "position_x": x,
            "position_y": y,
            "velocity_x": velocity_x,
            "velocity_y": velocity_y,
        }
        fields = {name: planar_channels.get(name, 0 * x) for name in self.spec.channels}
        return fields | {"mass": xp.stack(mass, -1)}

    def _initial_state(self, parameters: Parameters) -> np.ndarray:
        bodies = self._system.bodies(parameters)[:, self.block[0]]
        d = self._motion.dimension
        return np.concatenate([bodies[:d], bodies[3 : 3 + d]])
