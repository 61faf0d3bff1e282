"""The symmetries of the data, applied to the windows of a batch, see `simsurrogate.symmetries`.

Shape letters: B windows, T frames, C channels, R random numbers of a window, d directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import accumulate
from typing import Literal

import numpy as np
import torch

from pipeline.training.batches.composition import AnySymmetry, Composition, compose, num_draws
from simsurrogate.errors import UserError
from simsurrogate.spec import Field, Spec, diagonal_names
from simsurrogate.symmetries import keeps_distribution
from surrogates.contract import Batch, Problem, Surrogate

#: The number that separates the draws of symmetries from other numbers of a seed, step and position.
_STREAM = 0x73796D


def chosen_symmetries(
    spec: Spec, option: Literal["all", "none"] | Sequence[str], surrogate: type[Surrogate]
) -> tuple[AnySymmetry, ...]:
    """Return the symmetries of a spec that `training.symmetries` chooses for a surrogate.

    `all` chooses every symmetry of the drawn distribution, and none for a surrogate that encodes states.

    Raises:
        UserError: the data have no symmetry of a given name, or the surrogate learns from codes.
    """
    if surrogate.encode is not Surrogate.encode:
        if option not in ("all", "none", []):
            raise UserError(
                f"training.symmetries=[{','.join(option)}] needs states, and {surrogate.__name__} learns "
                "from codes that it computes of the frames once, before training. Allowed are all and none, "
                "which are the same here. Type training.symmetries=all"
            )
        return ()
    if option == "all":
        return tuple(symmetry for symmetry in spec.symmetries if keeps_distribution(symmetry))
    names = [] if option == "none" else option
    allowed_names = [symmetry.name for symmetry in spec.symmetries]
    if unknown_names := [name for name in names if name not in allowed_names]:
        raise UserError(
            f"training.symmetries=[{','.join(names)}]: the {spec.name} data do not have the symmetry "
            f"{' and '.join(unknown_names)}. "
            + (
                f"Allowed are {', '.join(allowed_names)}. Type training.symmetries=all, none or a list of "
                "these names"
                if allowed_names
                else "These data have no symmetries. Type training.symmetries=none"
            )
        )
    return tuple(symmetry for symmetry in spec.symmetries if symmetry.name in names)


def with_symmetries(
    batch: Batch,
    problem: Problem,
    symmetries: Sequence[AnySymmetry],
    *,
    seed: int,
    step: int,
    positions: np.ndarray,
) -> Batch:
    """Return the batch with one random composition of the symmetries applied to each window.

    `positions` (B,) are the windows' positions in the global batch.
    """
    if not symmetries:
        return batch
    counts = [num_draws(symmetry, problem.spec) for symmetry in symmetries]
    # One generator for all windows of a step takes a tenth of the time of a generator for each window.
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step, _STREAM])))
    draws_BR = rng.random((int(positions.max()) + 1, sum(counts)))[positions]
    draws = np.split(draws_BR, np.cumsum(counts)[:-1], axis=1)
    return transformed(batch, problem, dict(zip(symmetries, draws, strict=True)))


def transformed(batch: Batch, problem: Problem, draws: Mapping[AnySymmetry, np.ndarray]) -> Batch:
    """Return the batch after the operations that numbers (B, R) in [0, 1) determine for each symmetry.

    States and coefficient fields are transformed in physical units. Parameters and times keep their values.
    """
    spec = problem.spec
    composition = compose(draws, spec)
    state = _moved(batch["state"], spec, spec.fields, composition)
    coefficients = batch["coefficient_fields"]
    if spec.coefficient_fields:
        coefficients = _moved(coefficients[:, None], spec, spec.coefficient_fields, composition)[:, 0]
    if composition.boost is not None:
        state = _boosted(state, batch["time"], problem, composition.boost)
    return {**batch, "state": state, "coefficient_fields": coefficients}


def _moved(
    values_BTCX: torch.Tensor, spec: Spec, fields: Sequence[Field], composition: Composition
) -> torch.Tensor:
    """Return values (B, T, C, *sites) with moved sites, turned vectors and changed signs."""
    if composition.source:
        index = _index(composition.source, values_BTCX.device)
        flat_values = values_BTCX.flatten(3)
        values_BTCX = flat_values.gather(3, index.expand_as(flat_values)).view_as(values_BTCX)
    turns = any(field.tensor_order or field.direction for field in fields)
    turn = composition.turn if turns else None
    if turn is None and not any(field.name in composition.signs for field in fields):
        return values_BTCX

    def factor(numbers_B: np.ndarray) -> torch.Tensor:
        """Return a number for each window, in a shape that broadcasts over a channel."""
        return torch.from_numpy(numbers_B).to(values_BTCX).view(-1, *[1] * (values_BTCX.ndim - 2))

    channels = values_BTCX.unbind(2)
    num_components = [len(spec.components(field)) for field in fields]
    first_channel = dict(
        zip((field.name for field in fields), accumulate(num_components, initial=0), strict=False)
    )
    result: list[torch.Tensor] = []
    for field in fields:
        components = list(channels[len(result) : len(result) + len(spec.components(field))])
        if field.tensor_order and turn is not None:
            components = [
                reduce(torch.add, map(torch.mul, map(factor, row_Bd.T), components))
                for row_Bd in np.moveaxis(turn, 1, 0)
            ]
        elif field.direction and turn is not None:
            diagonal = [
                channels[first_channel[name]] for name in diagonal_names(field, spec.sites.directions)
            ]
            row_Bd = np.abs(turn[:, spec.sites.directions.index(field.direction)])
            components = [reduce(torch.add, map(torch.mul, map(factor, row_Bd.T), diagonal))]
        if field.name in composition.signs:
            sign = factor(composition.signs[field.name])
            components = [sign * values for values in components]
        result += components
    return torch.stack(result, 2)


def _index(source: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Return the flat index of the site whose values each site receives, (B, 1, 1, sites)."""
    num_axes = len(source)
    index: torch.Tensor | int = 0
    for axis, line_BN in enumerate(source):
        shape = (len(line_BN), *(-1 if other_axis == axis else 1 for other_axis in range(num_axes)))
        index = index + torch.from_numpy(line_BN).to(device).view(shape)
    assert isinstance(index, torch.Tensor)
    return index.flatten(1)[:, None, None]


def _boosted(
    state: torch.Tensor, time_BT: torch.Tensor, problem: Problem, boost_Bd: np.ndarray
) -> torch.Tensor:
    """Return particles with an additional velocity since the first frame of each window."""
    spec, std = problem.spec, problem.statistics.std
    channel = {name: index for index, name in enumerate(spec.channels)}
    elapsed_BT = time_BT - time_BT[:, :1]
    offsets_BTC = torch.zeros_like(state[..., 0])
    for number_B, direction in zip(boost_Bd.T, spec.sites.directions, strict=True):
        velocity = channel[f"velocity_{direction}"]
        velocity_B1 = std[velocity] * torch.from_numpy(number_B).to(state)[:, None]
        offsets_BTC[:, :, velocity] = velocity_B1
        offsets_BTC[:, :, channel[f"position_{direction}"]] = velocity_B1 * elapsed_BT
    return state + offsets_BTC[..., None]
