"""The ends of jobs in the words of Slurm: the last lines of logs, and the table of the accounting."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.jobs.slurm import log_end, queries

#: The beginning of slurmstepd's message (22.05) about the end of a job, before its cause.
ENDED = "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-11-29T08:01:56"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (f"{ENDED} DUE TO TIME LIMIT ***", ("failed", log_end.CAUSES["TIMEOUT"])),
        (
            f"{ENDED} DUE TO TIME LIMIT ***".replace("slurmstepd", "slurmstepd-n1"),
            ("failed", log_end.CAUSES["TIMEOUT"]),
        ),
        (f"{ENDED} DUE TO PREEMPTION ***", ("failed", log_end.CAUSES["PREEMPTED"])),
        (
            f"{ENDED} DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***",
            ("failed", log_end.CAUSES["NODE_FAIL"]),
        ),
        (f"{ENDED} ***", ("cancelled", "while it was running")),
        (
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=12.batch. Some of your processes may "
            "have been killed by the cgroup out-of-memory handler.",
            ("failed", log_end.CAUSES["OUT_OF_MEMORY"]),
        ),
        ("srun: error: n1: task 0: Out Of Memory", ("failed", log_end.CAUSES["OUT_OF_MEMORY"])),
        ("[rank 1 of 2] error: steps: 0 is too small", ("failed", "steps: 0 is too small")),
        (
            "error: of the first start\nrequeued\nerror: of the last start\nmore",
            ("failed", "of the last start"),
        ),
        ("srun: error: n1: task 0: Exited with exit code 2\nall is well", None),
        ("", None),
    ],
)
def test_the_end_of_a_log_names_the_end_of_the_job(
    tmp_path: Path, text: str, end: tuple[str, str] | None
) -> None:
    log = tmp_path / "log.out"
    assert log_end.read(log) is None
    log.write_text(f"a line\n{text}\n")
    log_end_read = log_end.read(log)
    assert (log_end_read and (log_end_read.state, log_end_read.reason)) == end


def test_the_accounting_gives_the_states_of_tasks() -> None:
    # sacct 22.05: tasks that were cancelled before they started share one line.
    properties = queries.parse_accounting(
        "12_0|TIMEOUT|0:0|n1|00:01:12|00:01:00\n"
        "12_[2-3,5%2]|CANCELLED by 1000|0:0|None assigned|00:00:00|00:01:00\n"
        "13|OUT_OF_MEMORY|0:125|n1|1-00:00:12|UNLIMITED\n"
    )
    assert {key: values["JobState"] for key, values in properties.items()} == {
        "12_0": "TIMEOUT",
        **dict.fromkeys(["12_2", "12_3", "12_5"], "CANCELLED"),
        "13": "OUT_OF_MEMORY",
    }
    assert properties["12_2"]["NodeList"] == ""
    assert properties["13"]["RunTime"] == "1-00:00:12"
