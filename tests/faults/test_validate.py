"""Damage to a finished data set: validate reports the damaged shards, and generate regenerates only these."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline import validate
from pipeline.data import windows
from pipeline.data.checks.result import CheckResult
from pipeline.data.dataset import Dataset
from simsurrogate.errors import UserError
from solvers.contract import solver_class
from tests.faults.driving import VICTIM, forge, read_generated, run_drift, run_drift_in_process
from tests.faults.stage import DRIFT
from tests.support.shards import arrays_of, offset_of

FIRST_SHARD = "data/train/train-00000.hdf5"


def failure_of(stage: str, run: Path, *overrides: str) -> str:
    """Return the message of a stage that refuses or fails the data set."""
    with pytest.raises(UserError) as error_info:
        run_drift_in_process(stage, run, *overrides)
    return str(error_info.value)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[offset_of(path, "t0_fields/density") + 21] ^= 1
    path.write_bytes(content)


def clear(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "damages",
    [
        {"train-00001": (truncate, "size"), "valid-00000": (flip_bit, "checksum")},
        {
            "train-00000": (clear, "size"),
            "test-00000": (overwrite, "checksum"),
            "valid-00000": (remove, "size"),
        },
    ],
    ids=["truncated and flipped", "cleared, overwritten and removed"],
)
@pytest.mark.fault(
    "shards are damaged",
    cause="two or three of five shards are truncated, changed in one bit, emptied, overwritten or removed",
    result="validate names the shards; generate makes these again, with the same bytes",
    lost="the damaged shards",
)
def test_only_damaged_shards_are_reported_and_regenerated(
    damages: dict[str, tuple[Callable[[Path], None], str]],
    undamaged_run: Path,
    run_copy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, (damage, _) in damages.items():
        damage(run_copy / "dataset" / "data" / name.split("-")[0] / f"{name}.hdf5")
    message = failure_of("validate", run_copy)
    for name, (_, check_name) in damages.items():
        assert f"{name}.hdf5: {check_name}: " in message
    assert message.count(".hdf5: ") == len(damages), "the other shards pass"
    assert "expected" in message
    assert "python -m pipeline.generate" in message
    with pytest.raises(ValueError, match=r"failed its validation: data/"):
        Dataset.open(run_copy / "dataset")
    run_drift_in_process("generate", run_copy)
    assert f"({len(damages)} of 5 shards made now" in capsys.readouterr().out
    assert read_generated(run_copy) == read_generated(undamaged_run)
    with pytest.raises(ValueError, match=r"failed its validation: data/"):
        Dataset.open(run_copy / "dataset")
    run_drift_in_process("validate", run_copy)
    Dataset.open(run_copy / "dataset")


def test_a_failed_validation_counts_although_another_validation_passed(
    run_copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other_path = tmp_path_factory.mktemp("other") / "validation.json"
    passed = json.loads((run_copy / "dataset" / "validation.json").read_text())
    failed = passed | {"outcome": "failed", "failures": ["train-00000.hdf5: recomputed: other bits"]}
    for own, other in ((passed, failed), (failed, passed)):
        (run_copy / "dataset" / "validation.json").write_text(json.dumps(own))
        other_path.write_text(json.dumps(other))
        with pytest.raises(UserError, match=r"failed its validation: train-00000\.hdf5: recomputed"):
            Dataset.open(run_copy / "dataset", other_path)
    # The validation of an earlier state does not count.
    (run_copy / "dataset" / "validation.json").write_text(json.dumps(passed))
    other_path.write_text(json.dumps(failed | {"identity": "0" * 64}))
    Dataset.open(run_copy / "dataset", other_path)


def test_a_stored_validation_alone_replaces_that_of_the_run_folder(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_path = run_copy / "validation.json"
    shutil.copyfile(run_copy / "dataset" / "validation.json", old_path)
    with monkeypatch.context() as context:
        context.setattr(validate, "is_read_only", lambda folder: True)
        run_drift_in_process("validate", run_copy)
    assert old_path.exists()
    # Adopted data, for example, state no error.
    no_error = CheckResult("self_stated_error", "dataset", "not applicable", "the data were adopted")
    monkeypatch.setattr(validate, "self_stated_error", lambda *_, **__: no_error)
    run_drift_in_process("validate", run_copy)
    assert not old_path.exists()


def reasons_of(run: Path) -> dict[str, str]:
    """Return the reason of each check that does not apply."""
    results = json.loads((run / "dataset" / "validation.json").read_text())["results"]
    return {record["check"]: record["message"] for record in results if record["outcome"] == "not applicable"}


def test_the_checks_after_a_failed_shard_say_why_they_do_not_apply(run_copy: Path) -> None:
    truncate(run_copy / "dataset" / VICTIM)
    failure_of("validate", run_copy)
    reasons = reasons_of(run_copy)
    assert reasons["recomputed"].startswith("the checks of a shard failed")
    after_failure = {check for check, reason in reasons.items() if reason == reasons["recomputed"]}
    assert after_failure == {
        *("solver", "draws", "redrawn", "recomputed", "residual", "steps", "budget", "self_stated_error"),
        *("conserved_means", "divergence", "boundary_values", "resolution"),
    }


@pytest.mark.parametrize("method", ["exact", "exact on one rank"])
def test_trajectories_of_several_ranks_are_computed_again_by_their_own_method(
    method: str, run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (run_copy / "dataset" / "receipts").iterdir():
        path.write_text(json.dumps(json.loads(path.read_text()) | {"ranks": 2}))
    monkeypatch.setattr(solver_class("drift", DRIFT), "method", method)
    run_drift_in_process("validate", run_copy)
    reasons = reasons_of(run_copy)
    is_same = method == "exact"
    for check in ("recomputed", "steps", "budget"):
        assert (check in reasons) != is_same
        assert is_same or reasons[check] == (
            "2 ranks computed the trajectories by the method exact, and one rank uses exact on one rank"
        )


@pytest.mark.timeout(60)
@pytest.mark.fault(
    "a shard is no regular file",
    cause="a named pipe in the place of a shard",
    result="validate names the shard and never waits",
    lost="the shard",
)
def test_a_pipe_in_the_place_of_a_shard_is_refused(run_copy: Path) -> None:
    (run_copy / "dataset" / VICTIM).unlink()
    os.mkfifo(run_copy / "dataset" / VICTIM)
    assert VICTIM in failure_of("validate", run_copy)
    with pytest.raises(ValueError, match="failed its validation"):
        Dataset.open(run_copy / "dataset")


def set_row(path: str, row: int, value: float) -> Callable[[Path], None]:
    """Return a function that sets one row of a dataset of a shard."""

    def change(shard: Path) -> None:
        with h5py.File(shard, "r+") as file:
            values = file[path][...]
            values[row] = value
            file[path][...] = values

    return change


@pytest.mark.parametrize(
    ("change", "expected_message"),
    [
        (set_row("t0_fields/density", 1, np.nan), "finite: t0_fields/density[1, 0, 0] is nan"),
        (set_row("scalars/speed", 0, 7.0), "parameter_range: speed=7 found, a value in [1, 2] expected"),
        (set_row("sample", 0, 2**40), "indices: row 0 is trajectory 1099511627776, 2 expected"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.fault(
    "a shard holds wrong values, and its receipt agrees",
    cause="NaN, a parameter out of its range, the index of another trajectory",
    result="validate names the shard, the check and the value",
    lost="nothing",
)
def test_wrong_content_with_a_matching_receipt_is_refused(
    change: Callable[[Path], None], expected_message: str, run_copy: Path
) -> None:
    forge(run_copy, change)
    assert f"{VICTIM}: {expected_message}" in failure_of("validate", run_copy)
    with pytest.raises(ValueError, match="failed its validation"):
        Dataset.open(run_copy / "dataset")


@pytest.mark.fault(
    "a shard holds a part of its rows",
    cause="the unfinished file of a killed generation",
    result="validate names the missing mark, or the missing row",
    lost="the shard",
)
def test_a_shard_with_a_part_of_its_rows_is_refused(
    run_copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Take the unfinished file of a killed generation as a shard, with matching documents."""
    killed_run = tmp_path_factory.mktemp("killed")
    assert run_drift("generate", killed_run, fault="kill:0:5").returncode == -9
    (unfinished,) = (killed_run / "dataset").rglob("*.partial")
    assert arrays_of(unfinished)["sample"].tolist() == [0, 0], "the second of two rows was not written"
    forge(run_copy, lambda shard: shutil.copyfile(unfinished, shard), FIRST_SHARD)
    assert "structure: " in (message := failure_of("validate", run_copy))
    assert f"{FIRST_SHARD} has another structure" in message
    assert "/ complete: False found, True expected" in message
    forge(run_copy, mark_complete, FIRST_SHARD)
    assert f"{FIRST_SHARD}: indices: row 1 is trajectory 0, 1 expected" in failure_of("validate", run_copy)


def mark_complete(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file.attrs.modify("complete", True)


def test_a_trajectory_inside_all_ranges_is_refused_in_the_extrapolation_split(run_copy: Path) -> None:
    file = "data/test_extrapolation/test_extrapolation-00000.hdf5"
    forge(run_copy, set_row("scalars/speed", 0, 1.5), file)
    assert "parameter_range: " not in failure_of("validate", run_copy), "the amplitude is outside"
    forge(run_copy, set_row("scalars/amplitude", 0, 0.7), file)
    message = f"{file}: parameter_range: every scalar parameter of row 0 lies in its range"
    assert message in failure_of("validate", run_copy)
    forge(run_copy, set_row("scalars/speed", 0, 2.005), file)
    failure = failure_of("validate", run_copy)
    assert "parameter_range: " not in failure, "the speed is outside"
    assert (
        "extrapolation: trajectory 0 of test_extrapolation lies within 1 % of the training range in every "
        "scalar parameter: speed is the farthest, 0.5 % of the range beyond it"
    ) in failure


def set_statistics(kind: str, key: str, value: object) -> Callable[[Path], None]:
    """Return a function that changes a value of the statistics in a receipt."""

    def change(receipt: Path) -> None:
        document = json.loads(receipt.read_text())
        document["statistics"][kind][key] = value
        receipt.write_text(json.dumps(document))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_statistics("fields", "sum", ["1000", "1000"]), "receipt's mean of fields differs from the data"),
        (set_statistics("fields", "sum_of_squares", ["9999", "9999"]), "receipt's deviation of fields"),
        (set_statistics("fields", "maximum", [9.0, 9.0]), "receipt's maximum of fields"),
        (set_statistics("changes", "minimum", [-9.0, -9.0]), "receipt's minimum of changes"),
        (set_statistics("parameters", "count", 7), "receipt's count of parameters"),
        (set_statistics("coefficient_fields", "sum", ["1000"]), "receipt's mean of coefficient_fields"),
    ],
)
def test_statistics_that_are_not_those_of_the_data_are_refused(
    change: Callable[[Path], None], message: str, run_copy: Path
) -> None:
    change(run_copy / "dataset" / "receipts" / "train-00001.json")
    assert f"{VICTIM}: receipt_statistics: the {message}" in failure_of("validate", run_copy)


@pytest.mark.fault(
    "a foreign file lies among the shards",
    cause="touch more.hdf5",
    result="validate names the file",
    lost="nothing",
)
def test_a_foreign_file_among_the_shards_is_reported(run_copy: Path) -> None:
    (run_copy / "dataset/data/valid/more.hdf5").touch()
    result = run_drift("validate", run_copy)
    assert result.returncode == 2
    assert "more.hdf5 is not a shard of this data set" in result.stderr


def test_changed_statistics_are_reported_and_regenerated(undamaged_run: Path, run_copy: Path) -> None:
    statistics = run_copy / "dataset" / "stats.yaml"
    statistics.write_text(statistics.read_text().replace("density: 0.", "density: 1.", 1))
    with pytest.raises(ValueError, match=r"stats.yaml is missing or was changed"):
        Dataset.open(run_copy / "dataset")
    assert "stats.yaml differs" in failure_of("validate", run_copy)
    run_drift_in_process("generate", run_copy)
    assert read_generated(run_copy) == read_generated(undamaged_run)


def test_the_message_about_a_missing_data_set_names_generate(tmp_path: Path) -> None:
    result = run_drift("validate", tmp_path / "none")
    assert result.returncode == 2
    assert "there is no data set in" in result.stderr
    assert "python -m pipeline.generate" in result.stderr
    assert not (tmp_path / "none").exists()


def read_all(run: Path) -> dict[str, np.ndarray]:
    """Return all windows of one frame of the training split."""
    train_windows = Dataset.open(run / "dataset").windows("train", 1)
    return train_windows.take(np.arange(len(train_windows)))


@pytest.mark.fault(
    "a bit flips after the validation",
    cause="one changed bit of a shard",
    result="the first reader of the shard ends with its name",
    lost="the damaged shard",
)
def test_a_bit_that_flips_after_validation_is_reported_by_the_reader(
    undamaged_run: Path, run_copy: Path
) -> None:
    expected = read_all(undamaged_run)
    np.testing.assert_equal(read_all(run_copy), expected, "a copy is compared with its checksum")
    run_drift_in_process("validate", run_copy)
    flip_bit(run_copy / "dataset" / VICTIM)
    with pytest.raises(
        UserError, match=r"train-00001.hdf5 was changed after its validation: SHA-256 .* expected"
    ):
        read_all(run_copy)


def test_a_shard_that_passed_is_not_read_twice(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_paths: list[Path] = []
    original_sha256_of = windows.sha256_of
    monkeypatch.setattr(
        windows, "sha256_of", lambda path: read_paths.append(path) or original_sha256_of(path)
    )
    read_all(run_copy)
    assert len(read_paths) == 2, "the files of a copy are unknown"
    run_drift_in_process("validate", run_copy)
    read_all(run_copy)
    assert len(read_paths) == 2


def test_a_shard_truncated_after_validation_is_reported_by_name(run_copy: Path) -> None:
    truncate(run_copy / "dataset" / VICTIM)
    with pytest.raises(ValueError, match=r"train-00001.hdf5: \d+ bytes found, \d+ bytes expected"):
        Dataset.open(run_copy / "dataset")
