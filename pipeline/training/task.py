"""The description of one training: surrogate, options, data and seed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pipeline.config import sizes
from pipeline.config.build import (
    refuse_unused_surrogate_options,
    surrogate_arguments,
    surrogate_type,
    user_file,
)
from pipeline.config.settings import Settings, Training
from pipeline.config.unused_options import Options
from pipeline.data.dataset import Dataset
from pipeline.data.mixture import Mixture, mixture_of
from pipeline.data.quantity_data import QuantityDataset
from pipeline.problem import problem_for, problem_of
from pipeline.runs.model_family import checked_lineage
from pipeline.training import start_weights
from pipeline.training.batches.other_grids import with_shared_weights
from pipeline.training.batches.sources import GridData
from pipeline.training.batches.symmetries import chosen_symmetries
from pipeline.training.device import precision
from pipeline.training.fine_tuning import keep_weights
from simsurrogate.errors import UserError
from simsurrogate.sources import source_hash
from surrogates import store
from surrogates.contract import Problem, Surrogate, surrogate_class
from surrogates.weights import construct_without_memory

#: Options of `training` that do not change the trained weights. The identity has the seed as its own key.
_OPTIONS_WITHOUT_EFFECT = {
    "seed",
    "max_skipped_steps",
    "checkpoint_every",
    "keep_checkpoints",
    "device",
    "tensorboard",
}


class TrainingIdentity(TypedDict):
    """The options that determine the trained weights; checkpoints and `model.json` hold them.

    `dataset` is the identity of the data set, `data` is its `Dataset.size`, and
    `sources` is a hash of the surrogate's sources. `ensemble` is true for an ensemble and its members;
    `member` is the number of a member. `continued_after` holds the steps after which `training.steps` was
    raised. `mixture` holds the identities of all data sets of a mixture and their shares. `lineage` describes
    the models from whose weights the training starts, the oldest first. `failed_checks` names the checks that
    the data failed, which `allow_failed` accepted.
    """

    surrogate: dict[str, object]
    training: dict[str, object]
    seed: int
    dataset: str
    sources: str
    data: dict[str, object]
    ensemble: NotRequired[bool]
    member: NotRequired[int]
    mixture: NotRequired[dict[str, object]]
    continued_after: NotRequired[list[int]]
    lineage: NotRequired[list[dict[str, object]]]
    failed_checks: NotRequired[list[str]]


class Origin(TypedDict):
    """The origin of a model, for `model.json`: its identity, the versions of the packages and its lineage."""

    configuration: TrainingIdentity
    versions: dict[str, str]
    lineage: Mapping[str, Any]


@dataclass(frozen=True)
class TrainingTask:
    """A surrogate, its options and the data set to train it on.

    Attributes:
        surrogate: name of the surrogate.
        surrogate_path: the user's file that holds the surrogate's class, or None.
        surrogate_options: keyword arguments of the surrogate's class.
        solver: section `solver` of the settings.
        training: settings of `training`.
        seed: seed of initial weights and batches.
        dataset: validated data set, or the mixture of several.
        other_grids: further validated data sets of the same system, on other grids.
        overwrite: whether a model of another configuration is deleted.
        lineage: the data and the models that the model descends from, for `model.json`.
    """

    surrogate: str
    surrogate_path: Path | None
    surrogate_options: Mapping[str, object]
    solver: Options
    training: Training
    seed: int
    dataset: Dataset
    other_grids: tuple[Dataset, ...]
    overwrite: bool
    lineage: Mapping[str, Any]

    @classmethod
    def of(cls, dataset: Dataset, settings: Settings) -> TrainingTask:
        """Return the task of a configuration on a data set.

        The task opens the further data sets of a mixture.

        Raises:
            UserError: an option of the surrogate is wrong, or has no effect on the data; a further data set
                is missing or does not fit; the shares of a mixture are wrong; or the guard refuses the
                origin of the data, see `pipeline.data.lineage.guard`.
        """
        surrogate = settings.surrogate
        other_grids = tuple(
            Dataset.open(folder, allow_failed=settings.allow_failed)
            for folder in settings.training.other_grids
        )
        dataset = _with_further_data(dataset, settings)
        lineage = checked_lineage(
            str(surrogate["name"]),
            (*_sources(dataset), *other_grids),
            settings.lineage,
            settings.training.start_from,
            (dataset.weights, dataset.final_weights) if isinstance(dataset, Mixture) else (),
        )
        constructor = surrogate_type(surrogate)
        if constructor.learns_quantities:
            if isinstance(dataset, Mixture):
                raise UserError(
                    f"surrogate={surrogate['name']} learns the quantities of interest of one complete data "
                    "set, and this training has a mixture, or data with gaps or noise. Surrogates of fields "
                    "learn from such data. Type surrogate=fno, for example"
                )
            dataset = QuantityDataset(dataset)
        surrogate_options = surrogate_arguments(constructor, surrogate)
        refuse_unused_surrogate_options(constructor, surrogate, problem_of(dataset))
        return cls(
            surrogate=str(surrogate["name"]),
            surrogate_path=user_file(surrogate),
            surrogate_options=surrogate_options,
            solver=settings.solver,
            training=settings.training,
            seed=settings.training.seed,
            dataset=dataset,
            other_grids=other_grids,
            overwrite=settings.overwrite,
            lineage=lineage,
        )

    @property
    def identity(self) -> TrainingIdentity:
        """The options that determine the trained weights.

        A checksum stands for `training.start_from`. `symmetries` holds the names in use, and is left out if
        there are none, as in models of earlier releases.

        Raises:
            UserError: the data do not have one of the symmetries.
        """
        training = self.training.model_dump(mode="json", exclude=_OPTIONS_WITHOUT_EFFECT)
        del training["start_from"], training["symmetries"], training["other_grids"]
        # Models of earlier releases lack these keys.
        for key in ("freeze", "adapter_rank"):
            if not training[key]:
                del training[key]
        constructor = surrogate_class(self.surrogate, self.surrogate_path)
        if symmetries := chosen_symmetries(self.dataset.spec, self.training.symmetries, constructor):
            training["symmetries"] = [symmetry.name for symmetry in symmetries]
        if self.training.start_from is not None:
            training["start_from"] = start_weights.checksum(self.training.start_from)
        if self.other_grids:
            training["other_grids"] = [dataset.identity for dataset in self.other_grids]
        identity: TrainingIdentity = {
            "surrogate": {"name": self.surrogate, **self.surrogate_options},
            "training": training,
            "seed": self.seed,
            "dataset": self.dataset.identity,
            "sources": source_hash(constructor),
            "data": self.dataset.size,
        }
        if self.training.start_from is not None:
            identity["lineage"] = start_weights.lineage(self.training.start_from)
        if isinstance(self.dataset, Mixture):
            identity["mixture"] = self.dataset.description
        datasets = (self.dataset, *self.other_grids)
        if failed_checks := {check for dataset in datasets for check in dataset.failed_checks}:
            identity["failed_checks"] = sorted(failed_checks)
        return identity

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """All data sets of this training: the sources of a mixture, and the data sets on other grids."""
        return (*_sources(self.dataset), *self.other_grids)

    @property
    def ensemble_identity(self) -> TrainingIdentity:
        """The same options, for an ensemble."""
        return {**self.identity, "ensemble": True}

    def build_surrogate(self, num_ranks: int) -> Surrogate:
        """Return the surrogate with its initial weights: random ones, or those of `training.start_from`.

        Raises:
            UserError: the surrogate does not fit the data set or the model of `training.start_from`, its
                options do not fit the problem, or its training needs more memory than is free.
        """
        constructor = surrogate_class(self.surrogate, self.surrogate_path)
        problem = problem_for(self.dataset, constructor, self.solver)
        dtype = precision.weight_dtype(self.training.precision)
        sketch = construct_without_memory(lambda: constructor(problem, **self.surrogate_options))
        num_shares = num_ranks * self.training.gradient_accumulation_steps
        num_windows = self.training.batch_size // num_shares
        sizes.check_training(self.training, sketch, num_ranks=1, num_windows=num_windows)
        surrogate = store.build(self.surrogate, self.surrogate_options, problem, dtype, self.surrogate_path)
        if self.training.start_from is not None:
            folder = self.training.start_from
            start_weights.copy_weights(surrogate, self.surrogate, folder, self.surrogate_path)
            keep_weights(surrogate, self.training)
        return surrogate

    def on_other_grids(self, surrogate: Surrogate) -> list[GridData]:
        """Return the data sets of `training.other_grids`, see `with_shared_weights`.

        Raises:
            UserError: the surrogate or a data set does not fit.
        """

        def build(problem: Problem) -> Surrogate:
            dtype = precision.weight_dtype(self.training.precision)
            twin = store.build(self.surrogate, self.surrogate_options, problem, dtype, self.surrogate_path)
            keep_weights(twin, self.training)
            return twin

        return with_shared_weights(surrogate, self.other_grids, build)


def _sources(dataset: Dataset) -> tuple[Dataset, ...]:
    """Return the data sets of a mixture; a single data set as it is."""
    return dataset.sources if isinstance(dataset, Mixture) else (dataset,)


def _with_further_data(dataset: Dataset, settings: Settings) -> Dataset:
    """Return the data of a training: the data set, or the mixture that the settings describe.

    Raises:
        UserError: see `TrainingTask.of`.
    """
    mixture = settings.mixture
    mixture.refuse_wrong_numbers()
    others = [Dataset.open(folder, allow_failed=settings.allow_failed) for folder in mixture.datasets]
    if others and settings.training.other_grids:
        raise UserError(
            "dataset=[...] mixes data sets on one grid, and training.other_grids trains on several grids. "
            "Only one of the two is allowed. Leave out training.other_grids"
        )
    return mixture_of([dataset, *others], mixture.weights, mixture.schedule, mixture.final_weights)


def origin(task: TrainingTask, identity: TrainingIdentity) -> Origin:
    """Return the origin of a model that is trained now."""
    versions = {package: importlib.metadata.version(package) for package in ("simsurrogate", "torch")}
    return {"configuration": identity, "versions": versions, "lineage": task.lineage}
