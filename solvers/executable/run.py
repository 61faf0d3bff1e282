"""One run of an external program in a folder of its own, under a supervisor."""

from __future__ import annotations

import json
import secrets
import select
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from solvers.executable import supervisor
from solvers.executable.environment import program_environment
from solvers.executable.output import OutputError

#: The numbers of first and last lines of the program's messages in a recorded failure, the largest number of
#: characters of a line, and the number of bytes that are read at both ends.
_NUM_FIRST, _NUM_LAST = 2, 4
_NUM_CHARACTERS = 160
_NUM_BYTES = 16384


class ProgramRun:
    """A running program, which ends with the `with` block at the latest, together with its folder.

    The supervisor ends the program and removes the folder, also if this process dies.

    Args:
        command: the words of the command.
        inputs: the texts of the input files by name.
        time_limit: the time (s) after which the program is ended.
        scratch: the folder in which the folder of the run is created; None: that of temporary files.

    Attributes:
        folder: the folder of the run.

    Raises:
        OSError: the supervisor cannot be started.
    """

    def __init__(self, command: list[str], inputs: dict[str, str], time_limit: float, scratch: Path | None):
        self._time_limit = time_limit
        name = f"simsurrogate-run-{secrets.token_hex(8)}"
        self.folder = Path(scratch or tempfile.gettempdir()).absolute() / name
        # -I and -S: the start takes milliseconds, and no file of the working folder is imported.
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=program_environment(),
            start_new_session=True,
        )
        request = {"folder": str(self.folder), "inputs": inputs, "seconds": time_limit, "command": command}
        assert self._supervisor.stdin is not None
        with suppress(BrokenPipeError):  # `check_exit` reports the death of the supervisor.
            self._supervisor.stdin.write(json.dumps(request).encode() + b"\n")
            self._supervisor.stdin.flush()

    def __enter__(self) -> ProgramRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the program if it still runs, and remove its folder."""
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        self._supervisor.stdin.close()
        self._supervisor.wait()
        self._supervisor.stdout.close()

    @property
    def is_running(self) -> bool:
        """Whether the program, or anything that it started, still runs."""
        assert self._supervisor.stdout is not None
        return not select.select([self._supervisor.stdout], [], [], 0)[0]

    def check_exit(self) -> None:
        """Check that the program has ended with exit code 0.

        Raises:
            OutputError: the program did not start, reached its time limit, or failed.
        """
        assert self._supervisor.stdout is not None
        text = self._supervisor.stdout.readline()
        outcome: dict[str, Any] = json.loads(text) if text else {"error": "its supervisor was killed"}
        if "error" in outcome:
            raise OutputError(f"cannot be started: {outcome['error']}")
        if "time_limit" in outcome:
            raise OutputError(
                f"was ended at its time limit, solver.program.time_limit={self._time_limit:g} s"
            )
        code = outcome["exit_code"]
        if code:
            raise OutputError(f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}")

    def messages(self) -> str:
        """Return the first and the last lines of the program's messages, as the end of a sentence."""
        for name in ("stderr", "stdout"):
            lines = _excerpt(self.folder / f"{name}.txt")
            if lines:
                text = " | ".join(line[:_NUM_CHARACTERS] for line in lines)
                return f"; its {name}: {text.replace(f'{self.folder}/', '').replace(str(self.folder), '.')}"
        return "; it printed nothing"


def _excerpt(path: Path) -> list[str]:
    """Return the first and the last lines of a file that are not empty: a message may precede a traceback."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        head = file.read(_NUM_BYTES)
        file.seek(max(len(head), path.stat().st_size - _NUM_BYTES))
        lines = _lines_of(head), _lines_of(file.read())
    if not lines[1] and len(lines[0]) <= _NUM_FIRST + _NUM_LAST:
        return lines[0]
    return [*lines[0][:_NUM_FIRST], "...", *(lines[0] + lines[1])[-_NUM_LAST:]]


def _lines_of(content: bytes) -> list[str]:
    text = content.decode(errors="replace")
    printable = "".join(character if character.isprintable() else "\n" for character in text)
    return [line.strip() for line in printable.splitlines() if line.strip()]
