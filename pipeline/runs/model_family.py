"""The lineage of a model: of a new one after the guard, and of a trained one from its `model.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from pipeline.data.dataset import Dataset
from pipeline.data.document import Document
from pipeline.data.lineage import guard
from pipeline.data.lineage.family import Family, ModelNode
from pipeline.data.lineage.limits import Limits
from pipeline.data.manifest import read_complete_manifest
from simsurrogate.documents import parse_json
from simsurrogate.errors import UserError
from surrogates import store

_REMEDY = "Train the model again with overwrite=true"


class _Lineage(Document):
    """The key `lineage` of `model.json`: the model, and all its ancestors."""

    model: ModelNode
    ancestors: Family


def checked_lineage(
    name: str,
    datasets: Sequence[Dataset],
    limits: Limits,
    start_from: Path | None,
    shares: Sequence[Sequence[float]] = (),
) -> dict[str, Any]:
    """Return the key `lineage` of `model.json` for a training that the guard accepts.

    Args:
        name: the name of the surrogate.
        datasets: all data sets of the training.
        limits: what the user accepts.
        start_from: the folder of the model from whose weights the training starts.
        shares: see `guard.refuse`.

    Raises:
        UserError: see `guard.refuse`; or the lineage of a data set or of the start model is damaged.
    """
    start = family_of_model(start_from) if start_from else Family()
    accepted = guard.refuse(datasets, limits, shares=shares, start_from=start)
    ancestors = reduce(or_, (dataset.family for dataset in datasets), start)
    start_keys = (start.newest_model,) if start else ()
    node = ModelNode(
        name=name,
        generation=max(
            *(ancestors.data[dataset.identity].generation + 1 for dataset in datasets),
            *(ancestors.models[key].generation for key in start_keys),
            1,
        ),
        data=tuple(dict.fromkeys(dataset.identity for dataset in datasets)),
        start_from=start_keys,
        accepted=accepted,
    )
    return _Lineage(model=node, ancestors=ancestors).model_dump(mode="json", exclude_defaults=True)


def family_of_model(folder: Path) -> Family:
    """Return a trained model under the digest of its `model.json`, with all its ancestors.

    The data of a model of an earlier release are those of its run folder, RUN/dataset, if they have the
    recorded identity. Otherwise the identity of the data is known, and not their origin.

    Raises:
        UserError: there is no trained model, or an ancestor is missing, or the lineage has a cycle.
    """
    content = store.description(folder)
    key, name = str(content["sha256"]), str(folder / store.DESCRIPTION)
    recorded = content.get("lineage")
    if recorded is None:
        return _family_of_earlier_release(folder, content, key)
    lineage = parse_json(json.dumps(recorded), _Lineage, name, _REMEDY)
    family = Family(models={key: lineage.model}) | lineage.ancestors
    family.check(name)
    return family


def _family_of_earlier_release(folder: Path, content: Mapping[str, Any], key: str) -> Family:
    """Return the family of a model whose `model.json` has no lineage."""
    identity = str(content.get("configuration", {}).get("dataset", ""))
    with suppress(UserError):
        manifest = read_complete_manifest(folder.parent.parent / "dataset")
        if manifest.identity == identity:
            generation = manifest.family.data[identity].generation + 1
            node = ModelNode(name=str(content["surrogate"]), generation=generation, data=(identity,))
            return Family(models={key: node}) | manifest.family
    return Family(models={key: ModelNode(name=str(content["surrogate"]), generation=1, data=(identity,))})
