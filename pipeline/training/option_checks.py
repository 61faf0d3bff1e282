"""Checks that the options of training suit a surrogate, before work starts."""

from __future__ import annotations

from pipeline.config.settings import Training
from pipeline.training import fine_tuning
from pipeline.training.batches.symmetries import chosen_symmetries
from pipeline.training.optim import second_order
from simsurrogate.errors import UserError
from surrogates.contract import Surrogate, surrogate_class, surrogate_names


def check(surrogate: Surrogate, options: Training) -> None:
    """Check that a surrogate can learn with the options of `training`.

    Raises:
        UserError: the symmetries, the length of the windows, the noise, the precision, the loss weights, the
            second-order method or the weights to keep are unsuitable.
    """
    chosen_symmetries(surrogate.problem.spec, options.symmetries, type(surrogate))
    name = type(surrogate).__name__
    if surrogate.window_steps not in (None, options.unroll):
        raise UserError(
            f"training.unroll={options.unroll} makes windows of {options.unroll} steps, and {name} with "
            f"these options predicts {surrogate.window_steps} steps at once. The two numbers must be equal. "
            f"Type training.unroll={surrogate.window_steps}"
        )
    if options.noise and not surrogate.uses_initial_state:
        raise UserError(
            f"training.noise={options.noise:g} perturbs the initial state of each window, and {name} does "
            "not use the initial state. The noise would only disturb the targets. Set training.noise=0"
        )
    if options.precision == "bfloat16" and surrogate.physics_informed:
        raise UserError(
            f"training.precision=bfloat16 has 3 digits, too few for the equation's residual, which {name} "
            "minimises. The precision may be float32 or float64. Set training.precision=float32"
        )
    if options.balance_every and len(surrogate.losses) < 2:
        raise UserError(
            f"training.balance_every={options.balance_every} balances several losses, and {name} has "
            f"{' and '.join(surrogate.losses)} alone here. One loss needs no balance. Set "
            "training.balance_every=0"
        )
    _check_other_grids(surrogate, options)
    second_order.check(surrogate, options)
    fine_tuning.check(surrogate, options)


def _check_other_grids(surrogate: Surrogate, options: Training) -> None:
    """Check that training on several grids suits the surrogate and the other options.

    Raises:
        UserError: the surrogate has its own grid alone, or an option works on one grid.
    """
    if not options.other_grids:
        return
    key = f"training.other_grids with {len(options.other_grids)} further data sets"
    if not surrogate.any_grid:
        names = [name for name in surrogate_names() if surrogate_class(name).any_grid]
        raise UserError(
            f"{key} needs weights that do not depend on the grid. Those of {type(surrogate).__name__} do. "
            f"Surrogates of any grid are {', '.join(names)}. Type surrogate={names[0]}"
        )
    for name, value, remedy in (
        ("compile", options.compile, "false"),
        ("balance_every", options.balance_every, "0"),
        ("finish.method", options.finish.method != "none" and options.finish.method, "none"),
    ):
        if value:
            raise UserError(
                f"training.{name}={value} works on one grid, and {key} has several. Only one of the two is "
                f"allowed. Type training.{name}={remedy}"
            )
