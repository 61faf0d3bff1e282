"""Standard output and error streams that lose text instead of ending the work of a stage."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO, cast


class _TolerantStream:
    """A text stream that drops the text which the system does not accept.

    A reader may have left the pipe, a log's disk may be full, or the stream may be closed. The files of a
    stage do not depend on its terminal output.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # a closed stream raises ValueError
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines, or drop them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream, or drop the buffered text."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def install() -> None:
    """Replace stdout and stderr by streams that never raise; a second call changes nothing.

    Characters outside the encoding of a stream are written as escapes, such as \\xb7.
    """
    sys.stdout, sys.stderr = _tolerant(sys.stdout), _tolerant(sys.stderr)


def _tolerant(stream: TextIO | None) -> TextIO:
    if isinstance(stream, _TolerantStream):
        return cast(TextIO, stream)
    if stream is None:  # The process was started with a closed stream.
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return cast(TextIO, _TolerantStream(stream))
