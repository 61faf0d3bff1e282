"""Surrogates on other grids than that of their training data."""

from __future__ import annotations

import dataclasses

from simsurrogate.errors import UserError
from simsurrogate.spec import Grid
from surrogates.contract import Problem, Surrogate, surrogate_class, surrogate_names


def on_grid(problem: Problem, shape: tuple[int, ...], constructor: type[Surrogate]) -> Problem:
    """Return the problem on a grid of the same box with another number of cells along each axis.

    The statistics stay. The result has no symmetries, whose shifts are numbers of cells.

    Args:
        problem: the problem of the training data.
        shape: the number of cells along each axis.
        constructor: the class of the surrogate.

    Raises:
        UserError: the weights of the surrogate depend on the grid, or the grid has another number of axes.
    """
    spec = problem.spec
    if shape == spec.shape:
        return problem
    old_text, new_text = ("x".join(map(str, cells)) for cells in (spec.shape, shape))
    if not constructor.any_grid or not isinstance(spec.sites, Grid):
        raise UserError(
            f"The model {constructor.__name__} was trained on {old_text} sites, and {new_text} are asked "
            f"for. It predicts on its own sites alone. Leave out shape, or train one of "
            f"{', '.join(any_grid_names())}."
        )
    if len(shape) != len(spec.shape) or min(shape) < 1:
        raise UserError(
            f"shape={shape} is no grid of the axes {', '.join(spec.axis_names)}. One number of cells above 0 "
            f"for each axis is allowed. Pass shape={spec.shape}, for example."
        )
    axes = tuple(dataclasses.replace(axis, size=size) for axis, size in zip(spec.axes, shape, strict=True))
    return dataclasses.replace(problem, spec=dataclasses.replace(spec, sites=Grid(axes), symmetries=()))


def any_grid_names() -> list[str]:
    """Return the names of the surrogates that predict on other grids than that of their training data."""
    return [name for name in surrogate_names() if surrogate_class(name).any_grid]


def share_weights(surrogate: Surrogate, other: Surrogate) -> None:
    """Give `surrogate` the weights of `other`, a surrogate of the same class and options on another grid.

    Both then have the same arrays: training one trains the other.
    """
    modules = zip(surrogate.modules(), other.modules(), strict=True)
    for module, other_module in modules:
        for name, weight in other_module.named_parameters(recurse=False):
            setattr(module, name, weight)
