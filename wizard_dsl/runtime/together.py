"""Work that runs at once: like asyncio.TaskGroup, but in the same order every time.

A TaskGroup cancels its tasks in the order of a set, which depends on addresses: the same seed would tell the story
of a failed run in different ways. It also wraps every failure in a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all of them at once and wait for them. The first that fails cancels the others, in the order given, and
    once all have ended its exception is raised alone: it is why the others were cancelled. So does cancelling this."""
    failed: list[asyncio.Task[None]] = []

    def note(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            failed.append(task)

    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(note)
    try:
        await _ended(tasks, asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await _all_ended(tasks)
    try:
        if failed:
            failed[0].result()
    finally:
        failed.clear()  # an exception left in a frame it passed through is a cycle
        tasks.clear()


async def _ended(tasks: list[asyncio.Task[None]], until: str) -> None:
    if tasks:
        await asyncio.wait(tasks, return_when=until)


async def _all_ended(tasks: list[asyncio.Task[None]]) -> None:
    """Nothing is left behind, however often the one who waits is cancelled; once is enough to say so."""
    cancelled: asyncio.CancelledError | None = None
    while any(not task.done() for task in tasks):
        try:
            await _ended(tasks, asyncio.ALL_COMPLETED)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
