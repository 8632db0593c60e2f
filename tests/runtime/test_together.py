"""Work that runs at once: the first failure wins, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from wizard_dsl.runtime.together import together
from wizard_dsl.testing import virtual


class Log(list[str]):
    """Work that writes down how it went."""

    async def work(self, name: str, seconds: float, error: Exception | None = None, cleanup: float = 0) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(cleanup)
            self.append(f"{name} cancelled")
            raise
        self.append(name)
        if error is not None:
            raise error


def test_all_are_waited_for() -> None:
    async def main() -> None:
        log = Log()
        await together([log.work("a", 2), log.work("b", 1)])
        assert log == ["b", "a"]
        await together([])

    virtual.run(main())


def test_the_first_failure_is_raised_alone_after_the_others_were_cancelled_in_order() -> None:
    async def main() -> None:
        log = Log()
        names = [f"w{number}" for number in range(20)]
        with pytest.raises(KeyError, match="first"):
            await together([*(log.work(name, 9) for name in names), log.work("bad", 1, KeyError("first"))])
        assert log == ["bad", *(f"{name} cancelled" for name in names)]
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


def test_of_two_failures_on_one_instant_the_first_given_wins() -> None:
    async def main() -> None:
        log = Log()
        with pytest.raises(KeyError, match="x"):
            await together([log.work("x", 1, KeyError("x")), log.work("y", 1, ValueError("y"))])

    virtual.run(main())


def test_cancelling_it_twice_still_waits_until_all_have_ended() -> None:
    async def main() -> None:
        log = Log()
        task = asyncio.create_task(together([log.work("a", 100, cleanup=5), log.work("b", 100)]))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["b cancelled", "a cancelled"]
        assert asyncio.get_running_loop().time() == 6
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())
