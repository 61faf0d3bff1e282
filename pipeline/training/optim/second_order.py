"""The second-order methods that may follow the steps of AdamW, selected by `training.finish.method`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.optim import levenberg_marquardt as least_squares
from pipeline.training.optim.lbfgs import lbfgs
from pipeline.training.optim.levenberg_marquardt import levenberg_marquardt
from pipeline.training.step import Model
from pipeline.training.train_state import TrainState
from simsurrogate.errors import UserError
from surrogates.contract import Batch, Surrogate

#: A step of a second-order method; it returns the loss before the step, and the gradient norm.
Method = Callable[[Model, Iterable[Batch], TrainState, Training, Ranks], tuple[float, float]]

METHODS: dict[str, Method] = {"lbfgs": lbfgs, "levenberg_marquardt": levenberg_marquardt}


def check(surrogate: Surrogate, options: Training) -> None:
    """Check that `training.finish` can work with the surrogate and the other options.

    Raises:
        UserError: `training.ema` or `training.precision` excludes the method, or the surrogate does.
    """
    method = options.finish.method
    if method == "none":
        return
    if options.ema:
        raise UserError(
            f"training.ema={options.ema:g} would average away the few steps of "
            f"training.finish.method={method}. Only one of the two may be used. Set training.ema=0"
        )
    if options.precision == "bfloat16":
        raise UserError(
            f"training.precision=bfloat16 is too coarse for the line searches of "
            f"training.finish.method={method}. The precision may be float32 or float64. Set "
            "training.precision=float32"
        )
    if method == "levenberg_marquardt":
        least_squares.check(surrogate, options)
