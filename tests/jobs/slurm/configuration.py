"""The configuration of the test cluster: the Slurm of a site with many rules.

- A job without an account is refused.
- Jobs are not requeued unless they ask for it (`JobRequeue=0`), and arrays have at most 16 tasks.
- Jobs of the partition `urgent` preempt jobs of the partition `scavenge`, which Slurm requeues.
- The partitions `short` and `urgent` have limits of time and nodes. The user grace may submit three jobs.
- Each node has two GPUs by name only.
- MPICH comes from an environment module.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

NODES = ("n1", "n2")
CLUSTER, ACCOUNT = "tests", "science"
#: The nodes declare more CPUs than the machine has. Jobs of different tests need not wait for CPUs.
CPUS_PER_NODE = 8
MAX_ARRAY_SIZE = 16
#: The commands of sacctmgr that create the accounting, after `sacctmgr add`.
ASSOCIATIONS = (
    f"cluster {CLUSTER}",
    f"account {ACCOUNT}",
    f"user root,ada account={ACCOUNT}",
    f"user grace account={ACCOUNT} maxsubmitjobs=3",
)
#: The time (s) between SIGTERM and SIGKILL.
KILL_WAIT = 5
#: The port of the controller, of each node and of the accounting.
NUM_PORTS = 2 + len(NODES)
_SLURM = """\
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
AccountingStoragePort={ports[1]}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/linux
JobSubmitPlugins=lua
JobRequeue=0
MaxArraySize={max_array_size}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
MinJobAge=3600
KillWait={kill_wait}
PartitionName=DEFAULT Nodes=ALL MaxTime=INFINITE PreemptMode=OFF State=UP
PartitionName=tests Default=YES
PartitionName=other
PartitionName=short MaxTime=60
PartitionName=scavenge PreemptMode=REQUEUE
PartitionName=urgent PriorityTier=10 MaxTime=30 MaxNodes=1
"""
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Gres=gpu:{gpus}\n"
#: Devices that every Linux has, instead of GPUs.
_GPU = "NodeName={nodes} Name=gpu Flags=nvidia_gpu_env File={device}\n"
GPUS = ("/dev/null", "/dev/zero")
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
_ACCOUNT_RULE = """\
function slurm_job_submit(job, partitions, user)
    if job.account == nil then
        slurm.log_user("A job needs an account. Type --account=ACCOUNT")
        return slurm.ERROR
    end
    return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, user)
    return slurm.SUCCESS
end
"""
#: mpi4py loads libmpi.so.12, a name that Debian does not give to its MPICH.
_MODULE = """\
#%Module
prepend-path PATH {folder}/mpich/bin
prepend-path LD_LIBRARY_PATH {folder}/mpich/lib
setenv MPI4PY_MPIABI mpich
"""
MPICH_LIBRARY = Path(f"/usr/lib/{os.uname().machine}-linux-gnu/libmpich.so.12")
MODULES_SETUP = Path("/etc/profile.d/modules.sh")
#: Files of the Debian packages mpich and environment-modules.
NEEDED_FILES = (MPICH_LIBRARY, MODULES_SETUP)


def write(folder: Path, ports: Sequence[int]) -> None:
    """Write the files of the cluster into a folder."""
    host = socket.gethostname().split(".")[0]
    nodes = [
        _NODE.format(name=name, host=host, port=port, cpus=CPUS_PER_NODE, gpus=len(GPUS))
        for name, port in zip(NODES, ports[2:], strict=True)
    ]
    (folder / "job_submit.lua").write_text(_ACCOUNT_RULE)
    nodes_text = ",".join(NODES)
    (folder / "gres.conf").write_text(
        "".join(_GPU.format(nodes=nodes_text, device=device) for device in GPUS)
    )
    accounting = folder / "slurmdbd.conf"
    accounting.touch(0o600)
    accounting.write_text(_ACCOUNTING.format(host=host, port=ports[1], folder=folder))
    _write_module(folder)
    text = _SLURM.format(
        cluster=CLUSTER,
        host=host,
        ports=ports,
        folder=folder,
        max_array_size=MAX_ARRAY_SIZE,
        kill_wait=KILL_WAIT,
    )
    (folder / "slurm.conf").write_text("".join([*nodes, text]))


def _write_module(folder: Path) -> None:
    """Write the environment module `mpich` and the folder that it adds to the search paths."""
    for name, program in (("lib/libmpi.so.12", MPICH_LIBRARY), ("bin/mpirun", "/usr/bin/mpirun.mpich")):
        link = folder / "mpich" / name
        link.parent.mkdir(parents=True)
        link.symlink_to(program)
    (folder / "modulefiles").mkdir()
    (folder / "modulefiles" / "mpich").write_text(_MODULE.format(folder=folder))
