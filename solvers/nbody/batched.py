"""Whole trajectories on one rank, compiled, with no Python between steps, frames or trajectories.

Arrays as in `gravity`; a state is (2 d, n) in d dimensions, positions before velocities.
"""

# ruff: noqa: PLR0917 - numba passes separate numbers faster than arrays.

from __future__ import annotations

import math

import numpy as np

from solvers.nbody.diagnostics import ENERGY, observe, pair_sums, shortest_time
from solvers.nbody.gravity import pair_forces
from solvers.nbody.integrators import make_composition, make_hermite
from solvers.nbody.outcome import CLOSE, COMPLETED, ENERGY_LOST
from solvers.numerics.numba_cache import compiled

#: The first step of a frame, as a fraction of the step by Aarseth's criterion on a circular orbit.
FIRST = 0.5


@compiled()
def _unreduced(value):  # type: ignore[no-untyped-def]
    return value


_hermite = compiled()(make_hermite(pair_forces, _unreduced))
_compose = compiled()(make_composition(pair_forces))


@compiled()
def embed(state, bodies):  # type: ignore[no-untyped-def]
    """Fill `bodies` (6, n) with a state; the missing dimensions are zero."""
    d = state.shape[0] // 2
    bodies[:] = 0.0
    bodies[:d] = state[:d]
    bodies[3 : 3 + d] = state[d:]


@compiled()
def advance_bodies(bodies, g, softening2, lengths, accuracy, num_steps, duration, close2):  # type: ignore[no-untyped-def]
    """Advance all bodies by `duration` (s), by hermite where `lengths` is empty.

    Hermite takes at most `num_steps` steps, a composition exactly as many; `close2` is the squared separation
    (m^2) of a close encounter. Return the results that `integrators.make_hermite` describes.
    """
    if lengths.size:
        least = _compose(bodies, g, softening2, lengths, num_steps, duration)
        return COMPLETED, num_steps, least
    step = FIRST * math.sqrt(accuracy) * shortest_time(bodies, g, softening2, 0, 1)
    return _hermite(bodies, g, softening2, step, accuracy, duration, num_steps, close2)


@compiled()
def advance_batch(  # type: ignore[no-untyped-def]
    states, mass, gravitational_constant, softening2, lengths, accuracy, num_steps, duration,
    energies, tolerance, observed, outcomes,
):  # fmt: skip
    """Fill the frames after the first of each trajectory, up to the frame that fails.

    Args:
        states: (B, T, 2 d, n).
        mass: (B, n), kg.
        gravitational_constant: G, m^3/(kg s^2).
        softening2: the softening length squared, m^2.
        lengths: see `advance_bodies`.
        accuracy: see `advance_bodies`.
        num_steps: see `advance_bodies`, for one frame.
        duration: the time from frame to frame, s.
        energies: (B,), the energy at time 0, J.
        tolerance: the bound on the relative error of the energy.
        observed: (B, T, 8), filled for the same frames as the states, see `diagnostics.observe`.
        outcomes: (B, 6), filled with the numbers of each `outcome.Outcome`.
    """
    num_trajectories, num_frames, num_channels, num_bodies = states.shape
    d = num_channels // 2
    bodies = np.empty((6, num_bodies))
    g = np.empty(num_bodies)
    for b in range(num_trajectories):
        g[:] = gravitational_constant * mass[b]
        embed(states[b, 0], bodies)
        outcomes[b] = 0.0
        outcomes[b, 3] = np.inf
        for frame in range(1, num_frames):
            close2 = CLOSE * mean_squared_distance(bodies)
            status, steps, least2 = advance_bodies(
                bodies, g, softening2, lengths, accuracy, num_steps, duration, close2
            )
            potential, final_least2 = pair_sums(bodies, mass[b], g, softening2, 0, 1)
            observe(bodies, mass[b], potential, final_least2, observed[b, frame])
            least2 = max(min(final_least2, least2 - softening2), 0.0)
            error = abs(observed[b, frame, ENERGY] - energies[b]) / abs(energies[b])
            if status == COMPLETED and not error <= tolerance:
                status = ENERGY_LOST
            outcomes[b, 0] = status
            outcomes[b, 1] = frame
            outcomes[b, 2] += steps
            outcomes[b, 3] = math.sqrt(least2)
            outcomes[b, 4] += least2 < close2
            outcomes[b, 5] = error
            if status != COMPLETED:
                break
            states[b, frame, :d] = bodies[:d]
            states[b, frame, d:] = bodies[3 : 3 + d]


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
