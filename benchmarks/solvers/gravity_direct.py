"""The rate of direct summation of gravity on one core, compared with rebound and with an arithmetic bound.

The bound is the rate of a loop with one square root and one division per element, the operations of a pair.
"""

from __future__ import annotations

import ctypes
import math

import numba
import numpy as np
import rebound

from benchmarks.support.measuring import medians, print_and_store
from solvers.nbody.gravity import tiled_pair_forces

ROUNDS = 7


def main() -> None:
    """Print and store the pairs per second; each pair counts twice, once for each body."""
    rows = [_compare(num_bodies) for num_bodies in (1000, 4000)]
    print_and_store(
        "gravity_direct", "Accelerations by direct summation, float64", rows, ["rebound", "numba"]
    )


@numba.njit(error_model="numpy")
def _bound_kernel(values, out):  # type: ignore[no-untyped-def]
    for _ in range(100):
        for i in range(values.size):
            out[i] = 1.0 / math.sqrt(values[i])


def _compare(num_bodies: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    bodies, mass = rng.standard_normal((6, num_bodies)), rng.uniform(0.5, 1.5, num_bodies)
    force = np.empty((3, num_bodies))
    simulation = rebound.Simulation()
    simulation.gravity = "basic"
    for body, body_mass in zip(bodies.T, mass, strict=True):
        simulation.add(m=body_mass, x=body[0], y=body[1], z=body[2])
    accelerate = rebound.clibrebound.reb_simulation_update_acceleration

    def peer() -> None:
        accelerate(ctypes.byref(simulation))

    def ours() -> None:
        tiled_pair_forces(bodies, mass, 0.0, force)

    peer()
    ours()
    peer_force = np.array([[particle.ax, particle.ay, particle.az] for particle in simulation.particles]).T
    difference = float(np.max(np.abs(force - peer_force)) / np.max(np.abs(peer_force)))
    if not difference < 1e-12:
        raise SystemExit(
            f"the results differ by {difference} for {num_bodies} bodies; less than 1e-12 is allowed"
        )
    values, out = rng.uniform(1.0, 2.0, 1000), np.empty(1000)
    seconds = medians({"rebound": peer, "ours": ours, "bound": lambda: _bound_kernel(values, out)}, ROUNDS)
    pairs = num_bodies * (num_bodies - 1)
    bound = 100 * values.size / seconds["bound"] * 2
    return {
        "bodies": num_bodies,
        "rebound, billion pairs/s": pairs / seconds["rebound"] / 1e9,
        "ours, billion pairs/s": pairs / seconds["ours"] / 1e9,
        "ratio": seconds["rebound"] / seconds["ours"],
        "bound, billion pairs/s": bound / 1e9,
        "ours / bound": pairs / seconds["ours"] / bound,
        "largest difference": difference,
    }


if __name__ == "__main__":
    main()
