"""State shared with other processes: batches, patience, outages and membership, whatever keeps the state.

Decisions that come while others are under way leave together in the next batch, so a busy process costs one exchange
for many. A batch takes as long as the keeper needs, at most `PATIENCE`. The first one that fails says so, once, and
for a moment everybody goes on in its local form without asking. Then one decision at a time probes; the first that
succeeds says that the state is back. Garbage counts as a failure, and so does a reply that comes too late.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from math import inf
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from wizard_dsl.core.clock import Clock, settle
from wizard_dsl.core.events import Event, StateDegraded, StateRestored
from wizard_dsl.core.state import Arguments, Decided, Decision, StateUnavailable

#: Seconds that the keeper has for a batch, in so many looks that come no later than `LATE`; and at most.
PATIENCE: Final = 0.25
LOOKS: Final = 10
LATE: Final = 0.01
LONGEST: Final = 2.0
#: Seconds of going on alone before the state is asked again, at first; it doubles.
PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 5.0
#: A process says at most this often, for each key, that it is there, in seconds.
HEARTBEAT: Final = 1.0

T = TypeVar("T")


class Ask(NamedTuple):
    """One decision of a batch; `member` is empty where this process told lately that it is there."""

    decision: Decision
    key: str
    arguments: bytes
    member: str


class _Turn(NamedTuple):
    """Who waits for the reply to an ask, and who gets it where nobody waits any more."""

    ask: Ask
    reply: asyncio.Future[Decided]
    lost: Callable[[Decided], None] | None


class Keeper(Protocol):
    """Where the state is kept. `name` is shown to people: no password is in it."""

    name: str

    async def ask(self, batch: Sequence[Ask], /) -> Sequence[bytes]:
        """The replies, each (now, members, reply) in MessagePack. Raises whatever goes wrong; cancelling it leaves
        nothing behind."""

    async def leave(self, keys: Sequence[str], member: str, /) -> None:
        """This process uses the keys no more."""

    async def close(self) -> None: ...


class SharedKeeper:
    """Implements `core.state.State` over a keeper. `tell` gets the events of outages."""

    def __init__(self, keeper: Keeper, clock: Clock, tell: Callable[[Event], None]) -> None:
        self._keeper = keeper
        self._clock = clock
        self._outage = Outage(keeper.name, clock, tell)
        self._member = os.urandom(8).hex()
        self._beats: dict[str, float] = {}
        self._waiting: list[_Turn] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def decide(
        self,
        decision: Decision,
        key: str,
        arguments: Arguments,
        *,
        until: float = inf,
        lost: Callable[[Decided], None] | None = None,
    ) -> Decided:
        """See core.state.State."""
        now = self._clock.now()
        if until <= now:
            raise StateUnavailable("there is no time left to ask")
        self._outage.check(now)
        member = self._beat(key, now) if decision.members else ""
        ask = Ask(decision, key, msgspec.msgpack.encode(arguments), member)
        turn: asyncio.Future[Decided] = self._clock.future()
        self._waiting.append(_Turn(ask, turn, lost))
        if not self._under_way:  # one batch at a time: what a process says arrives in its order
            self._send()
        if until > now + LONGEST:
            return await turn
        timer = self._clock.call_at(until, settle, self._clock, lambda: _late(turn))
        try:
            return await turn
        finally:
            timer.cancel()

    def _beat(self, key: str, now: float) -> str:
        if now - self._beats.get(key, -inf) < HEARTBEAT:
            return ""
        self._beats[key] = now
        return self._member

    # -- batches ------------------------------------------------------------------------------------

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        self._spawn(self._batch([each for each in batch if not each.reply.done()]))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._waiting:
            self._send()

    async def _batch(self, batch: list[_Turn]) -> None:
        try:
            replies = await patiently(self._keeper.ask([each.ask for each in batch]), self._clock)
            decided = [_read(reply) for reply in replies]
        except Exception as error:
            self._beats.clear()
            failed = self._outage.begins(reason(error))
            waiting, self._waiting = self._waiting, []
            for turn in (*batch, *waiting):
                _settle(turn.reply, failed)
        else:
            self._outage.ends()
            for turn, each in zip(batch, decided, strict=True):
                if turn.reply.done() and turn.lost is not None:
                    turn.lost(each)
                _settle(turn.reply, each)

    # -- the end ------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Leave what was used, if that takes no longer than a decision."""
        self._waiting = []
        for task in self._under_way:
            task.cancel()
        for last in (self._leave, self._keeper.close):
            try:
                await patiently(last(), self._clock)
            except Exception:
                self._beats.clear()  # the others forget this process by themselves after a while

    async def _leave(self) -> None:
        if self._beats:
            await self._keeper.leave(list(self._beats), self._member)


async def patiently(work: Coroutine[Any, Any, T], clock: Clock) -> T:
    """The result of `work`, unless it takes too long; then it is cancelled. A look that comes late does not count:
    our own loop was busy, and the reply may lie there unread."""
    task = asyncio.get_running_loop().create_task(work)
    now, looks = clock.now(), 0
    last = now + LONGEST
    try:
        while looks < LOOKS and now < last:
            due = now + PATIENCE / LOOKS
            await asyncio.wait({task}, timeout=due - now)
            if task.done():
                return task.result()
            now = clock.now()
            looks += now - due <= LATE
        raise TimeoutError
    finally:
        task.cancel()


class Outage:
    """Whether the state can be asked: (failure or reply, now) → state, and what is told of it."""

    def __init__(self, name: str, clock: Clock, tell: Callable[[Event], None]) -> None:
        self._name = name
        self._now = clock.now
        self._tell = tell
        self._since: float | None = None
        self._again = 0.0
        self._pause = PAUSE

    def check(self, now: float) -> None:
        """Raises StateUnavailable where it makes no sense to ask. Who passes while it is away is the only one for the
        time that a reply may take."""
        if self._since is None:
            return
        if now < self._again:
            raise StateUnavailable(self._name)
        self._again = now + LONGEST

    def begins(self, why: str) -> StateUnavailable:
        """A decision failed."""
        now = self._now()
        if self._since is None:
            self._since, self._pause = now, PAUSE
            self._tell(StateDegraded(path="state", keeper=self._name, reason=why))
        else:
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
        self._again = now + self._pause
        return StateUnavailable(f"{self._name}: {why}")

    def ends(self) -> None:
        """A decision was made."""
        if self._since is not None:
            lost, self._since = self._now() - self._since, None
            self._tell(StateRestored(path="state", keeper=self._name, seconds=lost))


def _late(turn: asyncio.Future[Decided]) -> None:
    _settle(turn, StateUnavailable("there was no time left for the reply"))


def _settle(turn: asyncio.Future[Decided], result: Decided | Exception) -> None:
    if turn.done():
        return
    if isinstance(result, Exception):
        turn.set_exception(result)
    else:
        turn.set_result(result)


def _read(reply: bytes) -> Decided:
    now, members, what = msgspec.msgpack.decode(reply, type=tuple[float, int, Any])
    return Decided(what, now, max(1, members))


def reason(error: Exception) -> str:
    """What failed, without a word that came from the other side: it may be garbage, or quote a password."""
    if isinstance(error, TimeoutError):
        return f"no reply within {PATIENCE:g} s"
    if isinstance(error, msgspec.MsgspecError):
        return "a reply that cannot be read"
    if type(error).__module__ == "sqlite3":
        return str(error)  # there is no other side
    return type(error).__name__
