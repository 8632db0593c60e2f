"""State in an SQLite file: what processes of one machine share."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.events import StateDegraded
from wizard_dsl.core.state import Decided, Decision, State, StateUnavailable
from wizard_dsl.stores._state import SharedKeeper
from wizard_dsl.stores._state_sqlite import SqliteKeeper
from wizard_dsl.stores._worker import Inline, Thread
from wizard_dsl.testing.virtual import run


def add(row: Any, now: float, arguments: Any) -> tuple[Any, Any, float]:
    total = (row or 0) + arguments["by"]
    return (None if total == 0 else total), total, 60.0


COUNT = Decision("count", Path("unused"), add)


def state(path: Path, told: Callable[[Any], None] = print) -> SharedKeeper:
    clock = LoopClock()
    return SharedKeeper(SqliteKeeper(path, clock, Inline(clock)), clock, told)


async def count(shared: State, by: int = 1, key: str = "k") -> Decided:
    return await shared.decide(COUNT, key, {"by": by})


def virtually(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run(main())


def test_two_processes_meet_in_one_row(tmp_path: Path) -> None:
    async def main() -> None:
        mine, yours = state(tmp_path / "a" / "state.db"), state(tmp_path / "a" / "state.db")
        assert (await count(mine)).reply == 1
        assert (await count(yours, 5))[::2] == (6, 2)
        assert (await count(yours, key="other"))[::2] == (1, 1)
        await yours.close()
        assert (await count(mine))[::2] == (7, 1)
        await mine.close()

    virtually(main)


def test_rows_expire_and_are_swept_and_a_row_of_nothing_is_deleted(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "state.db"
        shared = state(path)
        await count(shared)
        await asyncio.sleep(59)
        assert (await count(shared)).reply == 2
        await asyncio.sleep(61)
        await count(shared, key="other")
        await count(shared, -1, key="other")
        with sqlite3.connect(path) as looked:
            assert looked.execute("SELECT key FROM rows").fetchall() == []
        looked.close()
        assert (await count(shared)).reply == 1
        await shared.close()

    virtually(main)


def test_a_file_that_is_no_database_is_named_once(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "state.db"
        path.write_bytes(b"this is no database at all, only some text" * 99)
        told: list[Any] = []
        shared = state(path, told.append)
        for _ in range(3):
            with pytest.raises(StateUnavailable):
                await count(shared)
        assert told == [StateDegraded(path="state", keeper="sqlite state.db", reason="file is not a database")]
        path.unlink()
        await asyncio.sleep(1.0)
        assert (await count(shared)).reply == 1
        await shared.close()

    virtually(main)


def test_a_batch_that_fails_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        shared = state(tmp_path / "state.db")
        await count(shared)
        await count(shared)
        good, bad = (asyncio.ensure_future(each) for each in (count(shared), shared.decide(COUNT, "k", {})))
        await asyncio.sleep(0)
        outcomes = await asyncio.gather(good, bad, return_exceptions=True)
        assert StateUnavailable in map(type, outcomes)
        await asyncio.sleep(1.0)
        assert (await count(shared)).reply in (3, 4)
        await shared.close()

    virtually(main)


@pytest.mark.parametrize("processes", [4])
def test_threads_of_several_processes_lose_nothing(tmp_path: Path, processes: int) -> None:
    async def main() -> None:
        clock = LoopClock()
        path = tmp_path / "state.db"
        told: list[Any] = []
        all_of_them = [SharedKeeper(SqliteKeeper(path, clock, Thread()), clock, told.append) for _ in range(processes)]
        await asyncio.gather(*(count(each) for each in all_of_them))
        await asyncio.gather(*(count(each) for each in all_of_them for _ in range(50)))
        assert (await count(all_of_them[0], 0))[::2] == (51 * processes, processes)
        assert told == []
        for each in all_of_them:
            await each.close()

    asyncio.run(main())
