"""The components of this installation, as the command line sees them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from wizard_dsl.registry import Registry


def registry_of(env: Mapping[str, str] = os.environ) -> Registry:
    """`WIZARD_PLUGINS=` (set and empty) turns plug-ins off."""
    return Registry(plugins=env.get("WIZARD_PLUGINS", "all") != "")
