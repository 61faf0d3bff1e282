"""The surrogates that every test of the surrogate contract runs for."""

from __future__ import annotations

import pytest

from surrogates.contract import surrogate_names


@pytest.fixture(params=surrogate_names())
def name(request: pytest.FixtureRequest) -> str:
    """The name of a surrogate of the repository."""
    return str(request.param)
