"""The checked configuration of a run: every key, type and range, before any work starts."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.metadata
import math
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from simsurrogate.errors import UserError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Samples(_Section):
    """The number of trajectories in each split and in one shard."""

    train: PositiveInt
    valid: PositiveInt
    test: PositiveInt
    test_extrapolation: NonNegativeInt
    per_shard: PositiveInt


class Output(_Section):
    """The `steps` + 1 frames of a trajectory, evenly spaced from 0 to `duration` (s)."""

    duration: PositiveFloat
    steps: PositiveInt


class Storage(_Section):
    """The precision of fields on disk, and the allowed share of failed trajectories."""

    precision: Literal["float32", "float64"]
    max_failed_share: Annotated[float, Field(ge=0, le=1)]


class Finish(_Section):
    """A second-order method after AdamW: `steps`, each of at most `iterations` on one batch.

    With the method `none`, only the defaults of the other two options are accepted.
    """

    method: Literal["none", "lbfgs", "levenberg_marquardt"]
    steps: PositiveInt = 10
    iterations: PositiveInt = 100

    @field_validator("steps", "iterations")
    @classmethod
    def _unused_at_default(cls, value: int, info: ValidationInfo) -> int:
        default = cls.model_fields[str(info.field_name)].default
        if info.data.get("method") == "none" and value != default:
            raise UserError(
                f"has no effect with training.finish.method=none. Only its default {default} is accepted. "
                f"Type training.finish.{info.field_name}={default}, or choose a method with "
                "training.finish.method=lbfgs"
            )
        return value


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
        """The steps of AdamW and of the second-order method."""
        return self.steps + (self.finish.steps if self.finish.method != "none" else 0)


class Evaluation(_Section):
    """The evaluation: `batch_size` trajectories at a time, figures of the first `figures` of them."""

    batch_size: PositiveInt
    figures: NonNegativeInt


Stage = Literal["generate", "validate", "train", "evaluate"]


class Launcher(_Section):
    """The machine that runs the chain, the number of ranks of each stage, and the launch line.

    For Slurm also: `parts`, the tasks of generate's job array; `setup`, shell lines before each stage; and
    `sbatch`, options without their dashes for `all` stages or for one.
    """

    name: Literal["local", "slurm"]
    ranks: dict[Stage, PositiveInt]
    mpirun: list[str]
    parts: PositiveInt = 1
    setup: list[str] = []
    sbatch: dict[Stage | Literal["all"], dict[str, str | int | bool]] = {}


class Settings(_Section):
    """The whole configuration of a run.

    `solver` and `surrogate` hold the name of a class and its keyword arguments, which `pipeline.config.build`
    checks against the signature of the class.
    """

    run: Path
    dataset: Path
    model: Annotated[str, Field(pattern=r"^\w[\w.+-]*$")]
    seed: NonNegativeInt
    group_size: PositiveInt
    ensemble: PositiveInt
    part: tuple[NonNegativeInt, PositiveInt]
    overwrite: bool
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
    def _within_range(cls, part: tuple[int, int]) -> tuple[int, int]:
        if part[0] >= part[1]:
            raise UserError(
                f"parts of {part[1]} are numbered from 0 to {part[1] - 1}. Type part=[0,{part[1]}]"
            )
        return part

    def dataset_settings(self) -> dict[str, Any]:
        """Return the part that determines every byte of the data set, and the version of the code.

        For a solver in a user's file, the result holds the name of the file without its folder.
        """
        chosen_settings = self.model_dump(
            mode="json",
            include={"seed", "solver", "samples", "output", "storage"},
            exclude={"storage": {"max_failed_share"}},
        )
        if chosen_settings["solver"].get("path"):
            chosen_settings["solver"] = chosen_settings["solver"] | {
                "path": Path(chosen_settings["solver"]["path"]).name
            }
        return chosen_settings | {"code_version": importlib.metadata.version("simsurrogate")}


def read(plain: dict[str, Any]) -> Settings:
    """Return the settings of a plain nested mapping, as Hydra composes it.

    Raises:
        UserError: each wrong key, type or value, one a line, with the nearest legal key.
    """
    settings: Settings = validated(Settings, plain, "")
    return settings


def nearest(key: str, legal: list[str]) -> str:
    """Return the part of a message that names the nearest legal keys."""
    if not legal:
        return "a + in front adds one"
    close = difflib.get_close_matches(key, legal, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"legal are {', '.join(sorted(legal))}"


def validated(model: type[Any], plain: Mapping[str, Any], prefix: str) -> Any:
    """Return an instance of the pydantic model.

    Raises:
        UserError: each wrong key, type or value, one a line; `prefix` stands before each key.
    """
    try:
        instance = model.model_validate(plain)
    except ValidationError as error:
        raise UserError("\n".join(_line(issue, model, prefix) for issue in error.errors())) from None
    mistakes = list(_no_numbers(plain, instance.model_dump(), prefix))
    if mistakes:
        raise UserError("\n".join(mistakes))
    return instance


def _no_numbers(plain: Any, parsed: Any, key: str) -> Iterator[str]:
    """Yield a line for each infinite number, and for each true or false that pydantic took for a number."""
    if isinstance(plain, dict) and isinstance(parsed, dict):
        for name in plain.keys() & parsed.keys():
            yield from _no_numbers(plain[name], parsed[name], f"{key}{name}.")
    elif isinstance(plain, list) and isinstance(parsed, (list, tuple)):
        for index, (item, parsed_item) in enumerate(zip(plain, parsed, strict=False)):
            yield from _no_numbers(item, parsed_item, f"{key}{index}.")
    elif isinstance(parsed, float) and not math.isfinite(parsed):
        yield f"{key[:-1]}={plain!r}: input should be a finite number"
    elif isinstance(plain, bool) and not isinstance(parsed, bool):
        yield f"{key[:-1]}={plain!r}: input should be a number, not true or false"


def _line(issue: Any, model: type[BaseModel], prefix: str) -> str:
    location, siblings = _located(model, [str(part) for part in issue["loc"]])
    key = prefix + ".".join(location)
    if issue["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: there is no such key; {nearest(location[-1], siblings)}"
    if issue["type"] == "missing":
        return f"{key}: is required"
    if issue["type"] == "union_tag_not_found":
        return f"{key}.kind: is required"
    if issue["type"] == "union_tag_invalid":
        kind, kinds = issue["ctx"]["tag"], issue["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{key}.kind={kind!r}: there is no such kind; {nearest(kind, kinds)}"
    message = issue["msg"].removeprefix("Value error, ")
    return f"{key}={issue['input']!r}: {message[0].lower()}{message[1:]}"


def _located(model: Any, location: list[str]) -> tuple[list[str], list[str]]:
    """Return pydantic's location without the tags of unions, and the legal keys next to its last part."""
    path: list[str] = []
    members: Mapping[str, Any] = {}
    for part in location:
        if members:
            model, members = members.get(part), {}
            continue
        siblings = _fields_of(model)
        path.append(part)
        model = siblings.get(part)
        members = union_members(model)
    return path, list(siblings)


def _fields_of(model: Any) -> dict[str, Any]:
    """Return the types of a pydantic model's or a dataclass's fields by name."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return get_type_hints(model) if dataclasses.is_dataclass(model) else {}


def union_members(hint: Any) -> dict[str, type[Any]]:
    """Return the dataclasses of a union by their `kind: Literal[...]`; empty for every other type."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) not in (Union, types.UnionType):
        return {}
    members: dict[str, type[Any]] = {}
    for member in get_args(hint):
        kind = get_type_hints(member).get("kind") if dataclasses.is_dataclass(member) else None
        if get_origin(kind) is not Literal:
            return {}
        members |= dict.fromkeys(get_args(kind), member)
    return members
