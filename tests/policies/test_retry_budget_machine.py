"""The retry budget under any order of first attempts, repeats and passing time, against a list of moments."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wizard_dsl.policies.retry_budget import RetryBudget, RetryBudgetConfig

WINDOW, RATIO, FLOOR = 10.0, 0.5, 2.0


class RetryBudgetMachine(RuleBasedStateMachine):
    """A moment surely counts while it is younger than the window, and perhaps for one bucket longer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.budget = RetryBudget(RetryBudgetConfig(ratio="50%", floor="0.2/s", window="10s"))
        self.firsts: list[float] = []
        self.repeats: list[float] = []

    def surely(self, moments: list[float]) -> int:
        return sum(1 for at in moments if at > self.now - WINDOW)

    def perhaps(self, moments: list[float]) -> int:
        return sum(1 for at in moments if at >= self.now - WINDOW * 1.1 - 1e-9)

    @rule(seconds=st.floats(0, 4))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([1.0, 10.0, 11.0, 500.0]))
    def time_passes_by_whole_buckets(self, seconds: float) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 5))
    def calls_begin(self, times: int) -> None:
        for _ in range(times):
            self.budget.deposit(self.now)
            self.firsts.append(self.now)

    @rule()
    def a_repeat_is_asked_for(self) -> None:
        if self.budget.take(self.now):
            assert self.surely(self.repeats) + 1 <= max(RATIO * self.perhaps(self.firsts), FLOOR)
            self.repeats.append(self.now)
        else:
            assert self.perhaps(self.repeats) + 1 > max(RATIO * self.surely(self.firsts), FLOOR)

    @rule()
    def repeats_are_asked_for_until_there_are_none(self) -> None:
        for _ in range(200):
            if not self.budget.take(self.now):
                break
            self.repeats.append(self.now)
        else:
            raise AssertionError("it never ends")
        assert self.perhaps(self.repeats) + 1 > max(RATIO * self.surely(self.firsts), FLOOR)

    @invariant()
    def the_floor_is_there_in_a_quiet_window(self) -> None:
        if self.perhaps(self.repeats) == 0:
            assert RetryBudget(RetryBudgetConfig(ratio="50%", floor="0.2/s")).take(self.now)


TestRetryBudgetMachine = RetryBudgetMachine.TestCase
TestRetryBudgetMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
