"""Solvers and constructor arguments from options. Every option is checked and has an effect."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from pipeline.coarsening.description import is_coarse
from pipeline.coarsening.solver import CoarseSolver, coarsened
from pipeline.config import solver_checks
from pipeline.config.parsing import union_members, validated_model
from pipeline.config.settings import Settings
from pipeline.config.unused_options import Options, present_options, refuse_changed_options, without_options
from pipeline.parallel import launch
from simsurrogate.discovery import Family
from simsurrogate.errors import UserError
from simsurrogate.files import digest
from simsurrogate.sources import source_hash
from solvers.contract import Solver, solver_class

if TYPE_CHECKING:
    from surrogates.contract import Problem, Surrogate


#: The members of the pipeline itself that take the place of a solver.
_OWN_MEMBERS = Family("solver", "pipeline.rollouts", Solver)  # type: ignore[type-abstract]


def build_solver(options: Options, communicator: Any) -> Solver:
    """Return the solver that `options["name"]` names.

    Raises:
        UserError: an unknown solver, a wrong option, an option without effect, or options that cannot work
            together.
    """
    return _build(effective_options(options), communicator)


def dataset_configuration(settings: Settings, solver: Solver) -> dict[str, object]:
    """Return all that determines the bytes of a data set, with a hash of the sources.

    A solver with the method `recorded_origin` says there where its trajectories come from.
    All ranks of the solver's communicator call this function together.

    Raises:
        UserError: the external program of the solver cannot be identified.
    """
    configuration = settings.dataset_settings()
    sources = _hash_of_sources(type(solver), configuration)
    program = solver.program_identity()
    configuration |= {"solver_sources": sources, **getattr(solver, "recorded_origin", dict)()}
    return configuration | ({"program": program} if program else {})


def build_recorded_solver(configuration: Options, solver_options: Options, communicator: Any) -> Solver:
    """Return the solver of a data set, with its stored frames, from the configuration in its manifest.

    The manifest records the whole section `solver`; options without effect are dropped. This function never
    imports a user's file that the manifest names, but the file of `solver.path` on this command line, and
    never starts a program but that of `solver.program` on this command line. A note on stderr says if the
    sources or the program of the solver have changed after the generation of the data set.

    Args:
        configuration: the configuration in the manifest.
        solver_options: the section `solver` of this command line.
        communicator: the ranks that share a trajectory.

    Raises:
        UserError: an unknown solver, an option that this version does not know, or a data set of a user's
            file or program that this command line does not name.
    """
    options = _recorded_options(configuration, solver_options)
    constructor = _solver_class(options)
    solver = _build(without_options(options, set(_unused_solver_options(constructor, options))), communicator)
    has_changed = has_changed_sources(configuration, constructor) or has_changed_program(
        configuration, solver
    )
    if has_changed and launch.detect().rank == 0:
        print(
            f"note: the sources of the solver {options.get('name')} have changed after the generation of the "
            "data set, so new results may differ from the data",
            file=sys.stderr,
            flush=True,
        )
    return coarsened(solver, configuration["output"])


def recorded_solver_class(configuration: Options, solver_options: Options) -> type[Solver]:
    """Return the class of the solver of a data set, see `build_recorded_solver`.

    Raises:
        UserError: an unknown solver, or a data set of a user's file or program that this command line does
            not name.
    """
    return _solver_class(_recorded_options(configuration, solver_options))


def _recorded_options(configuration: Options, solver_options: Options) -> dict[str, object]:
    options = dict(configuration["solver"])
    recorded_file = options.pop("path", None)
    if recorded_file is not None:
        if not solver_options.get("path"):
            raise UserError(
                f"the data set comes from the solver {options.get('name')} in the file {recorded_file}. "
                "A file named by a data set is never imported automatically. "
                f"Type solver.path={recorded_file}, with the folder of the file"
            )
        options["path"] = solver_options["path"]
    options.pop("program", None)
    if recorded_program := configuration.get("program"):
        if solver_options.get("name") != options.get("name") or not solver_options.get("program"):
            raise UserError(
                f"the data set comes from the program {' '.join(map(str, recorded_program['command']))}. A "
                "program named by a data set is never started automatically. Type the solver= of the command "
                "that generated the data set"
            )
        options["program"] = solver_options["program"]
    return options


def has_changed_program(configuration: Options, solver: Solver) -> bool:
    """Return whether a data set was generated by another external program, or another version of it.

    All ranks of the solver's communicator call this function together.
    """
    return bool(configuration.get("program", {}) != solver.program_identity())


def has_changed_sources(configuration: Options, constructor: type[Solver]) -> bool:
    """Return whether a data set was generated by other sources of its solver."""
    return bool(configuration.get("solver_sources") != _hash_of_sources(constructor, configuration))


def _hash_of_sources(constructor: type[Solver], configuration: Options) -> str:
    """Return the hash of the sources of a solver and of coarsening; a member of the pipeline has none."""
    sources = "" if constructor.__module__.startswith("pipeline.") else source_hash(constructor)
    if not is_coarse(configuration["output"]):
        return sources
    return digest({"solver": sources, "coarsening": source_hash(CoarseSolver)})


def effective_options(options: Options) -> dict[str, Any]:
    """Return the options of a solver that have an effect.

    The solver's YAML lists the options of all kinds. An option without effect is dropped if it has the YAML's
    value, and refused if the user chose another value.

    Raises:
        UserError: an unknown solver, a wrong option, or each option without effect, one per line.
    """
    unused_options = _unused_solver_options(_solver_class(options), options)
    refuse_changed_options("solver", options, unused_options)
    return without_options(options, set(unused_options))


def surrogate_arguments(constructor: type[Surrogate], options: Options) -> dict[str, Any]:
    """Return the checked keyword arguments of a surrogate from the section `surrogate`.

    Raises:
        UserError: each wrong key, type or value, one per line.
    """
    return constructor_arguments(constructor, options, "surrogate", runtime_arguments=("problem",))


def refuse_unused_surrogate_options(constructor: type[Surrogate], options: Options, problem: Problem) -> None:
    """Refuse options of the section `surrogate` that have no effect on the problem.

    Raises:
        UserError: each option without effect whose value is not the default of its YAML, one per line.
    """
    pairs = constructor.unused_options(surrogate_arguments(constructor, options), problem)
    refuse_changed_options("surrogate", options, present_options(options, pairs))


def constructor_arguments(
    constructor: Callable[..., Any], options: Options, group: str, runtime_arguments: tuple[str, ...]
) -> dict[str, Any]:
    """Return `options` without `name` and `path`, checked and converted to the constructor's types.

    A parameter whose type is a union of dataclasses with a field `kind: Literal[...]` takes the dataclass
    that the option `kind` names.

    Args:
        constructor: the class.
        options: its options from the configuration.
        group: the configuration group, which messages put before each key.
        runtime_arguments: the arguments that do not come from the configuration.

    Raises:
        UserError: each wrong key, type or value, one per line.
    """
    checked_options = _checked_options(constructor, options, group, runtime_arguments)
    return {name: getattr(checked_options, name) for name in type(checked_options).model_fields}


def surrogate_type(options: Options) -> type[Surrogate]:
    """Return the class that the options `name` and `path` of the section `surrogate` name.

    Raises:
        UserError: there is no such surrogate.
    """
    # Imported here because the import loads torch.
    from surrogates.contract import surrogate_class

    return surrogate_class(str(options.get("name")), user_file(options))


def user_file(options: Options) -> Path | None:
    """Return the option `path`: the user's file that holds the class."""
    return Path(str(options["path"])) if options.get("path") else None


def _solver_class(options: Options) -> type[Solver]:
    name, path = str(options.get("name")), user_file(options)
    is_own = path is None and name.isidentifier() and importlib.util.find_spec(f"pipeline.rollouts.{name}")
    return _OWN_MEMBERS.find(name) if is_own else solver_class(name, path)


def _build(options: Options, communicator: Any) -> Solver:
    constructor: Callable[..., Solver] = _solver_class(options)
    arguments = constructor_arguments(constructor, options, "solver", runtime_arguments=("communicator",))
    solver = constructor(**arguments, communicator=communicator)
    solver_checks.check(solver)
    return solver


def _checked_options(
    constructor: Callable[..., Any], options: Options, group: str, runtime_arguments: tuple[str, ...]
) -> BaseModel:
    """Return the options as a pydantic model of the constructor's parameters."""
    values = {name: value for name, value in options.items() if name not in ("name", "path")}
    checked_options: BaseModel = validated_model(
        _options_model(constructor, runtime_arguments), values, f"{group}."
    )
    return checked_options


@functools.cache
def _options_model(constructor: Callable[..., Any], runtime_arguments: tuple[str, ...]) -> type[BaseModel]:
    """Return the pydantic model of the constructor's parameters without those in `runtime_arguments`."""
    hints = _constructor_hints(constructor)
    fields: dict[str, Any] = {
        name: (
            _with_discriminator(hints[name]),
            ... if argument.default is argument.empty else argument.default,
        )
        for name, argument in inspect.signature(constructor).parameters.items()
        if name not in runtime_arguments
    }
    return create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)


def _constructor_hints(constructor: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(getattr(constructor, "__init__", constructor), include_extras=True)


def _with_discriminator(hint: Any) -> Any:
    """Return the hint, with `kind` as pydantic's discriminator where it is a union of dataclasses by kind."""
    return Annotated[hint, Field(discriminator="kind")] if union_members(hint) else hint


def _unused_solver_options(constructor: type[Solver], options: Options) -> dict[str, str]:
    """Return the dotted key of each option without effect, with the rest of its error message."""
    other_kinds = dict(_options_of_other_kinds(constructor, options))
    checked_options = _checked_options(
        constructor, without_options(options, set(other_kinds)), "solver", ("communicator",)
    )
    return other_kinds | present_options(options, constructor.unused_options(checked_options.model_dump()))


def _options_of_other_kinds(constructor: type[Solver], options: Options) -> Iterator[tuple[str, str]]:
    """Yield the options that belong to another kind than the chosen kind."""
    for name, hint in _constructor_hints(constructor).items():
        members, values = union_members(hint), options.get(name)
        chosen_kind = values.get("kind") if isinstance(values, Mapping) else None
        if not isinstance(values, Mapping) or not isinstance(chosen_kind, str) or chosen_kind not in members:
            continue
        own_options = _field_names(members[chosen_kind])
        for option in values:
            kinds = [kind for kind, member in members.items() if option in _field_names(member)]
            if option not in own_options and kinds:
                owners = " and ".join(f"kind={kind}" for kind in kinds)
                yield (
                    f"{name}.{option}",
                    f"solver.{name}.kind={chosen_kind}. The option belongs to {owners}. "
                    f"Remove it, or type solver.{name}.kind={kinds[0]}",
                )


def _field_names(member: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(member)}
