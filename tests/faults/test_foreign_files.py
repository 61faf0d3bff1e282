"""Links and files of other people in a run folder: no stage writes, deletes or follows them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.training import checkpoint, model_folder
from simsurrogate.errors import UserError
from tests.faults.driving import run_drift_in_process
from tests.training.test_checkpoint import random_checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "run"
    for stage in ("generate", "validate"):
        run_drift_in_process(stage, folder)
    return folder


@pytest.mark.parametrize(
    "link",
    [
        "records",
        "dataset",
        "dataset/data",
        "dataset/data/train",
        "dataset/receipts",
        "dataset/figures",
        "dataset/locks",
        "dataset/data/train/.train-00000.hdf5.partial",
        "models",
        "models/fno/evaluation",
        "models/fno/checkpoints",
        "models/fno/.log.csv.partial",
        "locks/chain.lock",
    ],
)
@pytest.mark.parametrize("stage", ["generate", "validate", "train", "evaluate"])
@pytest.mark.fault(
    "a run folder holds links to other places",
    cause="symbolic links at names that {stage} uses",
    result="refused; the target is unchanged",
    lost="nothing",
)
def test_a_link_inside_a_run_folder_is_refused(stage: str, link: str, run: Path, tmp_path: Path) -> None:
    run_copy, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(run, run_copy)
    path = run_copy / link
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.rename(victim)
    else:
        victim.mkdir()
    path.symlink_to(victim)
    content_before = content_of(victim)
    options = ["seed=1", "overwrite=true"] if stage == "generate" else []
    with pytest.raises(UserError, match=f"{link} is a link to {victim}.*Remove the link"):
        run_drift_in_process(stage, run_copy, *options)
    assert content_of(victim) == content_before


def test_a_run_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "storage")
    run_drift_in_process("generate", tmp_path / "run")
    assert (tmp_path / "storage" / "dataset" / "manifest.json").is_file()


@pytest.mark.fault(
    "overwrite=true meets files of the user",
    cause="foreign files in the data set",
    result="refused or kept; only our own files are deleted",
    lost="nothing",
)
def test_overwrite_deletes_only_files_of_the_data_set(run: Path, tmp_path: Path) -> None:
    run_copy = tmp_path / "run"
    shutil.copytree(run, run_copy)
    dataset = run_copy / "dataset"
    notes = [dataset / name for name in ("data/train/mine.txt", "receipts/a.json", "a.csv")]
    for path in notes:
        path.write_text("notes of a user")
    old_shard = (dataset / "data" / "train" / "train-00000.hdf5").read_bytes()
    run_drift_in_process("generate", run_copy, "seed=1", "overwrite=true")
    assert [path.read_text() for path in notes] == ["notes of a user"] * len(notes)
    assert (dataset / "data" / "train" / "train-00000.hdf5").read_bytes() != old_shard


def test_a_checkpoint_leaves_files_with_similar_names(tmp_path: Path) -> None:
    notes = [tmp_path / f"step-{name}.safetensors" for name in ("backup", "zz-notes", "12")]
    for path in notes:
        path.write_text("notes of a user")
    (tmp_path / "step-999999999.safetensors").mkdir()
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, random_checkpoint(step), num_kept=1)
    assert [checkpoint.step_of(path) for path in checkpoint.paths(tmp_path)] == [3]
    assert [path.read_text() for path in notes] == ["notes of a user"] * 3
    newest_path = checkpoint.newest_intact(tmp_path)
    assert newest_path is not None
    assert checkpoint.step_of(newest_path) == 3


def test_overwrite_deletes_only_files_of_the_model(tmp_path: Path) -> None:
    checkpoints, figures = tmp_path / "checkpoints", tmp_path / "evaluation" / "figures"
    for folder in (checkpoints, figures):
        folder.mkdir(parents=True)
    checkpoint.save(checkpoints, random_checkpoint(1), num_kept=1)
    old_files = [tmp_path / "log.csv", figures / "test-errors.png", tmp_path / "evaluation" / "report.html"]
    notes = [tmp_path / "notes.txt", checkpoints / "step-backup.safetensors", figures / "poster.png"]
    for path in (*old_files, *notes):
        path.write_text("notes of a user")
    model_folder.prepare(tmp_path, {"seed": 1}, overwrite=True)
    assert all(path.is_file() for path in notes)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(notes)


def content_of(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of each file in a folder, by path."""
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}
