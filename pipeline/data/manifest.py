"""The papers of a data set: its manifest, one receipt a shard, and the outcome of its validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.data.format.layout import GRID_VERSION, PARTICLES_VERSION, Header
from pipeline.data.plan import Shard, shards
from simsurrogate.errors import UserError
from simsurrogate.files import digest, write_whole
from simsurrogate.spec import Spec

FORMAT: Final = "simsurrogate data set"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Failure(_Document):
    """A trajectory that could not be computed; its index tells how to draw it again."""

    index: int
    reason: str
    parameters: dict[str, float]


class Receipt(_Document):
    """What was written to one shard, by whom it was made, and what it cost.

    Of the `drawn` trajectories from index `first` on, all but the `failed` ones are its rows; a shard
    without any has no file, size 0 and no checksum. `moments` holds the training split's contribution
    to the statistics.
    """

    configuration_hash: str
    split: str
    number: int
    size: int
    sha256: str
    first: int
    drawn: int
    failed: list[Failure]
    moments: dict[str, dict[str, Any]]
    core_seconds: float

    @property
    def trajectories(self) -> int:
        """How many rows the shard has."""
        return self.drawn - len(self.failed)

    @property
    def indices(self) -> np.ndarray:
        """The trajectory of each row."""
        drawn = np.arange(self.first, self.first + self.drawn)
        return np.setdiff1d(drawn, [failure.index for failure in self.failed], assume_unique=True)


class ManifestShard(_Document):
    """One shard as the manifest lists it."""

    file: str
    trajectories: int
    size: int
    sha256: str
    core_seconds: float


class Manifest(_Document):
    """What a data set is. Only the shards it lists count, and those only when it is `complete`."""

    format: Literal["simsurrogate data set"] = FORMAT
    schema_version: int
    configuration: dict[str, Any]
    configuration_hash: str
    spec: Spec
    method: str
    parameter_shapes: dict[str, tuple[int, ...]]
    complete: bool = False
    shards: list[ManifestShard] = []
    failed: list[Failure] = []
    statistics_sha256: str = ""

    @property
    def identity(self) -> str:
        """A hash of the data: equal for two data sets of the same configuration and equal bytes."""
        content = self.model_dump(include={"configuration", "spec", "statistics_sha256"})
        content["shards"] = [(shard.file, shard.size, shard.sha256) for shard in self.shards]
        return digest(content)

    @property
    def unmade(self) -> Manifest:
        """The manifest as it was before the work."""
        made = {"complete", "shards", "failed", "statistics_sha256"}
        return Manifest(**self.model_dump(exclude=made))

    @property
    def planned(self) -> list[Shard]:
        """Every shard that the configuration asks for."""
        return shards(self.configuration["samples"])

    @property
    def header(self) -> Header:
        """What all its shards share."""
        output = self.configuration["output"]
        return Header(
            spec=self.spec,
            times=output["duration"] * np.arange(output["steps"] + 1) / output["steps"],
            precision=self.configuration["storage"]["precision"],
            parameter_shapes=self.parameter_shapes,
            attributes={
                "configuration_hash": self.configuration_hash,
                "seed": self.configuration["seed"],
                "solver": self.configuration["solver"]["name"],
                "solver_method": self.method,
                "code_version": self.configuration["code_version"],
            },
        )


class Validation(_Document):
    """The outcome of a validation of the data set that `identity` stands for.

    `checks` counts, by name of the check, how often it was made; `failures` tells each that failed.
    """

    identity: str
    outcome: Literal["passed", "failed"]
    checks: dict[str, int]
    failures: list[str]


DocumentType = TypeVar("DocumentType", bound=_Document)


def complete_manifest(folder: Path) -> Manifest:
    """The manifest of a complete data set.

    Raises:
        UserError: there is none, it is not complete, or it lists files that are none of its shards;
            the message says what to do.
    """
    if not (folder / "manifest.json").is_file():
        raise UserError(
            f"there is no data set in {folder} (no manifest.json); make one with "
            "python -m pipeline.generate, or name another with dataset="
        )
    manifest = read_document(folder / "manifest.json", Manifest)
    if not manifest.complete:
        raise UserError(f"the data set in {folder} is not complete; run python -m pipeline.generate again")
    listed = [shard.file for shard in manifest.shards]
    names = set(listed)
    if listed != [shard.file for shard in manifest.planned if shard.file in names]:
        raise UserError(
            f"{folder / 'manifest.json'} lists other shards than its configuration asks for; "
            "generate the data set again"
        )
    return manifest


def receipts_of(folder: Path, manifest: Manifest) -> list[Receipt]:
    """The receipts of all planned shards, in their order.

    Raises:
        UserError: one is missing or cannot be read.
    """
    return [read_document(receipt_path(folder, shard), Receipt) for shard in manifest.planned]


def completed(plan: Manifest, receipts: list[Receipt], statistics_sha256: str) -> Manifest:
    """The manifest after the work, of which `receipts` tell, one for each planned shard."""
    made = {
        "complete": True,
        "shards": [
            ManifestShard(
                file=shard.file,
                trajectories=receipt.trajectories,
                size=receipt.size,
                sha256=receipt.sha256,
                core_seconds=receipt.core_seconds,
            )
            for shard, receipt in zip(plan.planned, receipts, strict=True)
            if receipt.trajectories
        ],
        "failed": [failure for receipt in receipts for failure in receipt.failed],
        "statistics_sha256": statistics_sha256,
    }
    return plan.model_copy(update=made)


def write_document(path: Path, paper: _Document) -> None:
    """Writes a paper as JSON, whole or not at all."""
    write_whole(path, json.dumps(paper.model_dump(mode="json"), indent=2) + "\n")


def read_document(path: Path, kind: type[DocumentType]) -> DocumentType:
    """Reads a paper.

    Raises:
        UserError: the file cannot be read, is of another schema version, or is not such a paper.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from None
    if isinstance(plain, dict) and kind is Manifest:
        _check_version(path, plain)
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        issues = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise UserError(f"{path} is not a {kind.__name__.lower()} of a data set: {issues}") from None


def _check_version(path: Path, document: dict[str, Any]) -> None:
    """Raise `UserError` for the manifest of another format.

    Manifests of version 2 that an earlier release wrote have no `sites` in their spec.
    """
    version, spec = document.get("schema_version"), document.get("spec")
    if version not in (GRID_VERSION, PARTICLES_VERSION) or (isinstance(spec, dict) and "sites" not in spec):
        raise UserError(
            f"{path}: the data set has schema version {version!r} of another release; this release reads its "
            f"own versions {GRID_VERSION} (grids) and {PARTICLES_VERSION} (particles, whose positions and "
            "velocities are vectors); generate the data set again with start_anew=true (the "
            "trajectories stay the same), or read it with the release that wrote it"
        )


def receipt_path(folder: Path, shard: Shard) -> Path:
    """Where the receipt of a shard lies in the data set `folder`."""
    return folder / "receipts" / f"{shard.name}.json"
