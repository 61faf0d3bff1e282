"""The worth of a surrogate in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation.words import percent

if TYPE_CHECKING:
    from pipeline.evaluation.worth_result import SpeedUp, WorthResult

#: A ratio of times closer to 1 is within the noise of a machine.
EQUAL_RATIO = 1.1


def worth_verdict(worth: WorthResult) -> str:
    """Return the sentences on the speed-up at equal error and on the break-even."""
    surrogate = worth.surrogate
    data_error = worth.settings[0].error
    if surrogate.error is None:
        error = "an error of any size, because the rollout diverges"
    elif data_error is not None and surrogate.error < data_error:
        error = f"the error of the data ({percent(data_error)})"
    else:
        error = f"the same error ({percent(surrogate.error)})"
    query = "One compiled query" if surrogate.compiled else "One query"
    sentences = [
        f"{query} costs {duration(surrogate.query_seconds)}, and the solver needs "
        f"{duration(worth.solver_seconds)} for {error}: "
        f"{_comparison(worth.speed_up, len(worth.trajectories))}."
    ]
    if surrogate.batch_size > 1:
        sentences.append(
            f"In a batch of {surrogate.batch_size}, a query costs {duration(surrogate.batch_seconds)}: "
            f"{_comparison(worth.batch_speed_up, len(worth.trajectories))}."
        )
    sentences.append(_break_even(worth))
    return " ".join(sentences)


def _comparison(speed_up: SpeedUp, num_trajectories: int) -> str:
    ratio = speed_up.median
    if 1 / EQUAL_RATIO < ratio < EQUAL_RATIO:
        text = "surrogate and solver take the same time"
    elif ratio > 1:
        text = f"the surrogate is {float(f'{ratio:.3g}'):g} times faster"
    else:
        text = f"the solver is {float(f'{1 / ratio:.3g}'):g} times faster"
    trajectories = "trajectory" if num_trajectories == 1 else "trajectories"
    return (
        f"{text} (speed-up at equal error {ratio_text(ratio)}, {ratio_text(speed_up.min)} to "
        f"{ratio_text(speed_up.max)} over {num_trajectories} {trajectories})"
    )


def _break_even(worth: WorthResult) -> str:
    cost = worth.break_even
    cost_text = (
        f"generating the data ({duration(cost.generation_seconds)}) and training "
        f"({duration(cost.training_seconds)})"
    )
    if cost.queries is not None:
        return f"{cost_text[0].upper()}{cost_text[1:]} are repaid after {count_text(cost.queries)} queries."
    if worth.batch_speed_up.median > EQUAL_RATIO:
        return f"Single queries never repay {cost_text}. Use this surrogate in batches only."
    return f"Queries never repay {cost_text}. Do not use this surrogate to save time."


def ratio_text(ratio: float) -> str:
    """Return a ratio of times with two figures: "0.078", "6.9", "94", "150"."""
    return f"{float(f'{ratio:.2g}'):g}"


def duration(seconds: float) -> str:
    """Return a time with three figures in a fitting unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return (
                f"{seconds / scale:.3g}\N{NO-BREAK SPACE}{unit}"
                if seconds < 1000
                else f"{seconds:.0f}\N{NO-BREAK SPACE}s"
            )
    return f"{seconds / 1e-6:.2g}\N{NO-BREAK SPACE}µs"


def count_text(number: float) -> str:
    """Return a number of queries with two figures: "120 000"."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}".replace(",", "\N{NO-BREAK SPACE}")
