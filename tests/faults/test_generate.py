"""Faults during a generation: kills, exceptions, a full disk, diverged trajectories, wrong launches."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.data.dataset import Dataset
from simsurrogate.errors import StorageError, UserError
from tests.faults.driving import ROOT, SMALL_DATASET, STAGE, read_generated, run_drift, run_drift_in_process
from tests.support.disks import NEEDS_ROOT, mounted_disk
from tests.support.launching import mpi_command, require_success, run


@pytest.fixture(scope="module")
def undisturbed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a generation without a fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_drift_in_process("generate", folder)
    return folder


@pytest.mark.fault(
    "a solver raises on one rank",
    cause="exception in `advance` on rank 1 of 3",
    result="all ranks end; the traceback names the rank",
    lost="the shards in work",
)
def test_an_exception_on_one_rank_ends_all_ranks_and_the_message_names_the_rank(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    result = run_drift("generate", tmp_path, fault="raises:1:2", ranks=3)
    (time_of_error,) = re.findall(r"raises at (\S+) s", result.stdout)
    seconds = time.time() - float(time_of_error)
    assert seconds < 10
    record_property("seconds", seconds)
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
@pytest.mark.fault(
    "a process dies while it publishes a shard, a receipt or the manifest",
    cause="SIGKILL: {fault}",
    result="the next run keeps verified shards and writes the same bytes",
    lost="at most the shard in work",
)
def test_a_rerun_after_a_kill_during_publishing_writes_the_same_bytes(
    undisturbed_run: Path, tmp_path: Path, fault: str, num_kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill before and after the renames of a shard, its receipt and the manifest."""
    assert run_drift("generate", tmp_path, fault=fault).returncode == -9
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert manifest["complete"] is fault.endswith("manifest.json:2:after")
    run_drift_in_process("generate", tmp_path)
    output = capsys.readouterr().out
    assert f"({5 - num_kept} of 5" in output or "complete; skipped" in output
    assert read_generated(tmp_path) == read_generated(undisturbed_run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield the folder of a file system of 2 MiB in memory."""
    with mounted_disk(tmp_path, "2m") as disk:
        yield disk


@NEEDS_ROOT
@pytest.mark.parametrize("num_free_bytes", [100_000, 330_000])
@pytest.mark.fault(
    "the disk is full while generate writes",
    cause="tmpfs of 2 MiB with {num_free_bytes} free bytes",
    result="message with the sizes; finished shards stay; no partial file; the next run continues",
    lost="the shard in work",
)
def test_a_full_disk_keeps_finished_shards_and_no_partial_file(
    small_disk: Path, tmp_path: Path, num_free_bytes: int
) -> None:
    """Let the disk become full before or after the first shard, then run again on a larger disk."""
    large_shards = ("solver.resolution=[4000]", "samples.train=3", "samples.per_shard=1")
    fault = f"fills_disk:{num_free_bytes}"
    result = run_drift("generate", small_disk / "run", *large_shards, fault=fault)
    assert result.returncode == 2, result.stderr
    assert "cannot write" in result.stderr
    assert re.search(r"bytes of .*hdf5: No space .* has \d+ bytes free. Make room, then", result.stderr)
    assert "Traceback" not in result.stderr
    assert not list(small_disk.rglob("*.partial"))
    finished_shards = {path.name: path.read_bytes() for path in small_disk.rglob("*.hdf5")}
    assert len(finished_shards) == (1 if num_free_bytes > 200_000 else 0)
    (small_disk / "ballast").unlink()
    refusal = run_drift("generate", small_disk / "other", *large_shards, "output.steps=30")
    assert re.search(
        r"8 trajectories of 31 frames .* take at least 7\.69 MiB on disk. .* are free", refusal.stderr
    )
    shutil.copytree(small_disk / "run", tmp_path / "run")
    rerun = require_success(run_drift("generate", tmp_path / "run", *large_shards))
    assert f"({8 - len(finished_shards)} of 8" in rerun.stdout
    for name, content in finished_shards.items():
        assert next(tmp_path.rglob(name)).read_bytes() == content


@NEEDS_ROOT
@pytest.mark.fault(
    "the disk has too few inodes for a data set",
    cause="tmpfs of 2 to 20 inodes",
    result="message with the cause; no partial file; the next run has the same bytes",
    lost="the file in work",
)
def test_a_disk_without_inodes_is_named_at_any_file(undisturbed_run: Path, tmp_path: Path) -> None:
    for number in range(2, 21, 3):
        parent = tmp_path / str(number)
        parent.mkdir()
        with mounted_disk(parent, f"2m,nr_inodes={number}") as disk:
            with pytest.raises(StorageError, match=r"has no inode for another file. Delete files, then"):
                run_drift_in_process("generate", disk / "run")
            assert not list(disk.rglob("*.partial"))
            subprocess.run(["mount", "-o", "remount,nr_inodes=1000", disk], check=True)
            run_drift_in_process("generate", disk / "run")
            assert read_generated(disk / "run") == read_generated(undisturbed_run)


@pytest.mark.fault(
    "files have a largest size",
    cause="ulimit -f 40",
    result="message with the limit; no partial file; the next run continues",
    lost="the shard in work",
)
def test_a_limit_of_file_sizes_is_named(tmp_path: Path) -> None:
    large_shards = ("solver.resolution=[4000]", "samples.train=3", "samples.per_shard=1")
    command = [sys.executable, *STAGE, "generate", "none", f"run={tmp_path}", *SMALL_DATASET, *large_shards]
    result = run(["bash", "-c", 'ulimit -f 40; exec "$0" "$@"', *command], cwd=ROOT)
    assert result.returncode == 2
    message = (
        r"error: cannot write the \d+ bytes of .*hdf5: File too large. A file may have at most 40960 bytes"
    )
    assert re.fullmatch(rf"{message} here. Raise the limit with ulimit -f, then .*\n", result.stderr)
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.hdf5"))


@pytest.mark.fault(
    "a trajectory blows up",
    cause="NaN in one trajectory, with storage.max_failed_share=0.2",
    result="the trajectory is omitted, and the manifest names the reason",
    lost="one trajectory",
)
def test_a_diverged_trajectory_is_omitted_with_its_reason(tmp_path: Path) -> None:
    failure_limit = "storage.max_failed_share=0.2"
    require_success(run_drift("generate", tmp_path, failure_limit, fault="nan:0", ranks=2))
    run_drift_in_process("validate", tmp_path, failure_limit)
    dataset = Dataset.open(tmp_path / "dataset")
    assert [dataset.trajectory("train", position).index for position in range(3)] == [1, 2, 3]
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert [failure["index"] for failure in manifest["failed"]] == [0]
    assert "not finite" in manifest["failed"][0]["reason"]
    assert manifest["failed"][0]["parameters"].keys() == {"amplitude", "speed"}
    single_rank_run = tmp_path / "one_rank"
    require_success(run_drift("generate", single_rank_run, failure_limit, fault="nan:0"))
    assert read_generated(single_rank_run) == read_generated(tmp_path)


@pytest.mark.fault(
    "too many trajectories blow up",
    cause="NaN in one of 9 trajectories, with the default limit",
    result="generate fails with the limit; a run with a higher limit keeps finished shards",
    lost="nothing",
)
def test_too_many_failures_fail_the_stage_until_more_are_allowed(tmp_path: Path) -> None:
    result = run_drift("generate", tmp_path, fault="nan:0")
    assert result.returncode == 2
    assert "1 of 9 trajectories failed, more than storage.max_failed_share=0.01" in result.stderr
    assert "not finite" in result.stderr
    assert json.loads((tmp_path / "dataset" / "manifest.json").read_text())["complete"] is False
    (finished_shard,) = (tmp_path / "dataset").rglob("*.hdf5")
    modification_time = finished_shard.stat().st_mtime_ns
    failure_limit = "storage.max_failed_share=0.2"
    assert (
        "(4 of 5 shards made now"
        in require_success(run_drift("generate", tmp_path, failure_limit, fault="nan:0")).stdout
    )
    assert finished_shard.stat().st_mtime_ns == modification_time
    run_drift_in_process("validate", tmp_path)


@pytest.mark.fault(
    "the ranks do not divide into groups, or a group is larger than the grid",
    cause="3 ranks in groups of 2, and on 2 rows",
    result="refused with legal counts before work starts",
    lost="nothing",
)
def test_an_unsuitable_number_of_ranks_is_refused(tmp_path: Path) -> None:
    result_of_wrong_groups = run_drift("generate", tmp_path, "group_size=2", ranks=3)
    assert result_of_wrong_groups.returncode != 0
    assert "3 ranks cannot be divided into groups of 2" in " ".join(result_of_wrong_groups.stderr.split())
    result_of_large_group = run_drift("generate", tmp_path, "group_size=3", "solver.resolution=[2]", ranks=3)
    assert result_of_large_group.returncode != 0
    assert "3 ranks cannot share 2 rows. Use group_size=2" in " ".join(result_of_large_group.stderr.split())
    assert not (tmp_path / "dataset").exists()


@pytest.mark.fault(
    "the ranks do not divide the grid",
    cause="3 ranks on 7 rows",
    result="uneven blocks; the data pass their validation",
    lost="nothing",
)
def test_three_ranks_share_an_uneven_grid(tmp_path: Path) -> None:
    overrides = ("solver.resolution=[7,5]", "group_size=3")
    require_success(run_drift("generate", tmp_path, *overrides, ranks=3))
    run_drift_in_process("validate", tmp_path, *overrides)


@pytest.mark.parametrize(
    ("launcher", "variables"),
    [
        ("mpirun (Open MPI)", {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3"}),
        ("torchrun", {"RANK": "0", "WORLD_SIZE": "3"}),
    ],
)
@pytest.mark.fault(
    "the launcher is of another MPI, so that every rank is alone",
    cause="variables of {launcher} for 3 ranks",
    result="refused; the message names launcher and MPI library",
    lost="nothing",
)
def test_single_rank_worlds_are_refused(launcher: str, variables: dict[str, str], tmp_path: Path) -> None:
    """Set the variables of a launcher that this MPI does not support: each process is then one MPI world."""
    command = [sys.executable, *STAGE, "generate", "none", f"run={tmp_path}", *SMALL_DATASET]
    result = run(command, timeout=60, cwd=ROOT, **variables)
    assert result.returncode == 2
    assert f"{launcher} started 3 ranks" in result.stderr
    assert "MPI (Open MPI" in result.stderr
    assert not (tmp_path / "dataset").exists()


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None,
    reason="needs setpriv, which drops root's capabilities",
)
@pytest.mark.parametrize("stage", ["generate", "train"])
@pytest.mark.fault(
    "{stage} gets a read-only folder",
    cause="mode 0555, without root's capabilities, on 2 ranks",
    result="refused before work starts",
    lost="nothing",
)
def test_a_read_only_folder_is_refused_before_any_work(
    stage: str, undisturbed_run: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o555)
    capabilities = "-dac_override,-dac_read_search"
    command_prefix = (
        ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
        if os.geteuid() == 0
        else []
    )
    arguments = [*STAGE, stage, "none", f"run={tmp_path / 'run'}", *SMALL_DATASET]
    if stage == "train":
        run_drift_in_process("validate", undisturbed_run)
        arguments.append(f"dataset={undisturbed_run / 'dataset'}")
    result = run([*command_prefix, *mpi_command(2, *arguments)], timeout=60, cwd=ROOT)
    assert result.returncode != 0
    assert f"cannot create the folder {tmp_path / 'run'}" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("manifest", [None, "{}", "not JSON"])
def test_overwrite_deletes_no_foreign_data(manifest: str | None, tmp_path: Path) -> None:
    foreign_shard = tmp_path / "dataset" / "data" / "train" / "foreign.hdf5"
    foreign_shard.parent.mkdir(parents=True)
    foreign_shard.write_text("foreign data")
    if manifest is not None:
        (tmp_path / "dataset" / "manifest.json").write_text(manifest)
    with pytest.raises(UserError, match="did not make"):
        run_drift_in_process("generate", tmp_path, "overwrite=true")
    assert foreign_shard.read_text() == "foreign data"
