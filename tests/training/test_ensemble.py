"""Ensembles: members on any number of ranks, exact resumption, and a common end."""

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
from tests.support.launching import forked_mpi_command, require_success, run, run_stage
from tests.support.trainings.training_cases import are_identical, read_settings, tiny_arguments, train_model


@pytest.fixture(scope="module")
def pair(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two members that were trained one after the other on one rank."""
    return train_model(tmp_path_factory.mktemp("pair"), dataset, "ensemble=2")


def members_of(folder: Path) -> list[Path]:
    return [folder / "member-0", folder / "member-1"]


def test_members_are_equal_on_one_common_rank_and_on_separate_ranks(
    dataset: Path, pair: Path, tmp_path: Path
) -> None:
    # The ranks share the validation of the mean: rank 0 predicts two of three trajectories.
    program = forked_mpi_command(
        2, "-m", "tests.faults.train_shared_validation", *tiny_arguments(tmp_path, dataset, "ensemble=2")
    )
    result = require_success(run(program))
    lines = sorted(line for line in result.stdout.splitlines() if line.startswith("predicted"))
    assert lines == ["predicted 1", "predicted 2"]
    folder = tmp_path / "models" / "fno"
    for member, expected in zip(members_of(folder), members_of(pair), strict=True):
        assert are_identical(member, expected)
    description, expected_description = (
        json.loads((path / "model.json").read_text()) for path in (folder, pair)
    )
    error = expected_description.pop("valid_error")
    assert description.pop("valid_error") == pytest.approx(error, rel=1e-6)
    for document in (description, expected_description):
        document.pop("sha256")  # the digest covers the error
    assert description == expected_description


def test_each_group_of_ranks_trains_a_member(dataset: Path, pair: Path, tmp_path: Path) -> None:
    # A group has the same global batches as one rank, and therefore the same losses to round-off.
    require_success(run_stage("train", *tiny_arguments(tmp_path, dataset, "ensemble=2"), ranks=4))
    for members in zip(members_of(tmp_path / "models" / "fno"), members_of(pair), strict=True):
        logs = [np.loadtxt(member / "log.csv", delimiter=",", skiprows=1) for member in members]
        np.testing.assert_allclose(*logs, rtol=1e-3)


def test_members_differ_and_the_ensemble_predicts_their_mean(dataset: Path, pair: Path) -> None:
    ensemble, data = surrogates.load(pair), Dataset.open(dataset)
    assert isinstance(ensemble, Ensemble)
    truth = data.trajectory("valid", 0)
    conditions = (
        dict(zip(data.spec.coefficient_channels, truth.coefficient_fields, strict=True)) | truth.parameters
    )
    query = (truth.state[None, 0], conditions, truth.time)
    prediction = ensemble.predict(*query)
    members = prediction.members
    assert members is not None
    for folder, member in zip(members_of(pair), members, strict=True):
        assert torch.equal(surrogates.load(folder).predict(*query).mean, member)
    torch.testing.assert_close(prediction.mean, members.mean(dim=0))
    assert torch.equal(prediction.mean[:, 0], torch.from_numpy(truth.state[None, 0]))
    assert (members[0] - members[1]).norm() > 0.01 * members[0].norm()
    description = json.loads((pair / "model.json").read_text())
    errors = [json.loads((folder / "model.json").read_text())["valid_error"] for folder in members_of(pair)]
    assert 0 < description["valid_error"] < max(errors)
    assert not (pair / "model.safetensors").exists()


def test_training_that_is_killed_in_the_second_member_continues_in_the_second_member(
    dataset: Path, pair: Path, tmp_path: Path
) -> None:
    arguments = tiny_arguments(tmp_path, dataset, "ensemble=2")
    result = run([sys.executable, "-m", "tests.faults.train_killed", *arguments], KILL_AT_STEP="48")
    assert result.returncode != 0
    folder = tmp_path / "models" / "fno"
    assert (folder / "member-0" / "model.json").is_file()
    assert not (folder / "member-1" / "model.json").exists()
    assert not (folder / "model.json").exists()
    modification_time = (folder / "member-0" / "model.json").stat().st_mtime_ns
    train_model(tmp_path, dataset, "ensemble=2")
    assert (folder / "member-0" / "model.json").stat().st_mtime_ns == modification_time
    assert are_identical(folder / "member-1", pair / "member-1")
    assert (folder / "model.json").read_bytes() == (pair / "model.json").read_bytes()
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "records").glob("train-*.json"))]
    assert records[-1]["progress"] == {"start": 45, "done": 60, "total": 60, "unit": "steps"}


def test_a_signal_to_one_rank_stops_all_members(dataset: Path, tmp_path: Path) -> None:
    long_training = (
        "training.steps=100000",
        "training.checkpoint_every=100000",
        "training.validate_every=100000",
    )
    arguments = tiny_arguments(tmp_path, dataset, *long_training, "ensemble=2")
    program = forked_mpi_command(2, "-m", "tests.faults.train_killed", *arguments)
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
    original_build = store.build

    def build_after_signal(*arguments: Any) -> Surrogate:
        monkeypatch.setattr(store, "build", original_build)
        os.kill(os.getpid(), signal.SIGUSR1)
        return original_build(*arguments)

    monkeypatch.setattr(store, "build", build_after_signal)
    with pytest.raises(StoppedError, match="step 1 of"):
        train_model(tmp_path, dataset, f"ensemble={ensemble}")
    (path,) = (tmp_path / "models").rglob("step-*.safetensors")
    assert checkpoint.load(path).step == 1


def test_ranks_wait_for_a_slow_member_and_end_after_a_hanging_member(dataset: Path, tmp_path: Path) -> None:
    # Rank 0 waits for rank 1 longer than the timeout while heartbeats arrive.
    slow_run, hanging_run = tmp_path / "slow", tmp_path / "hanging"
    overrides = ("training.steps=10", "ensemble=2")
    program = (
        "-m",
        "tests.faults.train_members",
        str(slow_run),
        *tiny_arguments(hanging_run, dataset, *overrides),
    )
    result = run(forked_mpi_command(2, *program))
    assert result.returncode != 0
    assert "the ranks that train other members have sent no heartbeat for 0:00:03" in " ".join(
        result.stderr.split()
    )
    records = [
        json.loads((folder / "records" / "train-000.json").read_text()) for folder in (slow_run, hanging_run)
    ]
    assert [record["outcome"] for record in records] == ["complete", "failed"]
    assert records[0]["progress"] == {"start": 0, "done": 20, "total": 20, "unit": "steps"}


def test_a_member_that_fails_ends_all_members_and_is_named(dataset: Path, pair: Path, tmp_path: Path) -> None:
    shutil.copytree(pair, tmp_path / "models" / "fno")
    unfinished_member, damaged_member = members_of(tmp_path / "models" / "fno")
    for folder in (tmp_path / "models" / "fno", unfinished_member, damaged_member):
        (folder / "model.json").unlink()
    for path in checkpoint.paths(unfinished_member / "checkpoints")[1:]:
        path.unlink()
    for path in checkpoint.paths(damaged_member / "checkpoints"):
        path.write_bytes(b"")
    program = forked_mpi_command(
        2, "-m", "tests.faults.train_members", *tiny_arguments(tmp_path, dataset, "ensemble=2")
    )
    result = run(program, RANK_1="fails")
    assert result.returncode != 0
    assert "member 0" not in result.stderr
    assert (
        f"error: member 1: all 3 checkpoints in {damaged_member / 'checkpoints'} are damaged" in result.stderr
    )
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "models" / "fno" / "model.json").exists()


def test_an_ensemble_grows_and_a_single_model_does_not_become_an_ensemble(
    dataset: Path, pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pair, tmp_path / "models" / "fno")
    times_before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("member-*/*.*")}
    folder = train_model(tmp_path, dataset, "ensemble=3")
    assert len(surrogates.load(folder).members) == 3  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in times_before} == times_before
    capsys.readouterr()
    train_model(tmp_path, dataset, "ensemble=3")
    assert capsys.readouterr().out.count("already") == 1
    with pytest.raises(ValueError, match=r"ensemble: true -> null .*overwrite=true"):
        train_model(tmp_path, dataset)
    single_model = train_model(tmp_path / "single", dataset)
    with pytest.raises(ValueError, match=r"ensemble: null -> true"):
        train_model(single_model.parents[1], dataset, "ensemble=2")
    assert not isinstance(surrogates.load(single_model), Ensemble)


def test_a_changed_ensemble_is_evaluated_again_with_its_current_members(
    dataset: Path, pair: Path, tmp_path: Path
) -> None:
    shutil.copytree(pair, tmp_path / "models" / "fno")
    figures_folder = tmp_path / "models" / "fno" / "evaluation" / "figures"
    for count in (3, 2):
        train_model(tmp_path, dataset, f"ensemble={count}")
        row = model_table.row_of(tmp_path, "fno")
        assert row.rollout_end is None
        assert row.remark == ("not evaluated" if count == 3 else "trained again since it was evaluated")
        evaluate.run(
            read_settings(*tiny_arguments(tmp_path, dataset, f"ensemble={count}", "evaluation.figures=0"))
        )
        assert model_table.row_of(tmp_path, "fno").rollout_end is not None
        names = sorted(path.name for path in figures_folder.glob("training*"))
        assert names == [f"training-member-{member}.svg" for member in range(count)]


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


def test_unsuitable_numbers_of_ranks_are_refused_with_suitable_numbers(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"ensemble=4 on 6 ranks trains 2 members at a time, each on 3.*Start with one of 1, 2, 4, 8 r",
    ):
        ensemble.check_ranks(4, 4, 6)
    ensemble.check_ranks(4, 4, 8)
    ensemble.check_ranks(3, 1, 3)
    with pytest.raises(ValueError, match="ensemble=0"):
        train.run(read_settings(f"run={tmp_path}", f"dataset={dataset}", "ensemble=0"))


def test_the_evaluation_compares_the_ensemble_spread_with_the_error(
    dataset: Path, pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.run(
        read_settings(*tiny_arguments(pair.parents[1], dataset, "ensemble=2", "evaluation.batch_size=3"))
    )
    assert "The spread of the 2 members is" in " ".join(capsys.readouterr().out.split())
    metrics = json.loads((pair / "evaluation" / "metrics.json").read_text())["splits"]["test"]
    ensemble, data, spreads, errors = surrogates.load(pair), Dataset.open(dataset), [], []
    assert isinstance(ensemble, Ensemble)
    for index in range(4):
        truth = data.trajectory("test", index)
        conditions = (
            dict(zip(data.spec.coefficient_channels, truth.coefficient_fields, strict=True))
            | truth.parameters
        )
        members = ensemble.predict(truth.state[None, 0], conditions, truth.time).members
        assert members is not None
        final_states = members[:, 0, -1].double().numpy()
        norm = np.linalg.norm(truth.state[-1].astype(float))
        spreads.append(np.linalg.norm(final_states.std(axis=0, ddof=1)) / norm)
        errors.append(np.linalg.norm(final_states.mean(axis=0) - truth.state[-1]) / norm)
    spread_results = metrics["ensemble_spread"]
    assert spread_results["members"] == 2
    assert spread_results["rollout_end"]["median"] == pytest.approx(np.median(spreads), rel=1e-5)
    assert spread_results["relative_l2"]["temperature"]["max"][-1] == pytest.approx(max(spreads), rel=1e-5)
    ratio = np.sqrt(1.5 * np.mean(np.square(spreads)) / np.mean(np.square(errors)))
    assert spread_results["ratio_to_error"] == pytest.approx(ratio, rel=1e-5)
    ranks = [np.argsort(np.argsort(values)) for values in (spreads, errors)]
    assert spread_results["error_correlation"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert metrics["by_trajectory"]["rollout_end"] == pytest.approx(errors, rel=1e-5)
    assert (pair / "evaluation" / "figures" / "training-member-1.svg").is_file()
    assert "spread of 2 members" in (pair / "evaluation" / "report.html").read_text()
