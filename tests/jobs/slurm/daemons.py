"""A small Slurm in a separate folder, running while the standard input is open.

    python -m tests.jobs.slurm.daemons FOLDER

The program starts munge, a database with Slurm's accounting, the controller and two nodes on this machine, as
root and without systemd. A line of input with the name of a daemon starts the daemon again. When the input
closes, the program kills all daemons and the processes of all jobs. Killed tests close the input, too.
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

from tests.jobs.slurm import configuration
from tests.jobs.slurm.users import USERS

#: Debian installs the daemons in folders that may be missing in the path of an ordinary user.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
#: Ports below the range that Linux assigns automatically, which starts at 32768.
_FIRST_PORT, _NUM_PORTS = 10000, 20000
CONTROLLER = "slurmctld"
PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sacct")
_SET_CHILD_SUBREAPER = 36  # from Linux's sys/prctl.h


def unmet_requirement() -> str:
    """Return the reason that prevents a Slurm on this machine, or an empty text."""
    missing_programs = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    missing = missing_programs + [str(path) for path in configuration.NEEDED_FILES if not path.exists()]
    if missing:
        packages = "slurm-wlm, slurmdbd, mariadb-server, munge, environment-modules and mpich"
        return f"{', '.join(missing)} not found. Install the Debian packages {packages}"
    if os.geteuid() != 0:
        return "only root can start a Slurm"
    may_mount = (
        subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    )
    return "" if may_mount else "root may not mount file systems here"


def write_configuration(folder: Path) -> None:
    """Write the configuration, munge's key, and the folders of the users."""
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for name, number in USERS.items():
        home = folder / "home" / name
        home.mkdir(parents=True)
        os.chown(home, number, number)
    folder.chmod(0o755)
    configuration.write(folder, _free_ports(configuration.NUM_PORTS))


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
    for command in configuration.ASSOCIATIONS:
        add = ["sacctmgr", "--immediate", "add", *command.split()]
        _wait_for(lambda add=add: _run_command(folder, add) == 0)
    for name in (CONTROLLER, *configuration.NODES):
        start(folder, name)


def start(folder: Path, name: str) -> None:
    """Start the controller, which reads the state of a former controller, or the slurmd of a node."""
    if name == CONTROLLER:
        _start_daemon(folder, name, [name, "-D"])
    else:
        _start_daemon(folder, f"slurmd.{name}", ["slurmd", "-D", "-N", name], SLURMD_NODENAME=name)


def kill_processes(folder: Path) -> None:
    """Kill all processes with the configuration of this cluster in their environment, jobs included."""
    deadline = time.monotonic() + 30
    while (process_ids := processes_of(folder)) and time.monotonic() < deadline:
        for process_id in process_ids:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        time.sleep(0.05)
        _reap()


def _start_database(folder: Path) -> None:
    """Start MariaDB with an empty database in memory that root may use without a password."""
    (folder / "database").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder / "database"], check=True)
    data = f"--datadir={folder}/database"
    log_size = "--innodb-log-file-size=4M"
    install = ["mariadb-install-db", "--no-defaults", data, "--user=root", "--skip-test-db", log_size]
    _run_command(folder, [*install, "--auth-root-authentication-method=normal"])
    server = ["mariadbd", "--no-defaults", data, "--user=root", f"--socket={folder}/database.socket"]
    fast = ["--innodb-flush-log-at-trx-commit=0", log_size]
    _start_daemon(folder, "mariadbd", [*server, "--skip-networking", *fast])


def _start_daemon(folder: Path, name: str, command: list[str], **variables: str) -> None:
    with (folder / f"{name}.out").open("ab") as log:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(folder) | variables,
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


def processes_of(folder: Path, node: str = "") -> list[int]:
    """Return the ids of the live processes of the cluster or of a node, jobs included.

    Zombies, which have no environment, are left out.
    """
    variables = {f"SLURM_CONF={folder}/slurm.conf".encode()}
    if node:
        variables.add(f"SLURMD_NODENAME={node}".encode())
    process_ids = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = set((process / "environ").read_bytes().split(b"\0"))
            if variables <= environment and int(process.name) != os.getpid():
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
        commands = os.fdopen(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
        is_open = True
        while is_open:
            if select.select([commands], [], [], 1)[0]:
                line = commands.readline().decode()
                is_open = bool(line)
                if line:
                    start(folder, line.strip())
            _reap()
    finally:
        kill_processes(folder)
        subprocess.run(["umount", "--lazy", folder / "database"], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _run_until_input_closes(Path(sys.argv[1]))
