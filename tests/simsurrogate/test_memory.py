"""The free memory, and the messages about allocations that fail."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.settings import Settings
from simsurrogate.errors import UserError
from simsurrogate.memory import allocation_failure, available_bytes, require_memory, size_text
from tests.support.in_process import run_command_line
from tests.support.launching import run


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (2**20, "1 MiB"), (80 * 10**9, "74.5 GiB")]
)
def test_sizes_have_three_digits(size: int, text: str) -> None:
    assert size_text(size) == text


def test_work_beyond_the_free_memory_is_refused_with_both_sizes() -> None:
    require_memory(2**24, "work", "less")
    assert 2**24 < available_bytes() < 2**50
    with pytest.raises(
        UserError,
        match=r"^work needs at least 977 PiB of memory. \S+ GiB of memory are free here. Type less$",
    ):
        require_memory(10**18 + 10**17, "work", "less")


def test_the_limit_of_the_address_space_counts() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); "
        "from simsurrogate.memory import available_bytes; print(available_bytes())"
    )
    assert 2**28 < int(run([sys.executable, "-c", script]).stdout) < 2**30


@pytest.mark.parametrize("allocate", [np.empty, torch.empty])
def test_a_failed_allocation_ends_a_stage_with_one_line(
    allocate: Callable[[int], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stage(settings: Settings) -> None:
        allocate(10**15)

    assert run_command_line(stage, f"run={tmp_path}") == 2
    text = capsys.readouterr().err
    size = r"7\.11 PiB|tried to allocate \d+000000000000 bytes"
    assert re.fullmatch(rf"error: out of memory: [^\n]*({size})[^\n]* of memory are free [^\n]*\n", text)


def test_other_errors_are_not_allocations() -> None:
    assert allocation_failure(RuntimeError("the memory of an elephant")) is None
    assert allocation_failure(ValueError("out of memory")) is None


def test_a_missing_library_is_no_failed_allocation() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32)); "
        "import ctypes; from simsurrogate.memory import allocation_failure\n"
        "try:\n    ctypes.CDLL('libmissing.so.40')\nexcept OSError as error:\n"
        "    print(error, allocation_failure(error), sep='|')"
    )
    text = run([sys.executable, "-c", script]).stdout
    assert text == "libmissing.so.40: cannot open shared object file: No such file or directory|None\n"


def test_the_error_of_a_library_about_an_error_of_the_system_is_a_lack_of_address_space() -> None:
    # llvmlite says that it cannot find its library, because the system cannot map the library.
    script = (
        "import resource; from simsurrogate.memory import allocation_failure\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 2**25\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try:\n    import llvmlite.binding\nexcept OSError as error:\n    print(allocation_failure(error))"
    )
    text = run([sys.executable, "-c", script]).stdout
    assert re.match(r"out of memory: .*libllvmlite.so: failed to map segment.*Type ulimit -v unlimited", text)


def test_the_message_about_a_gpu_leaves_out_the_free_memory_of_the_host() -> None:
    message = allocation_failure(
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 8.00 GiB. GPU 0 has a total capacity of 79.10 GiB of "
            "which 5.00 GiB is free."
        )
    )
    assert message is not None
    assert "5.00 GiB is free. Type smaller numbers of cells" in message
    assert "are free here" not in message
    assert "are free here" in (allocation_failure(RuntimeError("[x] . not enough memory: y")) or "")


@pytest.mark.parametrize("kilobytes", [60_000, 300_000])
@pytest.mark.fault(
    "the address space is too small",
    cause="ulimit -v {kilobytes}",
    result="one line with the remedy",
    lost="nothing",
)
def test_a_small_address_space_ends_a_stage_with_one_line(kilobytes: int, tmp_path: Path) -> None:
    command = f"ulimit -v {kilobytes}; exec {sys.executable} -m pipeline.train run={tmp_path}"
    result = run(["sh", "-c", command])
    assert result.returncode in (1, 2)
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: out of memory: ")
    assert "Type ulimit -v unlimited" in result.stderr
