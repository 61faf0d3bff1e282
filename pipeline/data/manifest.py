"""The JSON documents of a data set: the manifest, and one receipt for each shard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import numpy as np
from pydantic import Field

from pipeline.data.accuracy import ExpectedError, Predictability, by_split
from pipeline.data.document import Checksum, Document
from pipeline.data.format.layout import Header
from pipeline.data.format.links import LinkedFile
from pipeline.data.format.versions import refuse_other_version
from pipeline.data.lineage.family import DataNode, Family, parts_of
from pipeline.data.origin import UNKNOWN, Origin
from pipeline.data.plan import Shard, Split, shards
from pipeline.data.recorded_configuration import (
    Configuration,
    computed_origin,
    is_adopted,
    making_stage,
    of_shards,
)
from pipeline.data.recorded_sizes import check_sizes
from pipeline.data.running_statistics import PlainStatistics
from simsurrogate import documents
from simsurrogate.errors import UserError
from simsurrogate.files import digest, write_whole
from simsurrogate.spec import Spec

FORMAT: Final = "simsurrogate data set"

#: Statistics of the fields, of their changes from frame to frame, of coefficient fields and of parameters.
StatisticsKind = Literal["fields", "changes", "coefficient_fields", "parameters"]
STATISTICS_KINDS: tuple[StatisticsKind, ...] = ("fields", "changes", "coefficient_fields", "parameters")


Count = Annotated[int, Field(ge=0, lt=2**63)]
Cost = Annotated[float, Field(ge=0)]

#: The keys of a spec and of its fields that manifests of earlier releases lack.
_NEW_KEYS_OF_SPECS = ("symmetries", "coarsening", "quantities", "linear_in")
_NEW_KEYS_OF_FIELDS = ("pseudo", "direction", "conductivity_range")


class Failure(Document):
    """A trajectory that could not be computed; its index and the seed determine its parameters.

    `rejected` says that it was computed, and that its verification left it out.
    """

    index: Count
    reason: str
    parameters: dict[str, float]
    rejected: bool = False


class Receipt(Document):
    """The record of one shard: its trajectories, its file and its cost.

    A shard has one row for each of the `drawn` trajectories from index `first` on, except for the `failed`
    trajectories. A shard without rows has no file, size 0 and no checksum. `ranks` is the number of ranks
    that shared a trajectory, and `machine` describes all else that may change the last bits. `statistics`
    holds the shard's contribution to the statistics of the training split; it is empty for other splits.
    `predictable_times` (s) has one value for each row if the spec is `chaotic`. `origin` says where the
    trajectories come from; None for that of the manifest, as in data sets of earlier releases.
    """

    configuration_hash: str
    split: Split
    number: Count
    size: Count
    sha256: Checksum
    first: Count
    drawn: Count
    failed: list[Failure]
    ranks: int
    machine: str
    statistics: dict[StatisticsKind, PlainStatistics]
    predictable_times: list[float] = Field(default=[])
    origin: Origin | None = None
    core_seconds: Cost

    @property
    def trajectories(self) -> int:
        """The number of rows of the shard."""
        return self.drawn - len(self.failed)

    @property
    def indices(self) -> np.ndarray:
        """The index of the trajectory in each row."""
        all_indices = np.arange(self.first, self.first + self.drawn)
        return np.setdiff1d(all_indices, [failure.index for failure in self.failed], assume_unique=True)


class ManifestShard(Document):
    """The manifest's entry of a shard with at least one row; `origin` is None for that of the data set."""

    file: str
    trajectories: Annotated[Count, Field(ge=1)]
    size: Count
    sha256: Checksum
    core_seconds: Cost
    origin: Origin | None = None


class Manifest(Document):
    """The description of a data set.

    `expected_errors` holds the errors of the splits `train` (which stands for `valid` and `test`) and
    `test_extrapolation`; `predictability` is empty unless the spec is `chaotic`. Only the files in `shards`
    belong to the data set, and only once `complete` is true. `links` holds the files that were adopted in
    place, by the shard whose fields they hold. `declared_origin` is what the user says about adopted files.
    `ancestors` holds the models that computed trajectories, and their ancestors.
    """

    format: Literal["simsurrogate data set"] = FORMAT
    schema_version: int
    configuration: Configuration
    configuration_hash: str
    spec: Spec
    method: str
    parameter_shapes: dict[str, tuple[Count, ...]]
    expected_errors: dict[str, ExpectedError] = Field(default={})
    complete: bool = False
    shards: list[ManifestShard] = Field(default=[])
    failed: list[Failure] = Field(default=[])
    predictability: dict[str, Predictability] = Field(default={})
    statistics_sha256: Checksum = ""
    links: dict[str, list[LinkedFile]] = Field(default={})
    declared_origin: Origin | None = None
    ancestors: Family = Family()

    @property
    def origin(self) -> Origin:
        """The origin of the trajectories, unless a shard has another one.

        The configuration of generated data determines it, also in manifests of earlier releases.
        """
        return computed_origin(self.configuration) or self.declared_origin or UNKNOWN

    @property
    def family(self) -> Family:
        """The data set under its identity, and its ancestors."""
        parts = parts_of(
            (shard.origin or self.origin, shard.file.split("/")[1], shard.trajectories)
            for shard in self.shards
        )
        configuration = {} if is_adopted(self.configuration) else self.configuration
        node = DataNode(name=self.spec.name, parts=parts, configuration=configuration)
        return Family(data={self.identity: node}) | self.ancestors

    @property
    def shard_hash(self) -> str:
        """A hash of the configuration without the numbers of trajectories, in each shard and receipt."""
        return digest(of_shards(self.configuration))

    @property
    def identity(self) -> str:
        """A hash of the data: equal for two data sets of the same configuration and equal bytes."""
        content = self.model_dump(include={"configuration", "spec", "statistics_sha256"})
        spec = content["spec"]
        # Data sets of earlier releases lack these keys, and keep their identity and their validation.
        for description, keys in (
            (spec, _NEW_KEYS_OF_SPECS),
            *((field, _NEW_KEYS_OF_FIELDS) for field in (*spec["fields"], *spec["coefficient_fields"])),
        ):
            for key in keys:
                if not description[key]:
                    del description[key]
        content["shards"] = [(shard.file, shard.size, shard.sha256) for shard in self.shards]
        return digest(content)

    @property
    def without_shards(self) -> Manifest:
        """The manifest before any shard was written."""
        result_fields = {"complete", "shards", "failed", "predictability", "statistics_sha256"}
        return Manifest(**self.model_dump(exclude=result_fields))

    @property
    def planned_shards(self) -> list[Shard]:
        """Every shard of the configuration, in order."""
        return shards(self.configuration["samples"])

    @property
    def header(self) -> Header:
        """The description that all shards share."""
        output = self.configuration["output"]
        return Header(
            spec=self.spec,
            times=output["duration"] * np.arange(output["steps"] + 1) / output["steps"],
            precision=self.configuration["storage"]["precision"],
            parameter_shapes=self.parameter_shapes,
            attributes={
                "configuration_hash": self.shard_hash,
                "seed": self.configuration["seed"],
                "solver": self.configuration["solver"]["name"],
                "solver_method": self.method,
                "code_version": self.configuration["code_version"],
            },
            links={Path(file).name: links for file, links in self.links.items()},
        )


DocumentType = TypeVar("DocumentType", bound=Document)


def read_complete_manifest(folder: Path) -> Manifest:
    """Return the manifest of a complete data set.

    Raises:
        UserError: there is no manifest, the data set is not complete, the manifest describes more data than
            its files hold, or lists files that its configuration does not plan.
    """
    if not (folder / "manifest.json").exists():
        raise UserError(
            f"there is no data set in {folder}. The folder of a data set holds manifest.json. Make a "
            "data set with python -m pipeline.generate, or name another folder with dataset="
        )
    manifest = read_document(folder / "manifest.json", Manifest)
    if not manifest.complete:
        raise UserError(
            f"the data set in {folder} is not complete. This stage needs every shard. "
            f"Run python -m pipeline.{making_stage(manifest.configuration)} again"
        )
    linked_bytes = {file: sum(link.identity[0] for link in links) for file, links in manifest.links.items()}
    sizes = [
        (shard.file, shard.trajectories, shard.size + linked_bytes.get(shard.file, 0))
        for shard in manifest.shards
    ]
    check_sizes(folder, manifest.spec, manifest.configuration, sizes)
    listed_files = [shard.file for shard in manifest.shards]
    planned_files = [shard.file for shard in manifest.planned_shards]
    if listed_files != [file for file in planned_files if file in set(listed_files)]:
        raise UserError(
            f"{folder / 'manifest.json'} lists other shards than its configuration plans. "
            "Generate the data set again with overwrite=true"
        )
    return manifest


def receipts_of(folder: Path, manifest: Manifest) -> list[Receipt]:
    """Return the receipts of all planned shards, in their order.

    Raises:
        UserError: a receipt is missing or cannot be read.
    """
    return [read_document(receipt_path(folder, shard), Receipt) for shard in manifest.planned_shards]


def finished_manifest(plan: Manifest, receipts: list[Receipt], statistics_sha256: str) -> Manifest:
    """Return the manifest of the finished data set, from the receipts of all planned shards."""
    updates = {
        "complete": True,
        "shards": [
            ManifestShard(
                file=shard.file,
                trajectories=receipt.trajectories,
                size=receipt.size,
                sha256=receipt.sha256,
                core_seconds=receipt.core_seconds,
                origin=None if receipt.origin == plan.origin else receipt.origin,
            )
            for shard, receipt in zip(plan.planned_shards, receipts, strict=True)
            if receipt.trajectories
        ],
        "failed": [failure for receipt in receipts for failure in receipt.failed],
        "predictability": by_split(
            [(receipt.split, receipt.predictable_times) for receipt in receipts], float(plan.header.times[-1])
        ),
        "statistics_sha256": statistics_sha256,
    }
    return plan.model_copy(update=updates)


def write_document(path: Path, document: Document) -> None:
    """Write a document as JSON; the file appears under its name only when it is whole."""
    write_whole(path, json.dumps(document.model_dump(mode="json"), indent=2) + "\n")


def read_document(path: Path, kind: type[DocumentType]) -> DocumentType:
    """Read a document.

    Raises:
        UserError: the file cannot be read, has another schema version, or is not a document of this kind.
    """
    remedy = "Run python -m pipeline.generate, then python -m pipeline.validate"
    content = documents.read_text(path, remedy)
    if kind is Manifest:
        refuse_other_version(path, documents.parse_json(content, dict[str, object], str(path), remedy))
    return documents.parse_json(content, kind, str(path), remedy)


def receipt_path(folder: Path, shard: Shard) -> Path:
    """Return the path of a shard's receipt in the data set `folder`."""
    return folder / "receipts" / f"{shard.name}.json"
