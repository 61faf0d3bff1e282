"""A small Slurm in a separate folder, running while the standard input is open.

    python tests/jobs/slurm/daemons.py FOLDER

The program starts munge, a database with Slurm's accounting, the controller and two nodes on this machine, as
root and without systemd. When the input closes, the program kills all daemons and the processes of all jobs.
Killed tests close the input, too.
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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NODES = ("n1", "n2")
CLUSTER, ACCOUNT = "tests", "science"
#: The nodes declare more CPUs than the machine has. Jobs of different tests need not wait for CPUs.
CPUS_PER_NODE = 8
#: Debian installs the daemons in folders that may be missing in the path of an ordinary user.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
#: Ports below the range that Linux assigns automatically, which starts at 32768.
_FIRST_PORT, _NUM_PORTS = 10000, 20000
_SET_CHILD_SUBREAPER = 36  # from Linux's sys/prctl.h
_CONFIGURATION = """\
ClusterName={cluster}
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
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[3]}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations
JobAcctGatherType=jobacct_gather/linux
MinJobAge=3600
KillWait=5
"""
_ACCOUNTING = """\
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
"""
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} State=UNKNOWN\n"
_PARTITIONS = """\
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes=ALL MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL MaxTime=60 State=UP
"""


def write_configuration(folder: Path) -> Path:
    """Write the configuration and munge's key."""
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host, ports = socket.gethostname().split(".")[0], _free_ports(2 + len(NODES))
    nodes = (
        _NODE.format(name=name, host=host, port=port, cpus=CPUS_PER_NODE)
        for name, port in zip(NODES, ports[1:3], strict=True)
    )
    path = folder / "slurm.conf"
    path.write_text(
        _CONFIGURATION.format(cluster=CLUSTER, host=host, ports=ports, folder=folder)
        + "".join(nodes)
        + _PARTITIONS
    )
    accounting = folder / "slurmdbd.conf"
    accounting.touch(0o600)
    accounting.write_text(_ACCOUNTING.format(host=host, port=ports[3], folder=folder))
    return path


def start_daemons(folder: Path) -> None:
    """Start all daemons, each with a separate log."""
    _start_database(folder)
    munge_command = ["munged", "--foreground", "--force"]
    for option, name in (("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log")):
        munge_command.append(f"--{option}={folder}/munge.{name}")
    munge_command.append(f"--seed-file={folder}/munge.seed")
    _start_daemon(folder, "munged", munge_command)
    _wait_for((folder / "munge.socket").exists)
    _wait_for((folder / "database.socket").exists)
    _start_daemon(folder, "slurmdbd", ["slurmdbd", "-D"])
    for command in (f"cluster {CLUSTER}", f"account {ACCOUNT}", f"user root account={ACCOUNT}"):
        add = ["sacctmgr", "--immediate", "add", *command.split()]
        _wait_for(lambda add=add: _run_command(folder, add) == 0)
    _start_daemon(folder, "slurmctld", ["slurmctld", "-D"])
    for name in NODES:
        _start_daemon(folder, f"slurmd.{name}", ["slurmd", "-D", "-N", name])


def kill_processes(folder: Path) -> None:
    """Kill all processes with the configuration of this cluster in their environment, jobs included."""
    deadline = time.monotonic() + 30
    while (process_ids := _processes_of(folder)) and time.monotonic() < deadline:
        for process_id in process_ids:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        time.sleep(0.05)
        _reap()


def _start_database(folder: Path) -> None:
    """Start MariaDB with an empty database that root may use without a password."""
    data = f"--datadir={folder}/database"
    install = ["mariadb-install-db", "--no-defaults", data, "--user=root", "--skip-test-db"]
    _run_command(folder, [*install, "--auth-root-authentication-method=normal"])
    server = ["mariadbd", "--no-defaults", data, "--user=root", f"--socket={folder}/database.socket"]
    _start_daemon(folder, "mariadbd", [*server, "--skip-networking", "--innodb-flush-log-at-trx-commit=0"])


def _start_daemon(folder: Path, name: str, command: list[str]) -> None:
    with (folder / f"{name}.out").open("wb") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_environment(folder)
        )


def _run_command(folder: Path, command: list[str]) -> int:
    """Run a command to its end and return its exit code."""
    with (folder / f"{command[0]}.out").open("ab") as log:
        return subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, env=_environment(folder), check=False
        ).returncode


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(folder / "slurm.conf"),
        "MYSQL_UNIX_PORT": str(folder / "database.socket"),
    }


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def _processes_of(folder: Path) -> list[int]:
    """Return the ids of the live processes of the cluster, without zombies, which have no environment."""
    variable, process_ids = f"SLURM_CONF={folder}/slurm.conf".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (
                variable in (process / "environ").read_bytes().split(b"\0")
                and int(process.name) != os.getpid()
            ):
                process_ids.append(int(process.name))
    return process_ids


def _reap() -> None:
    """Reap all children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _free_ports(count: int) -> list[int]:
    """Return free ports below the range that the system assigns automatically.

    Linux assigns none of these ports to another process before the daemons start. The search starts at a port
    that depends on the process, so clusters that start at the same time get different ports.
    """
    ports: list[int] = []
    port = _FIRST_PORT + os.getpid() * count % _NUM_PORTS
    while len(ports) < count:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
        port += 1
    return ports


def _run_until_input_closes(folder: Path) -> None:
    # The orphans of a dead daemon become children of this process, which reaps them.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        write_configuration(folder)
        start_daemons(folder)
        while not select.select([sys.stdin], [], [], 1)[0]:
            _reap()
    finally:
        kill_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _run_until_input_closes(Path(sys.argv[1]))
