"""The check of a whole configuration before a chain starts: options that no chain can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import chain
from simsurrogate.errors import UserError
from tests.support.trainings.training_cases import read_settings


def test_a_chain_of_one_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"part=\[1,2\] .* a chain needs all shards.*launcher.parts=2"):
        chain.check(read_settings(f"run={tmp_path}", "experiment=smoke", "part=[1,2]"))
