"""Disks of a given size in memory, which tests fill up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@contextmanager
def mounted_disk(parent: Path, size: str) -> Iterator[Path]:
    """Mount a disk of `size` (`1m` is 1 MiB) in `parent`, and yield its folder."""
    disk = parent / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)
