"""A clock that jumps by years: no wait ends early, and no stage fails.

A wrong time server or a suspended laptop moves the clock of the day. A library that is loaded before all
others gives the processes of a test such a clock; the monotonic clock stays correct.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.runs import lock
from tests.faults.driving import ROOT, read_generated, run_drift, run_drift_in_process
from tests.parallel.test_ranks import srun_variables
from tests.support.launching import environment, require_success, run

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None,
    reason="needs a C compiler for a library that Linux loads first",
)

#: The clock of the day, up to 30 years late or early by turns.
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

static long jump(void) {
    static int calls;
    return (__sync_fetch_and_add(&calls, 1) * 37L % 61 - 30) * 365 * 86400;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += jump();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *result) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (result) *result = precise.tv_sec;
    return precise.tv_sec;
}
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of the library with the jumping clock."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(folder / "clock.so"), str(folder / "clock.c")]
    subprocess.run(command, check=True)
    program = (
        "import time; print(abs(time.time() - time.time()) > 5e8, time.monotonic() < time.monotonic() + 1)"
    )
    result = require_success(run([sys.executable, "-c", program], LD_PRELOAD=str(folder / "clock.so")))
    assert result.stdout.split() == ["True", "True"]
    return str(folder / "clock.so")


@pytest.mark.fault(
    "the clock of the day jumps",
    cause="up to 30 years ahead and back at each reading, by a preloaded library",
    result="the stage completes with the same bytes; no wait ends early",
    lost="nothing",
)
def test_a_stage_completes_with_the_same_bytes(clock: str, tmp_path: Path) -> None:
    # The heartbeats of two ranks, and the locks of shards and manifest.
    require_success(run_drift("generate", tmp_path / "run", ranks=2, is_forked=False, LD_PRELOAD=clock))
    run_drift_in_process("generate", tmp_path / "undisturbed")
    assert read_generated(tmp_path / "run") == read_generated(tmp_path / "undisturbed")


def test_a_wait_for_a_lock_ends_when_the_lock_is_free(clock: str, tmp_path: Path) -> None:
    path = tmp_path / "locks" / "manifest.lock"
    program = (
        "import sys; from pathlib import Path; from pipeline.runs import lock; print('waiting', flush=True)\n"
        "with lock.wait_for(Path(sys.argv[1])):\n    print('held')"
    )
    command = [sys.executable, "-c", program, str(path)]
    variables = environment(LD_PRELOAD=clock)
    with lock.wait_for(path):
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(1)
        assert process.poll() is None
    assert process.communicate(timeout=30)[0] == "held\n"


def test_ranks_wait_for_each_other(clock: str) -> None:
    rank = f"SLURM_PROCID=$RANK SLURM_LOCALID=$RANK exec {sys.executable} -m tests.faults.train_ranks"
    # Rank 1 waits for the file of rank 0, which starts later, and rank 0 for the arrival of rank 1.
    script = f"(RANK=1; {rank}) & sleep 1.5; (RANK=0; {rank}); wait"
    result = require_success(run(["sh", "-c", script], timeout=120, LD_PRELOAD=clock, **srun_variables()))
    assert sorted(result.stdout.splitlines()) == ["0 2 3 from_0 1", "1 2 3 from_0 1"]
