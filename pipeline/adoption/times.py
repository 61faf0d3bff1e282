"""The times of the frames: their unit, their even steps, and their interpolation on request."""

from __future__ import annotations

import numpy as np

from pipeline.adoption.contents import Contents
from pipeline.adoption.description import Description
from pipeline.adoption.mistakes import Mistakes
from pipeline.data import units
from simsurrogate.errors import UserError

#: The largest deviation of a coordinate or a time from even spacing, in steps: float32 has round-off.
_UNEVENNESS = 1e-2


def time_factor(contents: Contents, description: Description, mistakes: Mistakes) -> float:
    """Return the seconds of the unit of time."""
    unit = description.times.unit or contents.time_unit
    if contents.times is None and description.times.step is None:
        mistakes.missing.append("times.step: TIME   # between two frames, in the unit of time")
    if unit is None:
        mistakes.missing.append("times.unit: UNIT   # such as s; 1 for no unit")
        return 1.0
    factor = units.seconds(unit)
    if factor is None:
        mistakes.wrong.append(
            f"times.unit={unit!r} is no unit of time that pint knows. Units such as s, ms, day and 1 are "
            "allowed. Correct times.unit in the description"
        )
    return factor or 1.0


def even_times(
    contents: Contents, description: Description, factor: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the times in the files and the even times of the frames, both in seconds, with notes."""
    num_frames, step = contents.num_frames, description.times.step
    if num_frames < 2:
        raise UserError(
            f"the files have {num_frames} frame in each trajectory. A data set of trajectories needs at "
            "least 2 frames. Use files with more times"
        )
    source = np.arange(num_frames) * step if step is not None else np.array(contents.times)
    source = source * factor
    notes = []
    steps = np.diff(source)
    if not (steps > 0).all():
        raise UserError(
            f"the times in the files do not increase: {source[0]:g} to {source[-1]:g} s, with a step of "
            f"{steps.min():g} s. Times have to increase. Correct the files, or type times: {{step: TIME}}"
        )
    if source[0] != 0:
        notes.append(f"The times in the files start at {source[0]:g} s, and those of the data set at 0 s.")
    if not is_even(source):
        if not description.times.resample:
            raise UserError(
                f"the times in the files are not even: their steps are {steps.min():g} to {steps.max():g} s. "
                "A data set has equal steps. Add times: {resample: true} to the description to interpolate "
                "the frames linearly at even times"
            )
        notes.append(f"The frames are interpolated linearly at {num_frames} even times.")
    duration = source[-1] - source[0]
    return source, duration * np.arange(num_frames) / (num_frames - 1), notes


def is_even(points: np.ndarray) -> bool:
    """Return whether points have equal steps, apart from the round-off of float32."""
    if len(points) < 2:
        return True
    even = np.linspace(points[0], points[-1], len(points))
    step = (points[-1] - points[0]) / (len(points) - 1)
    return bool(step > 0 and np.abs(points - even).max() <= _UNEVENNESS * step)
