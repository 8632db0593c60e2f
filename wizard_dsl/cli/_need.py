"""One finding of `wizard check` about the environment."""

from __future__ import annotations

from typing import Literal

import msgspec


class Need(msgspec.Struct, frozen=True):
    """One thing that is needed, and whether it is there."""

    what: str
    state: Literal["ok", "missing"]
    detail: str
    suggestion: str | None = None
