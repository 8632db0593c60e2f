"""What holds for every test: examples of hypothesis are the same on every run, and no user's settings are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

#: What tests of test files are about; pytest collects none of it.
collect_ignore_glob = ["*.test.yaml"]

settings.register_profile("same-every-time", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("same-every-time")


@pytest.fixture(scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, user_cache: Path) -> None:
    """WIZARD_ variables of the machine, and its user's configuration and cache, are not the tests' business."""
    for name in list(os.environ):
        if name.startswith("WIZARD_") and name != "WIZARD_WIRE_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("WIZARD_CONFIG", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))


@pytest.fixture(scope="session")
def valkey() -> Iterator[Any]:
    """A running server, one for all tests of a process; none of them stops it."""
    from state_kit import valkey as running

    with running() as server:
        yield server


@pytest.fixture
def redis(valkey: Any) -> Any:
    """The server, empty; its figures begin anew."""
    with valkey.client() as client:
        client.flushall()
        client.config_resetstat()
    return valkey
