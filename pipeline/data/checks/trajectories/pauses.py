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
#: The values of two frames that are compared at once.
_AT_ONCE = 2**18
#: Above this share of all trajectories, equal frames may be a property of the solution.
_COMMON_SHARE = 0.5


def pauses(
    samples: Sequence[np.ndarray], fields: Sequence[np.ndarray], sizes: Sequence[np.ndarray], precision: float
) -> np.ndarray:
    """Return two frames of each row, (N, 2), 0 where there is none.

    The first is the frame after which a changing solution repeats one frame up to its end. The second is the
    first frame that repeats the frame before it while the solution changes later; frames at the start that
    repeat the initial state do not count.

    The sampled values find the rows. In these rows, whole frames are compared where the sampled ones are
    equal.

    Args:
        samples: the sampled values of each field, (N, T, n).
        fields: all values of each field, (N, T, ...).
        sizes: the largest absolute value of each field (N,).
        precision: the rounding error of the stored values, relative to a value.
    """
    num_rows, num_frames = samples[0].shape[:2]
    result = np.zeros((num_rows, 2), np.int64)
    if num_frames < 3:
        return result
    change = np.zeros((num_rows, num_frames - 1))
    for values, size in zip(samples, sizes, strict=True):
        step = np.abs(np.diff(values, axis=1)).max(axis=2)
        change = np.maximum(change, step / np.where(size > 0, size, 1.0)[:, None])
    least = _ROUND_OFF * precision
    for row in np.flatnonzero((change == 0).any(axis=1) & (change > least).any(axis=1)):
        if not any(_row_pauses(change[row] == 0, change[row] > least)):
            continue
        for frame in np.flatnonzero(change[row] == 0).tolist():
            change[row, frame] = max(
                _largest_change(values[row], frame) / (size[row] or 1.0)
                for values, size in zip(fields, sizes, strict=True)
            )
        result[row] = _row_pauses(change[row] == 0, change[row] > least)
    return result


def _largest_change(values: np.ndarray, frame: int) -> float:
    """Return the largest change of a field (T, ...) from a frame to the next one, in pieces."""
    first, second = values[frame].reshape(-1), values[frame + 1].reshape(-1)
    changes = [
        np.abs(np.subtract(second[start:][:_AT_ONCE], first[start:][:_AT_ONCE], dtype=np.float64)).max()
        for start in range(0, len(first), _AT_ONCE)
    ]
    return float(max(changes))


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
