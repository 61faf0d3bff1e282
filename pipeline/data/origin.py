"""The origin of trajectories: a solver, a measurement, a surrogate, or unknown."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.data.document import Checksum, Document
from simsurrogate.errors import UserError

OriginKind = Literal["solver", "measurement", "surrogate", "unknown"]
#: The keys that describe an origin of each kind.
_KEYS: dict[OriginKind, tuple[str, ...]] = {
    "solver": ("name", "version", "sources"),
    "measurement": ("source", "instrument", "uncertainty"),
    "surrogate": ("name", "version", "sources", "model", "data", "generation", "verified", "corrected_by"),
    "unknown": (),
}


class Origin(Document):
    """Where trajectories come from.

    Attributes:
        kind: a solver, a measurement, a surrogate, or unknown.
        name: the name of the solver or of the surrogate.
        version: its version.
        sources: the hash of its source code.
        source: who or what measured.
        instrument: the instrument of the measurement.
        uncertainty: the uncertainty of the measurement, with its unit.
        model: the checksum of the model's description, which holds that of its weights.
        data: the identity of the first data set that the model was trained on.
        generation: 0 for a solver and a measurement. A model that was trained on data of generation g writes
            data of generation g + 1.
        verified: how each trajectory of a surrogate was verified; empty if it was not.
        corrected_by: the solver that corrected the trajectories of a surrogate; empty if none did.
    """

    kind: OriginKind
    name: str = ""
    version: str = ""
    sources: str = ""
    source: str = ""
    instrument: str = ""
    uncertainty: str = ""
    model: Checksum = ""
    data: Checksum = ""
    generation: Annotated[int, Field(ge=0, le=10**6)] = 0
    verified: str = ""
    corrected_by: str = ""

    @model_validator(mode="after")
    def _fitting_keys(self) -> Origin:
        """Refuse keys of another kind, and a surrogate of generation 0."""
        for key in type(self).model_fields:
            if key != "kind" and getattr(self, key) and key not in _KEYS[self.kind]:
                raise ValueError(f"an origin of the kind {self.kind} has no {key}")
        if (self.kind == "surrogate") != (self.generation > 0):
            raise ValueError("only the output of a surrogate has a generation, which is at least 1")
        return self

    @property
    def is_model_output(self) -> bool:
        """Whether a surrogate computed the trajectories."""
        return self.kind == "surrogate"

    @property
    def text(self) -> str:
        """The origin in words, for cards and reports."""
        version = f" {self.version}" if self.version else ""
        if self.kind == "solver":
            return f"solver {self.name}{version}"
        if self.kind == "measurement":
            details = [self.instrument, f"uncertainty {self.uncertainty}" if self.uncertainty else ""]
            return ", ".join([f"measurement, {self.source}", *filter(None, details)])
        if self.kind == "unknown":
            return "unknown"
        notes = [
            f"generation {self.generation}",
            *([f"verified by {self.verified}"] if self.verified else ["not verified"]),
            *([f"corrected by the solver {self.corrected_by}"] if self.corrected_by else []),
        ]
        model = f" {self.model[:12]}" if self.model else ""
        return f"output of the surrogate {self.name}{version}{model}, {', '.join(notes)}"


UNKNOWN = Origin(kind="unknown")


class DeclaredOrigin(BaseModel):
    """The origin of files, as a command line or a description declares it; without `kind` there is none.

    `name` and `version` belong to a solver and a surrogate, `generation` and `corrected_by` to a surrogate,
    and `source`, `instrument` and `uncertainty` to a measurement.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: OriginKind | None = None
    name: str | None = None
    version: str | None = None
    source: str | None = None
    instrument: str | None = None
    uncertainty: str | float | None = None
    generation: Annotated[int, Field(ge=1, le=10**6)] | None = None
    corrected_by: str | None = None

    @property
    def origin(self) -> Origin | None:
        """The declared origin, or None.

        Raises:
            UserError: a key does not belong to the kind, or a needed key is missing.
        """
        values = self.model_dump(exclude={"kind"}, exclude_none=True)
        if self.kind is None:
            if values:
                kinds = ", ".join(get_args(OriginKind))
                raise UserError(
                    f"origin.{next(iter(values))} describes an origin without a kind. Kinds are {kinds}. Add "
                    "origin.kind=measurement, for example"
                )
            return None
        allowed = [key for key in _KEYS[self.kind] if key in type(self).model_fields]
        if wrong := [key for key in values if key not in allowed]:
            raise UserError(
                f"origin.{wrong[0]} does not belong to origin.kind={self.kind}. Keys of this kind are "
                f"{', '.join(allowed) or 'none'}. Leave out origin.{wrong[0]}"
            )
        needed = next((key for key in ("name", "source") if key in allowed), None)
        if needed and needed not in values:
            raise UserError(
                f"origin.kind={self.kind} has no origin.{needed}. It names where the data come from. Add "
                f"origin.{needed}=NAME"
            )
        if self.kind == "surrogate":
            values.setdefault("generation", 1)
        if "uncertainty" in values:
            values["uncertainty"] = str(values["uncertainty"])
        return Origin(kind=self.kind, **values)
