"""The components of this installation, as the command line sees them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from wizard_dsl.registry import Registry


def registry_of(env: Mapping[str, str] = os.environ) -> Registry:
    """All that are installed, or the built-in ones alone."""
    return Registry(plugins=has_plugins(env))


def has_plugins(env: Mapping[str, str] = os.environ) -> bool:
    """`WIZARD_PLUGINS=` (set and empty) turns plug-ins off."""
    return env.get("WIZARD_PLUGINS", "all") != ""
