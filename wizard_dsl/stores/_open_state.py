"""The shared state of one runtime, where its file asks for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wizard_dsl.stores._redis import PREFIX, RedisKeeper
from wizard_dsl.stores._state import SharedKeeper
from wizard_dsl.stores._state_sqlite import SqliteKeeper
from wizard_dsl.stores._worker import Thread

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.state import State


def open_state(
    kind: Literal["memory", "sqlite", "redis"], place: str, clock: Clock, tell: Callable[[Event], None]
) -> State | None:
    """The state at `place`, a URL or a path; None where each process has its own. Nothing is asked yet."""
    if kind == "memory":
        return None
    if kind == "sqlite":
        return SharedKeeper(SqliteKeeper(Path(place), clock, Thread()), clock, tell)
    return SharedKeeper(RedisKeeper(place, PREFIX), clock, tell)
