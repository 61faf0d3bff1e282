"""Ensembles: members are equal on any number of ranks, resume exactly, and end together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import surrogates
from pipeline import evaluate, train
from pipeline.data.dataset import Dataset
from pipeline.evaluation import model_table
from pipeline.parallel.stopping import StoppedError
from pipeline.training import checkpoint, ensemble
from surrogates import store
from surrogates.contract import Surrogate
from surrogates.deep_ensemble import Ensemble
from tests.support.launching import mpi, run, stage, succeeded
from tests.support.training_cases import are_identical, read, train_model, words


@pytest.fixture(scope="module")
def pair(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two members that were trained one after the other, on one rank."""
    return train_model(tmp_path_factory.mktemp("pair"), dataset, "ensemble=2")


def members_of(folder: Path) -> list[Path]:
    return [folder / "member-0", folder / "member-1"]


def test_members_are_equal_on_one_rank_and_on_one_rank_each(
    dataset: Path, pair: Path, tmp_path: Path
) -> None:
    """The ranks share the validation of the mean: rank 0 predicts two of three trajectories."""
    program = mpi(2, "-m", "tests.faults.train_shared_validation", *words(tmp_path, dataset, "ensemble=2"))
    result = succeeded(run(program))
    lines = sorted(line for line in result.stdout.splitlines() if line.startswith("predicted"))
    assert lines == ["predicted 1", "predicted 2"]
    folder = tmp_path / "models" / "fno"
    for member, expected in zip(members_of(folder), members_of(pair), strict=True):
        assert are_identical(member, expected)
    described, expected_description = (
        json.loads((path / "model.json").read_text()) for path in (folder, pair)
    )
    error = expected_description.pop("valid_error")
    assert described.pop("valid_error") == pytest.approx(error, rel=1e-6)
    assert described == expected_description


def test_groups_of_ranks_train_a_member_each(dataset: Path, pair: Path, tmp_path: Path) -> None:
    """A group has the same global batches as one rank, so the same losses to round-off."""
    succeeded(stage("train", *words(tmp_path, dataset, "ensemble=2"), ranks=4))
    for members in zip(members_of(tmp_path / "models" / "fno"), members_of(pair), strict=True):
        logs = [np.loadtxt(member / "log.csv", delimiter=",", skiprows=1) for member in members]
        np.testing.assert_allclose(*logs, rtol=1e-3)


def test_members_differ_and_the_ensemble_predicts_their_mean(dataset: Path, pair: Path) -> None:
    ensemble, data = surrogates.load(pair), Dataset.open(dataset)
    assert isinstance(ensemble, Ensemble)
    truth = data.trajectory("valid", 0)
    named = (
        dict(zip(data.spec.coefficient_channels, truth.coefficient_fields, strict=True)) | truth.parameters
    )
    query = (truth.state[None, 0], named, truth.time)
    prediction = ensemble.predict(*query)
    members = prediction.members
    assert members is not None
    for folder, member in zip(members_of(pair), members, strict=True):
        assert torch.equal(surrogates.load(folder).predict(*query).mean, member)
    torch.testing.assert_close(prediction.mean, members.mean(dim=0))
    assert torch.equal(prediction.mean[:, 0], torch.from_numpy(truth.state[None, 0]))
    assert (members[0] - members[1]).norm() > 0.01 * members[0].norm()
    described = json.loads((pair / "model.json").read_text())
    errors = [json.loads((folder / "model.json").read_text())["valid_error"] for folder in members_of(pair)]
    assert 0 < described["valid_error"] < max(errors)
    assert not (pair / "model.safetensors").exists()


def test_training_that_is_killed_in_the_second_member_continues_there(
    dataset: Path, pair: Path, tmp_path: Path
) -> None:
    arguments = words(tmp_path, dataset, "ensemble=2")
    killed = run([sys.executable, "-m", "tests.faults.train_killed", *arguments], KILL_AT_STEP="48")
    assert killed.returncode != 0
    folder = tmp_path / "models" / "fno"
    assert (folder / "member-0" / "model.json").is_file()
    assert not (folder / "member-1" / "model.json").exists()
    assert not (folder / "model.json").exists()
    before = (folder / "member-0" / "model.json").stat().st_mtime_ns
    train_model(tmp_path, dataset, "ensemble=2")
    assert (folder / "member-0" / "model.json").stat().st_mtime_ns == before
    assert are_identical(folder / "member-1", pair / "member-1")
    assert (folder / "model.json").read_bytes() == (pair / "model.json").read_bytes()
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "records").glob("train-*.json"))]
    assert records[-1]["progress"] == {"start": 45, "done": 60, "total": 60, "unit": "steps"}


def test_a_signal_to_one_rank_stops_all_members(dataset: Path, tmp_path: Path) -> None:
    long = ("training.steps=100000", "training.checkpoint_every=100000", "training.validate_every=100000")
    arguments = words(tmp_path, dataset, *long, "ensemble=2")
    program = mpi(2, "-m", "tests.faults.train_killed", *arguments)
    result = run(program, timeout=60, KILL_AT_STEP="18", KILL_RANK="1", KILL_WITH="SIGUSR1")
    assert result.returncode == 75, result.stderr
    steps = []
    for member in members_of(tmp_path / "models" / "fno"):
        (path,) = checkpoint.paths(member / "checkpoints")
        steps.append(checkpoint.load(path).step)
    assert 18 <= min(steps) <= max(steps) < 100000
    record = json.loads((tmp_path / "records" / "train-000.json").read_text())
    assert record["outcome"] == "interrupted"
    assert f"step {sum(steps)} of 200000" in record["reason"]
    assert record["progress"]["done"] == sum(steps)


@pytest.mark.parametrize("ensemble", [1, 2])
def test_a_signal_while_a_model_is_built_stops_training_after_its_first_step(
    ensemble: int, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = store.build

    def build(*arguments: Any) -> Surrogate:
        monkeypatch.setattr(store, "build", original)
        os.kill(os.getpid(), signal.SIGUSR1)
        return original(*arguments)

    monkeypatch.setattr(store, "build", build)
    with pytest.raises(StoppedError, match="step 1 of"):
        train_model(tmp_path, dataset, f"ensemble={ensemble}")
    (path,) = (tmp_path / "models").rglob("step-*.safetensors")
    assert checkpoint.load(path).step == 1


def test_a_slow_member_is_awaited_and_a_member_that_hangs_ends_all(dataset: Path, tmp_path: Path) -> None:
    """Rank 0 waits for rank 1 longer than its timeout as long as heartbeats arrive."""
    slow, hanging = tmp_path / "slow", tmp_path / "hanging"
    short = ("training.steps=10", "ensemble=2")
    program = ("-m", "tests.faults.train_members", str(slow), *words(hanging, dataset, *short))
    result = run(mpi(2, *program))
    assert result.returncode != 0
    assert "the ranks that train other members have sent no heartbeat for 0:00:03" in " ".join(
        result.stderr.split()
    )
    records = [json.loads((folder / "records" / "train-000.json").read_text()) for folder in (slow, hanging)]
    assert [record["outcome"] for record in records] == ["complete", "failed"]
    assert records[0]["progress"] == {"start": 0, "done": 20, "total": 20, "unit": "steps"}


def test_a_member_that_fails_ends_all_members_and_is_named(dataset: Path, pair: Path, tmp_path: Path) -> None:
    shutil.copytree(pair, tmp_path / "models" / "fno")
    unfinished, damaged = members_of(tmp_path / "models" / "fno")
    for folder in (tmp_path / "models" / "fno", unfinished, damaged):
        (folder / "model.json").unlink()
    for path in checkpoint.paths(unfinished / "checkpoints")[1:]:
        path.unlink()
    for path in checkpoint.paths(damaged / "checkpoints"):
        path.write_bytes(b"")
    program = mpi(2, "-m", "tests.faults.train_members", *words(tmp_path, dataset, "ensemble=2"))
    result = run(program, RANK_1="fails")
    assert result.returncode != 0
    assert "member 0" not in result.stderr
    assert f"error: member 1: all 3 checkpoints in {damaged / 'checkpoints'} are damaged" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "models" / "fno" / "model.json").exists()


def test_an_ensemble_grows_and_a_single_model_does_not_become_one(
    dataset: Path, pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pair, tmp_path / "models" / "fno")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("member-*/*.*")}
    folder = train_model(tmp_path, dataset, "ensemble=3")
    assert len(surrogates.load(folder).members) == 3  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    capsys.readouterr()
    train_model(tmp_path, dataset, "ensemble=3")
    assert capsys.readouterr().out.count("already") == 1
    with pytest.raises(ValueError, match=r"ensemble: true -> null .*overwrite=true"):
        train_model(tmp_path, dataset)
    single = train_model(tmp_path / "single", dataset)
    with pytest.raises(ValueError, match=r"ensemble: null -> true"):
        train_model(single.parents[1], dataset, "ensemble=2")
    assert not isinstance(surrogates.load(single), Ensemble)


def test_an_ensemble_that_changes_is_evaluated_again_with_its_present_members(
    dataset: Path, pair: Path, tmp_path: Path
) -> None:
    shutil.copytree(pair, tmp_path / "models" / "fno")
    pictures = tmp_path / "models" / "fno" / "evaluation" / "figures"
    for count in (3, 2):
        train_model(tmp_path, dataset, f"ensemble={count}")
        row = model_table.row_of(tmp_path, "fno")
        assert row.rollout_end is None
        assert row.remark == ("not evaluated" if count == 3 else "trained again since it was evaluated")
        evaluate.run(read(*words(tmp_path, dataset, f"ensemble={count}", "evaluation.figures=0")))
        assert model_table.row_of(tmp_path, "fno").rollout_end is not None
        names = sorted(path.name for path in pictures.glob("training*"))
        assert names == [f"training-member-{number}.png" for number in range(count)]


def test_an_incomplete_ensemble_is_not_loaded(dataset: Path, pair: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "fno"
    shutil.copytree(pair, folder)
    shutil.rmtree(folder / "member-1")
    with pytest.raises(ValueError, match="member-1 holds no trained model"):
        surrogates.load(folder)
    shutil.copytree(folder / "member-0", folder / "member-1")
    with pytest.raises(ValueError, match="member-1 differs from the member that"):
        surrogates.load(folder)
    shutil.rmtree(folder / "member-1")
    assert are_identical(train_model(tmp_path, dataset, "ensemble=2") / "member-1", pair / "member-1")


def test_ranks_that_do_not_fit_are_refused_with_the_ranks_that_do(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"ensemble=4 on 6 ranks: 2 members at a time, each on 3.*Start with one of 1, 2, 4, 8 r",
    ):
        ensemble.check_ranks(4, 4, 6)
    ensemble.check_ranks(4, 4, 8)
    ensemble.check_ranks(3, 1, 3)
    with pytest.raises(ValueError, match="ensemble=0"):
        train.run(read(f"run={tmp_path}", f"dataset={dataset}", "ensemble=0"))


def test_the_evaluation_compares_the_ensemble_spread_with_the_error(
    dataset: Path, pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.run(read(*words(pair.parents[1], dataset, "ensemble=2", "evaluation.batch_size=3")))
    assert "The spread of its 2 members is" in " ".join(capsys.readouterr().out.split())
    metrics = json.loads((pair / "evaluation" / "metrics.json").read_text())["splits"]["test"]
    ensemble, data, spreads, errors = surrogates.load(pair), Dataset.open(dataset), [], []
    assert isinstance(ensemble, Ensemble)
    for index in range(4):
        truth = data.trajectory("test", index)
        named = (
            dict(zip(data.spec.coefficient_channels, truth.coefficient_fields, strict=True))
            | truth.parameters
        )
        members = ensemble.predict(truth.state[None, 0], named, truth.time).members
        assert members is not None
        finals = members[:, 0, -1].double().numpy()
        size = np.linalg.norm(truth.state[-1].astype(float))
        spreads.append(np.linalg.norm(finals.std(axis=0, ddof=1)) / size)
        errors.append(np.linalg.norm(finals.mean(axis=0) - truth.state[-1]) / size)
    measured = metrics["ensemble_spread"]
    assert measured["members"] == 2
    assert measured["rollout_end"]["median"] == pytest.approx(np.median(spreads), rel=1e-5)
    assert measured["relative_l2"]["temperature"]["max"][-1] == pytest.approx(max(spreads), rel=1e-5)
    ratio = np.sqrt(1.5 * np.mean(np.square(spreads)) / np.mean(np.square(errors)))
    assert measured["ratio_to_error"] == pytest.approx(ratio, rel=1e-5)
    ranks = [np.argsort(np.argsort(values)) for values in (spreads, errors)]
    assert measured["error_correlation"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert metrics["by_trajectory"]["rollout_end"] == pytest.approx(errors, rel=1e-5)
    assert (pair / "evaluation" / "figures" / "training-member-1.png").is_file()
    assert "spread of 2 members" in (pair / "evaluation" / "report.html").read_text()
