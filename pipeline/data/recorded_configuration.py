"""The configuration of a data set as its manifest records it, checked before any of its values is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.data.origin import Origin
from pipeline.data.plan import SPLITS

_Samples = Annotated[int, Field(ge=0, le=2**40)]
_Cells = Annotated[int, Field(ge=1, le=2**53)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class _SamplesSection(_Section):
    train: _Samples
    valid: _Samples
    test: _Samples
    test_extrapolation: _Samples
    calibration: _Samples = 0
    per_shard: Annotated[int, Field(ge=1)]


class _OutputSection(_Section):
    duration: Annotated[float, Field(gt=0)]
    steps: Annotated[int, Field(ge=1)]
    coarsen: _Cells | list[_Cells] = 1
    coarsen_method: Literal["automatic", "cell_averages"] = "automatic"


class _StorageSection(_Section):
    precision: Literal["float32", "float64"]


class _SolverSection(_Section):
    name: str
    path: str | None = None


class _ProgramSection(_Section):
    command: list[str]


class _DrawnBySection(_Section):
    """The configuration of the solver's data from which the model of a surrogate's data descends."""

    solver: _SolverSection
    output: _OutputSection


class _RecordedConfiguration(_Section):
    seed: Annotated[int, Field(ge=0)]
    code_version: str
    samples: _SamplesSection
    output: _OutputSection
    storage: _StorageSection
    solver: _SolverSection
    program: _ProgramSection | None = None
    origin: Origin | None = None
    drawn_by: _DrawnBySection | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> _RecordedConfiguration:
        """Refuse a surrogate's data without the solver that drew them."""
        if (self.origin is None) != (self.drawn_by is None):
            raise ValueError("origin and drawn_by belong together")
        return self


def _checked(configuration: dict[str, object]) -> dict[str, object]:
    """Return the configuration, after a check of the keys that the pipeline itself reads.

    Raises:
        ValueError: a key is missing or has a value that no data set can have.
    """
    try:
        _RecordedConfiguration.model_validate(configuration, strict=True)
    except ValidationError as error:
        issue = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, issue['loc']))}: {issue['msg']}") from None
    return configuration


#: The configuration of a data set, as JSON: the keys of the command line that determine its bytes.
Configuration = Annotated[dict[str, Any], AfterValidator(_checked)]


#: The name of the solver of data that no solver of this pipeline computed.
NO_SOLVER = "none"


def is_adopted(configuration: Mapping[str, Any]) -> bool:
    """Return whether the data set was made out of files that existed, without a solver."""
    return "adopted" in configuration


def computed_by_solver(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration of the solver of a data set.

    A surrogate's data take parameters, initial states and coefficient fields from the solver of the data that
    the model descends from.
    """
    drawn_by: Mapping[str, Any] = configuration.get("drawn_by", configuration)
    return drawn_by


def computed_origin(configuration: Mapping[str, Any]) -> Origin | None:
    """Return the origin of generated data, also of those of earlier releases; None for adopted data."""
    if is_adopted(configuration):
        return None
    if "origin" in configuration:
        return Origin.model_validate(configuration["origin"])
    return Origin(
        kind="solver",
        name=configuration["solver"]["name"],
        version=configuration["code_version"],
        sources=configuration.get("solver_sources", ""),
    )


def has_gaps(configuration: Mapping[str, Any]) -> bool:
    """Return whether the data set was adopted with declared gaps: NaN in a field is a missing value."""
    return bool(_described(configuration).get("gaps", False))


def noise_of(configuration: Mapping[str, Any]) -> dict[str, float]:
    """Return the declared standard deviation of the noise of each field with noise, in the field's unit."""
    fields = _described(configuration).get("fields", {})
    return {name: float(field["noise"]) for name, field in fields.items() if field.get("noise")}


def _described(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the user's description of an adopted data set without its defaults; empty for other data."""
    adopted = configuration.get("adopted")
    description = adopted.get("description") if isinstance(adopted, dict) else None
    return description if isinstance(description, dict) else {}


def making_stage(configuration: Mapping[str, Any]) -> str:
    """Return the name of the stage that makes the data set."""
    return "adopt" if is_adopted(configuration) else "generate"


def of_shards(configuration: Configuration) -> Configuration:
    """Return the part of a configuration that determines the shards: all but the numbers of trajectories."""
    return configuration | {"samples": {"per_shard": configuration["samples"]["per_shard"]}}


def grows(stored: Configuration, requested: Configuration) -> bool:
    """Return whether `requested` adds trajectories to the data set of `stored`, and changes nothing else."""
    return of_shards(stored) == of_shards(requested) and all(
        stored["samples"].get(split, 0) <= requested["samples"].get(split, 0) for split in SPLITS
    )
