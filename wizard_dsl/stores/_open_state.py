"""The shared state of one runtime, where its file asks for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

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
    from wizard_dsl.stores._state import SharedKeeper

    if kind == "sqlite":
        from pathlib import Path

        from wizard_dsl.stores._state_sqlite import SqliteKeeper
        from wizard_dsl.stores._worker import Thread

        return SharedKeeper(SqliteKeeper(Path(place), clock, Thread()), clock, tell)
    from wizard_dsl.stores._redis import PREFIX, RedisKeeper

    return SharedKeeper(RedisKeeper(place, PREFIX), clock, tell)
