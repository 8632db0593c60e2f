"""The shared state of one runtime, where its file asks for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from wizard_dsl.stores._redis import RedisKeeper
from wizard_dsl.stores._state import SharedKeeper

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.state import State

#: Keys on a server begin with this.
PREFIX = "wizard:"


def open_state(kind: Literal["memory", "redis"], url: str, clock: Clock, tell: Callable[[Event], None]) -> State | None:
    """The state at `url`; None where each process has its own. Nothing is asked yet."""
    if kind == "memory":
        return None
    return SharedKeeper(RedisKeeper(url, PREFIX), clock, tell)
