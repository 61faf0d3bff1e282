"""The configuration of a run, checked: every key, type and range, before any work starts."""

from __future__ import annotations

import difflib
import importlib.metadata
import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    create_model,
    field_validator,
)

from pipeline.data import plan
from simsurrogate.errors import UserError
from solvers.contract import Solver, solver_class

SPLITS = plan.SPLITS


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Samples(_Section):
    """Trajectories in each split, and in one shard file."""

    train: PositiveInt
    valid: PositiveInt
    test: PositiveInt
    test_extrapolation: NonNegativeInt
    per_shard: PositiveInt


class Output(_Section):
    """The frames of a trajectory: `steps` + 1 of them, evenly spaced from 0 to `duration`."""

    duration: PositiveFloat
    steps: PositiveInt


class Storage(_Section):
    """How fields are kept on disk, and the share of trajectories that may fail."""

    precision: Literal["float32", "float64"]
    max_failed_share: Annotated[float, Field(ge=0, le=1)]


class Finish(_Section):
    """`steps` behind those of AdamW, each of at most `iterations` of a second-order method on one batch."""

    method: Literal["none", "lbfgs", "levenberg_marquardt"]
    steps: PositiveInt
    iterations: PositiveInt


class Training(_Section):
    """The training loop; `batch_size` counts windows over all ranks."""

    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    warmup_steps: NonNegativeInt
    schedule: Literal["cosine", "linear", "constant"]
    weight_decay: Annotated[float, Field(ge=0)]
    gradient_clip: PositiveFloat
    max_skipped_steps: NonNegativeInt
    unroll: PositiveInt
    noise: Annotated[float, Field(ge=0)]
    ema: Annotated[float, Field(ge=0, lt=1)]
    gradient_accumulation_steps: PositiveInt
    balance_every: NonNegativeInt
    precision: Literal["float32", "float64", "bfloat16"]
    compile: bool
    finish: Finish
    validate_every: PositiveInt
    checkpoint_every: PositiveInt
    keep_checkpoints: PositiveInt
    device: Literal["auto", "cpu", "cuda"]
    tensorboard: bool

    @property
    def total_steps(self) -> int:
        """Those of AdamW and of the finish."""
        return self.steps + (self.finish.steps if self.finish.method != "none" else 0)


class Evaluation(_Section):
    """What is evaluated and drawn."""

    batch_size: PositiveInt
    pictures: NonNegativeInt


Stage = Literal["generate", "validate", "train", "evaluate"]


class Launcher(_Section):
    """Where the chain runs its stages, on how many ranks, and behind which launch line.

    On Slurm also: `parts`, the tasks of generate's job array; `setup`, shell lines before each stage; and
    options of sbatch without their dashes, those of `all` stages and those of one.
    """

    name: Literal["local", "slurm"]
    ranks: dict[Stage, PositiveInt]
    mpirun: list[str]
    parts: PositiveInt = 1
    setup: list[str] = []
    sbatch: dict[Stage | Literal["all"], dict[str, str | int | bool]] = {}


class Settings(_Section):
    """All of a run's configuration. `solver` and `surrogate` are the keyword arguments of the class
    that their `name` stands for; `build_solver` and `surrogate_options` check them against it.
    """

    run: Path
    dataset: Path
    model: Annotated[str, Field(pattern=r"^\w[\w.+-]*$")]
    seed: NonNegativeInt
    group_size: PositiveInt
    ensemble: PositiveInt
    part: tuple[NonNegativeInt, PositiveInt]
    start_anew: bool
    dry_run: bool
    solver: dict[str, Any]
    samples: Samples
    output: Output
    storage: Storage
    surrogate: dict[str, Any]
    training: Training
    evaluation: Evaluation
    launcher: Launcher

    @field_validator("part")
    @classmethod
    def _one_of_them(cls, part: tuple[int, int]) -> tuple[int, int]:
        if part[0] >= part[1]:
            raise UserError(f"of {part[1]} parts the first is 0 and the last {part[1] - 1}")
        return part

    def dataset_settings(self) -> dict[str, Any]:
        """The part that determines every byte of the data set, and the version of the code."""
        chosen = self.model_dump(
            mode="json",
            include={"seed", "solver", "samples", "output", "storage"},
            exclude={"storage": {"max_failed_share"}},
        )
        return chosen | {"code_version": importlib.metadata.version("simsurrogate")}

    @property
    def model_folder(self) -> Path:
        """`RUN/models/MODEL`."""
        return self.run / "models" / self.model


def read(plain: dict[str, Any]) -> Settings:
    """Checks a plain nested mapping.

    Raises:
        UserError: each wrong key, type or value, one a line, with the nearest legal key.
    """
    settings: Settings = _checked(Settings, plain, "")
    return settings


def build_solver(options: dict[str, Any], communicator: Any) -> Solver:
    """The solver that `options["name"]` stands for.

    Raises:
        UserError: an unknown solver, a wrong option, or options that cannot work together.
    """
    constructor: Callable[..., Solver] = solver_class(str(options.get("name")))
    arguments = constructor_arguments(constructor, options, "solver", given=("communicator",))
    return constructor(**arguments, communicator=communicator)


def constructor_arguments(
    constructor: Callable[..., Any], options: dict[str, Any], group: str, given: tuple[str, ...]
) -> dict[str, Any]:
    """`options` without `name`, checked against the constructor's signature and converted to its types.

    `given` are the arguments that do not come from the configuration; `group` stands before each key
    in messages.

    Raises:
        UserError: each wrong key, type or value, one a line.
    """
    signature = inspect.signature(constructor)
    hints = get_type_hints(getattr(constructor, "__init__", constructor), include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if argument.default is argument.empty else argument.default)
        for name, argument in signature.parameters.items()
        if name not in given
    }
    model = create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)
    values = {name: value for name, value in options.items() if name != "name"}
    checked = _checked(model, values, f"{group}.")
    return {name: getattr(checked, name) for name in fields}


def nearest(key: str, legal: list[str]) -> str:
    """A half-sentence that names the legal keys nearest to `key`."""
    if not legal:
        return "a + in front adds one"
    close = difflib.get_close_matches(key, legal, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"legal are {', '.join(sorted(legal))}"


def _checked(model: type[Any], plain: dict[str, Any], prefix: str) -> Any:
    try:
        checked = model.model_validate(plain)
    except ValidationError as error:
        raise UserError("\n".join(_line(issue, plain, model, prefix) for issue in error.errors())) from None
    wrong = list(_no_numbers(plain, checked.model_dump(), prefix))
    if wrong:
        raise UserError("\n".join(wrong))
    return checked


def _no_numbers(found: Any, taken: Any, key: str) -> Iterator[str]:
    """What pydantic lets pass as numbers: infinite ones, and true and false."""
    if isinstance(found, dict) and isinstance(taken, dict):
        for name in found.keys() & taken.keys():
            yield from _no_numbers(found[name], taken[name], f"{key}{name}.")
    elif isinstance(found, list) and isinstance(taken, (list, tuple)):
        for number, (one, other) in enumerate(zip(found, taken, strict=False)):
            yield from _no_numbers(one, other, f"{key}{number}.")
    elif isinstance(taken, float) and not math.isfinite(taken):
        yield f"{key[:-1]}={found!r}: input should be a finite number"
    elif isinstance(found, bool) and not isinstance(taken, bool):
        yield f"{key[:-1]}={found!r}: input should be a number, not true or false"


def _line(issue: Any, plain: dict[str, Any], model: type[BaseModel], prefix: str) -> str:
    location = [str(part) for part in issue["loc"]]
    key = prefix + ".".join(location)
    if issue["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: there is no such key; {nearest(location[-1], _siblings(model, location))}"
    if issue["type"] == "missing":
        return f"{key}: is required"
    message = issue["msg"]
    return f"{key}={issue['input']!r}: {message[0].lower()}{message[1:]}"


def _siblings(model: Any, location: list[str]) -> list[str]:
    """The legal keys beside the last part of `location`."""
    for part in location[:-1]:
        field = getattr(model, "model_fields", getattr(model, "__dataclass_fields__", {})).get(part)
        model = None if field is None else getattr(field, "annotation", None) or field.type
    return list(getattr(model, "model_fields", getattr(model, "__dataclass_fields__", {})))
