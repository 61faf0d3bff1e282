"""Reuse of the memory that a training step frees."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")

STEPS = """
import resource, sys
import numpy as np
from pipeline.training.device.malloc import keep_freed_memory

def step():
    blocks = [np.ones(2**18) for _ in range(32)]

if sys.argv[1] == "keep":
    keep_freed_memory()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""


def num_mapped_bytes(setting: str) -> int:
    """Return the bytes that the kernel maps during four steps, which each allocate and free 64 MiB."""
    command = [sys.executable, "-c", STEPS, setting]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_freed_blocks_are_used_again() -> None:
    assert num_mapped_bytes("keep") < 2**20


def test_freed_blocks_are_mapped_again_by_default() -> None:
    assert num_mapped_bytes("leave") > 2**27
