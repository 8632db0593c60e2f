"""Rows of shared state, read without a decision: nothing is written, and no file is made."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from wizard_dsl.core.state import StateUnavailable
from wizard_dsl.stores._redis import PREFIX, client, row_name, shown
from wizard_dsl.stores._state_sqlite import ROW

#: Seconds that a server has to answer, and that a file may be locked.
_PATIENCE: Final = 3.0


def rows_of(
    kind: Literal["sqlite", "redis"], place: str, keys: Sequence[str], wall: float
) -> tuple[Mapping[str, Any], float]:
    """The rows that are there, by key, and the keeper's time; `wall` is that of this machine. Raises StateUnavailable
    where the keeper cannot be asked, and for a row that cannot be read."""
    try:
        if kind == "redis":
            packed, now = asyncio.run(asyncio.wait_for(_on_server(place, keys), _PATIENCE))
        else:
            packed, now = _in_file(Path(place), keys, wall), wall
        return {key: msgspec.msgpack.decode(row) for key, row in packed.items()}, now
    except Exception as error:
        name = shown(place) if kind == "redis" else place
        said = str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
        raise StateUnavailable(f"the state {name} cannot be read: {said}") from None


def _in_file(path: Path, keys: Sequence[str], now: float) -> dict[str, bytes]:
    """Nobody keeps anything in a file that is not there yet."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as database:
        found = {key: database.execute(ROW, (key, now)).fetchone() for key in keys}
    return {key: row[0] for key, row in found.items() if row is not None}


async def _on_server(url: str, keys: Sequence[str]) -> tuple[dict[str, bytes], float]:
    server = client(url)
    try:
        seconds, micros = await server.time()
        rows = [await server.get(row_name(PREFIX, key)) for key in keys]  # they may lie on several nodes
    finally:
        await server.aclose()
    return {key: row for key, row in zip(keys, rows, strict=True) if row is not None}, seconds + micros / 1e6
