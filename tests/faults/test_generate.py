"""Faults during a generation: kills, exceptions, a full disk, diverged trajectories, wrong launches."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.data.dataset import Dataset
from simsurrogate.errors import UserError
from tests.faults.driving import ROOT, SMALL, STAGE, drift, drift_in_process, made
from tests.support.disks import NEEDS_ROOT, mounted_disk
from tests.support.launching import mpi, run, succeeded


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a generation without a fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    drift_in_process("generate", folder)
    return folder


def test_an_exception_on_one_rank_ends_all_ranks_and_names_it(tmp_path: Path) -> None:
    result = drift("generate", tmp_path, fault="raises:1:2", ranks=3)
    (raised,) = re.findall(r"raises at (\S+) s", result.stdout)
    assert time.time() - float(raised) < 10
    assert result.returncode != 0
    assert "[rank 1 of 3] Traceback" in result.stderr
    assert "RuntimeError: the solver broke" in result.stderr
    assert not list(tmp_path.rglob("*.partial")), "the broken rank leaves no partial file"


@pytest.mark.parametrize(
    ("fault", "num_kept"),
    [
        ("kill_publishing:train-00001.hdf5:1:before", 1),
        ("kill_publishing:train-00001.hdf5:1:after", 1),
        ("kill_publishing:train-00001.json:1:before", 1),
        ("kill_publishing:manifest.json:2:before", 5),
        ("kill_publishing:manifest.json:2:after", 5),
    ],
)
def test_a_rerun_after_a_kill_during_publishing_gives_the_same_bytes(
    undisturbed: Path, tmp_path: Path, fault: str, num_kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill before and after the renames of a shard, its receipt and the manifest."""
    assert drift("generate", tmp_path, fault=fault).returncode == -9
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert manifest["complete"] is fault.endswith("manifest.json:2:after")
    drift_in_process("generate", tmp_path)
    output = capsys.readouterr().out
    assert f"({5 - num_kept} of 5" in output or "complete; skipped" in output
    assert made(tmp_path) == made(undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a file system with 1 MiB in memory."""
    with mounted_disk(tmp_path, "1m") as disk:
        yield disk


@NEEDS_ROOT
@pytest.mark.parametrize("free", [100_000, 330_000])
def test_a_full_disk_keeps_finished_shards_and_no_partial_file(
    small_disk: Path, tmp_path: Path, free: int
) -> None:
    """Fill the disk before or after the first shard, then run again on a larger disk."""
    wide = ("solver.resolution=[4000]", "samples.train=3", "samples.per_shard=1")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - free))
    result = drift("generate", small_disk / "run", *wide)
    assert result.returncode == 2, result.stderr
    assert "cannot write" in result.stderr
    assert "bytes and" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(small_disk.rglob("*.partial"))
    finished = {path.name: path.read_bytes() for path in small_disk.rglob("*.hdf5")}
    assert len(finished) == (1 if free > 200_000 else 0)
    ballast.unlink()
    shutil.copytree(small_disk / "run", tmp_path / "run")
    rerun = succeeded(drift("generate", tmp_path / "run", *wide))
    assert f"({8 - len(finished)} of 8" in rerun.stdout
    for name, content in finished.items():
        assert next(tmp_path.rglob(name)).read_bytes() == content


def test_a_diverged_trajectory_is_left_out_with_its_reason(tmp_path: Path) -> None:
    allowed = "storage.max_failed_share=0.2"
    succeeded(drift("generate", tmp_path, allowed, fault="nan:0", ranks=2))
    drift_in_process("validate", tmp_path, allowed)
    dataset = Dataset.open(tmp_path / "dataset")
    assert [dataset.trajectory("train", position).index for position in range(3)] == [1, 2, 3]
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert [failure["index"] for failure in manifest["failed"]] == [0]
    assert "not finite" in manifest["failed"][0]["reason"]
    assert manifest["failed"][0]["parameters"].keys() == {"amplitude", "speed"}
    one_rank = tmp_path / "one_rank"
    succeeded(drift("generate", one_rank, allowed, fault="nan:0"))
    assert made(one_rank) == made(tmp_path)


def test_too_many_failures_fail_the_stage_until_more_are_allowed(tmp_path: Path) -> None:
    result = drift("generate", tmp_path, fault="nan:0")
    assert result.returncode == 2
    assert "1 of 9 trajectories failed, more than storage.max_failed_share=0.01" in result.stderr
    assert "not finite" in result.stderr
    assert json.loads((tmp_path / "dataset" / "manifest.json").read_text())["complete"] is False
    (finished,) = (tmp_path / "dataset").rglob("*.hdf5")
    before = finished.stat().st_mtime_ns
    allowed = "storage.max_failed_share=0.2"
    assert "(4 of 5 shards made now" in succeeded(drift("generate", tmp_path, allowed, fault="nan:0")).stdout
    assert finished.stat().st_mtime_ns == before
    drift_in_process("validate", tmp_path)


def test_an_unsuitable_number_of_ranks_is_refused(tmp_path: Path) -> None:
    indivisible = drift("generate", tmp_path, "group_size=2", ranks=3)
    assert indivisible.returncode != 0
    assert "3 ranks cannot be divided into groups of 2" in " ".join(indivisible.stderr.split())
    too_many = drift("generate", tmp_path, "group_size=3", "solver.resolution=[2]", ranks=3)
    assert too_many.returncode != 0
    assert "3 ranks share 2 rows: use at most 2" in too_many.stderr
    assert not (tmp_path / "dataset").exists()


def test_three_ranks_share_an_uneven_grid(tmp_path: Path) -> None:
    uneven = ("solver.resolution=[7,5]", "group_size=3")
    succeeded(drift("generate", tmp_path, *uneven, ranks=3))
    drift_in_process("validate", tmp_path, *uneven)


@pytest.mark.parametrize(
    ("launcher", "variables"),
    [
        ("mpirun (Open MPI)", {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3"}),
        ("torchrun", {"RANK": "0", "WORLD_SIZE": "3"}),
    ],
)
def test_single_rank_worlds_are_refused(launcher: str, variables: dict[str, str], tmp_path: Path) -> None:
    """Set the variables of a launcher that this MPI does not support: MPI then has one rank per process."""
    command = [sys.executable, *STAGE, "generate", "none", f"run={tmp_path}", *SMALL]
    result = run(command, timeout=60, cwd=ROOT, **variables)
    assert result.returncode == 2
    assert f"{launcher} started 3 ranks" in result.stderr
    assert "MPI (Open MPI" in result.stderr
    assert not (tmp_path / "dataset").exists()


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="setpriv drops root's capabilities"
)
@pytest.mark.parametrize("stage", ["generate", "train"])
def test_a_read_only_folder_is_refused_before_any_work(stage: str, undisturbed: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    caps = "-dac_override,-dac_read_search"
    drop = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"] if os.geteuid() == 0 else []
    arguments = [*STAGE, stage, "none", f"run={tmp_path / 'run'}", *SMALL]
    if stage == "train":
        drift_in_process("validate", undisturbed)
        arguments.append(f"dataset={undisturbed / 'dataset'}")
    result = run([*drop, *mpi(2, *arguments)], timeout=60, cwd=ROOT)
    assert result.returncode != 0
    assert f"cannot make the folder {tmp_path / 'run'}" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("manifest", [None, "{}", "not JSON"])
def test_overwrite_deletes_no_foreign_data(manifest: str | None, tmp_path: Path) -> None:
    foreign = tmp_path / "dataset" / "data" / "train" / "foreign.hdf5"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("foreign data")
    if manifest is not None:
        (tmp_path / "dataset" / "manifest.json").write_text(manifest)
    with pytest.raises(UserError, match="did not make"):
        drift_in_process("generate", tmp_path, "overwrite=true")
    assert foreign.read_text() == "foreign data"
