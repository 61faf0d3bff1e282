"""The refusal of options without effect, unless they have the default of their YAML."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from simsurrogate.errors import UserError

#: The options of a class, as in its YAML and on the command line.
Options = Mapping[str, Any]

#: The value at a key that does not exist, see `value_at`.
ABSENT = object()


def present_options(options: Options, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs of key and cause whose key is in `options`, with the rest of the error message."""
    return {
        key: f"{cause}. Only the default of its YAML is accepted. Remove it"
        for key, cause in pairs
        if value_at(options, key) is not ABSENT
    }


def refuse_changed_options(group: str, options: Options, unused_options: Mapping[str, str]) -> None:
    """Raise `UserError` for each unused option whose value is not the default of its YAML."""
    defaults = _default_options(group, _chosen_yaml(group, options)) if unused_options else {}
    refusals = [
        f"{group}.{key}={_value_text(value_at(options, key))} has no effect with {reason}"
        for key, reason in unused_options.items()
        if not _is_default(value_at(options, key), value_at(defaults, key))
    ]
    if refusals:
        raise UserError("\n".join(refusals))


def value_at(options: Any, key: str) -> Any:
    """Return the value at a dotted key, or `ABSENT`."""
    for name in key.split("."):
        options = options.get(name, ABSENT) if isinstance(options, Mapping) else ABSENT
    return options


def without_options(options: Options, keys: set[str]) -> dict[str, Any]:
    """Return a copy of the options without some dotted keys."""
    parent_names = {key.partition(".")[0] for key in keys if "." in key}
    result: dict[str, Any] = {}
    for name, value in options.items():
        if name in parent_names and isinstance(value, Mapping):
            result[name] = without_options(
                value, {key[len(name) + 1 :] for key in keys if key.startswith(f"{name}.")}
            )
        elif name not in keys:
            result[name] = value
    return result


def _is_default(value: Any, default: Any) -> bool:
    """Return whether a value equals the YAML's. An interpolation in the YAML equals any value."""
    if isinstance(default, str) and "${" in default:
        return True
    return is_equal(value, default)


def is_equal(value: Any, other: Any) -> bool:
    """Return whether two values of a configuration are equal, apart from the types of lists and numbers."""
    return bool(_comparable_value(value) == _comparable_value(other))


def _comparable_value(value: Any) -> Any:
    """Return sequences as lists, and numbers in text (YAML's 1e-3) as numbers."""
    if isinstance(value, (list, tuple)):
        return [_comparable_value(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _comparable_value(item) for name, item in value.items()}
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _value_text(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)


def _chosen_yaml(group: str, options: Options) -> str:
    """Return the choice of the group on this command line; without one, the name of the class."""
    if HydraConfig.initialized():
        return str(HydraConfig.get().runtime.choices.get(group))
    return str(options.get("name"))


@functools.cache
def _default_options(group: str, choice: str) -> dict[str, object]:
    """Return the options of `GROUP/CHOICE.yaml` on Hydra's search path; empty without such a file."""
    try:
        if GlobalHydra.instance().is_initialized():
            config = hydra.compose(f"{group}/{choice}")
        else:
            with hydra.initialize_config_module("configs", version_base="1.3"):
                config = hydra.compose(f"{group}/{choice}")
    except MissingConfigException:
        return {}
    options = OmegaConf.to_container(config, resolve=False)
    assert isinstance(options, dict)
    section = options.get(group, options)
    return {str(name): value for name, value in section.items()}
