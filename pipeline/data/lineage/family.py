"""The ancestors of data and models, as a graph of data sets and models by their hashes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from pipeline.data.document import Document
from pipeline.data.origin import Origin
from simsurrogate.errors import UserError

Count = Annotated[int, Field(ge=0, lt=2**63)]


class Part(Document):
    """The trajectories of one origin in a data set: their number in each split."""

    origin: Origin
    trajectories: dict[str, Count]


def parts_of(shards: Iterable[tuple[Origin, str, int]]) -> tuple[Part, ...]:
    """Return the parts of a data set, from the origin, the split and the trajectories of each shard."""
    counts: dict[Origin, dict[str, int]] = {}
    for origin, split, count in shards:
        of_origin = counts.setdefault(origin, {})
        of_origin[split] = of_origin.get(split, 0) + count
    return tuple(Part(origin=origin, trajectories=of_origin) for origin, of_origin in counts.items())


class DataNode(Document):
    """A data set.

    Attributes:
        name: the name of its equation.
        parts: the origins of its trajectories.
        configuration: the configuration of the data that a solver or a surrogate computed; empty for adopted
            data. It holds all that builds the solver again.
    """

    name: str
    parts: tuple[Part, ...]
    configuration: dict[str, Any] = Field(default={})

    @property
    def generation(self) -> int:
        """The highest generation of the trajectories."""
        return max((part.origin.generation for part in self.parts), default=0)

    def count(self, *splits: str, kinds: tuple[str, ...] = ()) -> int:
        """Return the number of trajectories of some splits whose origin is of some kinds; by default all."""
        return sum(
            part.trajectories.get(split, 0)
            for part in self.parts
            if not kinds or part.origin.kind in kinds
            for split in splits
        )

    @property
    def model_share(self) -> float:
        """The share of the trajectories of the training split that a surrogate computed."""
        return self.count("train", kinds=("surrogate",)) / max(self.count("train"), 1)


class ModelNode(Document):
    """A trained model.

    Attributes:
        name: the name of its surrogate.
        generation: one more than the highest generation of its data, see `Origin.generation`.
        data: the identities of its data sets.
        start_from: the model from whose weights the training started, or nothing.
        accepted: the keys of the command line without which the training would have been refused.
    """

    name: str
    generation: Annotated[int, Field(ge=1)]
    data: tuple[str, ...]
    start_from: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()

    @property
    def parents(self) -> tuple[str, ...]:
        """The hashes of its data sets and of the model that it started from."""
        return (*self.data, *self.start_from)


class Family(Document):
    """Data sets and models with all their ancestors, by the hash of each.

    The hash of a data set is its identity. The hash of a model is the digest in its `model.json`.
    """

    data: dict[str, DataNode] = Field(default={})
    models: dict[str, ModelNode] = Field(default={})

    def __bool__(self) -> bool:
        return bool(self.data or self.models)

    def __or__(self, other: Family) -> Family:
        """Return both families in one."""
        return Family(data=self.data | other.data, models=self.models | other.models)

    def node(self, key: str) -> DataNode | ModelNode:
        """Return the data set or the model with a hash."""
        return self.data[key] if key in self.data else self.models[key]

    def parents(self, key: str) -> tuple[str, ...]:
        """Return the hashes of the models that wrote a data set, or of the ancestors of a model."""
        if key in self.models:
            return self.models[key].parents
        models = [part.origin.model for part in self.data[key].parts if part.origin.model]
        return tuple(dict.fromkeys(models))

    @property
    def roots(self) -> list[str]:
        """The hashes of the models and data sets that no other one descends from."""
        used = {parent for key in (*self.models, *self.data) for parent in self.parents(key)}
        return [key for key in (*self.models, *self.data) if key not in used]

    @property
    def newest_model(self) -> str:
        """The hash of the model that no other model or data set descends from."""
        return next(key for key in self.roots if key in self.models)

    def check(self, source: str) -> None:
        """Check that every ancestor is there and that nothing descends from itself.

        `source` says in messages where the family is recorded.

        Raises:
            UserError: an ancestor is missing, the lineage has a cycle, or a generation is too low.
        """
        known = self.data.keys() | self.models.keys()
        for key in (*self.models, *self.data):
            for parent in self.parents(key):
                if parent not in known:
                    raise UserError(
                        f"{source}: the lineage of {self.label(key)} names the ancestor {parent[:12]}, which "
                        "is missing. A lineage holds every ancestor down to solvers, measurements and data "
                        "of unknown origin. Train the model or generate the data again with overwrite=true"
                    )
        self._refuse_cycles(source)
        for key, model in self.models.items():
            if model.generation < (least := self._least_generation(model)):
                raise UserError(
                    f"{source}: {self.label(key)} has the generation {model.generation}, and its ancestors "
                    f"require {least}. A model has one more than the highest generation of its data. Train "
                    "the model again with overwrite=true"
                )

    def label(self, key: str) -> str:
        """Return a model or a data set in words, with the start of its hash."""
        kind = "model" if key in self.models else "data set"
        return f"the {kind} {self.node(key).name} {key[:12]}"

    def _least_generation(self, model: ModelNode) -> int:
        own = [self.data[key].generation + 1 for key in model.data]
        return max([1, *own, *(self.models[key].generation for key in model.start_from)])

    def _refuse_cycles(self, source: str) -> None:
        """Refuse a lineage in which something descends from itself; the message names the cycle."""
        remaining = {key: set(self.parents(key)) for key in (*self.models, *self.data)}
        done: set[str] = set()
        while len(done) < len(remaining):
            ready = [key for key, parents in remaining.items() if key not in done and parents <= done]
            if not ready:
                key = next(key for key in remaining if key not in done)
                path: list[str] = []
                while key not in path:
                    path.append(key)
                    key = next(parent for parent in self.parents(key) if parent not in done)
                cycle = " <- ".join(self.label(item) for item in [*path[path.index(key) :], key])
                raise UserError(
                    f"{source}: the lineage has a cycle: {cycle}. Nothing descends from itself. Train the "
                    "model or generate the data again with overwrite=true"
                )
            done.update(ready)


def origin_texts(family: Family, identity: str) -> list[str]:
    """Return the origins of the trajectories of a data set in words, with their numbers."""
    node = family.data.get(identity)
    if node is None:
        return ["unknown"]
    return [
        f"{part.origin.text} ({', '.join(f'{count} {split}' for split, count in part.trajectories.items())})"
        for part in node.parts
    ]
