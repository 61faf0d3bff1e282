"""The check that several ranks compute the solution of one rank.

Shape letters: C channels, T frames; `*block` are the sites of a rank.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solvers.contract import Solver
from solvers.contract_checks.solutions import sample_of, states_of

#: The largest difference between a solution on one rank and on several ranks, relative to its largest value.
RANKS_TOLERANCE = 1e-10


def ranks(alone: Solver, shared: Solver, times: np.ndarray) -> Iterator[str]:
    """Check that several ranks compute the solution of one rank; all ranks of `shared` call this function.

    `alone` has one rank. The result is the same on all ranks.
    """
    communicator, spec = shared.communicator, shared.spec
    parameters = sample_of(shared)
    draws = communicator.allgather(parameters)
    if any(not np.array_equal(draw[name], draws[0][name]) for draw in draws for name in draws[0]):
        yield "sample returns different parameters on different ranks for an equal generator"
        return
    own_states = states_of(shared, parameters, times)
    blocks = communicator.allgather((shared.block, own_states))
    states = np.full((len(times), len(spec.channels), *spec.shape), np.nan)
    for block, values in blocks:
        expected_shape = (len(times), len(spec.channels), *(cells.stop - cells.start for cells in block))
        if values.shape != expected_shape:
            yield f"a rank with the block {block} returns states of the shape {values.shape}"
            return
        states[:, :, *block] = values
    if np.isnan(states).any():
        yield "the blocks of the ranks do not cover all sites"
        return
    expected = communicator.bcast(states_of(alone, parameters, times) if communicator.rank == 0 else None)
    difference = float(np.abs(states - expected).max()) / (float(np.abs(expected).max()) or 1.0)
    if difference > RANKS_TOLERANCE:
        yield (
            f"the solution on {communicator.size} ranks differs from that on one rank by {difference:.2g} of "
            "its largest value"
        )
    own_invariants = shared.prepare(parameters).invariants(own_states[-1])
    if any(values != own_invariants for values in communicator.allgather(own_invariants)):
        yield "the invariants differ between the ranks. Each rank returns those of the whole domain"
