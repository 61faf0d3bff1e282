"""Core-hours and energy of jobs, from run records and from Slurm's accounting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.runs import cost
from pipeline.runs.cost import Cost

#: Two runs of a requeued job with energy, a task of an array without, and a running job.
SACCT = """\
7|3600|7200000
7.batch|3600|7200000
7|1800|3600000
8_3|36|0
9|0|
"""


def test_the_accounting_is_summed_over_the_restarts_of_a_job() -> None:
    assert cost.parse(SACCT) == {"7": Cost(1.5, 10_800_000.0), "8_3": Cost(0.01), "9": Cost(0.0)}
    assert Cost(1.5, 10_800_000.0).text == "1.5 core-hours, 3 kWh"
    assert Cost(0.25).text == "0.25 core-hours"


def test_records_count_where_no_accounting_knows_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sacct = tmp_path / "sacct"
    sacct.write_text(f"#!/bin/sh\ncat <<END\n{SACCT}END\n")
    sacct.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    records = [
        {"core_hours": 0.5, "slurm": {"job": "7"}},
        {"core_hours": 0.5, "slurm": {"job": "7", "restarts": "1"}},
        {"core_hours": 0.5, "slurm": {"job": "11", "array_job": "8", "array_task": "3"}},
        {"core_hours": 0.5, "slurm": {"job": "5"}},
        {"slurm": {"job": "5"}},
        {"core_hours": 2.0, "slurm": {}},
        {"core_hours": 2.0},
    ]
    costs = cost.by_job(records)
    assert costs == {"7": Cost(1.5, 10_800_000.0), "8_3": Cost(0.01), "5": Cost(0.5), "": Cost(4.0)}
    assert cost.total(costs.values()) == Cost(6.01)
    assert cost.total([costs["7"], costs["7"]]) == Cost(3.0, 21_600_000.0)
    sacct.write_text("#!/bin/sh\nexit 1\n")
    assert cost.by_job(records)["7"] == Cost(1.0)


def test_the_processors_of_a_job_are_counted_on_all_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "8(x2),4")
    assert cost.allocated_cores(3) == 20
    monkeypatch.delenv("SLURM_JOB_CPUS_PER_NODE")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert cost.allocated_cores(3) == 12
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert cost.allocated_cores(1000) == 1000
