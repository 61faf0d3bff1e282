"""Solvers and constructor arguments from options: every option is checked and has an effect."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, Field, create_model

from pipeline.config.settings import union_members, validated
from simsurrogate.errors import UserError
from solvers.contract import Solver, solver_class

if TYPE_CHECKING:
    from surrogates.contract import Surrogate

#: The options of a class, as they stand in its YAML and on the command line.
Options = Mapping[str, Any]

_ABSENT = object()


def build_solver(options: Options, communicator: Any) -> Solver:
    """Return the solver that `options["name"]` names.

    Raises:
        UserError: an unknown solver, a wrong option, an option without effect, or options that cannot work
            together.
    """
    return _build(effective_options(options), communicator)


def build_recorded_solver(configuration: Options, typed: Options, communicator: Any) -> Solver:
    """Return the solver of a data set from the configuration in its manifest.

    Options without effect are dropped: data sets of older versions recorded them. A manifest records the
    name of a user's file, and this function never imports that file; it imports the file of `solver.path`
    in the user's own configuration.

    Args:
        configuration: the configuration in the manifest.
        typed: the section `solver` of this command line.
        communicator: the ranks that share a trajectory.

    Raises:
        UserError: an unknown solver, an option that this version does not know, or a data set of a solver
            in a user's file without `solver.path`.
    """
    options = dict(configuration["solver"])
    recorded_file = options.pop("path", None)
    if recorded_file is not None:
        if not typed.get("path"):
            raise UserError(
                f"the data set comes from the solver {options.get('name')} in the file {recorded_file}. "
                "A file named by a data set is never imported automatically. "
                f"Type solver.path={recorded_file}, with the folder of the file"
            )
        options["path"] = typed["path"]
    constructor = _solver_class(options)
    unused = dict(_unused_options(constructor, options))
    return _build(_without(options, unused), communicator)


def effective_options(options: Options) -> dict[str, Any]:
    """Return the options of a solver that have an effect.

    The solver's YAML lists the options of all kinds. An option without effect that has the YAML's value is
    dropped; one with another value was chosen by the user and is refused.

    Raises:
        UserError: an unknown solver, a wrong option, or each option without effect, one a line.
    """
    constructor = _solver_class(options)
    unused = dict(_unused_options(constructor, options))
    defaults = _defaults(_chosen_yaml(options)) if unused else {}
    refusals = [
        f"solver.{key}={_shown(_value(options, key))} has no effect with {reason}"
        for key, reason in unused.items()
        if not _is_default(_value(options, key), _value(defaults, key))
    ]
    if refusals:
        raise UserError("\n".join(refusals))
    return _without(options, unused)


def constructor_arguments(
    constructor: Callable[..., Any], options: Options, group: str, given: tuple[str, ...]
) -> dict[str, Any]:
    """Return `options` without `name` and `path`, checked and converted to the constructor's types.

    A parameter whose type is a union of dataclasses with a field `kind: Literal[...]` takes the dataclass
    that the option `kind` names.

    Args:
        constructor: the class.
        options: its options from the configuration.
        group: the configuration group, which messages put before each key.
        given: the arguments that do not come from the configuration.

    Raises:
        UserError: each wrong key, type or value, one a line.
    """
    checked = _validated(constructor, options, group, given)
    return {name: getattr(checked, name) for name in type(checked).model_fields}


def surrogate_type(options: Options) -> type[Surrogate]:
    """Return the class that the options `name` and `path` of the section `surrogate` name.

    Raises:
        UserError: there is no such surrogate.
    """
    # Late: torch.
    from surrogates.contract import surrogate_class

    return surrogate_class(str(options.get("name")), user_file(options))


def user_file(options: Options) -> Path | None:
    """Return the option `path`: the user's file that holds the class."""
    return Path(str(options["path"])) if options.get("path") else None


def _solver_class(options: Options) -> type[Solver]:
    return solver_class(str(options.get("name")), user_file(options))


def _build(options: Options, communicator: Any) -> Solver:
    constructor: Callable[..., Solver] = _solver_class(options)
    arguments = constructor_arguments(constructor, options, "solver", given=("communicator",))
    return constructor(**arguments, communicator=communicator)


def _validated(
    constructor: Callable[..., Any], options: Options, group: str, given: tuple[str, ...]
) -> BaseModel:
    """Return the options as a pydantic model of the constructor's parameters."""
    values = {name: value for name, value in options.items() if name not in ("name", "path")}
    checked: BaseModel = validated(_options_model(constructor, given), values, f"{group}.")
    return checked


@functools.cache
def _options_model(constructor: Callable[..., Any], given: tuple[str, ...]) -> type[BaseModel]:
    """Return the pydantic model of the constructor's parameters without those in `given`."""
    hints = _hints(constructor)
    fields: dict[str, Any] = {
        name: (
            _with_discriminator(hints[name]),
            ... if argument.default is argument.empty else argument.default,
        )
        for name, argument in inspect.signature(constructor).parameters.items()
        if name not in given
    }
    return create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)


def _hints(constructor: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(getattr(constructor, "__init__", constructor), include_extras=True)


def _with_discriminator(hint: Any) -> Any:
    """Return the hint, with `kind` as pydantic's discriminator where it is a union of dataclasses by kind."""
    return Annotated[hint, Field(discriminator="kind")] if union_members(hint) else hint


def _unused_options(constructor: type[Solver], options: Options) -> Iterator[tuple[str, str]]:
    """Yield the dotted key of each option without effect, with the rest of its error message."""
    other_kinds = dict(_of_other_kinds(constructor, options))
    yield from other_kinds.items()
    checked = _validated(constructor, _without(options, other_kinds), "solver", ("communicator",))
    for key in constructor.unused_options(checked.model_dump()):
        if _value(options, key) is not _ABSENT:
            yield (
                key,
                f"the other options of {options.get('name')}. Only the default of its YAML is accepted. "
                "Remove it",
            )


def _of_other_kinds(constructor: type[Solver], options: Options) -> Iterator[tuple[str, str]]:
    """Yield the options that belong to another kind than the chosen one."""
    for name, hint in _hints(constructor).items():
        members, values = union_members(hint), options.get(name)
        if not isinstance(values, Mapping) or values.get("kind") not in members:
            continue
        chosen_kind = values["kind"]
        own_options = _field_names(members[chosen_kind])
        for option in values:
            kinds = [kind for kind, member in members.items() if option in _field_names(member)]
            if option not in own_options and kinds:
                belongs = " and ".join(f"kind={kind}" for kind in kinds)
                yield (
                    f"{name}.{option}",
                    f"solver.{name}.kind={chosen_kind}. The option belongs to {belongs}. "
                    f"Remove it, or type solver.{name}.kind={kinds[0]}",
                )


def _field_names(member: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(member)}


def _value(options: Any, key: str) -> Any:
    """Return the value at a dotted key, or _ABSENT."""
    for name in key.split("."):
        options = options.get(name, _ABSENT) if isinstance(options, Mapping) else _ABSENT
    return options


def _without(options: Options, keys: Mapping[str, str] | set[str]) -> dict[str, Any]:
    """Return a copy of the options without some dotted keys."""
    heads = {key.partition(".")[0] for key in keys if "." in key}
    result: dict[str, Any] = {}
    for name, value in options.items():
        if name in heads and isinstance(value, Mapping):
            result[name] = _without(
                value, {key[len(name) + 1 :] for key in keys if key.startswith(f"{name}.")}
            )
        elif name not in keys:
            result[name] = value
    return result


def _is_default(value: Any, default: Any) -> bool:
    """Return whether a value is the YAML's; an interpolation in the YAML stands for any value."""
    if isinstance(default, str) and "${" in default:
        return True
    return bool(_plain(value) == _plain(default))


def _plain(value: Any) -> Any:
    """Return sequences as lists, and numbers in text (YAML's 1e-3) as numbers."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _shown(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)


def _chosen_yaml(options: Options) -> str:
    """Return the choice of the group `solver` on this command line; without one, the solver's name."""
    if HydraConfig.initialized():
        return str(HydraConfig.get().runtime.choices.get("solver"))
    return str(options.get("name"))


@functools.cache
def _defaults(choice: str) -> dict[str, Any]:
    """Return the options of `solver/CHOICE.yaml` on Hydra's search path; empty without such a file."""
    try:
        if GlobalHydra.instance().is_initialized():
            config = hydra.compose(f"solver/{choice}")
        else:
            with hydra.initialize_config_module("configs", version_base="1.3"):
                config = hydra.compose(f"solver/{choice}")
    except MissingConfigException:
        return {}
    options = OmegaConf.to_container(config, resolve=False)
    assert isinstance(options, dict)
    section = options.get("solver", options)
    return {str(name): value for name, value in section.items()}
