"""Callers of a pipeline who may go away at any moment, and what must hold when they are gone."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from wizard_dsl.core.budget import MemoryBook
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import AttemptEnded, AttemptStarted, Event, ObserverFailed, RunEnded
from wizard_dsl.core.run import Run, Transcript
from wizard_dsl.policies._line import Line
from wizard_dsl.policies._shared_breaker import SharedBreakerState
from wizard_dsl.policies._shared_queue import SharedPlaces
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.stream import Stream

DUST = 1e-3
#: Seconds that a refresh in the background has.
REFRESH = 600


class Watch:
    """What a case told: its transcripts, those of background work among them."""

    def __init__(self) -> None:
        self.transcripts: dict[int, Transcript] = {}
        self.deadlines: dict[int, float] = {}
        self.strange: list[str] = []

    def sink(self, run: Run, event: Event) -> None:
        self.transcripts[id(run.transcript)] = run.transcript
        if run.scope.step == "" and run.scope.run_id:
            self.deadlines[id(run.transcript)] = run.deadline

    @property
    def last_end(self) -> float:
        return max(self.deadlines.values(), default=inf) + REFRESH

    def on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.strange.append(f"{context.get('message')}: {context.get('exception')!r}")


# -- callers ----------------------------------------------------------------------------------------------


async def call(pipeline: Pipeline, who: dict[str, Any]) -> None:
    """Ask as this caller does. Raises what the run raises."""
    asks, options = who["asks"], who["options"]
    if asks == "run":
        await pipeline.run(**options)
    elif asks == "callback":
        await pipeline.run(on_delta=lambda delta: None, **options)
    elif asks == "slow callback":
        await pipeline.run(on_delta=lambda delta: asyncio.sleep(who["pause"]), **options)
    elif asks == "start":
        async with pipeline.start(**options) as started:
            await started.finish()
    else:
        async with pipeline.stream(**options) as stream:
            await read(stream, who)


async def read(stream: Stream, who: dict[str, Any]) -> None:
    """Read all of it, with pauses, or give up after some deltas."""
    seen = 0
    async for _ in stream:
        seen += 1
        if who["asks"] == "slow stream":
            await asyncio.sleep(who["pause"])
        if who["asks"] == "abandon" and seen > who["reads"]:
            break
        if who["asks"] == "cancel" and seen > who["reads"]:
            await stream.cancel()
            break


async def caller(pipeline: Pipeline, who: dict[str, Any]) -> None:
    """One caller from its begin to its end: only what the API promises may be raised."""
    await asyncio.sleep(who["at"])
    task = asyncio.ensure_future(call(pipeline, who))
    if "cancelled" in who:
        await asyncio.wait([task], timeout=who["cancelled"])
        for _ in range(who["steps"]):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        assert "cancelled" in who, "cancelled by nobody"
        return
    error = task.exception()
    if error is not None and not isinstance(error, WizardError):
        raise AssertionError(f"a run raised {error!r}") from error


# -- what is left -----------------------------------------------------------------------------------------


def check_told(watch: Watch, shares_flights: bool) -> None:
    """Each attempt is closed and within its run, and no observer raised. An answer that several read may outlive the
    run that began it; a probe, or a refresh, is of no caller's run."""
    for key, transcript in watch.transcripts.items():
        events = [event for _, _, event in transcript.events]
        assert not [event for event in events if isinstance(event, ObserverFailed)], "an observer raised"
        begun = sum(isinstance(event, AttemptStarted) for event in events)
        ended = sum(isinstance(event, AttemptEnded) for event in events)
        assert begun == ended == len(transcript.attempts), f"{begun} attempts began, {ended} ended"
        last = watch.last_end if shares_flights and key in watch.deadlines else watch.deadlines.get(key, inf)
        for row in transcript.attempts:
            assert row.kind is not None and row.elapsed is not None, f"an open row: {row}"
            assert transcript.started + row.started + row.elapsed <= last + DUST, f"later than the deadline: {row}"
        for event in events:
            if isinstance(event, RunEnded) and key in watch.deadlines:
                assert event.elapsed <= watch.deadlines[key] - transcript.started + DUST, f"too late: {event}"
                assert event.kind != "bug"


def check_nothing_is_held(pipeline: Pipeline, watch: Watch) -> None:
    shared = pipeline._runtime.shared
    for line in shared.of("concurrency").values():
        held = len(line._held) if isinstance(line, SharedPlaces) else line._gate.taken
        assert held == 0, f"{held} places are held"
    for line in all_lines(pipeline):
        if isinstance(line, Line):
            assert not line._queue and not line._queued and line._timer is None, "somebody queues"
    for front in shared.of("told_front").values():
        assert not front._queue and front._timer is None, "somebody queues"
    for breaker in shared.of("circuit_breaker").values():
        assert isinstance(breaker.state, SharedBreakerState) or not breaker.state._leases, "a lease is held"
    for shelf in shared.of("cache").values():
        assert not shelf.flights._open, "a flight is open"
        assert not shelf.refreshing, "a refresh goes on"
    books = [*shared.of("book").values(), *(each.book for each in watch.transcripts.values() if each.book is not None)]
    for book in books:
        if isinstance(book, MemoryBook):
            check_book(book)


def all_lines(pipeline: Pipeline) -> list[Any]:
    shared = pipeline._runtime.shared
    lines = [line for kind in ("admission", "rate_limit", "concurrency") for line in shared.of(kind).values()]
    return lines + [line for each in shared.of("admission_sessions").values() for line in each]


def check_shared_state(path: Path, now: float) -> None:
    """In no row of the database that processes share somebody waits, or has a lease; `now` is its time."""
    if not path.exists():
        return  # nothing was asked
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT key, row FROM rows WHERE expires > ?", (now,)).fetchall()
    for key, packed in rows:
        row = msgspec.msgpack.decode(packed)
        if isinstance(row, dict):
            held = [each for name in ("queue", "leases") for each in row.get(name, ()) if each[1] > now]
            assert not held, f"{key}: somebody queues, or has a lease: {row}"
        elif key.startswith("flight"):
            assert row[0] == "" or row[1] <= now, f"{key}: a flight is led: {row}"


def check_book(book: MemoryBook) -> None:
    assert not book._holds, "a reservation is held"
    assert all(account.reserved == 0 for account in book._accounts.values()), "something is reserved"


def check_tokens(pipeline: Pipeline, watch: Watch) -> None:
    """No request token was taken that no attempt used: what refills makes it only less. A window may be exceeded by
    less than one, since it is weighed."""
    rows = [row for each in watch.transcripts.values() for row in each.attempts]
    now = pipeline._runtime.services.clock.now()
    for key, line in pipeline._runtime.shared.of("rate_limit").items():
        for level in line.levels(now):
            free = level.available if level.ours is None else level.ours
            if level.counts == "requests":
                assert -1 < free <= level.capacity + DUST, f"{key}: {level}"
                assert level.capacity - free <= len(rows) + DUST, f"{key}: {level} of {len(rows)} attempts"
    for told in pipeline._runtime.shared.of("told").values():
        assert not any(told._flying.values()), f"{told._flying} are under way"


def check_is_idle(pipeline: Pipeline) -> None:
    """After a long time every limit is as it was when it was made."""
    now = pipeline._runtime.services.clock.now()
    shared = pipeline._runtime.shared
    for kind in ("admission", "rate_limit", "concurrency"):
        for key, line in shared.of(kind).items():
            assert line.is_idle(now) or kind == "concurrency", f"{kind} {key}: {line.levels(now)}"


def check_loop(tasks: int, watch: Watch) -> None:
    assert len(asyncio.all_tasks()) == tasks, [repr(each) for each in asyncio.all_tasks()]
    loop: Any = asyncio.get_running_loop()
    alive = [each for each in loop._scheduled if not each._cancelled and not getattr(each._callback, "idle", False)]
    assert not alive, f"timers are left: {alive}"
    assert not watch.strange, watch.strange
