"""Bodies under their own gravity, in the plane or in space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt
from mpi4py import MPI

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Field, Particles, Spec
from solvers.contract import BatchedSolver, Parameters, TrajectoryBatch
from solvers.nbody.diagnostics import ENERGY, NUM_OBSERVED
from solvers.nbody.distributed import SharedBodies
from solvers.nbody.invariants import Invariants
from solvers.nbody.motion import Integrator, Motion
from solvers.nbody.outcome import coincidence
from solvers.nbody.systems import SystemOptions, build_system
from solvers.nbody.trajectory import NO_COUNTS, BodiesTrajectory

_Positive = Annotated[float, Gt(0)]

_ORDERS = {"hermite4": 4, "leapfrog": 2, "yoshida4": 4}


class NBody(BatchedSolver):
    """d^2 x_i / dt^2 = G sum over j of m_j (x_j - x_i) / (|x_j - x_i|^2 + softening^2)^(3/2)

    State (2 d, n): positions (m) and velocities (m/s) of n bodies in d dimensions; the masses (kg) are the
    coefficient field. The sum runs over all pairs (`gravity`). The integrators (`integrators`):

    hermite4: fourth order, one adaptive step for all bodies, which resolves close encounters.
    leapfrog, yoshida4: symplectic, of second and fourth order, with steps of `time_step` or slightly less.

    Every output time is reached exactly. On several ranks each rank holds a slab of the bodies; results are
    equal to round-off on any number of ranks.

    Args:
        system: the bodies and their random initial states (`systems`).
        dimension: d.
        gravitational_constant: G, m^3/(kg s^2).
        softening: Plummer's softening length, m; 0 for point masses.
        integrator: see above.
        accuracy: Aarseth's eta of hermite4; the step is proportional to its square root. In close encounters
            of a few bodies eta is smaller (`integrators`).
        time_step: the step of leapfrog and yoshida4, s; None for hermite4.
        energy_tolerance: a trajectory fails where its relative energy error exceeds this number.
        max_steps: a trajectory fails where hermite4 takes more steps from one frame to the next.
        communicator: the ranks that share one trajectory.

    Raises:
        UserError: options that do not work together, or more ranks than bodies.
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
        max_steps: Annotated[int, Ge(1)] = 1_000_000,
        communicator: MPI.Intracomm,
    ):
        if time_step is None and integrator != "hermite4":
            raise UserError(
                f"solver.integrator={integrator} needs a step of fixed length; set solver.time_step to a "
                "number of seconds"
            )
        self._system = build_system(system, gravitational_constant, softening, dimension)
        shared = SharedBodies(communicator, self._system.num_bodies)
        self._motion = Motion(
            shared,
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
        self.block = (shared.block,)
        self.method = integrator + (
            f", accuracy {accuracy:g}" if time_step is None else f", steps of {time_step:g} s"
        )
        if communicator.size > 1:
            self.method += f", {shared.description}"
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
        )

    @classmethod
    def unused_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the options of the other integrators, see `Solver.unused_options`."""
        keys = ("time_step",) if options["integrator"] == "hermite4" else ("accuracy", "max_steps")
        yield from ((key, f"solver.integrator={options['integrator']}") for key in keys)

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the parameters of one trajectory, see `Solver.sample`."""
        return self._system.draw(rng, outside)

    def prepare(self, parameters: Parameters) -> BodiesTrajectory:
        """Return the trajectory of these parameters, see `Solver.prepare`."""
        masses = self._system.masses(parameters)
        return BodiesTrajectory(
            motion=self._motion,
            measured=self._invariants,
            masses=masses,
            initial_state=self._initial_state(parameters),
            coefficient_fields=masses[None, self.block[0]],
        )

    def solve_batch(self, batch: Sequence[Parameters], times: np.ndarray) -> TrajectoryBatch:
        """Return the trajectories of `batch`, see `BatchedSolver.solve_batch`."""
        mass = np.array([self._system.masses(parameters) for parameters in batch])
        first_states = np.array([self._initial_state(parameters) for parameters in batch])
        states = np.empty((len(batch), len(times), *first_states.shape[1:]))
        states[:, 0] = first_states
        observed = np.empty((*states.shape[:2], NUM_OBSERVED))
        for row, state, masses in zip(observed[:, 0], first_states, mass, strict=True):
            row[:] = self._motion.observe(state, masses)
        energies = observed[:, 0, ENERGY]
        duration = float(times[-1]) / max(len(times) - 1, 1)
        outcomes = self._motion.advance_batch(states, mass, energies, observed, duration)
        failures: list[str | None] = []
        counts = dict(NO_COUNTS)
        for outcome, energy in zip(outcomes, energies, strict=True):
            outcome.add_to(counts)
            end = float(times[max(outcome.frames - 1, 0)]) + duration
            failures.append(coincidence(float(energy)) or self._motion.reason(outcome, end))
        return TrajectoryBatch(states, mass[:, None], self._invariants.series(observed), failures, counts)

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return dx/dt - v (m/s) and dv/dt - a (m/s^2) along each axis, see `Solver.residual`."""
        motion = self._motion
        names = DIRECTIONS[: motion.dimension]
        positions = {name: fields[f"position_{name}"] for name in names}
        separations = {name: x[..., None, :] - x[..., :, None] for name, x in positions.items()}
        q = sum(d * d for d in separations.values()) + motion.softening2
        # A body does not act on itself: its q of zero is replaced by 1.
        pull = motion.gravitational_constant * fields["mass"][..., None, :] * (q + (q == 0)) ** -1.5
        result = {}
        for name in names:
            velocity = fields[f"velocity_{name}"]
            result[f"motion_{name}"] = derivative(positions[name], "t") - velocity
            acceleration = (pull * separations[name]).sum(-1)
            result[f"gravity_{name}"] = derivative(velocity, "t") - acceleration
        return result

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return state and masses at time 0, see `Solver.initial_condition`.

        All parametric systems lie in the plane.
        """
        if not self.spec.parametric:
            return super().initial_condition(coordinates, parameters, xp)
        mass, bodies = self._system.initial_condition(parameters, xp)
        x, y, velocity_x, velocity_y = (xp.stack(component, -1) for component in zip(*bodies, strict=True))
        planar = {"position_x": x, "position_y": y, "velocity_x": velocity_x, "velocity_y": velocity_y}
        fields = {name: planar.get(name, 0 * x) for name in self.spec.channels}
        return fields | {"mass": xp.stack(mass, -1)}

    def _initial_state(self, parameters: Parameters) -> np.ndarray:
        bodies = self._system.bodies(parameters)[:, self.block[0]]
        d = self._motion.dimension
        return np.concatenate([bodies[:d], bodies[3 : 3 + d]])
