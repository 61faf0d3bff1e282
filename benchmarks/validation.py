"""The rate of validate next to plain reading, and its cost next to the generation, on one warm core."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import hydra
from mpi4py import MPI
from omegaconf import OmegaConf

from benchmarks.support.measuring import print_and_store
from pipeline import validate
from pipeline.config import settings as settings_module
from pipeline.data.checks import integrity
from pipeline.data.checks.data_checks import compared_rows
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, read_complete_manifest
from simsurrogate.files import sha256_of

#: Small grids, flows and particles, with the sizes of their data sets.
EXPERIMENTS = {
    "heat_fno": ("samples.train=480",),
    "navier_stokes": (),
    "three_body": ("samples.train=400", "samples.valid=40", "samples.test=40", "samples.per_shard=40"),
}
_ROUNDS = 3


def main() -> None:
    """Print and store the rates and the costs."""
    rows = []
    for experiment, overrides in EXPERIMENTS.items():
        with tempfile.TemporaryDirectory() as folder:
            arguments = [f"experiment={experiment}", f"run={folder}", *overrides]
            subprocess.run(
                [sys.executable, "-m", "pipeline.generate", *arguments],
                check=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            rows.append(_row(experiment, Path(folder) / "dataset", arguments))
    claim = (
        "The checks of a data set without and with the solver, next to plain reading and to the generation"
    )
    print_and_store("validation", claim, rows, ["numpy", "scipy"])


def _row(experiment: str, folder: Path, arguments: list[str]) -> dict[str, object]:
    """Return the rates (MB/s) and the costs of one data set."""
    manifest = read_complete_manifest(folder)
    paths = [folder / shard.file for shard in manifest.shards]
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    with hydra.initialize_config_module("configs", version_base="1.3"):
        container = OmegaConf.to_container(hydra.compose("config", overrides=arguments), resolve=True)
    settings = settings_module.read(container)  # type: ignore[arg-type]
    generation = sum(shard.core_seconds for shard in manifest.shards)
    reading = _seconds(lambda: [_read(path) for path in paths])
    checksums = _seconds(lambda: [sha256_of(path) for path in paths])
    bytes_checks = _seconds(lambda: _check_bytes(folder, manifest))
    data_checks = _seconds(lambda: _check_data(folder, manifest))
    stage = _seconds(lambda: _validate(settings))
    return {
        "data": experiment,
        "MB": megabytes,
        "plain reading, MB/s": megabytes / reading,
        "SHA-256, MB/s": megabytes / checksums,
        "checks of each shard, MB/s": megabytes / bytes_checks,
        "all checks without solver, MB/s": megabytes / data_checks,
        "all checks without solver, share of generation": f"{100 * data_checks / generation:.3g} %",
        "whole stage, share of generation": f"{100 * stage / generation:.3g} %",
    }


def _read(path: Path) -> None:
    buffer = bytearray(2**20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _check_bytes(folder: Path, manifest: Manifest) -> None:
    """Run the checks of each shard by itself."""
    shards = validate.CheckedShards(folder, manifest, Structures(manifest.header), {})
    for position in range(len(manifest.planned_shards)):
        if any(error for _, error in integrity.check_shard(shards.under_test(position))):
            raise SystemExit("the data set is damaged; the times of unequal work are not comparable")


def _check_data(folder: Path, manifest: Manifest) -> None:
    """Run all checks without a solver."""
    shards = validate.CheckedShards(folder, manifest, Structures(manifest.header), {})
    table = RowTable.joined(shards.results(MPI.COMM_SELF)[1])
    compared_rows(str(folder), manifest, table, shards.search(table, MPI.COMM_SELF))


def _validate(settings: settings_module.Settings) -> None:
    with open(os.devnull, "w", encoding="utf-8") as null, redirect_stdout(null), redirect_stderr(null):
        validate.run(settings)


def _seconds(run: Callable[[], object]) -> float:
    """Return the smallest processor time (s) of a few runs, because other work shares the machine."""
    seconds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
