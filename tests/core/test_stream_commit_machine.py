"""A stream after its commit point under any order of data, pulls, cancellations, observers and endings."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import ServerError, StreamBroken, WizardError
from wizard_dsl.core.messages import Delta
from wizard_dsl.core.response import Outcome, Response
from wizard_dsl.testing.virtual import VirtualLoop


class Fed:
    """A source that gives what it is fed."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self._ready: list[list[Delta] | WizardError] = []
        self._waiter: asyncio.Future[None] | None = None
        self.aborted: list[BaseException | None] = []
        self.done = False
        self.reads = 0

    def feed(self, item: list[Delta] | WizardError) -> None:
        self._ready.append(item)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read_batch(self) -> list[Delta]:
        assert self._waiter is None, "two readers at once"
        while not self._ready and not self.aborted and not self.done:
            self._waiter = self._clock.future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.aborted:
            raise ServerError("aborted")
        if not self._ready:
            return []
        item = self._ready.pop(0)
        if isinstance(item, WizardError):
            raise item
        self.done = any(delta.finish_reason is not None for delta in item)
        return item

    def abort(self, reason: BaseException | None) -> None:
        self.aborted.append(reason)
        self._wake()


class StreamMachine(RuleBasedStateMachine):
    """`fed` are the batches that the source has, in order; the first is there when the response opens."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.fed: list[list[Delta]] = []
        self.pulls: list[asyncio.Task[Any]] = []
        self.ends: list[list[tuple[int, Outcome]]] = []
        self.order: list[int] = []
        self.seen: list[tuple[int, list[list[Delta]]]] = []
        self.asked_to_end = False
        self.finished = self.broken = False

    def now(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        async def turns() -> None:
            for _ in range(6):
                await asyncio.sleep(0)

        self.now(turns())

    @initialize()
    def it_opens(self) -> None:
        async def opened() -> None:
            self.clock = LoopClock()
            self.source = Fed(self.clock)
            self.send("0 ")
            self.response = await Response.open(self.source, clock=self.clock)

        self.now(opened())
        self.response.on_raise(lambda error: None)

    def send(self, text: str) -> None:
        self.fed.append([Delta(text=text)])
        self.source.feed(self.fed[-1])

    @precondition(lambda self: not (self.finished or self.broken))
    @rule()
    def data_arrives(self) -> None:
        self.send(f"{len(self.fed)} ")
        self.settle()

    @precondition(lambda self: not (self.finished or self.broken))
    @rule()
    def the_end_arrives(self) -> None:
        self.finished = True
        self.fed.append([Delta(finish_reason="stop")])
        self.source.feed(self.fed[-1])
        self.settle()

    @precondition(lambda self: not (self.finished or self.broken))
    @rule()
    def it_breaks(self) -> None:
        self.broken = True
        self.source.feed(ServerError("the connection was lost"))
        self.settle()

    @rule(ahead=st.integers(0, 2))
    def somebody_pulls(self, ahead: int) -> None:
        self.pulls.append(self.loop.create_task(self.response.next_batch(self.response.batches_seen + ahead)))
        self.settle()

    @rule(index=st.integers(0, 5))
    def a_pull_is_cancelled(self, index: int) -> None:
        before = self.response.outcome
        if index < len(self.pulls):
            self.pulls[index].cancel()
            self.settle()
            assert self.response.outcome is before, "a pull is safe to cancel"

    @rule(raises=st.booleans())
    def somebody_waits_for_the_end(self, raises: bool) -> None:
        number, told = len(self.ends), list[tuple[int, Outcome]]()
        self.ends.append(told)

        def observer(outcome: Outcome) -> None:
            told.append((number, outcome))
            self.order.append(number)
            if raises:
                raise ValueError("a bug of the observer")

        self.response.on_end(observer)

    @rule(raises=st.booleans())
    def somebody_watches(self, raises: bool) -> None:
        seen: list[list[Delta]] = []
        self.seen.append((self.response.batches_seen, seen))

        def observer(batch: list[Delta]) -> None:
            seen.append(batch)
            if raises:
                raise ValueError("a bug of the observer")

        if self.response.outcome is None:
            self.response.on_delta(observer)
        else:
            self.seen.pop()

    @rule()
    def it_is_aborted(self) -> None:
        self.asked_to_end = True
        self.response.abort(ServerError("cut from outside"))
        self.settle()

    @rule()
    def it_is_closed(self) -> None:
        self.asked_to_end = True
        self.response.close()
        self.settle()

    @invariant()
    def each_observer_is_told_once_in_order_and_all_the_same(self) -> None:
        outcome = getattr(self, "response", None) and self.response.outcome
        assert self.order == sorted(self.order)
        for told in self.ends:
            assert len(told) == (0 if outcome is None else 1)
            assert all(each is outcome for _, each in told)

    @invariant()
    def what_is_told_is_what_was_read(self) -> None:
        if not hasattr(self, "response"):
            return
        read = self.fed[: self.response.batches_seen]
        assert self.response.so_far.text == "".join(delta.text for batch in read for delta in batch)
        for since, seen in self.seen:
            assert seen == read[since:]

    @invariant()
    def it_ends_as_it_should(self) -> None:
        if not hasattr(self, "response"):
            return
        outcome, all_read = self.response.outcome, self.response.batches_seen == len(self.fed)
        if outcome is None:
            assert not self.asked_to_end and not self.source.aborted
            return
        whole = self.finished and all_read
        assert (outcome.kind == "completed") == whole
        assert whole or self.source.aborted, "the connection is freed"
        if outcome.kind == "failed":
            assert isinstance(outcome.error, StreamBroken) and outcome.error.partial is outcome.completion
            assert self.broken or self.asked_to_end
        else:
            assert outcome.error is None

    def teardown(self) -> None:
        for task in self.pulls:
            task.cancel()
        gathered = asyncio.gather(*self.pulls, return_exceptions=True) if self.pulls else None
        if gathered is not None:
            self.loop.run_until_complete(gathered)
        self.loop.close()


TestStreamMachine = StreamMachine.TestCase
TestStreamMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
