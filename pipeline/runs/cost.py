"""The cost of stages: core-hours, and energy where Slurm measures it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Cost:
    """Allocated processors times elapsed hours, and the energy in joules; None where nobody measured it."""

    core_hours: float
    energy_joules: float | None = None

    @property
    def text(self) -> str:
        """The cost in words: `1.5 core-hours, 0.2 kWh`."""
        energy = "" if self.energy_joules is None else f", {self.energy_joules / 3.6e6:.2g} kWh"
        return f"{self.core_hours:.2g} core-hours{energy}"


def allocated_cores(ranks: int) -> int:
    """Return the number of processors of this Slurm job; without Slurm, the threads of all ranks."""
    if nodes := os.environ.get("SLURM_JOB_CPUS_PER_NODE"):
        # 8(x2),4: two nodes with 8 processors and one with 4
        counts = re.findall(r"(\d+)(?:\(x(\d+)\))?", nodes)
        return sum(int(cores) * int(repetitions or 1) for cores, repetitions in counts)
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        return ranks * int(threads)
    usable_cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return max(ranks, len(usable_cores))


def of_cores(cores: int, seconds: float) -> float:
    """Return core-hours."""
    return cores * seconds / _SECONDS_PER_HOUR


def by_job(records: Iterable[Mapping[str, Any]]) -> dict[str, Cost]:
    """Return the cost of each Slurm job or task by Slurm's name, over all its restarts.

    Slurm's accounting has the whole job, with its start and with killed attempts. Without accounting the
    result is the sum of the run records. The name of runs without Slurm is empty.
    """
    core_hours: dict[str, float] = {}
    for record in records:
        slurm = record.get("slurm", {})
        key = f"{slurm['array_job']}_{slurm['array_task']}" if "array_task" in slurm else slurm.get("job", "")
        core_hours[key] = core_hours.get(key, 0.0) + float(record.get("core_hours", 0.0))
    recorded_costs = {key: Cost(hours) for key, hours in core_hours.items()}
    accounted_costs = _accounted({key.partition("_")[0] for key in core_hours if key})
    return recorded_costs | {key: accounted_costs[key] for key in core_hours if key in accounted_costs}


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs; the energy is None unless all jobs have one."""
    all_costs = list(costs)
    energies = [cost.energy_joules for cost in all_costs if cost.energy_joules is not None]
    has_energy = bool(all_costs) and len(energies) == len(all_costs)
    return Cost(sum(cost.core_hours for cost in all_costs), sum(energies) if has_energy else None)


def _accounted(job_numbers: set[str]) -> dict[str, Cost]:
    """Return the cost of jobs and tasks in Slurm's accounting; empty without accounting."""
    if not job_numbers:
        return {}
    columns = "--format=JobID,CPUTimeRAW,ConsumedEnergyRaw"
    command = ["sacct", "--noheader", "--parsable2", "--duplicates", columns]
    try:
        result = subprocess.run(
            [*command, f"--jobs={','.join(sorted(job_numbers))}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse(result.stdout) if result.returncode == 0 else {}


def parse(table: str) -> dict[str, Cost]:
    """Return the sums over all restarts in the output of sacct: JobID|CPUTimeRAW|ConsumedEnergyRaw.

    The lines of steps belong to the line of their job.
    """
    costs: dict[str, Cost] = {}
    for line in table.splitlines():
        key, seconds, joules = line.split("|")
        if "." in key or not seconds.isdigit():
            continue
        restart = Cost(of_cores(int(seconds), 1), float(joules) if joules.strip("0") else None)
        previous = costs.get(key, Cost(0.0))
        energies = [cost.energy_joules for cost in (previous, restart) if cost.energy_joules is not None]
        hours = previous.core_hours + restart.core_hours
        costs[key] = Cost(hours, sum(energies) if energies else None)
    return costs
