"""Damaged, changed and foreign manifests: stages report them and replace them only on request."""

import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from mpi4py import MPI

from pipeline import generate
from pipeline.config.build import build_solver
from pipeline.config.settings import Settings
from pipeline.data.dataset import Dataset
from pipeline.data.manifest import Manifest, read_document
from pipeline.physics_checks import results
from simsurrogate.errors import UserError
from solvers.contract import Solver
from tests.faults.driving import VICTIM, read_generated, run_drift_in_process
from tests.faults.stage import DRIFT
from tests.faults.test_validate import failure_of, truncate


@pytest.mark.fault(
    "a manifest has another schema version or lacks a key",
    cause="edited manifest.json",
    result="refused with the version or the key",
    lost="nothing",
)
def test_another_schema_version_or_a_missing_key_is_refused(run_copy: Path) -> None:
    path = run_copy / "dataset" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(ValueError, match=r"another release wrote this data set \(schema version 99\)"):
        Dataset.open(run_copy / "dataset")
    assert "another release wrote this data set (schema version 99)" in failure_of("validate", run_copy)
    del manifest["spec"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(
        ValueError, match=r"manifest.json is not a manifest of this release: spec: Field required"
    ):
        Dataset.open(run_copy / "dataset")


SIGN = {"kind": "sign", "name": "sign", "fields": ["density"]}


def test_a_data_set_of_an_earlier_release_has_no_symmetries_and_stays_valid(run_copy: Path) -> None:
    path = run_copy / "dataset" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["spec"]["symmetries"]
    for field in (*manifest["spec"]["fields"], *manifest["spec"]["coefficient_fields"]):
        del field["pseudo"]
    path.write_text(json.dumps(manifest))
    dataset = Dataset.open(run_copy / "dataset")
    assert dataset.spec.symmetries == ()
    assert not any(field.pseudo for field in dataset.spec.fields)


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        (SIGN | {"fields": ["heat"]}, "does not suit"),
        (SIGN | {"kind": "turn"}, "kind"),
        ({"kind": "cells", "name": "exchange_xy", "axes": [1, 7], "signs": [1, 1], "cells": [0, 0]}, "axes"),
    ],
)
def test_a_symmetry_that_does_not_suit_the_spec_is_refused(
    symmetry: dict[str, object], message: str, run_copy: Path
) -> None:
    set_key("spec", "symmetries", value=[symmetry])(run_copy / "dataset" / "manifest.json")
    with pytest.raises(UserError, match=message):
        Dataset.open(run_copy / "dataset")


def set_key(*keys: str, value: object) -> Callable[[Path], None]:
    """Return a function that sets a nested key of a manifest."""

    def change(path: Path) -> None:
        manifest = json.loads(path.read_text())
        section = manifest
        for key in keys[:-1]:
            section = section[int(key)] if isinstance(section, list) else section[key]
        section[keys[-1]] = value
        path.write_text(json.dumps(manifest))

    return change


@pytest.mark.parametrize(
    ("change", "expected_message"),
    [
        (
            set_key("configuration", "solver", "resolution", value=[14]),
            "manifest: its configuration was changed",
        ),
        (
            set_key("failed", value=[{"index": 3, "reason": "?", "parameters": {}}]),
            "manifest: manifest and receipts differ",
        ),
        (
            set_key("spec", "fields", "0", "unit", value="g"),
            "t0_fields/density units: 'kg/m^3' found, 'g' expected",
        ),
        (set_key("spec", "autonomous", value=True), "spec.autonomous: true -> false"),
        (set_key("spec", "parameters", "1", "high", value=20.0), "solver: manifest and solver differ"),
        (set_key("spec", "smooth_coefficients", value=False), "solver: manifest and solver differ"),
        (set_key("spec", "fields", "0", "conserved", value=True), "solver: manifest and solver differ"),
        (set_key("spec", "symmetries", value=[SIGN]), "solver: manifest and solver differ"),
    ],
    ids=["configuration", "failed", "spec", "autonomous", "range", "smooth", "conserved", "symmetries"],
)
def test_a_changed_manifest_is_reported_and_regenerated_without_the_shards(
    change: Callable[[Path], None],
    expected_message: str,
    undamaged_run: Path,
    run_copy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(run_copy / "dataset" / "manifest.json")
    assert expected_message in failure_of("validate", run_copy)
    run_drift_in_process("generate", run_copy)
    assert "(0 of 5 shards made now" in capsys.readouterr().out
    assert read_generated(run_copy) == read_generated(undamaged_run)
    run_drift_in_process("validate", run_copy)
    assert "passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "expected_message"),
    [
        (truncate, "cannot be read as JSON"),
        (set_key("schema_version", value=99), "another release wrote this data set (schema version 99)"),
    ],
    ids=["truncated", "another schema"],
)
def test_an_unreadable_manifest_is_replaced_only_with_overwrite(
    damage: Callable[[Path], None],
    expected_message: str,
    undamaged_run: Path,
    run_copy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(run_copy / "dataset" / "manifest.json")
    message = failure_of("generate", run_copy)
    assert expected_message in message
    assert "overwrite=true" in message
    assert read_generated(run_copy) == read_generated(undamaged_run)
    run_drift_in_process("generate", run_copy, "overwrite=true")
    assert "(5 of 5" in capsys.readouterr().out
    assert read_generated(run_copy) == read_generated(undamaged_run)


def test_a_manifest_cannot_list_files_outside_the_data_set(run_copy: Path) -> None:
    path = run_copy / "dataset" / "manifest.json"
    path.write_text(path.read_text().replace(VICTIM, "data/train/../../../elsewhere.hdf5"))
    with pytest.raises(ValueError, match=r"manifest.json lists other shards"):
        Dataset.open(run_copy / "dataset")


@pytest.mark.parametrize(
    ("shapes", "difference"),
    [
        ({"phases": (3, 2), "extra": (2,)}, "parameter_shapes.extra: [2] -> null"),
        ({"phases": (6,)}, "parameter_shapes.phases: [6] -> [3, 2]"),
        ({}, "parameter_shapes.phases: null -> [3, 2]"),
    ],
    ids=["extra", "another shape", "left out"],
)
def test_drawn_arrays_have_the_shapes_of_the_solver(
    shapes: dict[str, tuple[int, ...]], difference: str, undamaged_run: Path
) -> None:
    manifest = read_document(undamaged_run / "dataset" / "manifest.json", Manifest)
    solver = build_solver({"name": "drift", "path": str(DRIFT), "resolution": [12]}, MPI.COMM_SELF)
    assert results.solver_mistake(manifest, solver) is None
    foreign = manifest.model_copy(update={"parameter_shapes": shapes})
    assert difference in (results.solver_mistake(foreign, solver) or "")


def test_a_data_set_without_a_drawn_array_fails_its_validation(tmp_path: Path) -> None:
    original_plan = generate._plan

    def plan_without_arrays(settings: Settings, solver: Solver) -> Manifest:
        return original_plan(settings, solver).model_copy(update={"parameter_shapes": {}})

    with patch.object(generate, "_plan", plan_without_arrays):
        run_drift_in_process("generate", tmp_path)
    assert "parameter_shapes.phases: null -> [3, 2]" in failure_of("validate", tmp_path)
