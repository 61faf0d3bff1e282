"""The process that reads foreign files, seen from the stage: time limits, and the check of every answer."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import TypedDict  # pydantic reads it

from pipeline.adoption.contents import Contents
from pipeline.adoption.description import Description
from simsurrogate.documents import MAX_BYTES, parse_json
from simsurrogate.errors import UserError

#: The time-out of one answer and the processor time, s; both grow with the size of the source.
_TIMEOUT_SECONDS = 120.0
_MAX_TIMEOUT_SECONDS = 3600.0
_CPU_SECONDS = 60
_BYTES_PER_SECOND = 10**6
#: The value `::` keeps the HDF5 library from loading plugins. Threads would need address space.
_VARIABLES = {
    "HDF5_PLUGIN_PRELOAD": "::",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "BLOSC_NTHREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}
_REMEDY = "Use another file"


class _Answer(TypedDict, total=False):
    contents: Contents
    bytes: int
    error: str
    is_for_user: bool
    allocated_bytes: int


@dataclass(frozen=True)
class TrajectoryValues:
    """The fields ([T,] *sites[, D]) and the arrays of one trajectory by name."""

    fields: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]


class ReaderProcess:
    """A process that has opened a source; `contents` describes the source."""

    contents: Contents

    def __init__(self, source: Path, form: str | None, description: Description, num_bytes: int):
        self._source = source
        self._timeout = min(_TIMEOUT_SECONDS + num_bytes // _BYTES_PER_SECOND, _MAX_TIMEOUT_SECONDS)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.adoption.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _VARIABLES,
        )
        self._pending = b""
        request = {
            "source": str(source),
            "format": form,
            "description": description.model_dump(mode="json"),
            "num_bytes": num_bytes,
            "cpu_seconds": _CPU_SECONDS + num_bytes // _BYTES_PER_SECOND,
        }
        self._send(json.dumps(request))
        answer = self._answer()
        if "contents" not in answer:
            raise self._error("it gives no contents")
        self.contents = answer["contents"]

    def trajectory(self, index: int) -> TrajectoryValues:
        """Return the values of a trajectory, counted from 0.

        Raises:
            UserError: the values cannot be read within the limits.
        """
        contents = self.contents
        shapes = {field.name: (contents.shape(field), np.dtype(field.dtype)) for field in contents.fields}
        arrays = {name: (shape, np.dtype(np.float64)) for name, shape in contents.arrays.items()}
        parts = [*shapes.values(), *arrays.values()]
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in parts]
        self._send(str(index))
        if self._answer().get("bytes") != sum(sizes):
            raise self._error("it sends another number of values than its contents have")
        values = [
            np.frombuffer(self._receive(size), dtype).reshape(shape)
            for size, (shape, dtype) in zip(sizes, parts, strict=True)
        ]
        return TrajectoryValues(
            dict(zip(shapes, values, strict=False)), dict(zip(arrays, values[len(shapes) :], strict=True))
        )

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _send(self, line: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._error(self._ending()) from None

    def _answer(self) -> _Answer:
        """Return the next line of the process, an answer without an error."""
        content = bytearray(self._pending)
        deadline = time.monotonic() + self._timeout
        while b"\n" not in content:
            content += self._read(deadline)
            if len(content) > MAX_BYTES:
                raise self._error(f"its description has more than {MAX_BYTES} bytes")
        line, _, self._pending = bytes(content).partition(b"\n")
        answer = parse_json(line, _Answer, f"the content of {self._source}", _REMEDY)
        if "error" in answer:
            if answer.get("is_for_user"):
                raise UserError(answer["error"])
            raise self._error(f"its reader fails with {answer['error']}")
        return answer

    def _receive(self, size: int) -> bytearray:
        content = bytearray(size)
        taken = min(size, len(self._pending))
        content[:taken] = self._pending[:taken]
        self._pending = self._pending[taken:]
        deadline = time.monotonic() + self._timeout
        while taken < size:
            part = self._read(deadline, size - taken)
            content[taken : taken + len(part)] = part
            taken += len(part)
            # A large trajectory may take long, but no part of it.
            deadline = time.monotonic() + self._timeout
        return content

    def _read(self, deadline: float, size: int = 2**20) -> bytes:
        assert self._process.stdout
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([self._process.stdout], [], [], remaining)[0]:
            raise self._error(f"its reader takes more than {self._timeout:g} s")
        part = os.read(self._process.stdout.fileno(), min(size, 2**20))
        if not part:
            raise self._error(self._ending())
        return part

    def _ending(self) -> str:
        code = self._process.wait()
        return f"its reader ends with {signal.Signals(-code).name}" if code < 0 else "its reader ends early"

    def _error(self, reason: str) -> UserError:
        self.close()
        return UserError(
            f"{self._source} cannot be read: {reason}. A reader has limits of memory and time, because a "
            f"file from elsewhere may be hostile. {_REMEDY}"
        )


@contextmanager
def open_process(
    source: Path, form: str | None, description: Description, num_bytes: int
) -> Iterator[ReaderProcess]:
    """Yield the process that reads a source of `num_bytes`, and end it afterwards."""
    process = ReaderProcess(source, form, description, num_bytes)
    try:
        yield process
    finally:
        process.close()
