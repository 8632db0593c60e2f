"""The token bucket, sliding windows and the line before them, as state machines."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.units import Rate
from wizard_dsl.policies._bucket import Bucket
from wizard_dsl.policies._line import Line, Taken
from wizard_dsl.policies._windows import CountedWindow, Windows
from wizard_dsl.testing.virtual import EPOCH, run

SMALL = settings(max_examples=40, stateful_step_count=40, deadline=None)


class BucketMachine(RuleBasedStateMachine):
    """Tokens are taken, and some of them given back, at any times."""

    @initialize(rate=st.floats(0.01, 50), burst=st.integers(1, 20))
    def begin(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.bucket = Bucket(rate, burst)
        self.now = 0.0
        self.held: list[Taken] = []
        self.taken = self.given = 0
        self.admitted: list[float] = []

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        room, taken = self.bucket.level(self.now) >= 1, self.bucket.take(self.now)
        assert taken is not None or not room
        if taken is not None:
            self.taken += 1
            self.held.append(taken)
            self.admitted.append(self.now)

    @precondition(lambda self: self.held)
    @rule()
    def give(self) -> None:
        self.bucket.give(self.held.pop(), self.now)
        self.given += 1

    @precondition(lambda self: self.held)
    @rule(used=st.integers(0, 1000))
    def settle(self, used: int) -> None:
        before = self.bucket.level(self.now)
        self.bucket.settle(self.held.pop(), used, self.now)
        assert self.bucket.level(self.now) == before, "a request is a request"

    @rule(place=st.integers(1, 30))
    def told(self, place: int) -> None:
        assert self.bucket.wait(self.now, place) <= place / self.rate + 1e-6

    @invariant()
    def the_level_is_never_negative_nor_above_burst(self) -> None:
        assert 0 <= self.bucket.level(self.now) <= self.burst

    @invariant()
    def what_is_out_and_what_is_in_is_what_it_began_with_and_gained(self) -> None:
        """Taken less given is at most burst and rate × time; and what is left says how much was gained."""
        out = self.taken - self.given
        assert out <= self.burst + self.rate * self.now + 1e-6
        assert self.bucket.level(self.now) <= self.burst - out + self.rate * self.now + 1e-6

    @invariant()
    def the_long_run_rate_is_at_most_the_configured_one(self) -> None:
        if self.given == 0:
            assert len(self.admitted) <= self.burst + self.rate * self.now + 1e-6


class WindowsMachine(RuleBasedStateMachine):
    """Requests and LLM tokens, settled with less or more than was reserved."""

    @initialize(requests=st.integers(1, 10), tokens=st.integers(10, 500))
    def begin(self, requests: int, tokens: int) -> None:
        self.wall = EPOCH + 7.0
        self.requests, self.tokens = requests, tokens
        self.windows = Windows([Rate(requests, 60), Rate(tokens, 60, True)], lambda: self.wall)
        self.flying: list[Taken] = []
        self.counted: list[list[float]] = []  # when, tokens

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.wall += seconds

    @rule(share=st.floats(0.01, 1))
    def take(self, share: float) -> None:
        need = max(1, int(share * self.tokens))
        taken = self.windows.take(0.0, need)
        if taken is not None:
            self.flying.append(taken)
            self.counted.append([taken.at, need])

    @precondition(lambda self: self.flying)
    @rule(used=st.integers(0, 800))
    def settle(self, used: int) -> None:
        taken = self.flying.pop()
        self.windows.settle(taken, used, 0.0)
        next(each for each in reversed(self.counted) if each == [taken.at, taken.tokens])[1] = used

    @precondition(lambda self: self.flying)
    @rule()
    def give(self) -> None:
        taken = self.flying.pop()
        self.windows.give(taken, 0.0)
        self.counted.remove([taken.at, taken.tokens])

    @rule(share=st.floats(0.01, 1))
    def whoever_waits_as_long_as_told_is_admitted(self, share: float) -> None:
        need = max(1, int(share * self.tokens))
        self.wall += self.windows.wait(0.0, 1, 0, need)
        taken = self.windows.take(0.0, need)
        assert taken is not None
        self.windows.give(taken, 0.0)

    @invariant()
    def what_counts_is_what_was_used(self) -> None:
        number = int(self.wall // 60)
        used = sum(tokens for at, tokens in self.counted if int(at // 60) == number)
        (window,) = [each for each in self.windows._windows if isinstance(each, CountedWindow)]
        assert window.counts.look(window.key, window.period)[2] == used

    @invariant()
    def no_window_has_more_requests_than_its_limit(self) -> None:
        """Wherever a window begins."""
        times = [at for at, _ in self.counted]
        assert all(first + 60 <= last for first, last in zip(times, times[self.requests :], strict=False))


BucketMachine.TestCase.settings = SMALL
WindowsMachine.TestCase.settings = SMALL
test_any_sequence_of_takes_and_gives = BucketMachine.TestCase
test_any_sequence_of_reservations = WindowsMachine.TestCase


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.integers(1, 100), st.integers(0, 150), st.one_of(st.none(), st.floats(0.1, 60))),
        max_size=25,
    )
)
def test_reservations_of_any_size_pass_in_the_order_of_their_coming(
    plan: list[tuple[float, int, int, float | None]],
) -> None:
    """Each comes after a gap, needs tokens, uses others, and may be cancelled while it waits."""

    async def main() -> None:
        clock = LoopClock()
        line, order = Line(Windows([Rate(100, 60, True)], clock.wall), clock), list[int]()

        async def one(number: int, need: int, used: int) -> None:
            taken = line.take(clock.now(), need) or await line.stand(1e9, need)
            assert taken is not None
            order.append(number)
            await asyncio.sleep(5)
            line.settle(taken, used)

        tasks = []
        for number, (gap, need, used, cancel) in enumerate(plan):
            await asyncio.sleep(gap)
            tasks.append(asyncio.ensure_future(one(number, need, used)))
            if cancel is not None:
                clock.call_at(clock.now() + cancel, tasks[-1].cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == sorted(order)
        assert {n for n, each in enumerate(plan) if each[3] is None} <= set(order)
        assert not line._queue and line._queued == 0 and line._timer is None

    run(main())
