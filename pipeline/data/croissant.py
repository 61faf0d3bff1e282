"""croissant.json: the description of a data set in MLCommons' format Croissant 1.1, with its provenance.

Sources: the Croissant Format Specification 1.1 (docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html)
with the provenance terms that it recommends (PROV-O), and the Croissant RAI vocabulary 1.0.
"""

from __future__ import annotations

import datetime
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pipeline.data.lineage.prov import described_ancestors
from pipeline.data.manifest import Manifest
from simsurrogate.documents import read_json
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole

FILE_NAME: Final = "croissant.json"

#: The context that the specification recommends in its appendix 1, with RAI and PROV-O.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_SPLIT_TYPES = {
    "train": "cr:TrainingSplit",
    "valid": "cr:ValidationSplit",
    "test": "cr:TestSplit",
    "test_extrapolation": "cr:TestSplit",
    # Croissant has no type for it.
    "calibration": "cr:ValidationSplit",
}
_NOT_STATED = "not stated"


def write(folder: Path, manifest: Manifest) -> None:
    """Write `croissant.json` next to the manifest; the file appears under its name only when it is whole.

    The content follows from the manifest, apart from the date of publication, which a second run keeps.
    """
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    document = describe(manifest, _recorded_date(folder / FILE_NAME, manifest) or today)
    write_whole(folder / FILE_NAME, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def describe(manifest: Manifest, date: str) -> dict[str, Any]:
    """Return the description of a complete data set, published on `date` (YYYY-MM-DD), as JSON-LD.

    Files and fields are record sets with their data inside, so `mlcroissant` lists shards, splits, names and
    units, but does not read the shards. The owner of the data adds the license and the creator.
    """
    spec, adopted = manifest.spec, manifest.configuration.get("adopted")
    sites = " x ".join(map(str, spec.shape)) + (" particles" if spec.has_particles else " cells")
    times = manifest.header.times
    description = (
        f"{sum(shard.trajectories for shard in manifest.shards)} trajectories of "
        f"{spec.name.replace('_', ' ')} on {sites}, {len(times)} frames from 0 to {times[-1]:g} s. "
        f"Equation: {spec.equation or _NOT_STATED}."
    )
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": _title(manifest).replace(" ", "-"),
        "description": description,
        "url": "README.md",
        "version": "1.0.0",
        "datePublished": date,
        "license": {"@type": "sc:CreativeWork", "name": _NOT_STATED},
        "creator": {"@type": "sc:Organization", "name": _NOT_STATED},
        "citeAs": _citation(manifest),
        "keywords": [*([] if adopted else ["simulation"]), "surrogate model", spec.name],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": shard.file,
                "name": shard.file,
                "description": f"{shard.trajectories} trajectories in HDF5, in the format of The Well.",
                "contentUrl": shard.file,
                "contentSize": f"{shard.size} B",
                "encodingFormat": "application/x-hdf5",
                "sha256": shard.sha256,
            }
            for shard in manifest.shards
        ],
        "recordSet": [_splits(manifest), _shards(manifest), _quantities(manifest)],
        **_provenance(manifest),
        "rai:dataUseCases": ["Training and evaluation of surrogate models."],
        "rai:dataLimitations": _limitations(manifest),
    }


def _splits(manifest: Manifest) -> dict[str, Any]:
    """Return the record set of the splits."""
    names = dict.fromkeys(_split_of(shard.file) for shard in manifest.shards)
    rows = [{"splits/name": name, "splits/url": _SPLIT_TYPES[name]} for name in names]
    fields = {"name": ("sc:Text", "The name of the split."), "url": ("sc:URL", "The kind of the split.")}
    record_set = _record_set("splits", "The splits of the data set.", fields, rows, key="name")
    return record_set | {"dataType": "cr:Split"}


def _shards(manifest: Manifest) -> dict[str, Any]:
    """Return the record set of the shards."""
    rows = [
        {
            "shards/file": shard.file,
            "shards/split": _split_of(shard.file),
            "shards/trajectories": shard.trajectories,
        }
        for shard in manifest.shards
    ]
    fields = {
        "file": ("sc:Text", "The file of the shard."),
        "split": ("sc:Text", "The split of its trajectories."),
        "trajectories": ("sc:Integer", "The number of its trajectories."),
    }
    return _record_set("shards", "The files of the data set and their splits.", fields, rows, key="file")


def _quantities(manifest: Manifest) -> dict[str, Any]:
    """Return the record set of the fields, the coefficient fields and the scalar parameters."""
    spec = manifest.spec
    groups = (
        ("field", spec.fields),
        ("coefficient field", spec.coefficient_fields),
        ("scalar parameter", spec.parameters),
        ("quantity of interest", spec.quantities),
    )
    rows = [
        {
            "quantities/name": quantity.name,
            "quantities/role": role,
            "quantities/unit": quantity.unit,
            "quantities/description": quantity.description,
        }
        for role, quantities in groups
        for quantity in quantities
    ]
    fields = {
        "name": ("sc:Text", "The name in the files."),
        "role": ("sc:Text", "Field, coefficient field, scalar parameter or quantity of interest."),
        "unit": ("sc:Text", "The unit; 1 for none."),
        "description": ("sc:Text", "The meaning."),
    }
    return _record_set("quantities", "What the files hold.", fields, rows, key="name")


def _record_set(
    name: str, description: str, fields: dict[str, tuple[str, str]], rows: list[dict[str, Any]], *, key: str
) -> dict[str, Any]:
    """Return a record set with its rows; `fields` holds the type and the description of each column."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": {"@id": f"{name}/{key}"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": f"{name}/{column}",
                "description": text,
                "dataType": data_type,
            }
            for column, (data_type, text) in fields.items()
        ],
        "data": rows,
    }


def _provenance(manifest: Manifest) -> dict[str, Any]:
    """Return the activity that generated the data, its software, their ancestors, and their collection."""
    configuration = manifest.configuration
    adopted = configuration.get("adopted")
    kind = "prediction" if manifest.origin.is_model_output else "simulation"
    agent = {
        "@type": "prov:SoftwareAgent",
        "prov:label": f"simsurrogate {configuration['code_version']}",
    }
    activity = {
        "@type": "prov:Activity",
        "prov:label": "adoption of files" if adopted else f"{kind} by {manifest.method}",
        "prov:wasAssociatedWith": agent,
        "prov:used": {
            "@type": "prov:Entity",
            "prov:label": "configuration",
            "prov:value": json.dumps(configuration, sort_keys=True),
        },
    }
    entry: dict[str, Any] = {"prov:wasGeneratedBy": activity, "prov:wasAttributedTo": agent}
    if ancestors := described_ancestors(manifest.family, manifest.identity).get("prov:wasDerivedFrom"):
        entry["prov:wasDerivedFrom"] = ancestors
    if adopted:
        files = {
            "@type": "prov:Entity",
            "prov:label": f"{adopted['source']} ({adopted['layout']})",
            "sha256": adopted["sha256"],
        }
        entry["prov:wasDerivedFrom"] = files | ({"prov:wasDerivedFrom": ancestors} if ancestors else {})
        return entry | {
            "rai:dataCollection": f"Adopted from files ({adopted['layout']}). Origin: "
            f"{manifest.origin.text}. The owner of the data has to state how they were collected.",
            "rai:personalSensitiveInformation": [
                "Not stated: adopted data may be measurements. The owner of the data has to state whether "
                "they contain personal or sensitive information."
            ],
        }
    return entry | {
        "rai:dataCollection": f"{manifest.method} with drawn parameters, seed {configuration['seed']}.",
        "rai:dataCollectionType": ["Software Collection"],
        "rai:personalSensitiveInformation": ["None: the data are computed."],
    }


def _limitations(manifest: Manifest) -> list[str]:
    """Return what the data are not good for: their ranges, their error, and trajectories that failed."""
    ranges = ", ".join(
        f"{parameter.name} from {parameter.low:g} to {parameter.high:g} {parameter.unit}"
        for parameter in manifest.spec.parameters
    )
    limits = [f"Origin of the trajectories: {manifest.origin.text}."]
    limits += [f"Parameters lie in these ranges: {ranges}."] if ranges else []
    limits += [
        f"The expected relative error of the last frame of {split} is {error.grid:.2g} by the grid and "
        f"{error.time:.2g} by the steps in time."
        for split, error in manifest.expected_errors.items()
    ]
    if manifest.failed:
        limits.append(f"{len(manifest.failed)} trajectories failed and are missing.")
    return limits


def _recorded_date(path: Path, manifest: Manifest) -> str | None:
    """Return the date of an existing description of the same data, or None."""
    with suppress(UserError, KeyError, ValueError, TypeError):
        recorded = read_json(path, dict[str, Any], "Delete the file")
        date = datetime.date.fromisoformat(recorded["datePublished"]).isoformat()
        return date if recorded["citeAs"] == _citation(manifest) else None
    return None


def _title(manifest: Manifest) -> str:
    """Return the name of the data set, with a part of its identity."""
    return f"{manifest.spec.name.replace('_', ' ')} data set {manifest.identity[:12]}"


def _citation(manifest: Manifest) -> str:
    """Return the entry of the data set for BibTeX."""
    key, title, note = manifest.identity[:12], _title(manifest), f"SHA-256 {manifest.identity}"
    return f"@misc{{{key}, title = {{{title}}}, note = {{{note}}}}}"


def _split_of(file: str) -> str:
    """Return the split of a shard's file, `data/SPLIT/NAME`."""
    return file.split("/")[1]
