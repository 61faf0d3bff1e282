"""The probe of a chain on a real Slurm: what it finds, and that it leaves the run folder as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.settings import Launcher
from pipeline.jobs.slurm import probe
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from tests.jobs.slurm.chains import SMOKE, run_chain, run_override
from tests.jobs.slurm.cluster import Cluster, wait_until

ONE_REQUEST = ("launcher=slurm", "launcher.parts=1", "launcher.ranks.train=2", "launcher.ranks.evaluate=2")
#: A launch line that starts ranks without MPI. Its node n2 has another file system in place of a folder.
SITE_LAUNCHER = """\
#!/bin/sh
# site_launcher FOLDER -n RANKS COMMAND
folder=$1; shift 3
exec srun --mpi=none sh -c '
    folder=$1; shift
    [ "$SLURMD_NODENAME" = n2 ] || exec "$@"
    exec unshare --mount sh -c "mount -t tmpfs none \\"\\$0\\" && exec \\"\\$@\\"" "$folder" "$@"
' sh "$folder" "$@"
"""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.usefixtures("forked_stages")
def test_a_probe_reports_mpi_cores_devices_and_the_run_folder(cluster: Cluster, tmp_path: Path) -> None:
    run = tmp_path / "missing" / "run"
    options = ("launcher=slurm", "launcher.parts=1", "launcher.ranks.train=2", "launcher.ranks.evaluate=2")
    train = ('+launcher.sbatch.train={nodes: 2, ntasks-per-node: 1, time: "00:30:00"}',)
    setup = ('launcher.setup=["echo note: of the site"]',)
    result = run_chain(cluster, run, "probe", SMOKE, *options, *train, *setup)
    assert result.returncode == 0, result.stdout + result.stderr
    generate_text, train_text = result.stdout.split("\n\n")[1:3]
    assert generate_text.startswith("generate, validate, evaluate (2 ranks):\n  MPI library: Open MPI v5")
    assert train_text.startswith("train (2 ranks):")
    for text in (generate_text, train_text):
        assert "MPI world: 2, as expected" in text
        # Slurm hides the GPUs of its nodes from jobs that request none.
        assert "sees 0, CUDA_VISIBLE_DEVICES is not set" in text
        assert "note: of the site" in text
        assert "WRONG" not in text
    assert "ranks on each node: n1 1, n2 1" in train_text
    assert "run folder: the same on n1, n2, and writable" in train_text
    assert "locks: hold on n1, n2" in train_text
    assert "cores on n2: rank 1: " in train_text
    assert "probe-train: completed" in result.stdout
    assert f"Next: python -m pipeline.chain {SMOKE}" in result.stdout
    assert not run.parent.exists()


def test_a_probe_names_a_wrong_launch_line_and_a_folder_that_one_node_does_not_see(
    cluster: Cluster, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "dataset").mkdir(parents=True)
    (run / "dataset" / "mine.txt").write_text("mine")
    files = tree(tmp_path)
    launcher = tmp_path / "site_launcher"
    launcher.write_text(SITE_LAUNCHER)
    launcher.chmod(0o755)
    nodes = "+launcher.sbatch.all={nodes: 2, ntasks-per-node: 1}"
    line = f"launcher.mpirun=[{launcher},{run}]"
    result = run_chain(cluster, run, "probe", SMOKE, *ONE_REQUEST, f"+{nodes}", line)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "generate, validate, train, evaluate (2 ranks):" in result.stdout
    assert "WRONG: MPI world: 1 instead of 2. Each rank would do all the work. srun and" in result.stdout
    assert "run folder: the same on n1, and writable" in result.stdout
    assert "WRONG: n2 does not see the files of the run folder." in result.stdout
    assert "WRONG: n2 does not see the lock of the job." in result.stdout
    assert "3 of the lines above are WRONG" in result.stdout
    launcher.unlink()
    assert tree(tmp_path) == files


@pytest.mark.usefixtures("forked_stages")
def test_a_probe_names_a_launch_line_that_starts_no_rank_and_a_failed_setup(
    cluster: Cluster, tmp_path: Path
) -> None:
    two_requests = ("launcher.ranks.generate=4", "launcher.mpirun=[/bin/true]")
    result = run_chain(cluster, tmp_path, "probe", SMOKE, *ONE_REQUEST, *two_requests)
    assert result.returncode == 1
    assert "WRONG: `/bin/true -n 4` ended without an error, and started none of the 4 ranks." in result.stdout
    assert "WRONG: `/bin/true -n 2` ended without an error, and started none of the 2 ranks." in result.stdout
    result = run_chain(cluster, tmp_path, "probe", SMOKE, *ONE_REQUEST, 'launcher.setup=["load openmpi"]')
    assert result.returncode == 1
    assert "WRONG: the job ended as FAILED (exit code 1:0)" in result.stdout
    assert "error: a line of launcher.setup failed with exit code 127: load openmpi" in result.stdout
    assert not list(tmp_path.iterdir())


def test_ctrl_c_and_the_end_of_the_wait_cancel_the_probes(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs_before = cluster.jobs().keys()
    held = "++launcher.sbatch.all={hold: true}"
    command = [sys.executable, "-m", "pipeline.chain", "probe", SMOKE, *ONE_REQUEST, held]
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*command, run_override(run)], env=cluster.environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    number = next(line.split()[-1] for line in process.stdout if "submitted as job" in line)
    wait_until(lambda: cluster.job(number)["Reason"] == "JobHeldUser", 30, lambda: f"{cluster.job(number)}")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"cancelled: {number}" in output
    assert cluster.job(number)["JobState"] == "CANCELLED"
    assert not run.exists()

    for name, value in cluster.environment().items():
        monkeypatch.setenv(name, value)
    ranks = {"generate": 2, "finish": 2, "validate": 2, "train": 2, "evaluate": 2}
    launcher = Launcher(name="slurm", ranks=ranks, mpirun=["mpirun"], sbatch={"all": {"hold": True}})
    with pytest.raises(UserError, match=r"after 1 s these probes have not ended: probe-generate \(pending"):
        probe.run(RunFolder.at(run), launcher, [SMOKE], "auto", longest_wait=1)
    new_states = {state for key, state in cluster.jobs().items() if key not in jobs_before}
    assert new_states == {"CANCELLED"}
    assert not run.exists()
    assert os.listdir(tmp_path) == []
