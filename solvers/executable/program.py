"""An external program: its command, its input file, and what identifies it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BeforeValidator

from simsurrogate.errors import UserError
from simsurrogate.files import sha256_of
from solvers.executable.environment import program_environment

if TYPE_CHECKING:
    from jinja2 import Template

#: The time (s) that a program has to print its version.
VERSION_SECONDS = 60.0
#: The largest number of characters of a version.
_MAX_VERSION_LENGTH = 200
#: The name of the input file without a template.
_JSON_INPUT = "input.json"


def _word(value: object) -> object:
    """Return a number as the word that a user means by it: [mpirun, -n, 4]."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Word = Annotated[str, BeforeValidator(_word)]


@dataclass(frozen=True)
class ProgramOptions:
    """How the program is started on this machine. A data set never determines these options.

    Attributes:
        command: the words of the command; a word with a slash that names a file is a file of the user, with a
            path relative to the working folder of the stage. Words may hold `{{ NAME }}`, as the template.
        launch: the words before the command, such as [mpirun, -n, 4].
        input: the name of the input file.
        template: the file with the text of the input file, in Jinja2's language; None: the input file holds
            the values of all names as JSON.
        version: the words of a command that prints the version, such as [./program, --version]; None: no
            version.
        files: other files that determine the results, such as tables and modules.
        time_limit: the time (s) after which a run is ended.
        retries: the number of further attempts after a failure.
        scratch: the folder for the folders of the trajectories; None: the folder for temporary files. The
            ranks of a program on several nodes need a shared one.
    """

    command: Annotated[tuple[Word, ...], MinLen(1)]
    launch: tuple[Word, ...] = ()
    input: str = _JSON_INPUT
    template: Path | None = None
    version: tuple[Word, ...] | None = None
    files: tuple[Path, ...] = ()
    time_limit: Annotated[float, Gt(0)] = 3600.0
    retries: Annotated[int, Ge(0), Le(100)] = 1
    scratch: Path | None = None


@dataclass(frozen=True)
class Program:
    """A program whose files exist and whose templates use known names only.

    Args:
        options: the options.
        example: the values of the names in templates, for a trial.

    Raises:
        UserError: a file is missing, or a template is wrong.
    """

    options: ProgramOptions
    example: Mapping[str, Any]
    _words: list[Template] = field(init=False)
    _template: Template | None = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        for word in (*options.command, *options.launch, *(options.version or ())):
            if word.startswith(("./", "../")) and not Path(word).exists():
                raise UserError(
                    f"solver.program names the file {word!r}, which does not exist in {Path.cwd()}. Type the "
                    "path of the program, relative to the folder in which you type the command"
                )
        for named_words in filter(None, (options.launch, options.command, options.version)):
            _first_word(named_words)
        for path in (options.template, *options.files):
            if path is not None and not path.is_file():
                raise UserError(
                    f"solver.program names the file {path}, which does not exist in {Path.cwd()}. Type a "
                    "path relative to the folder in which you type the command"
                )
        if Path(options.input).name != options.input:
            raise UserError(
                f"solver.program.input={options.input} is no plain name of a file. The input file lies in "
                f"the folder in which the program runs. Type solver.program.input={_JSON_INPUT}"
            )
        if options.scratch is not None and not os.access(options.scratch, os.W_OK | os.X_OK):
            raise UserError(
                f"solver.program.scratch={options.scratch} is no writable folder. The program runs in a new "
                "folder inside it. Create it, or type solver.program.scratch=null for the folder of "
                "temporary files"
            )
        words = [*map(_absolute, (*options.launch, *options.command))]
        object.__setattr__(self, "_words", [_template(word, "solver.program.command") for word in words])
        template = None
        if options.template is not None:
            template = _template(
                options.template.read_text(encoding="utf-8"), f"solver.program.template={options.template}"
            )
        object.__setattr__(self, "_template", template)
        self.command(self.example)
        self.input_text(self.example)

    @property
    def name(self) -> str:
        """The name of the program for messages: the names of the user's files, or the first word."""
        files = [word for word in self.options.command if _is_own_file(word)]
        return " ".join(Path(word).name for word in files or self.options.command[:1])

    def command(self, values: Mapping[str, Any]) -> list[str]:
        """Return the words of the command with these values, and `node`, the name of this node."""
        node = os.environ.get("SLURMD_NODENAME") or platform.node()
        return [_rendered(word, {**values, "node": node}, "solver.program.command") for word in self._words]

    def input_text(self, values: Mapping[str, Any]) -> str:
        """Return the text of the input file with these values of the names."""
        if self._template is None:
            return json.dumps(values, indent=1) + "\n"
        return _rendered(self._template, values, f"solver.program.template={self.options.template}")

    def identity(self) -> dict[str, Any]:
        """Return what identifies the program and its input: names, checksums of files, and the version.

        Raises:
            UserError: the program does not print its version, or two files have the same name.
        """
        options = self.options
        files: dict[str, str] = {}
        for path in self._files():
            if path.name in files:
                raise UserError(
                    f"solver.program names two files {path.name}. The data set records the files by their "
                    "names. Rename one of them"
                )
            files[path.name] = sha256_of(path.resolve())
        return {
            "command": [Path(word).name if _is_own_file(word) else word for word in options.command],
            "input": options.input,
            "files": files,
            "version": self._version(),
        }

    def _files(self) -> Iterator[Path]:
        """Yield the files that determine the results.

        The first word without a slash is a program that the system finds. It counts unless it interprets a
        file of the user, because interpreters differ between machines.
        """
        own_files = [Path(word) for word in self.options.command if _is_own_file(word)]
        yield from own_files or [_first_word(self.options.command)]
        if self.options.template is not None:
            yield self.options.template
        yield from self.options.files

    def _version(self) -> str | None:
        """Return the first line that the program prints about its version."""
        if self.options.version is None:
            return None
        command = [_absolute(word) for word in self.options.version]
        try:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=VERSION_SECONDS,
                env=program_environment(),
                check=False,
            )
            lines = (result.stdout.strip() or result.stderr.strip()).splitlines()
            reason = f"ends with exit code {result.returncode}" if result.returncode else "prints nothing"
        except (OSError, subprocess.TimeoutExpired) as error:
            lines, reason = [], str(error)
        else:
            if result.returncode == 0 and lines:
                return lines[0][:_MAX_VERSION_LENGTH]
        raise UserError(
            f"solver.program.version=[{','.join(self.options.version)}] {reason}. The command has to print "
            "the version of the program. Correct it, or type solver.program.version=null"
        )


def _is_own_file(word: str) -> bool:
    """Return whether a word of a command is a file of the user, and not a name for the system."""
    return "/" in word and Path(word).is_file()


def _absolute(word: str) -> str:
    """Return a word with the whole path of a file, because the program runs in another folder."""
    return str(Path(word).absolute()) if _is_own_file(word) else word


def _first_word(words: Sequence[str]) -> Path:
    """Return the program of a command.

    Raises:
        UserError: there is no such program.
    """
    path = shutil.which(words[0])
    if path is None:
        state = "is no program that may be executed" if _is_own_file(words[0]) else "is not found"
        raise UserError(
            f"solver.program names the program {words[0]}, which {state}. A program of your own needs a "
            "slash in its path, and the right to be executed. Type, for example, "
            "solver.program.command=[./program,input.json], or chmod +x the file"
        )
    return Path(path)


def _template(text: str, origin: str) -> Template:
    # Imported here because only this solver needs it.
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The text goes to a program, not to a browser, and the sandbox runs no code.
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    try:
        return environment.from_string(text)
    except TemplateError as error:
        raise UserError(f"{origin} is no template of Jinja2: {error}. Correct it") from None


def _rendered(template: Template, values: Mapping[str, Any], origin: str) -> str:
    from jinja2 import TemplateError

    try:
        return template.render(values)
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise UserError(
            f"{origin} cannot be filled in: {error}. Known names are {', '.join(values)}. Correct it"
        ) from None
