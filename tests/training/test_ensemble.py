"""Members of an ensemble are the same on any ranks, go on where they stopped, and end together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import surrogates
from pipeline import compare, train
from pipeline.data.dataset import Dataset
from pipeline.training import checkpoint, ensemble
from surrogates.deep_ensemble import Ensemble
from tests.support.launching import mpi, run, stage, succeeded
from tests.support.training_cases import TINY, made_dataset, read, same, trained


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_dataset(tmp_path_factory.mktemp("data"), "samples.test=4")


@pytest.fixture(scope="module")
def pair(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two members that were trained one after the other, on one rank."""
    return trained(tmp_path_factory.mktemp("pair"), dataset, "ensemble=2")


def members_of(folder: Path) -> list[Path]:
    return [folder / "member-0", folder / "member-1"]


def test_members_do_not_depend_on_who_trains_them(dataset: Path, pair: Path, tmp_path: Path) -> None:
    """One rank trained both; two ranks train one each."""
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, "ensemble=2"]
    succeeded(stage("train", *arguments, ranks=2))
    folder = tmp_path / "models" / "fno"
    for ours, theirs in zip(members_of(folder), members_of(pair), strict=True):
        assert same(ours, theirs)
    ours, theirs = (json.loads((each / "model.json").read_text()) for each in (folder, pair))
    assert ours.pop("valid_error") == pytest.approx(theirs.pop("valid_error"), rel=1e-6)
    assert ours == theirs


def test_all_ranks_judge_the_mean_of_the_members(dataset: Path, tmp_path: Path) -> None:
    """Three trajectories of the valid split, shared by two ranks."""
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, "training.steps=2", "ensemble=2"]
    result = succeeded(run(mpi(2, "-m", "tests.faults.train_shared_judgement", *arguments)))
    told = sorted(line for line in result.stdout.splitlines() if line.startswith("asked"))
    assert told == ["asked for 1", "asked for 2"]


def test_groups_of_ranks_train_a_member_each(dataset: Path, pair: Path, tmp_path: Path) -> None:
    """The same global batches as on one rank: the same losses, to round-off."""
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, "ensemble=2"]
    succeeded(stage("train", *arguments, ranks=4))
    for ours, theirs in zip(members_of(tmp_path / "models" / "fno"), members_of(pair), strict=True):
        logs = [np.loadtxt(one / "log.csv", delimiter=",", skiprows=1) for one in (ours, theirs)]
        np.testing.assert_allclose(*logs, rtol=1e-3)


def test_members_differ_and_answer_with_their_mean(dataset: Path, pair: Path) -> None:
    ensemble, data = surrogates.load(pair), Dataset.open(dataset)
    assert isinstance(ensemble, Ensemble)
    truth = data.trajectory("valid", 0)
    named = dict(zip(data.coefficients, truth.coefficients, strict=True)) | truth.parameters
    given = (truth.state[None, 0], named, truth.time)
    prediction = ensemble.predict(*given)
    answers = prediction.members
    assert answers is not None
    for member, answer in zip(members_of(pair), answers, strict=True):
        alone = surrogates.load(member).predict(*given)
        assert torch.equal(alone.mean, answer)
        assert alone.standard_deviation is alone.members is None
    torch.testing.assert_close(prediction.mean, answers.mean(dim=0))
    assert torch.equal(prediction.standard_deviation, answers.double().std(dim=0))
    assert torch.equal(prediction.mean[:, 0], torch.from_numpy(truth.state[None, 0]))
    assert (answers[0] - answers[1]).norm() > 0.01 * answers[0].norm()
    described = json.loads((pair / "model.json").read_text())
    valid = [json.loads((one / "model.json").read_text())["valid_error"] for one in members_of(pair)]
    assert 0 < described["valid_error"] < max(valid)
    assert not (pair / "model.safetensors").exists()


def test_killed_in_the_second_member_it_goes_on_there(dataset: Path, pair: Path, tmp_path: Path) -> None:
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, "ensemble=2"]
    assert run(mpi(1, "-m", "tests.faults.train_killed", *arguments), KILL_AT_STEP="48").returncode != 0
    folder = tmp_path / "models" / "fno"
    assert (folder / "member-0" / "model.json").is_file()
    assert not (folder / "member-1" / "model.json").exists()
    assert not (folder / "model.json").exists()
    before = (folder / "member-0" / "model.json").stat().st_mtime_ns
    succeeded(stage("train", *arguments))
    assert (folder / "member-0" / "model.json").stat().st_mtime_ns == before
    assert same(folder / "member-1", pair / "member-1")
    assert (folder / "model.json").read_bytes() == (pair / "model.json").read_bytes()
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "records").glob("train-*.json"))]
    assert records[-1]["progress"] == {"start": 45, "done": 60, "total": 60, "unit": "steps"}


def test_a_signal_to_one_rank_stops_all_members(dataset: Path, tmp_path: Path) -> None:
    long = ("training.steps=100000", "training.checkpoint_every=100000", "training.validate_every=100000")
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, *long, "ensemble=2"]
    program = mpi(2, "-m", "tests.faults.train_killed", *arguments)
    result = run(program, timeout=60, KILL_AT_STEP="18", KILL_RANK="1", KILL_WITH="SIGUSR1")
    assert result.returncode == 75, result.stderr
    reached = []
    for member in members_of(tmp_path / "models" / "fno"):
        (path,) = checkpoint.paths(member / "checkpoints")
        reached.append(checkpoint.load(path).step)
    assert 18 <= min(reached) <= max(reached) < 100000
    record = json.loads((tmp_path / "records" / "train-000.json").read_text())
    assert record["outcome"] == "interrupted"
    assert f"step {sum(reached)} of 200000" in record["reason"]
    assert record["progress"]["done"] == sum(reached)


@pytest.mark.parametrize("ensemble", [1, 2])
def test_a_signal_while_a_model_is_built_stops_its_first_step(
    ensemble: int, dataset: Path, tmp_path: Path
) -> None:
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, f"ensemble={ensemble}"]
    result = run(mpi(1, "-m", "tests.faults.train_asked_early", *arguments))
    assert result.returncode == 75, result.stderr
    (path,) = (tmp_path / "models").rglob("step-*.safetensors")
    assert checkpoint.load(path).step == 1


def test_a_member_may_take_its_time_and_one_that_hangs_is_given_up(dataset: Path, tmp_path: Path) -> None:
    for does in ("sleeps", "hangs"):
        arguments = [f"run={tmp_path / does}", f"dataset={dataset}", *TINY, "ensemble=2"]
        result = run(mpi(2, "-m", "tests.faults.train_members", *arguments), RANK_1=does)
        assert (result.returncode == 0) == (does == "sleeps"), result.stderr
    assert "the ranks that train other members have given no sign of life for 0:00:08" in result.stderr
    record = json.loads((tmp_path / "sleeps" / "records" / "train-000.json").read_text())
    assert record["progress"] == {"start": 0, "done": 60, "total": 60, "unit": "steps"}


def test_a_member_that_fails_ends_all_and_is_named(dataset: Path, pair: Path, tmp_path: Path) -> None:
    shutil.copytree(pair, tmp_path / "models" / "fno")
    unfinished, damaged = members_of(tmp_path / "models" / "fno")
    for folder in (tmp_path / "models" / "fno", unfinished, damaged):
        (folder / "model.json").unlink()
    for path in checkpoint.paths(unfinished / "checkpoints")[1:]:
        path.unlink()
    for path in checkpoint.paths(damaged / "checkpoints"):
        path.write_bytes(b"")
    arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, "ensemble=2"]
    result = run(mpi(2, "-m", "tests.faults.train_members", *arguments), RANK_1="fails")
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
    folder = trained(tmp_path, dataset, "ensemble=3")
    assert len(surrogates.load(folder).members) == 3  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    capsys.readouterr()
    trained(tmp_path, dataset, "ensemble=3")
    assert capsys.readouterr().out.count("already") == 1
    with pytest.raises(ValueError, match=r"ensemble: true -> null .*start_anew=true"):
        trained(tmp_path, dataset)
    single = trained(tmp_path / "single", dataset)
    with pytest.raises(ValueError, match=r"ensemble: null -> true"):
        trained(single.parents[1], dataset, "ensemble=2")
    assert not isinstance(surrogates.load(single), Ensemble)


def test_an_ensemble_that_changes_is_judged_anew_by_the_members_it_has(
    dataset: Path, pair: Path, tmp_path: Path
) -> None:
    shutil.copytree(pair, tmp_path / "models" / "fno")
    pictures = tmp_path / "models" / "fno" / "evaluation" / "pictures"
    for count in (3, 2):
        arguments = [f"run={tmp_path}", f"dataset={dataset}", *TINY, f"ensemble={count}"]
        trained(tmp_path, dataset, f"ensemble={count}")
        row = compare.row_of(tmp_path, "fno")
        assert row.roll_out_end is None
        assert row.remark == ("not evaluated" if count == 3 else "trained again since it was evaluated")
        succeeded(stage("evaluate", *arguments, "evaluation.figures=0"))
        assert compare.row_of(tmp_path, "fno").roll_out_end is not None
        found = sorted(path.name for path in pictures.glob("training*"))
        assert found == [f"training-member-{number}.png" for number in range(count)]


def test_what_is_no_whole_ensemble_is_not_loaded(dataset: Path, pair: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "fno"
    shutil.copytree(pair, folder)
    shutil.rmtree(folder / "member-1")
    with pytest.raises(ValueError, match="member-1 holds no trained model"):
        surrogates.load(folder)
    shutil.copytree(folder / "member-0", folder / "member-1")
    with pytest.raises(ValueError, match="member-1 is not the member that"):
        surrogates.load(folder)
    shutil.rmtree(folder / "member-1")
    assert same(trained(tmp_path, dataset, "ensemble=2") / "member-1", pair / "member-1")


def test_ranks_that_do_not_fit_are_refused_with_those_that_do(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"ensemble=4 on 6 ranks: 2 at a time, each on 3.*start 1, 2, 4, 8 r"
    ):
        ensemble.check_ranks(4, 4, 6)
    ensemble.check_ranks(4, 4, 8)
    ensemble.check_ranks(3, 1, 3)
    with pytest.raises(ValueError, match="ensemble=0"):
        train.run(read(f"run={tmp_path}", f"dataset={dataset}", "ensemble=0"))


def test_the_spread_is_judged_beside_the_error(dataset: Path, pair: Path) -> None:
    arguments = [
        f"run={pair.parents[1]}",
        f"dataset={dataset}",
        *TINY,
        "ensemble=2",
        "evaluation.batch_size=3",
    ]
    said = succeeded(stage("evaluate", *arguments)).stdout
    assert "Its 2 members are" in " ".join(said.split())
    found = json.loads((pair / "evaluation" / "metrics.json").read_text())["splits"]["test"]
    ensemble, data, spreads, errors = surrogates.load(pair), Dataset.open(dataset), [], []
    assert isinstance(ensemble, Ensemble)
    for number in range(4):
        truth = data.trajectory("test", number)
        named = dict(zip(data.coefficients, truth.coefficients, strict=True)) | truth.parameters
        members = ensemble.predict(truth.state[None, 0], named, truth.time).members
        assert members is not None
        answers = members[:, 0, -1].double().numpy()
        size = np.linalg.norm(truth.state[-1].astype(float))
        spreads.append(np.linalg.norm(answers.std(axis=0, ddof=1)) / size)
        errors.append(np.linalg.norm(answers.mean(axis=0) - truth.state[-1]) / size)
    ours = found["spread"]
    assert ours["members"] == 2
    assert ours["roll_out_end"]["median"] == pytest.approx(np.median(spreads), rel=1e-5)
    assert ours["relative_l2"]["temperature"]["max"][-1] == pytest.approx(max(spreads), rel=1e-5)
    ratio = np.sqrt(1.5 * np.mean(np.square(spreads)) / np.mean(np.square(errors)))
    assert ours["over_error"] == pytest.approx(ratio, rel=1e-5)
    ranks = [np.argsort(np.argsort(values)) for values in (spreads, errors)]
    assert ours["error_correlation"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert found["by_trajectory"]["roll_out_end"] == pytest.approx(errors, rel=1e-5)
    assert (pair / "evaluation" / "pictures" / "training-member-1.png").is_file()
    assert "spread of 2 members" in (pair / "evaluation" / "report.html").read_text()
