"""The bound of the number of steps of a declared length."""

from __future__ import annotations

from simsurrogate.errors import UserError

#: The largest number of steps of a trajectory. A step on a small grid takes about 20 us, so 1e9 steps take
#: hours.
MAX_STEPS = 1e9


def check_steps(option: str, step: float | None, duration: float) -> None:
    """Check that a trajectory of `duration` (s) does not take too many steps of a declared length (s).

    Args:
        option: the name of the option that declares the step, for the message.
        step: the step, s; None for steps that an error control chooses.
        duration: the duration of a trajectory, s.

    Raises:
        UserError: the trajectory takes more than `MAX_STEPS` steps.
    """
    if step is not None and step < duration / MAX_STEPS:
        raise UserError(
            f"{option}={step:g} s divides output.duration={duration:g} s into {duration / step:.3g} steps. "
            f"At most {MAX_STEPS:g} steps are allowed. Type {option}={duration / MAX_STEPS:.2g} or more"
        )
