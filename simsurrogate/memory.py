"""The memory that is free, the refusal of work that needs more, and the words for failed allocations."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from simsurrogate.errors import UserError

#: Where Linux shows the control groups, whose memory Slurm and containers limit: the pattern of the group in
#: /proc/self/cgroup, the folder, and the files of limit and use, in the versions 2 and 1 of control groups.
_CONTROL_GROUPS = (
    (r"^0::(.*)$", Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (
        r"^\d+:memory:(.*)$",
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
    ),
)

#: The words of PyTorch about a failed allocation.
_ALLOCATION_SIGNS = "not enough memory|can't allocate memory|out of memory"
#: The words of the system and of libraries about a lack of address space.
_ADDRESS_SPACE_SIGNS = "failed to map segment|cannot allocate memory|start new thread"


def require_memory(num_bytes: int, purpose: str, remedy: str) -> None:
    """Refuse work that needs more memory than is free.

    Args:
        num_bytes: the memory that the work needs at least.
        purpose: the work and its size, for the message.
        remedy: what to type, for the message.

    Raises:
        UserError: less memory is free.
    """
    # Most work is small, and a look at the free memory takes as long as small work.
    if num_bytes < 2**24:
        return
    free_bytes = available_bytes()
    if num_bytes > free_bytes:
        raise UserError(
            f"{purpose} needs at least {size_text(num_bytes)} of memory. {size_text(free_bytes)} of memory "
            f"are free here. Type {remedy}"
        )


def available_bytes() -> int:
    """Return the memory (bytes) that this process may still use.

    The bounds are the machine, the control groups of this process, and `ulimit -v`.
    """
    return max(min([*_machine_bytes(), *_control_group_bytes(), *_address_space_bytes(), 2**63]), 0)


def size_text(num_bytes: float) -> str:
    """Return a number of bytes with three digits and a unit, such as 74.5 GiB."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while num_bytes >= 1000 and len(units) > 1:
        num_bytes /= 1024
        units.pop(0)
    return f"{num_bytes:.3g} {units[0]}"


def allocation_failure(error: BaseException) -> str | None:
    """Return the message about a failed allocation, with the size that was asked for; None for other errors.

    numpy and Python raise `MemoryError`. PyTorch raises a plain `RuntimeError` on a processor, and
    `OutOfMemoryError` on a GPU. Under `ulimit -v`, libraries report a lack of address space in many other
    ways.
    """
    if free_bytes := list(_address_space_bytes()):
        # A library may raise an error of its own, about the error of the system.
        line = next(filter(None, (_first_line(cause, _ADDRESS_SPACE_SIGNS) for cause in _causes(error))), "")
        if line or type(error).__name__ == "PanicException":
            return (
                f"out of memory: {line or 'a library failed'}. ulimit -v bounds the address "
                f"space, of which {size_text(max(*free_bytes, 0))} are free. Type ulimit -v unlimited"
            )
    line = _first_line(error, _ALLOCATION_SIGNS) if isinstance(error, RuntimeError) else ""
    if not line and not isinstance(error, MemoryError):
        return None
    text = line.partition("] . ")[2] or line or str(error) or "an allocation failed"
    # The message of a GPU names the free memory of the GPU.
    is_on_gpu = type(error).__name__ == "OutOfMemoryError" or re.search("CUDA|HIP", text)
    free_memory = "" if is_on_gpu else f"{size_text(available_bytes())} of memory are free here. "
    return (
        f"out of memory: {text.rstrip('.')}. {free_memory}Type smaller numbers of cells, frames, weights, or "
        "windows and trajectories in a batch"
    )


def explain_limited_address_space() -> None:
    """Let an import that fails under `ulimit -v` end this process with one line."""
    if not list(_address_space_bytes()):
        return
    former_hook = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        message = allocation_failure(error)
        if message is None:
            former_hook(kind, error, trace)
        else:
            print(f"error: {message}", file=sys.stderr)

    sys.excepthook = hook


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and the errors that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException, pattern: str) -> str:
    """Return the first line of an error that holds a pattern, or an empty text."""
    lines = str(error).splitlines()
    return next((line.strip().rstrip(".") for line in lines if re.search(pattern, line, re.IGNORECASE)), "")


def _machine_bytes() -> Iterator[int]:
    with suppress(OSError):
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        yield from (int(kibibytes) * 1024 for kibibytes in re.findall(r"MemAvailable:\s+(\d+) kB", text))


def _control_group_bytes() -> Iterator[int]:
    """Yield the free memory of the control group of this process and of the groups above."""
    with suppress(OSError):
        names = Path("/proc/self/cgroup").read_text(encoding="utf-8")
        for pattern, root, limit_name, use_name in _CONTROL_GROUPS:
            for name in re.findall(pattern, names, re.MULTILINE):
                group = root / name.lstrip("/")
                for folder in (group, *group.parents):
                    if folder.is_relative_to(root):
                        yield from _group_bytes(folder, limit_name, use_name)


def _group_bytes(folder: Path, limit_name: str, use_name: str) -> Iterator[int]:
    """Yield the free memory of one control group, if the group has a limit."""
    with suppress(OSError, ValueError):
        limit, used = (int((folder / name).read_text(encoding="utf-8")) for name in (limit_name, use_name))
        statistics = (folder / "memory.stat").read_text(encoding="utf-8")
        # The system drops these pages of files when a process needs memory.
        reclaimable = sum(map(int, re.findall(r"^inactive_file (\d+)$", statistics, re.MULTILINE)))
        yield limit - used + reclaimable


def _address_space_bytes() -> Iterator[int]:
    """Yield the free part of the address space, if `ulimit -v` bounds it."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        used_pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        yield limit - used_pages * os.sysconf("SC_PAGE_SIZE")
