"""The check that the seed alone determines what a solver draws."""

from __future__ import annotations

import numpy as np

from pipeline.data.plan import generator, index
from solvers.contract import Parameters, Solver

#: The trajectories that are drawn in one order, and then in the reverse order.
_POSITIONS = range(3)


def mistake(solver: Solver, seed: int) -> str | None:
    """Return what `sample` draws from other sources than its generator, or None.

    Equal generators must give equal parameters, whatever is drawn in between.
    """
    first = {position: _draw(solver, seed, position) for position in _POSITIONS}
    second = {position: _draw(solver, seed, position) for position in reversed(_POSITIONS)}
    names = sorted(
        {
            name
            for position in _POSITIONS
            for name in first[position].keys() | second[position].keys()
            if not np.array_equal(first[position].get(name, []), second[position].get(name, []))
        }
    )
    if not names:
        return None
    return (
        f"sample returns other values of {', '.join(names)} for an equal generator: unseeded random "
        "numbers, or state that the solver keeps between calls. A trajectory must follow from its seed and "
        "index. Draw all random numbers from the generator that `sample` receives"
    )


def _draw(solver: Solver, seed: int, position: int) -> Parameters:
    return solver.sample(generator(seed, index("train", position)))
