"""Real sockets on loopback. The bench that builds a node is shared with the tests of the providers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from state_kit import Workers

sys.path.insert(0, str(Path(__file__).parents[1] / "providers"))


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """Other processes."""
    made = Workers()
    yield made
    made.close()
