"""The guard of training and evaluation: no output of models and no unknown data unless the user types it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.data.lineage.family import DataNode, Family, ModelNode
from pipeline.data.lineage.limits import Limits
from simsurrogate.errors import UserError

#: The splits that measure or calibrate a model.
HELD_OUT_SPLITS = ("test", "test_extrapolation", "calibration")
_ROUND_OFF = 1e-9


class DataOfFamily(Protocol):
    """The part of a data set, see `pipeline.data.dataset.Dataset`, that the guard reads."""

    folder: Path
    identity: str
    family: Family


@dataclass(frozen=True)
class _Finding:
    """Something that needs a typed key: what was found, what is allowed, and the key with a value."""

    message: str
    key: str
    is_allowed: bool


def refuse(
    datasets: Sequence[DataOfFamily],
    limits: Limits,
    *,
    shares: Sequence[Sequence[float]] = (),
    start_from: Family | None = None,
) -> tuple[str, ...]:
    """Refuse data of a training that hold output of models or are of unknown origin, beyond the limits.

    Args:
        datasets: all data sets of the training.
        limits: what the user accepts.
        shares: the shares of the data sets in the batches, at the start and at the end of the training; by
            default those of their training trajectories.
        start_from: the model from whose weights the training starts, with its ancestors.

    Returns:
        The keys of the command line without which the training would have been refused.

    Raises:
        UserError: each finding beyond the limits, one per line.
    """
    nodes = {str(dataset.folder): dataset.family.data[dataset.identity] for dataset in datasets}
    earlier = _data_of_start(start_from) if start_from else {}
    findings = [
        *_unknown({**nodes, **earlier}, limits),
        *_shares(list(nodes.values()), shares, earlier, limits),
        *_generations({**nodes, **earlier}, limits),
        *_held_out(nodes, limits),
    ]
    return _accepted(findings)


def refuse_model_tests(datasets: Sequence[DataOfFamily], limits: Limits) -> tuple[str, ...]:
    """Refuse an evaluation on the output of models, see `refuse`."""
    nodes = {str(dataset.folder): dataset.family.data[dataset.identity] for dataset in datasets}
    return _accepted(list(_held_out(nodes, limits)))


def sentence(node: ModelNode) -> str:
    """Return what a reader of a model must know about its lineage, in words; empty for a usual one."""
    if not node.accepted:
        return ""
    texts = {
        "trained on output of models": ("lineage.max_model_share", "lineage.max_generation"),
        "trained on data of unknown origin": ("lineage.allow_unknown",),
        "tested or calibrated by output of models": ("lineage.allow_model_tests",),
    }
    found = [text for text, keys in texts.items() if any(key.startswith(keys) for key in node.accepted)]
    return (
        f"This model was {' and '.join(found)} (generation {node.generation}), which a user accepted by "
        f"{' '.join(node.accepted)}."
    )


def _accepted(findings: list[_Finding]) -> tuple[str, ...]:
    """Return the typed keys that the findings need; refuse the findings that none allows."""
    refused = [finding for finding in findings if not finding.is_allowed]
    if refused:
        keys = " ".join(dict.fromkeys(finding.key for finding in refused))
        raise UserError(
            "\n".join(dict.fromkeys(finding.message for finding in refused))
            + "\nThe guard accepts solvers and measurements only. Leave these data out, or accept them with "
            f"{keys}: the model card then says so in its first line"
        )
    return tuple(dict.fromkeys(finding.key for finding in findings))


def _unknown(nodes: dict[str, DataNode | None], limits: Limits) -> Iterator[_Finding]:
    """Yield a finding for each data set with trajectories of unknown origin."""
    for name, node in nodes.items():
        if node is None or any(part.origin.kind == "unknown" for part in node.parts):
            yield _Finding(
                f"{name}: the origin of the data is unknown. Adopt the same files again with "
                "origin.kind=measurement origin.source=NAME, or origin.kind=solver origin.name=NAME, to "
                "declare it.",
                "lineage.allow_unknown=true",
                limits.allow_unknown,
            )


def _shares(
    nodes: Sequence[DataNode],
    shares: Sequence[Sequence[float]],
    earlier: dict[str, DataNode | None],
    limits: Limits,
) -> Iterator[_Finding]:
    """Yield the share of model output in the training, and in that of the model that it starts from."""
    shares = shares or [[float(node.count("train")) for node in nodes]]
    own = max(
        sum(weight * node.model_share for weight, node in zip(weights, nodes, strict=True))
        / max(sum(weights), _ROUND_OFF)
        for weights in shares
    )
    known = [node for node in earlier.values() if node is not None]
    total = sum(node.count("train") for node in known)
    before = sum(node.count("train") * node.model_share for node in known) / max(total, 1)
    for owner, share in (("the training data", own), ("the data of training.start_from", before)):
        if share > 0:
            is_allowed = share <= limits.max_model_share + _ROUND_OFF
            yield _Finding(
                f"{owner}: {100 * share:.3g} % of the trajectories are output of models, and "
                f"lineage.max_model_share={limits.max_model_share:g} allows "
                f"{100 * limits.max_model_share:.3g} %.",
                f"lineage.max_model_share={limits.max_model_share if is_allowed else _rounded_up(share):g}",
                is_allowed,
            )


def _rounded_up(share: float) -> float:
    return min(math.ceil(1e4 * share) / 1e4, 1.0)


def _generations(nodes: dict[str, DataNode | None], limits: Limits) -> Iterator[_Finding]:
    """Yield the highest generation of the data, if models computed any of them."""
    name, node = max(nodes.items(), key=lambda pair: pair[1].generation if pair[1] else 0)
    if node is not None and node.generation > 0:
        yield _Finding(
            f"{name}: the data have the generation {node.generation}, and "
            f"lineage.max_generation={limits.max_generation} is allowed. Data of solvers and measurements "
            "have the generation 0.",
            f"lineage.max_generation={max(node.generation, limits.max_generation)}",
            node.generation <= limits.max_generation,
        )


def _held_out(nodes: dict[str, DataNode], limits: Limits) -> Iterator[_Finding]:
    """Yield a finding for each data set whose test or calibration splits hold output of models."""
    for name, node in nodes.items():
        splits = [split for split in HELD_OUT_SPLITS if node.count(split, kinds=("surrogate",))]
        if splits:
            yield _Finding(
                f"{name}: the splits {', '.join(splits)} hold output of models, and an error against them is "
                "not the error against the truth.",
                "lineage.allow_model_tests=true",
                limits.allow_model_tests,
            )


def _data_of_start(family: Family) -> dict[str, DataNode | None]:
    """Return the data sets of a model and of the models that it started from, by their names in messages."""
    nodes: dict[str, DataNode | None] = {}
    pending = [family.newest_model]
    while pending:
        model = family.models[pending.pop()]
        pending += model.start_from
        for key in model.data:
            node = family.data.get(key)
            name = f"{node.name} {key[:12]}" if node else key[:12]
            nodes[f"the data set {name} of training.start_from"] = node
    return nodes
