"""Hydra's composition of a configuration, and the arguments of a command line in Hydra's form.

Solvers and surrogates from outside this package have no YAML: `solver.path=FILE.py` names a file, and
`solver=NAME` may name a class that an installed package announces. Both arguments select the empty
`custom.yaml`, and every `solver.KEY=VALUE` adds a key, which the constructor's signature checks later.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pipeline.config import overrides, renamed_keys, site
from simsurrogate.discovery import installed_entry_points
from simsurrogate.errors import UserError

#: The groups whose members may come from outside this package.
_GROUPS = ("solver", "surrogate")
_MAX_DIGITS = 1000

#: The largest number of opening brackets in an argument. Hydra's parser is recursive.
_MAX_BRACKETS = 100


def run(task: Callable[[DictConfig], float | None]) -> None:
    """Compose the configuration of this command line and call `task` with it, once for each run of a sweep.

    A sweeper that searches the best options receives the result of `task`, the objective.

    Raises:
        UserError, HydraException, OmegaConfBaseException: the command line is wrong.
    """
    typed_arguments = site.with_site_defaults(sys.argv[1:])
    _refuse_long_numbers(typed_arguments)

    def task_with_typed_arguments(config: DictConfig) -> float | None:
        sys.argv[1:] = typed_arguments
        return task(config)

    _refuse_wrong_forms(typed_arguments)
    OmegaConf.register_new_resolver("choose", _choose, replace=True)
    # Without this variable Hydra prints exceptions itself and exits before the other ranks can be ended.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv[1:] = hydra_arguments(renamed_keys.current_overrides(typed_arguments))
    with ExitStack() as stack:
        _register_sweep_folder(stack)
        hydra.main(version_base="1.3", config_path="pkg://configs", config_name="config")(
            task_with_typed_arguments
        )()


def _register_sweep_folder(stack: ExitStack) -> None:
    """Register the resolver of `hydra.sweep.dir`.

    The default sweeper writes `multirun.yaml`, which this pipeline does not need, to a temporary folder.
    Other sweepers write their results to the working folder.
    """

    @cache
    def temporary_folder() -> str:
        return stack.enter_context(tempfile.TemporaryDirectory(prefix="sweep-"))

    def sweep_folder(*, _root_: DictConfig) -> str:
        is_default = str(_root_.hydra.sweeper.get("_target_")).endswith(".BasicSweeper")
        return temporary_folder() if is_default else "."

    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)


def _refuse_wrong_forms(arguments: Sequence[str]) -> None:
    """Refuse arguments on which Hydra fails with an exception that is no message for users.

    Raises:
        UserError: an argument is nested too deeply, or chooses a YAML by a value that is no name.
    """
    groups = {"hydra", *(folder.name for folder in config_folder().iterdir() if folder.is_dir())}
    for argument in arguments:
        match = re.match(r"\+{0,2}([\w./]+)(@[\w.]*)?=", argument)
        key = match[1] if match else ""
        if argument.count("[") + argument.count("{") > _MAX_BRACKETS:
            raise UserError(
                f"{argument[:30]}... has more than {_MAX_BRACKETS} brackets. Simpler values are allowed. "
                f"Type {key or 'KEY'}=VALUE with a simpler value, or write the value in a YAML"
            )
        if key not in groups and not key.startswith("hydra/"):
            continue
        override = OverridesParser.create().parse_override(argument)
        choices = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
        for choice in choices:
            names = choice if isinstance(choice, list) and key == "experiment" else [choice]
            if key == "hydra/launcher":
                refuse_launcher(str(choice))
            if key == "hydra/sweeper" and choice == "optuna":
                _require_optuna()
            if not all(isinstance(name, str) and name.strip() for name in names):
                choice_text = "null" if choice is None else choice
                raise UserError(
                    f"{key}={choice_text} is not a name. The key {key} takes the name of a YAML file in the "
                    f"folder {key}. Type {key}=NAME, or leave the key out"
                )


def refuse_launcher(name: str) -> None:
    """Refuse a launcher of Hydra that runs the stages in other processes.

    Raises:
        UserError: this process would not receive their errors and results.
    """
    if name != "basic":
        raise UserError(
            f"hydra/launcher={name} runs the stages in other processes, and their errors do not come back. "
            "Only hydra/launcher=basic is allowed. Type the command without hydra/launcher, or python -m "
            "pipeline.chain -m launcher=slurm for a sweep on a cluster"
        )


def _require_optuna() -> None:
    try:
        importlib.metadata.version("hydra-optuna-sweeper")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            "hydra/sweeper=optuna needs the package hydra-optuna-sweeper. The extra `search` has it. Type "
            "pip install 'simsurrogate[search]'"
        ) from None


def plain_configuration(config: DictConfig) -> dict[str, Any]:
    """Return a run's configuration as plain data, with resolved interpolations and current names of keys."""
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return renamed_keys.current_configuration({str(key): value for key, value in values.items()})


def _refuse_long_numbers(arguments: Sequence[str]) -> None:
    """Raise UserError for a number with more digits than Python, and with it Hydra, converts."""
    for argument in arguments:
        match = re.search(rf"[\d_]{{{_MAX_DIGITS + 1},}}", argument)
        if match:
            raise UserError(
                f"{argument[:40]}...: a number has {len(match[0])} digits. At most "
                f"{_MAX_DIGITS} digits are allowed. Type a shorter number"
            )


def hydra_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the command line with additions of keys for solvers and surrogates from outside.

    solver.path=my_heat.py solver.width=3
        becomes solver=custom ++solver.name=my_heat ++solver.path=my_heat.py ++solver.width=3

    A second application leaves the result unchanged.
    """
    result = list(arguments)
    for group in _GROUPS:
        result = _with_outside_member(group, result)
    return result


def _with_outside_member(group: str, arguments: list[str]) -> list[str]:
    path = _value_of(f"{group}.path", arguments)
    choice = _value_of(group, arguments)
    if path is not None and not path.strip():
        raise UserError(
            f"{group}.path={path} is empty, as an unset shell variable leaves it. The path of a Python file "
            f"is allowed. Type {group}.path=FILE.py, or leave {group}.path out"
        )
    if path is not None and choice is None:
        name = Path(path).stem
        arguments = overrides.inserted(
            [f"{group}=custom", *_name_override(group, name, arguments)], arguments
        )
    elif choice not in (None, "custom") and _is_installed_without_yaml(group, str(choice), arguments):
        other_arguments = [argument for argument in arguments if _key(argument) != group]
        member = [f"{group}=custom", *_name_override(group, str(choice), arguments)]
        arguments = overrides.inserted(member, other_arguments)
    elif path is None and not (choice == "custom" and _value_of(f"{group}.name", arguments)):
        return arguments
    return [
        f"++{argument.lstrip('+')}" if _key(argument).startswith(f"{group}.") else argument
        for argument in arguments
    ]


def _name_override(group: str, name: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield the override that names the member, unless the command line has one."""
    if _value_of(f"{group}.name", arguments) is None:
        yield f"++{group}.name={name}"


def _key(argument: str) -> str:
    """Return the key of an argument KEY=VALUE, +KEY=VALUE or ++KEY=VALUE; empty for other arguments."""
    match = re.match(r"\+{0,2}([\w.]+)=", argument)
    return match[1] if match else ""


def _value_of(key: str, arguments: Sequence[str]) -> str | None:
    """Return the last value of a key on the command line, as text; None without a single value."""
    assignments = [argument for argument in arguments if _key(argument) == key]
    if not assignments:
        return None
    override = OverridesParser.create().parse_override(assignments[-1])
    if override.is_sweep_override():
        return None
    return str(override.value())


def _is_installed_without_yaml(group: str, name: str, arguments: Sequence[str]) -> bool:
    """Return whether an installed package announces a member without YAML on Hydra's search path."""
    folders = [config_folder(), *_config_folders(arguments)]
    if any((folder / group / f"{name}.yaml").is_file() for folder in folders):
        return False
    return name in installed_entry_points(f"{group}s").names


def _config_folders(arguments: Sequence[str]) -> Iterator[Path]:
    """Yield the folders that the command line adds to Hydra's search path."""
    for index, argument in enumerate(arguments):
        if argument in ("--config-dir", "-cd") and index + 1 < len(arguments):
            yield Path(arguments[index + 1])
        elif argument.startswith("--config-dir="):
            yield Path(argument.partition("=")[2])
        elif argument.startswith("hydra.searchpath="):
            override = OverridesParser.create().parse_override(argument).value()
            folders = override if isinstance(override, list) else [override]
            yield from (Path(str(folder).removeprefix("file://")) for folder in folders)


def stage_arguments(model: str) -> list[str]:
    """Return this run's arguments for another stage: the user's configuration folders, then the overrides.

    `model` is the model's name, which a sweep determines; the arguments of a single run need not contain it.
    """
    config = HydraConfig.get()
    has_model_name = any(argument.startswith("model=") for argument in config.overrides.task)
    return [
        *_configuration_arguments(),
        *(argument for argument in config.overrides.task if not argument.startswith("dry_run=")),
        *([f"model={model}"] if is_sweep() and not has_model_name else []),
    ]


def _configuration_arguments() -> list[str]:
    """Return the arguments that choose the user's configuration folders and the main YAML."""
    config = HydraConfig.get()
    folders = [source.path for source in config.runtime.config_sources if source.provider == "command-line"]
    name = str(config.job.config_name)
    return [
        *(argument for folder in folders for argument in ("--config-dir", folder)),
        *(() if name == "config" else ("--config-name", name)),
        *(argument for argument in config.overrides.hydra if argument.startswith("hydra.searchpath=")),
    ]


def sweep_arguments() -> list[str]:
    """Return this sweep's command line for another start; empty without a sweep."""
    if not is_sweep():
        return []
    arguments = [argument for argument in sys.argv[1:] if "=" in argument and not argument.startswith("-")]
    typed_overrides = [
        argument for argument in arguments if not argument.startswith(("dry_run=", "hydra.searchpath="))
    ]
    return ["--multirun", *_configuration_arguments(), *typed_overrides]


def is_sweep() -> bool:
    """Return whether this run belongs to a sweep, Hydra's `-m`."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def config_folder() -> Path:
    """Return the folder of the shipped YAML files."""
    import configs

    return Path(configs.__path__[0])


def _choose(key: str, values: Mapping[str, Any], default: Any) -> Any:
    """Return the value of a key or the default: `${choose:${surrogate.name},{mlp: 4000},1000}` in a YAML."""
    return values.get(key, default)
