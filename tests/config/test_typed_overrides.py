"""Overrides in printed commands, which a user pastes into a shell."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.config.overrides import typed


@pytest.mark.parametrize(
    "path", ["runs/heat", "/s/my run", r"a\b", "a\\", r"a\"b", 'it\'s $(touch x); a [b], "c" 50% ~', " a=b,c"]
)
def test_a_shell_and_hydra_read_the_path_that_was_printed(path: str) -> None:
    (argument,) = shlex.split(typed("run", path))
    assert OverridesParser.create().parse_override(argument).value() == path


def test_a_simple_path_has_no_quotes() -> None:
    assert typed("run", "runs/heat-2") == "run=runs/heat-2"
