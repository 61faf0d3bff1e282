"""The description of a trained model, `model.json`: all but the weights, with a digest of itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic reads it

from simsurrogate import documents
from simsurrogate.errors import UserError
from simsurrogate.files import digest, write_whole
from surrogates.contract import Problem

DESCRIPTION: Final = "model.json"
FORMAT: Final = "simsurrogate model 4"
_OLDER_FORMATS = ("simsurrogate model 1", "simsurrogate model 2", "simsurrogate model 3")
_REMEDY = "Train the model again with overwrite=true"


@with_config(ConfigDict(extra="allow"))
class _Model(TypedDict):
    """The keys of `model.json` that this package reads."""

    surrogate: str
    options: dict[str, object]
    problem: dict[str, object]
    precision: Literal["float32", "float64"]
    num_parameters: int
    sources: NotRequired[str]
    configuration: NotRequired[dict[str, object]]
    step: NotRequired[int | list[int]]
    weights_sha256: NotRequired[str]
    members_sha256: NotRequired[list[str]]


def write(folder: Path, content: Mapping[str, Any], advice: str) -> None:
    """Write `model.json` with its format and its digest; `advice` ends the message about a full disk.

    Raises:
        StorageError: the file cannot be written.
    """
    complete = json.loads(json.dumps({"format": FORMAT, **content}))
    complete["sha256"] = digest(complete)
    write_whole(folder / DESCRIPTION, json.dumps(complete, indent=2), advice=advice)


def description(folder: Path) -> Mapping[str, Any]:
    """Return the content of `model.json`.

    Raises:
        UserError: the file is missing, unreadable, changed, or of another format.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        raise UserError(
            f"{folder} holds no trained model, because {DESCRIPTION} is missing. A run holds models after "
            "its train stage. Type python -m pipeline.train run=RUN."
        )
    text = documents.read_text(path, _REMEDY)
    content = documents.parse_json(text, dict[str, object], str(path), _REMEDY)
    model_format = content.get("format")
    if model_format in _OLDER_FORMATS:
        raise UserError(
            f"{path} has the format {model_format!r} of an older version. This version reads {FORMAT!r}. "
            f"{_REMEDY}, or load it with the version that wrote it."
        )
    if model_format != FORMAT:
        raise UserError(
            f"{path} has the format {model_format!r}. The expected format is {FORMAT!r}. Name a model "
            "folder that the train stage wrote, RUN/models/MODEL."
        )
    recorded = content.pop("sha256", None)
    if recorded != digest(content):
        raise UserError(
            f"{path} was changed: the digest of its content is {digest(content)}. The recorded digest is "
            f"{recorded}. {_REMEDY}"
        )
    documents.parse_json(text, _Model, str(path), _REMEDY)
    return {**content, "sha256": recorded}


def recorded_problem(content: Mapping[str, Any]) -> Problem:
    """Return the problem that a description records, with every type and every statistic checked.

    Raises:
        ValueError: a key is missing or unknown, or a value has the wrong type or no meaning.
    """
    problem = Problem.from_json(content["problem"])
    spec, stats = problem.spec, problem.statistics
    num_channels, num_coefficients = len(spec.channels), len(spec.coefficient_channels)
    lengths = {
        "mean": num_channels,
        "std": num_channels,
        "delta_std": num_channels,
        "coefficient_mean": num_coefficients,
        "coefficient_std": num_coefficients,
        "parameter_mean": len(spec.parameters),
        "parameter_std": len(spec.parameters),
    }
    for name, length in lengths.items():
        values = getattr(stats, name)
        if len(values) != length:
            raise ValueError(f"the statistics {name} have {len(values)} values, {length} expected")
        if not all(map(math.isfinite, values)) or ("std" in name and min(values, default=0) < 0):
            raise ValueError(f"the statistics {name} are {list(values)}, finite numbers expected")
    for name, length in (("channel_ranges", num_channels), ("coefficient_ranges", num_coefficients)):
        ranges = getattr(stats, name)
        if ranges and (
            len(ranges) != length or not all(-math.inf < low <= high < math.inf for low, high in ranges)
        ):
            raise ValueError(f"the statistics {name} are {list(ranges)}, {length} finite ranges expected")
    if not (0 < problem.time_step < math.inf and 0 < problem.duration < math.inf):
        raise ValueError(f"the time step is {problem.time_step} and the duration {problem.duration}")
    return problem
