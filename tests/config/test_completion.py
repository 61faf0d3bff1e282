"""Completion of command lines, by a real bash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.completion import continuations
from tests.support.launching import environment

COMMANDS = ("generate", "validate", "train", "evaluate", "chain", "compare")


def test_bash_completes_commands_names_and_keys(tmp_path: Path) -> None:
    bin_folder = Path(sys.executable).parent
    script = (
        'eval "$(simsurrogate completion)"\n'
        "complete -p simsurrogate\n"
        "complete_line() {\n"
        '  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()\n'
        '  _simsurrogate; printf "<%s>" "${COMPREPLY[@]}"; echo\n'
        "}\n"
        "complete_line simsurrogate tr\n"
        "complete_line simsurrogate train surrogate=un\n"
        "complete_line simsurrogate generate solver=nbody solver.sys\n"
    )
    result = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment(PATH=f"{bin_folder}:/usr/bin:/bin"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.splitlines() == [
        "complete -o default -o nospace -F _simsurrogate simsurrogate",
        "<train >",
        "<surrogate=unet >",
        "<solver.system.eccentricity=><solver.system.kind=><solver.system.mass_ratio=>"
        "<solver.system.num_bodies=><solver.system.orientation=><solver.system.perturbation=>"
        "<solver.system.radius=><solver.system.total_mass=><solver.system.virial_ratio=>",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], ["chain ", "compare ", "evaluate ", "generate ", "train ", "validate "]),
        (["chain", "sta"], ["status "]),
        (["train", "st"], ["storage.max_error=", "storage.max_failed_share=", "storage.precision="]),
        (["train", "experiment=results/two"], ["experiment=results/two_body "]),
        (["train", "samples.train=1"], []),
        (["train", "solver=my_own", "solver.ex"], []),
        (["train", "surrogate=unet", "surrogate.wi"], ["surrogate.width="]),
    ],
)
def test_continuations(words: list[str], expected: list[str]) -> None:
    assert continuations(words, COMMANDS) == expected
