"""The speed of a training, and its log, read by the parser of MLCommons."""

import datetime
import json
from pathlib import Path

import pytest
from mlperf_logging.compliance_checker.mlp_parser import parse_file
from mlperf_logging.mllog import constants

from pipeline.evaluation.mlperf.log import TrainingDescription, log_text
from pipeline.evaluation.mlperf.speed import TrainingTimes
from simsurrogate.errors import UserError

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
LOG = "step,learning_rate,train_loss,valid_error\n10,1e-3,0.5,0.6\n20,1e-3,0.3,0.15\n40,1e-3,0.2,0.04\n"
TIMING = (
    "step,seconds_per_step,data_wait_share,communication_share\n"
    "10,0.2,0.5,0.1\n20,0.1,0.1,0.2\n40,0.1,0.1,0.3\n"
)


def write_logs(folder: Path, log: str = LOG, timing: str = TIMING) -> Path:
    (folder / "log.csv").write_text(log)
    (folder / "timing.csv").write_text(timing)
    return folder


def test_the_speed_follows_from_the_logs(tmp_path: Path) -> None:
    speed = TrainingTimes(write_logs(tmp_path)).speed("fno", batch_size=8)
    # The steps take 2 s, 1 s and 2 s.
    assert speed.seconds == pytest.approx(5)
    assert speed.samples_per_second == pytest.approx(8 * 40 / 5)
    assert speed.reading == pytest.approx((2 * 0.5 + 1 * 0.1 + 2 * 0.1) / 5)
    assert speed.communicating == pytest.approx((2 * 0.1 + 1 * 0.2 + 2 * 0.3) / 5)
    assert speed.reading + speed.computing + speed.communicating == pytest.approx(1)
    assert speed.best_error == 0.04
    reached = {target.error: (target.step, target.seconds) for target in speed.time_to_error}
    assert reached == {0.5: (20, pytest.approx(3)), 0.2: (20, pytest.approx(3)), 0.1: (40, 5), 0.05: (40, 5)}


def test_unmeasured_communication_belongs_to_the_computation(tmp_path: Path) -> None:
    for timing in (TIMING.replace(",0.3\n", ",\n"), "step,seconds_per_step,data_wait_share\n40,0.1,0.25\n"):
        speed = TrainingTimes(write_logs(tmp_path, timing=timing)).speed("fno", batch_size=8)
        assert speed.communicating is None
        assert speed.reading + speed.computing == pytest.approx(1)


def test_a_training_without_a_row_has_no_speed_and_a_damaged_log_is_named(tmp_path: Path) -> None:
    empty = write_logs(tmp_path, LOG.splitlines()[0] + "\n", TIMING.splitlines()[0] + "\n")
    assert TrainingTimes(empty).speed("fno", 8) is None
    with pytest.raises(UserError, match=r"timing\.csv has no column seconds_per_step"):
        TrainingTimes(write_logs(tmp_path, timing="step,data_wait_share\n10,0.1\n"))


def test_the_parser_of_mlcommons_reads_every_line(tmp_path: Path) -> None:
    times = TrainingTimes(write_logs(tmp_path))
    speed = times.speed("fno/member-0", batch_size=8)
    options = {"batch_size": 8, "learning_rate": 1e-3, "steps": 40}
    head = TrainingDescription("heat/fno", "a processor", START, 3, options, 64, 8)
    path = tmp_path / "mlperf.log"
    path.write_text(log_text(head, times, speed))
    lines, errors = parse_file(str(path), ruleset="5.1.0")
    assert errors == []
    assert len(lines) == len(path.read_text().splitlines())
    by_key = {line.key: line.value for line in lines}
    standard = {value for value in vars(constants).values() if isinstance(value, str)}
    assert {key for key in by_key if key not in standard} == {
        "simsurrogate.samples_per_second",
        "simsurrogate.throughput",
        "simsurrogate.time_shares",
        "simsurrogate.time_to_error",
    }
    assert by_key[constants.GLOBAL_BATCH_SIZE]["value"] == 8
    assert by_key[constants.RUN_STOP]["metadata"]["status"] == constants.SUCCESS
    start, stop = (next(line for line in lines if line.key == key) for key in ("run_start", "run_stop"))
    assert start.timestamp == 1000 * START.timestamp()
    assert stop.timestamp - start.timestamp == pytest.approx(5000)
    errors_over_time = [
        (line.timestamp - start.timestamp, line.value["value"], line.value["metadata"]["samples_count"])
        for line in lines
        if line.key == constants.EVAL_ACCURACY
    ]
    assert errors_over_time == [(2000, 0.6, 80), (3000, 0.15, 160), (5000, 0.04, 320)]
    rates = [line.value["value"] for line in lines if line.key == "simsurrogate.throughput"]
    assert rates == pytest.approx([40, 80, 80])
    for text in path.read_text().splitlines():
        entry = json.loads(text.removeprefix(":::MLLOG "))
        assert list(entry) == ["namespace", "time_ms", "event_type", "key", "value", "metadata"]
        assert entry["namespace"] == "fno/member-0"
        assert {"file", "lineno"} <= entry["metadata"].keys()
