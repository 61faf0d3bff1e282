"""Keeps a small Slurm alive in a folder of its own, for as long as its standard input stays open.

    python tests/jobs/slurm/daemons.py FOLDER

munge, the controller and two nodes, all on this machine, as root and without systemd. When the input
closes, as it also does when the tests are killed, every daemon and every job's process is killed.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

NODES = ("n1", "n2")
#: More than the machine has, so that no job of a test waits for another's.
CPUS_PER_NODE = 8
#: Debian puts the daemons where the path of a plain user may not lead.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
#: Linux gives out those from 32768 on.
_FIRST_PORT, _NUM_PORTS = 10000, 20000
_SET_CHILD_SUBREAPER = 36  # of Linux's sys/prctl.h
_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=3600
KillWait=5
"""
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} State=UNKNOWN\n"
_PARTITIONS = """\
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes=ALL MaxTime=INFINITE State=UP
"""


def configure(folder: Path) -> Path:
    """Writes the configuration and munge's key."""
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host, ports = socket.gethostname().split(".")[0], _free_ports(1 + len(NODES))
    nodes = (
        _NODE.format(name=name, host=host, port=port, cpus=CPUS_PER_NODE)
        for name, port in zip(NODES, ports[1:], strict=True)
    )
    path = folder / "slurm.conf"
    path.write_text(
        _CONFIGURATION.format(host=host, ports=ports, folder=folder) + "".join(nodes) + _PARTITIONS
    )
    return path


def start(folder: Path) -> None:
    """Starts all daemons, each with a log of its own."""
    munge = ["munged", "--foreground", "--force"]
    for option, name in (("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log")):
        munge.append(f"--{option}={folder}/munge.{name}")
    munge.append(f"--seed-file={folder}/munge.seed")
    _daemon(folder, "munged", munge)
    deadline = time.monotonic() + 30
    while not (folder / "munge.socket").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    _daemon(folder, "slurmctld", ["slurmctld", "-D"])
    for name in NODES:
        _daemon(folder, f"slurmd.{name}", ["slurmd", "-D", "-N", name])


def end(folder: Path) -> None:
    """Kills every process that has this cluster's configuration in its environment, jobs included."""
    deadline = time.monotonic() + 30
    while (found := _processes_of(folder)) and time.monotonic() < deadline:
        for number in found:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.05)
        _reap()


def _daemon(folder: Path, name: str, command: list[str]) -> None:
    environment = {"PATH": PATH, "LANG": "C.UTF-8", "SLURM_CONF": str(folder / "slurm.conf")}
    with (folder / f"{name}.out").open("wb") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )


def _processes_of(folder: Path) -> list[int]:
    """The living processes of the cluster; a zombie has no environment."""
    mark, found = f"SLURM_CONF={folder}/slurm.conf".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0") and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found


def _reap() -> None:
    """Takes note of every child that has ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _free_ports(count: int) -> list[int]:
    """Ports below those that the system gives to whoever asks for any, so that nobody gets them before the
    daemons do; clusters that start at the same time look from different ones on.
    """
    found: list[int] = []
    port = _FIRST_PORT + os.getpid() * count % _NUM_PORTS
    while len(found) < count:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        port += 1
    return found


def _keep(folder: Path) -> None:
    # What a dead daemon leaves behind becomes a child of this process, which reaps it.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        configure(folder)
        start(folder)
        while not select.select([sys.stdin], [], [], 1)[0]:
            _reap()
    finally:
        end(folder)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
