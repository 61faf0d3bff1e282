"""The time and the errors of a surrogate, for the comparison with its solver."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from simsurrogate.errors import UserError
from surrogates.contract import ExtrapolationWarning

if TYPE_CHECKING:
    from pipeline.evaluation.cases import Cases
    from surrogates.contract import Surrogate

#: A measured call is repeated until the calls have taken this time (s), at most `MAX_CALLS` times. All
#: results depend on the query of the surrogate, so it is measured for longer than a setting of the solver.
LEAST_SECONDS = 0.02
LEAST_QUERY_SECONDS = 0.2
MAX_CALLS = 1000

#: The numbers of trajectories in a batch of queries.
BATCH_SIZES = (1, 4, 16, 64)

Result = TypeVar("Result")


@dataclass(frozen=True)
class SurrogateTimes:
    """The times and the errors of the surrogate.

    Attributes:
        compiled: whether the predictions were compiled.
        first_query_seconds: the time of the first query of this process, s.
        query_seconds: the time of one query for one trajectory, s.
        batch_size: the number of trajectories in the batch with the smallest time for each trajectory.
        batch_seconds: the time of a trajectory in this batch, s.
        errors: the relative L2 error of the last frame of each trajectory (B,).
    """

    compiled: bool
    first_query_seconds: float
    query_seconds: float
    batch_size: int
    batch_seconds: float
    errors: np.ndarray


def measure_surrogate(
    surrogate: Surrogate, cases: Cases, errors_of: Callable[[np.ndarray], np.ndarray], *, compiled: bool
) -> SurrogateTimes:
    """Return the times and the errors of the surrogate, compiled if `compiled` and if that is possible.

    `errors_of` returns the errors (B,) of the last frames (B, 1, C, *sites).
    """
    num_trajectories = len(cases.index)

    def predict(rows: np.ndarray) -> np.ndarray:
        inputs = {name: values[rows] for name, values in cases.inputs.items()}
        prediction = predictor.predict(cases.state[rows, 0], inputs, cases.time)
        return prediction.mean[:, -1:].numpy(force=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        start = time.perf_counter()
        try:
            predictor = surrogate.compiled() if compiled else surrogate
            predict(np.array([0]))
        except UserError as error:
            if not compiled:
                raise
            print(f"note: plain predictions are measured, without evaluation.compiled. {error}", flush=True)
            return measure_surrogate(surrogate, cases, errors_of, compiled=False)
        first_query_seconds = time.perf_counter() - start
        seconds = {}
        for size in BATCH_SIZES:
            rows = np.arange(size) % num_trajectories
            predict(rows)
            seconds[size] = timed(partial(predict, rows), LEAST_QUERY_SECONDS)[1] / size
        # Single queries, because each size of a batch is compiled apart.
        frames = np.concatenate([predict(np.array([row])) for row in range(num_trajectories)])
    best_size = min(seconds, key=lambda size: seconds[size])
    errors = errors_of(frames)
    return SurrogateTimes(compiled, first_query_seconds, seconds[1], best_size, seconds[best_size], errors)


def timed(call: Callable[[], Result], least_seconds: float = LEAST_SECONDS) -> tuple[Result, float]:
    """Return the result of a call, and the median time of the calls, s."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < least_seconds and len(seconds) < MAX_CALLS):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds)
