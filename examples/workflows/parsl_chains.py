"""Chains with different seeds at the same time, as Parsl apps, and a table of their errors.

python examples/workflows/parsl_chains.py FOLDER SEED,SEED,... KEY=VALUE ...

    python examples/workflows/parsl_chains.py runs 1,2 experiment=heat_fno
    python examples/workflows/parsl_chains.py /scratch/me 1,2 experiment=heat_fno launcher=slurm
"""

import json
import subprocess
import sys

import parsl
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor

CHAIN = [sys.executable, "-m", "pipeline.chain"]


@parsl.python_app
def run_chain(run: str, arguments: list[str]) -> str:
    """Run a chain to its end, on this machine or as Slurm jobs, and return the path of the report."""
    subprocess.run([*CHAIN, *arguments, f"run={run}"], check=True)
    if not any(argument.startswith("launcher=") for argument in arguments):
        return f"{run}/models/fno/evaluation/report.html"
    # Slurm jobs: `wait` ends with exit code 1 unless all jobs are done.
    subprocess.run([*CHAIN, "wait", f"run={run}"], check=True)
    status = subprocess.run([*CHAIN, "status", "--json", f"run={run}"], check=True, capture_output=True)
    (report,) = json.loads(status.stdout)["reports"]
    return report


def main(folder: str, seeds: list[str], arguments: list[str]) -> None:
    """Run one chain for each seed, then compare the models. A failed chain raises its exception here."""
    # The apps only wait for processes or jobs. Two chains on this machine share its cores.
    with parsl.load(Config(executors=[ThreadPoolExecutor(max_threads=2)])):
        runs = [f"{folder}/seed-{seed}" for seed in seeds]
        chains = [run_chain(run, [*arguments, f"seed={seed}"]) for run, seed in zip(runs, seeds, strict=True)]
        for chain in chains:
            print("report:", chain.result())
    subprocess.run([sys.executable, "-m", "pipeline.compare", *runs], check=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","), sys.argv[3:])
