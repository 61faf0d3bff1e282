"""Faults while a data set is made: kills, exceptions, a full disk, bad trajectories, wrong launches."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.data.dataset import Dataset
from tests.faults.driving import SMALL, STAGE, drift, made
from tests.support.launching import mpi, run, succeeded

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and change users")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    succeeded(drift("generate", folder))
    return folder


def test_one_rank_that_raises_ends_all_and_is_named(tmp_path: Path) -> None:
    result = drift("generate", tmp_path, fault="raises:1:2", ranks=3)
    (raised,) = re.findall(r"raises at (\S+) s", result.stdout)
    assert time.time() - float(raised) < 10
    assert result.returncode != 0
    assert "[rank 1 of 3] Traceback" in result.stderr
    assert "RuntimeError: the solver broke" in result.stderr
    assert not list(tmp_path.rglob("*.partial")), "the broken rank leaves no partial file"


@pytest.mark.parametrize(
    ("fault", "adopted"),
    [
        ("kill_publishing:train-00001.hdf5:1:before", 1),
        ("kill_publishing:train-00001.hdf5:1:after", 1),
        ("kill_publishing:train-00001.json:1:before", 1),
        ("kill_publishing:manifest.json:2:before", 5),
        ("kill_publishing:manifest.json:2:after", 5),
    ],
)
def test_killed_while_publishing(undisturbed: Path, tmp_path: Path, fault: str, adopted: int) -> None:
    """Between a shard and its receipt, and while the manifest is written, before and after the rename."""
    assert drift("generate", tmp_path, fault=fault).returncode == -9
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert manifest["complete"] is fault.endswith("manifest.json:2:after")
    again = succeeded(drift("generate", tmp_path))
    assert f"({5 - adopted} of 5" in again.stdout or "complete; skipped" in again.stdout
    assert made(tmp_path) == made(undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@NEEDS_ROOT
@pytest.mark.parametrize("free", [100_000, 330_000])
def test_a_full_disk(small_disk: Path, tmp_path: Path, free: int) -> None:
    """Whether the room ends before the first shard or after it: a clear error, no partial file, and
    what was finished is kept and used once there is room.
    """
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
    again = succeeded(drift("generate", tmp_path / "run", *wide))
    assert f"({8 - len(finished)} of 8" in again.stdout
    for name, content in finished.items():
        assert next(tmp_path.rglob(name)).read_bytes() == content


def test_a_diverged_trajectory_is_left_out_with_its_reason(tmp_path: Path) -> None:
    allowed = "storage.max_failed_share=0.2"
    succeeded(drift("generate", tmp_path, allowed, fault="nan:0", ranks=2))
    succeeded(drift("validate", tmp_path, allowed))
    dataset = Dataset.open(tmp_path / "dataset")
    assert [dataset.trajectory("train", number).index for number in range(3)] == [1, 2, 3]
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert [failure["index"] for failure in manifest["failed"]] == [0]
    assert "not finite" in manifest["failed"][0]["reason"]
    assert manifest["failed"][0]["parameters"].keys() == {"amplitude", "speed"}
    twin = tmp_path / "twin"
    succeeded(drift("generate", twin, allowed, fault="nan:0"))
    assert made(twin) == made(tmp_path)


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
    assert "passed" in succeeded(drift("validate", tmp_path)).stdout


def test_ranks_that_do_not_fit_are_refused_with_those_that_do(tmp_path: Path) -> None:
    odd = drift("generate", tmp_path, "group_size=2", ranks=3)
    assert odd.returncode != 0
    assert "3 ranks cannot be divided into groups of 2" in " ".join(odd.stderr.split())
    many = drift("generate", tmp_path, "group_size=3", "solver.resolution=[2]", ranks=3)
    assert many.returncode != 0
    assert "3 ranks share 2 rows: use at most 2" in many.stderr
    assert not (tmp_path / "dataset").exists()


def test_three_ranks_share_an_uneven_grid(tmp_path: Path) -> None:
    uneven = ("solver.resolution=[7,5]", "group_size=3")
    succeeded(drift("generate", tmp_path, *uneven, ranks=3))
    assert "passed" in succeeded(drift("validate", tmp_path, ranks=2)).stdout


@pytest.mark.parametrize(
    ("launcher", "variables"),
    [
        ("mpirun (Open MPI)", {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3"}),
        ("torchrun", {"RANK": "0", "WORLD_SIZE": "3"}),
    ],
)
def test_single_rank_worlds_are_refused(launcher: str, variables: dict[str, str], tmp_path: Path) -> None:
    """As a launcher that this MPI does not know starts them: each process believes that it is alone."""
    command = [sys.executable, str(STAGE), "generate", "none", f"run={tmp_path}", *SMALL]
    result = run(command, timeout=60, **variables)
    assert result.returncode == 2
    assert f"{launcher} started 3 ranks" in result.stderr
    assert "MPI (Open MPI" in result.stderr
    assert not (tmp_path / "dataset").exists()


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="setpriv drops root's right"
)
@pytest.mark.parametrize("stage", ["generate", "train"])
def test_a_read_only_folder_is_refused_before_any_work(stage: str, undisturbed: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    caps = "-dac_override,-dac_read_search"
    drop = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"] if os.geteuid() == 0 else []
    arguments = [str(STAGE), stage, "none", f"run={tmp_path / 'run'}", *SMALL]
    if stage == "train":
        succeeded(drift("validate", undisturbed))
        arguments.append(f"dataset={undisturbed / 'dataset'}")
    result = run([*drop, *mpi(2, *arguments)], timeout=60)
    assert result.returncode != 0
    assert f"cannot make the folder {tmp_path / 'run'}" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("manifest", [None, "{}", "not JSON"])
def test_foreign_data_are_not_touched(manifest: str | None, tmp_path: Path) -> None:
    theirs = tmp_path / "dataset" / "data" / "train" / "theirs.hdf5"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("not ours")
    if manifest is not None:
        (tmp_path / "dataset" / "manifest.json").write_text(manifest)
    result = drift("generate", tmp_path, "start_anew=true")
    assert result.returncode == 2
    assert "did not make" in result.stderr
    assert theirs.read_text() == "not ours"
