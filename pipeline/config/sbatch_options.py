"""The options of sbatch that a user may set: their values, and the options that belong to the chain."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr

from simsurrogate.errors import UserError

_NO_REPLACEMENT = "No other value is allowed"
#: The options that only the chain sets, with the key to type instead.
_CHAIN_OPTIONS = {
    "array": "Type launcher.parts=N for the number of tasks, and launcher.parts_at_once=N for the number of "
    "tasks at the same time",
    "chdir": "The jobs start in the folder of this command line",
    "error": "The logs of all jobs are in RUN/jobs/logs. Type run=FOLDER for another folder",
    "export": "Type launcher.setup for the shell lines that set variables of the jobs",
    "job-name": "Type run=FOLDER, whose name is part of the jobs' names",
    "kill-on-invalid-dep": _NO_REPLACEMENT,
    "ntasks": "Type launcher.ranks.STAGE=N",
    "output": "The logs of all jobs are in RUN/jobs/logs. Type run=FOLDER for another folder",
    "parsable": _NO_REPLACEMENT,
    "quiet": _NO_REPLACEMENT,
    "test-only": "Type python -m pipeline.chain check",
    "wait": _NO_REPLACEMENT,
    "wrap": "Type launcher.setup for shell lines before each stage",
}

_Value = Annotated[
    StrictStr | StrictInt | StrictBool,
    Field(
        description="a text (in quotes if it looks like a number), an integer, or true for an option "
        "without a value"
    ),
]


def _refuse_chain_options(options: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
    """Return the options.

    sbatch accepts the beginning of an option's name for the option.

    Raises:
        UserError: an option belongs to the chain, or a dependency has alternatives.
    """
    for name, value in options.items():
        for chain_option, remedy in _CHAIN_OPTIONS.items():
            if chain_option.startswith(name):
                raise UserError(f"the chain itself sets the option {chain_option}. {remedy}")
        if name == "dependency" and "?" in str(value):
            raise UserError(
                f"the dependency {value!r} has alternatives, separated by ?. The chain adds its own "
                "dependencies, and a job waits for all of them. Type conditions separated by commas"
            )
    return options


#: Options of sbatch without their dashes.
SbatchOptions = Annotated[dict[str, _Value], AfterValidator(_refuse_chain_options)]
