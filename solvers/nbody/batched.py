"""Compiled computation of complete trajectories on one rank, without Python between steps or frames.

`gravity` describes the arrays. A state (2 d, n) in d dimensions holds positions before velocities.
"""

# ruff: noqa: PLR0917 - numba passes separate scalars faster than arrays.

from __future__ import annotations

import math

import numpy as np

from solvers.nbody.diagnostics import ENERGY, observe, pair_sums, shortest_time
from solvers.nbody.gravity import pair_forces
from solvers.nbody.integrators import copy_rows, make_composition, make_hermite
from solvers.nbody.outcome import CLOSE_ENCOUNTER, COMPLETED, ENERGY_LOST
from solvers.numerics.numba_cache import compiled

#: The first step of a frame, relative to the step of Aarseth's criterion on a circular orbit.
FIRST_STEP = 0.5


@compiled()
def _identity(value):  # type: ignore[no-untyped-def]
    return value


_hermite = compiled()(make_hermite(pair_forces, _identity))
_compose = compiled()(make_composition(pair_forces))


@compiled()
def embed(state, bodies):  # type: ignore[no-untyped-def]
    """Fill `bodies` (6, n) with a state; missing dimensions are zero."""
    d = state.shape[0] // 2
    bodies[:] = 0.0
    copy_rows(state[:d], bodies)
    copy_rows(state[d:], bodies[3:])


@compiled()
def advance_bodies(bodies, g, softening_squared, lengths, accuracy, num_steps, duration, close_squared):  # type: ignore[no-untyped-def]
    """Advance all bodies by `duration` (s), with a composition or, for empty `lengths`, with hermite.

    A composition takes `num_steps` steps. Hermite takes at most `num_steps` steps. `close_squared` is the
    squared separation (m^2) of a close encounter. Return the results of `integrators.make_hermite`.
    """
    if lengths.size:
        least_separation_squared = _compose(bodies, g, softening_squared, lengths, num_steps, duration)
        return COMPLETED, num_steps, least_separation_squared
    step = FIRST_STEP * math.sqrt(accuracy) * shortest_time(bodies, g, softening_squared, 0, 1)
    return _hermite(bodies, g, softening_squared, step, accuracy, duration, num_steps, close_squared)


@compiled()
def advance_batch(  # type: ignore[no-untyped-def]
    states, mass, gravitational_constant, softening_squared, lengths, accuracy, num_steps, duration,
    energies, tolerance, observables, outcomes,
):  # fmt: skip
    """Fill the frames after the first frame of each trajectory, up to a failed frame.

    Args:
        states: (B, T, 2 d, n).
        mass: (B, n), kg.
        gravitational_constant: G, m^3/(kg s^2).
        softening_squared: the squared softening length, m^2.
        lengths: the lengths of the steps of a composition, see `integrators.COMPOSITIONS`.
        accuracy: the accuracy of hermite, see `integrators`.
        num_steps: the number of steps for one frame, see `advance_bodies`.
        duration: the time from frame to frame, s.
        energies: (B,), the energy at time 0 s, J.
        tolerance: the allowed relative error of the energy.
        observables: (B, T, 8), filled for the same frames as the states, see `diagnostics.observe`.
        outcomes: (B, 6), filled with the entries of each `outcome.Outcome`.
    """
    num_trajectories, num_frames, num_channels, num_bodies = states.shape
    d = num_channels // 2
    bodies = np.empty((6, num_bodies))
    g = np.empty(num_bodies)
    for b in range(num_trajectories):
        for i in range(num_bodies):
            g[i] = gravitational_constant * mass[b, i]
        embed(states[b, 0], bodies)
        outcomes[b] = 0.0
        outcomes[b, 3] = np.inf
        for frame in range(1, num_frames):
            close_squared = CLOSE_ENCOUNTER * mean_squared_distance(bodies)
            status, steps, least_separation_squared = advance_bodies(
                bodies, g, softening_squared, lengths, accuracy, num_steps, duration, close_squared
            )
            potential, final_separation_squared = pair_sums(bodies, mass[b], g, softening_squared, 0, 1)
            observe(bodies, mass[b], potential, final_separation_squared, observables[b, frame])
            least_separation_squared = max(
                min(final_separation_squared, least_separation_squared - softening_squared), 0.0
            )
            error = abs(observables[b, frame, ENERGY] - energies[b]) / abs(energies[b])
            if status == COMPLETED and not error <= tolerance:
                status = ENERGY_LOST
            outcomes[b, 0] = status
            outcomes[b, 1] = frame
            outcomes[b, 2] += steps
            outcomes[b, 3] = math.sqrt(least_separation_squared)
            outcomes[b, 4] += least_separation_squared < close_squared
            outcomes[b, 5] = error
            if status != COMPLETED:
                break
            copy_rows(bodies[:d], states[b, frame])
            copy_rows(bodies[3 : 3 + d], states[b, frame, d:])


@compiled()
def mean_squared_distance(bodies):  # type: ignore[no-untyped-def]
    """Return the mean squared distance (m^2) of the bodies from the mean of their positions."""
    total = 0.0
    for axis in range(3):
        row = bodies[axis]
        mean = np.mean(row)
        for i in range(row.size):
            total += (row[i] - mean) ** 2
    return total / bodies.shape[1]
