"""What holds for every test: examples of hypothesis are the same on every run, and no user's settings are read."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("same-every-time", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("same-every-time")


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """WIZARD_ variables of the machine, and its user's configuration file, are not the tests' business."""
    for name in list(os.environ):
        if name.startswith("WIZARD_") and name != "WIZARD_WIRE_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("WIZARD_CONFIG", "")
