"""A promise about calls holds for unary and streamed ones alike."""

from __future__ import annotations

import pytest
from semantics_kit import Commit


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    """The test runs twice: with unary and with streamed calls."""
    found: Commit = request.param
    return found
