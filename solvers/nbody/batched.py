"""Whole trajectories on one rank, compiled: no Python between steps, frames or trajectories.

Arrays as in `nbody_gravity`, with states (2 d, n) of d dimensions: positions over velocities.
"""

# ruff: noqa: PLR0917 - numba passes loose arguments.

from __future__ import annotations

import math

import numpy as np

from solvers.nbody.diagnostics import ENERGY, observe, pairs, shortest_time
from solvers.nbody.gravity import attract
from solvers.nbody.integrators import compose_with, hermite_with
from solvers.nbody.outcome import ARRIVED, CLOSE, ENERGY_LOST
from solvers.numerics.numba_cache import compiled

#: The first step of a frame, over what Aarseth's criterion would give on a circular orbit.
FIRST = 0.5


@compiled()
def _alone(value):  # type: ignore[no-untyped-def]
    return value


_hermite = compiled()(hermite_with(attract, _alone))
_compose = compiled()(compose_with(attract))


@compiled()
def embed(state, bodies):  # type: ignore[no-untyped-def]
    """A state as `bodies` (6, n), in space."""
    d = state.shape[0] // 2
    bodies[:] = 0.0
    bodies[:d] = state[:d]
    bodies[3 : 3 + d] = state[d:]


@compiled()
def move(bodies, g, softening2, lengths, accuracy, num_steps, duration, close2):  # type: ignore[no-untyped-def]
    """Moves all bodies through `duration`, by hermite where there are no `lengths` of a composition.

    Hermite takes at most `num_steps` steps, a composition exactly as many; `close2` is the squared separation
    (m^2) of a close encounter. See `nbody_integrators`.
    """
    if lengths.size:
        nearest = _compose(bodies, g, softening2, lengths, num_steps, duration)
        return ARRIVED, num_steps, nearest
    step = FIRST * math.sqrt(accuracy) * shortest_time(bodies, g, softening2, 0, 1)
    return _hermite(bodies, g, softening2, step, accuracy, duration, num_steps, close2)


@compiled()
def run(  # type: ignore[no-untyped-def]
    states, mass, gravitational_constant, softening2, lengths, accuracy, num_steps, duration,
    energies, tolerance, observed, outcomes,
):  # fmt: skip
    """Fills the frames after the first of each trajectory of an ensemble, up to the one that fails.

    Args:
        states: (B, T, 2 d, n).
        mass: (B, n), kg.
        gravitational_constant: G, m^3/(kg s^2).
        softening2: the softening length squared, m^2.
        lengths: see `move`.
        accuracy: see `move`.
        num_steps: see `move`, for one frame.
        duration: the time from frame to frame, s.
        energies: the energy that the bound refers to, J (B,).
        tolerance: the bound on the relative error of the energy.
        observed: what `nbody_observe.observe` gives of the frames, (B, T, 8), filled like the states.
        outcomes: the numbers of each trajectory's `nbody_outcome.Outcome`, (B, 6).
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
            close2 = CLOSE * spread2(bodies)
            end, steps, nearest2 = move(bodies, g, softening2, lengths, accuracy, num_steps, duration, close2)
            potential, least2 = pairs(bodies, mass[b], g, softening2, 0, 1)
            observe(bodies, mass[b], potential, least2, observed[b, frame])
            nearest2 = max(min(least2, nearest2 - softening2), 0.0)
            error = abs(observed[b, frame, ENERGY] - energies[b]) / abs(energies[b])
            if end == ARRIVED and not error <= tolerance:
                end = ENERGY_LOST
            outcomes[b, 0] = end
            outcomes[b, 1] = frame
            outcomes[b, 2] += steps
            outcomes[b, 3] = math.sqrt(nearest2)
            outcomes[b, 4] += nearest2 < close2
            outcomes[b, 5] = error
            if end != ARRIVED:
                break
            states[b, frame, :d] = bodies[:d]
            states[b, frame, d:] = bodies[3 : 3 + d]


@compiled()
def spread2(bodies):  # type: ignore[no-untyped-def]
    """The mean squared distance (m^2) of the bodies from the mean of their positions."""
    total = 0.0
    for axis in range(3):
        row = bodies[axis]
        mean = np.mean(row)
        for i in range(row.size):
            total += (row[i] - mean) ** 2
    return total / bodies.shape[1]
