"""Which options of training suit a surrogate."""

from __future__ import annotations

from pipeline.config.settings import Training
from pipeline.training.optim import second_order
from simsurrogate.errors import UserError
from surrogates.contract import Surrogate


def check(surrogate: Surrogate, options: Training) -> None:
    """Raises UserError where `training` has options with which the surrogate cannot learn."""
    if options.noise and not surrogate.uses_initial_state:
        raise UserError(
            f"training.noise={options.noise:g} is put on the state that {type(surrogate).__name__} starts "
            "from and does not see: what it learns would be noise; set training.noise=0"
        )
    if options.precision == "bfloat16" and surrogate.physics_informed:
        raise UserError(
            f"training.precision=bfloat16 has 3 digits, too few for the equation's residual, which "
            f"{type(surrogate).__name__} minimises: set training.precision=float32 or float64"
        )
    if options.balance_every and len(surrogate.losses) < 2:
        raise UserError(
            f"training.balance_every={options.balance_every} weighs losses against each other, and "
            f"{type(surrogate).__name__} has {' and '.join(surrogate.losses)} alone here: set "
            "training.balance_every=0"
        )
    second_order.check(surrogate, options)
