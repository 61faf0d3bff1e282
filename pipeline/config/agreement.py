"""The agreement of a command line with the data set and the model that a stage reads.

A stage uses data sets and models as they are. A key that contradicts them is refused, and a key without use
in the stage is named on stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pipeline.config.settings import LocalStage, Settings
from pipeline.config.unused_options import ABSENT, is_equal, value_at
from pipeline.data.recorded_configuration import is_adopted
from pipeline.parallel import launch
from simsurrogate.errors import UserError

#: The groups whose choice is a name that the section holds.
_NAMED_GROUPS = ("solver", "surrogate")
_DATA_KEYS = ("solver", "samples", "output", "quantities", "storage.precision")
#: The keys that each stage uses or compares with the data set or the model.
_KEYS: dict[LocalStage, tuple[str, ...]] = {
    "adopt": (
        "run", "dataset", "source", "format", "description", "origin", "seed", "overwrite", "solver",
        "samples.per_shard", "quantities", "storage",
    ),
    "generate": ("run", "dataset", "seed", "group_size", "part", "overwrite", *_DATA_KEYS, "storage"),
    "validate": ("run", "dataset", "seed", *_DATA_KEYS, "storage.max_error"),
    "train": (
        "run", "dataset", "model", "seed", "ensemble", "overwrite", "allow_failed", "surrogate", "training",
        "lineage", "mixture", *_DATA_KEYS,
    ),
    "evaluate": (
        "run", "dataset", "model", "seed", "ensemble", "allow_failed", "surrogate", "training", "evaluation",
        "lineage", *_DATA_KEYS,
    ),
}  # fmt: skip


#: The keys whose value a model does not hold: it holds checksums of folders, and the names of symmetries.
_RESOLVED_KEYS = ("training.start_from", "training.other_grids", "training.symmetries")


def report_unused_keys(stage: LocalStage) -> None:
    """Print a line to stderr that names the typed keys without use in this stage, on rank 0."""
    # All stages of a chain receive all keys.
    if launch.IN_CHAIN_VARIABLE in os.environ or launch.detect().rank != 0:
        return
    # Slurm jobs type the keys of the launcher for every stage.
    used_keys = (*_KEYS[stage], "launcher")
    unused_keys = [key for key in _typed_keys() if not _is_among(key, used_keys)]
    if unused_keys:
        print(f"note: {stage} does not use {', '.join(unused_keys)}", file=sys.stderr, flush=True)


def refuse_several_data_sets(stage: LocalStage, settings: Settings) -> None:
    """Refuse a list of data sets in a stage that works on one. The stages of a chain use the first one.

    Raises:
        UserError: `dataset` is a list.
    """
    if settings.mixture.datasets and launch.IN_CHAIN_VARIABLE not in os.environ:
        raise UserError(
            f"dataset=[...] names {1 + len(settings.mixture.datasets)} data sets, and {stage} works on one. "
            f"Only train and evaluate take a list. Type dataset={settings.dataset}"
        )


def refuse_other_data(
    settings: Settings, folder: Path, configuration: Mapping[str, Any], *, compares_seed: bool
) -> None:
    """Refuse keys that contradict the data set in a folder.

    Compared are all typed keys, and the options of the solver that an experiment or a YAML file of the user
    chooses.

    Args:
        settings: the configuration of this command line.
        folder: the folder of the data set.
        configuration: the configuration in its manifest.
        compares_seed: whether the key `seed` belongs to the data set, and not to a training.

    Raises:
        UserError: each contradiction, one per line.
    """
    requested = settings.dataset_settings()
    if is_adopted(configuration):
        # The solver of this command line is an addition to the data, and experiments describe solvers.
        keys = [
            key
            for key in _typed_keys()
            if _is_among(key, _DATA_KEYS)
            and not _is_among(key, ("solver",))
            and value_at(configuration, key) is not ABSENT
        ]
        _refuse(
            keys, requested, configuration, f"the data set in {folder}", "name another data set with dataset="
        )
        return
    compared_keys = (*_DATA_KEYS, "seed") if compares_seed else _DATA_KEYS
    typed_keys = [key for key in _typed_keys() if _is_among(key, compared_keys)]
    keys = [
        key
        for key in dict.fromkeys([*typed_keys, *_changed_solver_options(settings.solver)])
        if not key.startswith("solver.program.")
    ]
    _refuse(
        keys, requested, configuration, f"the data set in {folder}", "name another data set with dataset="
    )


def refuse_other_model(folder: Path, requested: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Refuse typed keys that contradict the model in a folder.

    Args:
        folder: the folder of the model.
        requested: the keys of this command line that determine a model.
        model: the same keys of the model.

    Raises:
        UserError: each contradiction, one per line.
    """
    keys = [key for key in _typed_keys() if value_at(model, key) is not ABSENT and key not in _RESOLVED_KEYS]
    _refuse(keys, requested, model, f"the model in {folder}", "name another model with model=")


def _refuse(
    keys: list[str], requested: Mapping[str, Any], recorded: Mapping[str, Any], owner: str, remedy: str
) -> None:
    """Raise `UserError` for each of the keys whose requested value is not the recorded value."""
    differing_keys = [key for key in keys if not is_equal(value_at(requested, key), value_at(recorded, key))]
    # Options of another solver or surrogate are not comparable.
    groups = [group for group in _NAMED_GROUPS if f"{group}.name" in differing_keys]
    lines = []
    for key in differing_keys:
        if any(_is_among(key, (group,)) and key != f"{group}.name" for group in groups):
            continue
        typed_key = key.removesuffix(".name") if key.removesuffix(".name") in _NAMED_GROUPS else key
        recorded_value = value_at(recorded, key)
        recorded_text = "no such key" if recorded_value is ABSENT else f"{typed_key}={recorded_value}"
        lines.append(
            f"{typed_key}={value_at(requested, key)} contradicts {owner}, which has {recorded_text}. This "
            f"stage accepts only the same value. Leave out {typed_key}, type the same value, or {remedy}"
        )
    if lines:
        raise UserError("\n".join(lines))


def is_typed(key: str) -> bool:
    """Return whether this command line assigns a key, or a key inside its section."""
    return any(_is_among(typed_key, (key,)) for typed_key in _typed_keys())


def _typed_keys() -> list[str]:
    """Return the keys that this command line assigns; a group such as solver=heat assigns solver.name."""
    if not HydraConfig.initialized():
        return []
    overrides = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    keys = []
    for override in overrides:
        key = override.key_or_group
        if key in _NAMED_GROUPS:
            if override.value() != "custom":
                keys.append(f"{key}.name")
        elif isinstance(value := override.value(), dict):
            keys += [f"{key}.{leaf}" for leaf in _leaves(value)]
        elif key != "experiment":
            keys.append(key)
    return list(dict.fromkeys(keys))


def _changed_solver_options(options: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of the solver that differ from the solver's YAML and the default choice."""
    if not HydraConfig.initialized():
        return []
    choice = HydraConfig.get().runtime.choices.get("solver")
    default_name = hydra.compose("config").solver.name
    section = OmegaConf.to_container(
        hydra.compose("config", overrides=[f"solver={choice}"]).solver, resolve=True
    )
    assert isinstance(section, dict)
    default_options = {str(key): value for key, value in section.items()}
    if options.get("name") != default_name:
        default_options.pop("name", None)
    return [
        f"solver.{key}"
        for key in _leaves(options)
        if not is_equal(value_at(options, key), value_at(default_options, key))
    ]


def _leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of each value that is not a mapping."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _is_among(key: str, sections: Sequence[str]) -> bool:
    """Return whether a dotted key is one of the sections, or lies inside or above a section."""
    return any(f"{key}.".startswith(f"{section}.") or section.startswith(f"{key}.") for section in sections)
