"""Frames that repeat the frame before them, although the solution was changing.

A writer that repeats frames, or that fills the end of a time axis with the last frame or with zeros, gives
equal frames next to frames that change. A solution that reaches a steady state changes less and less, down to
round-off, before its frames are equal. At the start, a solution may rest until a source begins.

Shape letters: N rows, T frames, n sampled values of a field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories.naming import name_of

#: A change of a field below this many rounding errors of its largest value is a steady state.
_ROUND_OFF = 1e3
#: Above this share of all trajectories, equal frames may be a property of the solution.
_COMMON_SHARE = 0.5


def pauses(states: Sequence[np.ndarray], precision: float) -> np.ndarray:
    """Return two frames of each row, (N, 2), 0 where there is none.

    The first is the frame after which a changing solution repeats one frame up to its end. The second is the
    first frame that repeats the frame before it while the solution changes later; frames at the start that
    repeat the initial state do not count.

    Args:
        states: the sampled values of each field, (N, T, n).
        precision: the rounding error of the stored values, relative to a value.
    """
    num_rows, num_frames = states[0].shape[:2]
    result = np.zeros((num_rows, 2), np.int64)
    if num_frames < 3:
        return result
    is_repeated = np.ones((num_rows, num_frames - 1), bool)
    change = np.zeros((num_rows, num_frames - 1))
    for values in states:
        step = np.abs(np.diff(values, axis=1)).max(axis=2)
        size = np.abs(values).max(axis=(1, 2))[:, None]
        is_repeated &= step == 0
        change = np.maximum(change, np.divide(step, size, out=np.zeros_like(step), where=size > 0))
    is_change = change > _ROUND_OFF * precision
    for row in np.flatnonzero(is_repeated.any(axis=1) & is_change.any(axis=1)):
        result[row] = _row_pauses(is_repeated[row], is_change[row])
    return result


def _row_pauses(is_repeated: np.ndarray, is_change: np.ndarray) -> tuple[int, int]:
    """Return the two frames of one row; entry t of the arguments is the step from frame t to frame t + 1."""
    num_steps = len(is_repeated)
    moving = np.flatnonzero(~is_repeated)
    first, last = int(moving[0]), int(moving[-1])
    stop = last + 1 if last < num_steps - 1 and is_change[last] else 0
    inner = first + np.flatnonzero(is_repeated[first:last])
    # A step next to the pause has to be a change above round-off.
    paused = [step for step in inner.tolist() if is_change[step - 1] or is_change[step + 1]]
    return stop, paused[0] + 1 if paused else 0


def results(subject: str, index: np.ndarray, row_pauses: np.ndarray, times: np.ndarray) -> list[CheckResult]:
    """Return the results of `truncated_times` and `repeated_frames`.

    Args:
        subject: the data set.
        index: the indices of the trajectories (N,).
        row_pauses: see `pauses`, (N, 2).
        times: the times of the frames (T,), s.
    """
    if len(times) < 3:
        reason = "a trajectory has fewer than three frames"
        return [
            CheckResult(check, subject, "not applicable", reason)
            for check in ("truncated_times", "repeated_frames")
        ]
    stops, repeats = row_pauses.T
    return [
        _result(
            "truncated_times",
            subject,
            index,
            stops,
            lambda frame: f"changes until {times[frame]:g} s and is equal in all later frames",
        ),
        _result(
            "repeated_frames",
            subject,
            index,
            repeats,
            lambda frame: (
                f"repeats its frame at {times[frame - 1]:g} s at {times[frame]:g} s, and changes "
                "before or after"
            ),
        ),
    ]


def _result(
    check: str, subject: str, index: np.ndarray, frames: np.ndarray, words: Callable[[int], str]
) -> CheckResult:
    """Return the result of one check; `words` describes the finding at a frame."""
    rows = np.flatnonzero(frames)
    numbers = {"trajectories": float(len(index)), "found": float(len(rows))}
    if not len(rows):
        return CheckResult(check, subject, "passed", numbers=numbers)
    row = int(rows[0])
    message = f"{name_of(index[row])} {words(int(frames[row]))} (trajectories: {len(rows)} of {len(index)})"
    if len(rows) > _COMMON_SHARE * len(index):
        return CheckResult(
            check, subject, "warning", f"{message}. Compare the times with the solver", numbers
        )
    return CheckResult(
        check,
        subject,
        "failed",
        f"{message}. A trajectory has all its frames. Write these trajectories again",
        numbers,
    )
