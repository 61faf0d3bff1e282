"""What may follow the steps of AdamW: a second-order method."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.optim import levenberg_marquardt as least_squares
from pipeline.training.optim.lbfgs import lbfgs
from pipeline.training.optim.levenberg_marquardt import levenberg_marquardt
from pipeline.training.step import Model
from pipeline.training.train_state import State
from simsurrogate.errors import UserError
from surrogates.contract import Batch, Surrogate

Finish = Callable[[Model, Iterable[Batch], State, Training, Ranks], tuple[float, float]]

METHODS: dict[str, Finish] = {"lbfgs": lbfgs, "levenberg_marquardt": levenberg_marquardt}


def check(surrogate: Surrogate, options: Training) -> None:
    """Raises UserError where `training.finish` cannot work with the surrogate or the other options."""
    method = options.finish.method
    if method == "none":
        return
    if options.ema:
        raise UserError(
            f"training.ema={options.ema:g} averages away what training.finish.method={method} finds in a few "
            "steps: set training.ema=0"
        )
    if options.precision == "bfloat16":
        raise UserError(
            f"training.precision=bfloat16 is too coarse for the line searches of "
            f"training.finish.method={method}: set training.precision=float32 or float64"
        )
    if method == "levenberg_marquardt":
        least_squares.check(surrogate, options)
