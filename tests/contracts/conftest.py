"""Names of the surrogates, for the tests of the contract."""

from __future__ import annotations

import pytest

from surrogates.contract import surrogate_names


@pytest.fixture(params=surrogate_names())
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of each surrogate in turn."""
    return str(request.param)
