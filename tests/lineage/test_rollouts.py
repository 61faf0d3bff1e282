"""Rollouts of a model as a data set: origin, verification, guard, and a disguise as data of the solver."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pytest

from pipeline import adopt, evaluate, generate, lineage, train, validate
from pipeline.data.dataset import Dataset
from pipeline.data.manifest import Manifest, read_complete_manifest, read_document, receipts_of
from pipeline.data.recorded_configuration import of_shards
from pipeline.data.validation import Validation
from pipeline.evaluation.report import report
from pipeline.physics_checks import data_solver
from pipeline.runs.model_family import family_of_model
from simsurrogate.errors import UserError
from simsurrogate.files import digest, sha256_of
from surrogates import store
from tests.lineage.conftest import ROLLOUTS, generate_rollouts
from tests.support.in_process import run_command_line, settings_of
from tests.support.trainings.training_cases import tiny_arguments, train_model

ACCEPTED = ("lineage.max_model_share=1", "lineage.max_generation=1", "lineage.allow_model_tests=true")


@pytest.fixture(scope="module")
def second_model(rollout_run: Path) -> Path:
    """Return a model that was trained on the rollouts."""
    return train_model(rollout_run, rollout_run / "dataset", *ACCEPTED)


def test_the_data_have_the_spec_of_the_solver_and_the_origin_of_the_model(
    solver_run: Path, rollout_run: Path
) -> None:
    data, rolled = (Dataset.open(run / "dataset") for run in (solver_run, rollout_run))
    assert rolled.spec == data.spec
    model = store.description(solver_run / "models" / "fno")
    (part,) = rolled.family.data[rolled.identity].parts
    assert (part.origin.kind, part.origin.model, part.origin.generation) == ("surrogate", model["sha256"], 1)
    assert part.origin.data == data.identity
    assert part.trajectories == {"train": 6, "valid": 2, "test": 2}
    trajectory = rolled.trajectory("train", 2)
    surrogate = store.load(solver_run / "models" / "fno")
    inputs = {
        **{name: np.array([value]) for name, value in trajectory.parameters.items()},
        "diffusivity": trajectory.coefficient_fields[None, 0],
    }
    prediction = surrogate.predict(trajectory.state[None, 0], inputs, trajectory.time).mean[0]
    assert np.allclose(trajectory.state, prediction, rtol=1e-4, atol=1e-4)
    card = (rollout_run / "dataset" / "README.md").read_text()
    assert f"output of the surrogate fno {model['sha256'][:12]}, generation 1, not verified" in card
    receipts = receipts_of(rollout_run / "dataset", read_complete_manifest(rollout_run / "dataset"))
    assert {receipt.origin for receipt in receipts} == {part.origin}


def test_validation_computes_rollouts_again_and_warns_of_their_residual(rollout_run: Path) -> None:
    validation = read_document(rollout_run / "dataset" / "validation.json", Validation)
    outcomes = {record.check: record.outcome for record in reversed(validation.results)}
    assert outcomes["residual"] == "warning"
    assert validation.checks["recomputed"] == 2
    assert outcomes["self_stated_error"] == "not applicable"


def test_training_and_evaluation_refuse_rollouts_until_they_are_accepted(
    rollout_run: Path, second_model: Path
) -> None:
    with pytest.raises(
        UserError, match=r"100 % of the trajectories are output of models(.|\n)*max_generation"
    ):
        train_model(rollout_run, rollout_run / "dataset", "model=other")
    assert not (rollout_run / "models" / "other").exists()
    card = (second_model / "README.md").read_text().split("---\n")[2].strip()
    assert card.startswith("**This model was trained on output of models")
    assert "lineage.allow_model_tests=true.**" in card.splitlines()[0]
    lineage_entry = json.loads((second_model / "model.json").read_text())["lineage"]
    assert lineage_entry["model"]["generation"] == 2
    assert lineage_entry["model"]["accepted"] == list(ACCEPTED)
    arguments = tiny_arguments(rollout_run, rollout_run / "dataset", "evaluation.worth=0")
    with pytest.raises(UserError, match=r"splits test hold output of models"):
        evaluate.run(settings_of(rollout_run, *arguments[1:]))
    with mock.patch.object(report, "parts", return_value=[]):
        evaluate.run(settings_of(rollout_run, *arguments[1:], "lineage.allow_model_tests=true"))
    page = (second_model / "evaluation" / "report.html").read_text()
    assert "This model was trained on output of models" in page
    assert "The held-out trajectories are output of a model" in page


def test_a_start_from_a_model_of_rollouts_is_refused(solver_run: Path, second_model: Path) -> None:
    arguments = (
        f"training.start_from={second_model}",
        "model=tuned",
        "training.steps=1",
        "training.warmup_steps=0",
    )
    with pytest.raises(UserError, match=r"the data of training\.start_from: 100 %"):
        train_model(solver_run, solver_run / "dataset", *arguments)
    model = train_model(solver_run, solver_run / "dataset", *arguments, *ACCEPTED[:2])
    entry = json.loads((model / "model.json").read_text())["lineage"]["model"]
    assert entry["generation"] == 2
    assert entry["start_from"] == [store.description(second_model)["sha256"]]


def test_the_tree_comes_from_the_run_folder_alone(
    rollout_run: Path, second_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "moved"
    (run / "models" / "fno").mkdir(parents=True)
    (run / "models" / "fno" / "model.json").write_bytes((second_model / "model.json").read_bytes())
    lineage.run(settings_of(run))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("model fno ")
    assert lines[0].endswith("generation 2")
    assert lines[-2].strip().startswith("solver heat")
    assert (run / "lineage.svg").is_file()


def test_rejected_trajectories_are_counted_apart_from_failed_ones(
    solver_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = solver_run / "models" / "fno"
    for kind in ("residual", "solver"):
        run = tmp_path / kind
        verify = (f"solver.verify.kind={kind}", "seed=1")
        # No trajectory of this model satisfies a small bound.
        with pytest.raises(UserError, match=r"every trajectory of split .* failed; one reason: rejected: "):
            generate_rollouts(run / "small", model, *verify, "solver.verify.bound=1e-6")
        receipts = [json.loads(path.read_text()) for path in (run / "small/dataset/receipts").glob("*.json")]
        values: dict[str, list[float]] = {}
        for receipt in receipts:
            for failure in receipt["failed"]:
                match = re.search(r" is ([\d.e+-]+) of ", failure["reason"])
                assert match is not None
                values.setdefault(receipt["split"], []).append(float(match[1]))
        assert sorted(map(len, values.values())) == [2, 2, 6]
        # Each split keeps one trajectory at least.
        bound = 1.001 * max(map(min, values.values()))
        capsys.readouterr()
        generate_rollouts(run / "some", model, *verify, f"solver.verify.bound={bound:.6g}")
        manifest = read_complete_manifest(run / "some" / "dataset")
        kept = sum(shard.trajectories for shard in manifest.shards)
        assert 0 < kept < 10
        assert all(failure.rejected for failure in manifest.failed)
        output = capsys.readouterr().out
        assert "0 failed)" in output
        assert f"the verification kept {kept} of 10 trajectories" in output
        assert f"The verification kept {kept} of 10" in (run / "some" / "dataset" / "README.md").read_text()
        assert manifest.origin.verified
        validate.run(settings_of(run / "some"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("solver=surrogate",), r"solver=surrogate has no model.*solver\.model=RUN/models/MODEL"),
        (("solver=surrogate", "solver.model=/none"), r"/none holds no trained model"),
        (("solver=surrogate", "solver.model={model}", "solver.verify.bound=0.2"), r"solver\.verify\.bound"),
    ],
)
def test_wrong_options_are_refused(
    overrides: tuple[str, ...], message: str, solver_run: Path, tmp_path: Path
) -> None:
    model = solver_run / "models" / "fno"
    arguments = [override.format(model=model) for override in overrides]
    with pytest.raises(UserError, match=message):
        generate.run(settings_of(tmp_path, *arguments, *ROLLOUTS))


def test_rollouts_do_not_grow_the_data_of_a_solver(solver_run: Path, rollout_run: Path) -> None:
    files = sorted((solver_run / "dataset").rglob("*.hdf5"))
    with pytest.raises(UserError, match=r"not of rollouts of the surrogate fno .*only its numbers of"):
        generate_rollouts(solver_run, solver_run / "models" / "fno", "samples.train=40")
    assert sorted((solver_run / "dataset").rglob("*.hdf5")) == files
    before = read_complete_manifest(rollout_run / "dataset")
    with pytest.raises(UserError, match=r"rollouts of the surrogate fno \w+, not of rollouts"):
        generate_from_changed_model(rollout_run, solver_run)
    assert read_complete_manifest(rollout_run / "dataset") == before


def generate_from_changed_model(rollout_run: Path, solver_run: Path) -> None:
    """Generate the rollouts of the same path after the model was trained again."""
    model = solver_run / "models" / "fno" / "model.json"
    original = model.read_bytes()
    content = json.loads(original)
    del content["sha256"]
    content["valid_error"] = 0.5
    model.write_text(json.dumps(content | {"sha256": digest(content)}))
    try:
        generate_rollouts(rollout_run, model.parent, "seed=1")
    finally:
        model.write_bytes(original)


def disguise(run: Path, solver_run: Path, sources: str | None = None) -> None:
    """Edit all documents and shards of a data set of rollouts, so that they say that the solver made them."""
    folder = run / "dataset"
    true_manifest = json.loads((solver_run / "dataset" / "manifest.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    configuration = {
        key: value for key, value in manifest["configuration"].items() if key not in ("origin", "drawn_by")
    }
    configuration |= {key: true_manifest["configuration"][key] for key in ("solver", "solver_sources")}
    if sources is not None:
        configuration["solver_sources"] = sources
    manifest |= {
        "configuration": configuration,
        "configuration_hash": digest(configuration),
        "method": true_manifest["method"],
        "ancestors": {},
    }
    shard_hash = digest(of_shards(configuration))
    for entry in manifest["shards"]:
        path = folder / entry["file"]
        with h5py.File(path, "r+") as file:
            file.attrs["configuration_hash"] = shard_hash
            file.attrs["solver"] = configuration["solver"]["name"]
            file.attrs["solver_method"] = manifest["method"]
        entry |= {"sha256": sha256_of(path), "size": path.stat().st_size, "origin": None}
        receipt_path = folder / "receipts" / f"{path.stem}.json"
        receipt = json.loads(receipt_path.read_text()) | {"configuration_hash": shard_hash, "origin": None}
        receipt_path.write_text(json.dumps(receipt | {key: entry[key] for key in ("sha256", "size")}))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert read_document(folder / "manifest.json", Manifest).origin.kind == "solver"


def failed_checks(run: Path) -> set[str]:
    validation = read_document(run / "dataset" / "validation.json", Validation)
    return {record.check for record in validation.results if record.outcome == "failed"}


@pytest.fixture
def copied_run(solver_run: Path, tmp_path: Path) -> Path:
    """Return a run with rollouts of the model that may be changed."""
    generate_rollouts(tmp_path, solver_run / "models" / "fno", "seed=1")
    return tmp_path


def test_rollouts_that_say_solver_fail_the_recomputation(solver_run: Path, copied_run: Path) -> None:
    disguise(copied_run, solver_run)
    with pytest.raises(UserError, match=r"recomputed: (.|\n)*other physics"):
        validate.run(settings_of(copied_run))
    assert {"recomputed", "residual"} <= failed_checks(copied_run)
    with pytest.raises(UserError, match="failed its validation"):
        train.run(settings_of(copied_run, *tiny_arguments(copied_run, copied_run / "dataset")[1:]))


def test_rollouts_that_say_another_version_of_the_solver_fail_the_residual(
    solver_run: Path, copied_run: Path
) -> None:
    disguise(copied_run, solver_run, sources="0" * 64)
    with pytest.raises(UserError, match=r"residual: .*the fields do not satisfy the equation heat"):
        validate.run(settings_of(copied_run))
    assert "residual" in failed_checks(copied_run)
    assert "recomputed" not in failed_checks(copied_run)


def test_an_edited_manifest_alone_fails(rollout_run: Path, copied_run: Path) -> None:
    path = copied_run / "dataset" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["configuration"]["origin"], manifest["configuration"]["drawn_by"]
    manifest["configuration"]["solver"] = {"name": "heat"}
    manifest["configuration_hash"] = digest(manifest["configuration"])
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="failed its validation"):
        validate.run(settings_of(copied_run))


def test_rollouts_adopted_as_data_of_the_solver_fail_its_equation(
    rollout_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"source={rollout_run / 'dataset' / 'data'}"
    heat = ("solver=heat", "solver.extent=[1.0]", "solver.resolution=24", "storage.max_error=0.9")
    assert run_command_line(adopt.run, f"run={tmp_path}", source, *heat) == 0
    dataset = read_complete_manifest(tmp_path / "dataset")
    assert dataset.origin.text == "solver heat"
    assert run_command_line(validate.run, f"run={tmp_path}", *heat) == 2
    assert "do not satisfy the equation heat" in capsys.readouterr().err
    assert "residual" in failed_checks(tmp_path)


def test_a_model_that_has_changed_is_not_compared(solver_run: Path, copied_run: Path) -> None:
    settings = settings_of(copied_run)
    manifest = read_complete_manifest(copied_run / "dataset")
    origin = manifest.configuration["origin"] | {"model": "0" * 64}
    other = manifest.model_copy(update={"configuration": manifest.configuration | {"origin": origin}})
    assert data_solver.solver_of(settings, manifest).reason == ""
    assert "the model has changed" in data_solver.solver_of(settings, other).reason
    moved = manifest.configuration | {"solver": manifest.configuration["solver"] | {"model": "/gone"}}
    missing = data_solver.solver_of(settings, manifest.model_copy(update={"configuration": moved}))
    assert "/gone holds no trained model" in missing.reason


def test_documents_of_an_earlier_release_have_an_origin(solver_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "old"
    shutil.copytree(solver_run / "dataset", run / "dataset")
    shutil.copytree(solver_run / "models", run / "models")
    data = Dataset.open(run / "dataset")
    path = run / "dataset" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["declared_origin"], manifest["ancestors"]
    for shard in manifest["shards"]:
        del shard["origin"]
    path.write_text(json.dumps(manifest))
    for path in (run / "dataset" / "receipts").glob("*.json"):
        receipt = json.loads(path.read_text())
        del receipt["origin"]
        path.write_text(json.dumps(receipt))
    old = Dataset.open(run / "dataset")
    assert (old.identity, old.family) == (data.identity, data.family)
    assert old.family.data[old.identity].parts[0].origin.kind == "solver"
    validate.run(settings_of(run))
    path = run / "models" / "fno" / "model.json"
    content = json.loads(path.read_text())
    del content["lineage"], content["sha256"]
    path.write_text(json.dumps(content | {"sha256": digest(content)}))
    family = family_of_model(path.parent)
    assert family.models[family.newest_model].generation == 1
    assert family.data == old.family.data
    # Away from its data, nothing is known about them.
    shutil.rmtree(run / "dataset")
    arguments = (
        f"training.start_from={path.parent}",
        "model=later",
        "training.steps=1",
        "training.warmup_steps=0",
    )
    with pytest.raises(
        UserError, match=rf"the data set {data.identity[:12]} of training.start_from: .*unknown"
    ):
        train_model(solver_run, solver_run / "dataset", *arguments)
