"""Fine-tuning: some weights of a trained model keep their values, or all but low-rank adapters do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import parametrize

from pipeline.config.settings import Training
from simsurrogate.errors import UserError
from surrogates.contract import Surrogate

#: The largest number of names that a message lists.
_MAX_NAMES = 40


class LowRankAdapter(nn.Module):
    """The weight W + B A, with the first axis of W as its rows and all other axes as its columns.

    W keeps its value. The factor A (r, columns) is random with the variance 1 / columns, and B (rows, r)
    starts at 0, so training starts from W. r is the rank of the change.

    Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685), without
    its constant factor on B A.
    """

    def __init__(self, weight: torch.Tensor, rank: int):
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        factor = torch.randn(rank, columns, dtype=torch.float64) / math.sqrt(columns)
        self.right = nn.Parameter(factor.to(weight))
        self.left = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the adapted weight, with the shape of `weight`."""
        return weight + (self.left @ self.right).view(weight.shape)


def check(surrogate: Surrogate, options: Training) -> None:
    """Check that `training.freeze` and `training.adapter_rank` suit a surrogate and the other options.

    Raises:
        UserError: there is no trained model to start from, a name is unknown, no weight is left to train, or
            a second-order method follows.
    """
    if not options.freeze and not options.adapter_rank:
        return
    key = f"training.freeze={options.freeze}" if options.freeze else f"training.{_rank_text(options)}"
    if options.start_from is None:
        raise UserError(
            f"{key} keeps the weights of a trained model, and this training starts from random weights. It "
            "needs a trained model. Add training.start_from=RUN/models/MODEL"
        )
    if options.finish.method != "none":
        raise UserError(
            f"{key} keeps weights, and training.finish.method={options.finish.method} changes all weights. "
            "Only AdamW is allowed here. Type training.finish.method=none"
        )
    weights = {_plain_name(name): weight for name, weight in surrogate.named_parameters()}
    for name in options.freeze:
        if not any(_is_inside(weight_name, name) for weight_name in weights):
            layers = _layer_names(list(weights))
            raise UserError(
                f"training.freeze: {name} is no layer and no weight of {type(surrogate).__name__}. Layers "
                f"are {', '.join(layers)}. Type training.freeze=[{layers[0]}]"
            )
    free_weights = {name: weight for name, weight in weights.items() if not _is_frozen(name, options)}
    if not free_weights:
        raise UserError(
            f"training.freeze={options.freeze} leaves no weight to train. At least one weight has to be "
            "free. Remove a name from the list"
        )
    rank = options.adapter_rank
    if rank and not any(_is_adaptable(weight, rank) for weight in free_weights.values()):
        raise UserError(
            f"training.{_rank_text(options)} is too large: no adapter would have fewer values than its "
            "weight. Ranks of 2 to 16 are usual. Type training.adapter_rank=2, or 0 to train all weights"
        )


def keep_weights(surrogate: Surrogate, options: Training) -> None:
    """Exclude the weights of `training.freeze` from training; with `training.adapter_rank`, add adapters.

    Each weight that is not frozen, and for which an adapter has fewer values, gets an adapter. All weights
    then keep their values, and the adapters are trained.

    Raises:
        UserError: see `check`.
    """
    check(surrogate, options)
    for name, weight in surrogate.named_parameters():
        weight.requires_grad_(not options.adapter_rank and not _is_frozen(name, options))
    if not options.adapter_rank:
        return
    places = [
        (module, name, weight)
        for module_name, module in surrogate.named_modules()
        for name, weight in module.named_parameters(recurse=False)
        if not _is_frozen(f"{module_name}.{name}".lstrip("."), options)
        and _is_adaptable(weight, options.adapter_rank)
    ]
    for module, name, weight in places:
        adapter = LowRankAdapter(weight.detach(), options.adapter_rank)
        parametrize.register_parametrization(module, name, adapter, unsafe=True)


def merge_adapters(surrogate: Surrogate) -> None:
    """Replace each weight with an adapter by the adapted weight, as a plain weight."""
    for module in list(surrogate.modules()):
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name)


def _is_adaptable(weight: torch.Tensor, rank: int) -> bool:
    """Return whether an adapter of this rank has fewer values than the weight."""
    return weight.ndim > 1 and rank * (len(weight) + weight[0].numel()) < weight.numel()


def _is_frozen(name: str, options: Training) -> bool:
    return any(_is_inside(_plain_name(name), frozen_name) for frozen_name in options.freeze)


def _is_inside(name: str, layer: str) -> bool:
    """Return whether a dotted name is the layer, or lies inside it."""
    return f"{name}.".startswith(f"{layer}.")


def _plain_name(name: str) -> str:
    """Return the name of a weight without the parts that an adapter adds."""
    return re.sub(r"parametrizations\.(\w+)\.original$", r"\1", name)


def _layer_names(names: list[str]) -> list[str]:
    """Return the names of the layers that hold weights, without the innermost ones if there are many."""

    def prefixes(depth: int) -> Iterator[str]:
        for name in names:
            yield ".".join(name.split(".")[:depth])

    layers = list(dict.fromkeys(prefixes(1)))
    depth = 2
    while len(inner := list(dict.fromkeys(prefixes(depth)))) <= _MAX_NAMES and inner != layers:
        layers, depth = inner, depth + 1
    return layers[:_MAX_NAMES]


def _rank_text(options: Training) -> str:
    return f"adapter_rank={options.adapter_rank}"
