"""The retry budget of a chain."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.core.errors import BudgetExceeded, WizardError
from wizard_dsl.core.events import HedgeStarted
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import RateLimitRule
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET, RetryBudget, RetryBudgetConfig
from wizard_dsl.strategies.hedged import HEDGED
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run


async def fail(chain: ScriptedChain, **options: object) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)  # type: ignore[arg-type]
    return caught.value


def granted(budget: RetryBudget, now: float, times: int) -> int:
    return sum(budget.take(now) for _ in range(times))


def test_in_a_window_of_ten_seconds_thirty_repeats_are_always_allowed() -> None:
    budget = RetryBudget(RetryBudgetConfig())
    assert granted(budget, 0.0, 100) == 30
    assert granted(budget, 9.9, 100) == 0
    assert granted(budget, 11.1, 100) == 30


def test_a_fifth_of_the_first_attempts_is_allowed_where_that_is_more() -> None:
    budget = RetryBudget(RetryBudgetConfig())
    for _ in range(1000):
        budget.deposit(0.0)
    assert granted(budget, 5.0, 1000) == 200
    assert granted(budget, 30.0, 1000) == 30


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["deposit", "withdraw"])), max_size=200),
    st.sampled_from(["0%", "20%", "100%"]),
    st.sampled_from(["0.1/s", "1/s"]),
)
def test_no_window_ever_holds_more_repeats_than_its_share(
    steps: list[tuple[float, str]], ratio: str, floor: str
) -> None:
    config = RetryBudgetConfig(ratio=ratio, floor=floor)
    budget, now = RetryBudget(config), 0.0
    deposits, repeats = list[float](), list[float]()
    for gap, step in steps:
        now += gap
        if step == "deposit":
            budget.deposit(now)
            deposits.append(now)
        elif budget.take(now):
            repeats.append(now)
            inside = sum(1 for at in repeats if at > now - 10)
            first = sum(1 for at in deposits if at >= now - 11 - 1e-9)
            assert inside <= max(int(ratio[:-1]) / 100 * first, float(floor[:-2]) * 10) + 1e-9


def test_it_is_shared_by_the_whole_chain_over_calls_and_targets() -> None:
    async def main() -> None:
        policies = [(RETRY, {"jitter": "none"}), (RETRY_BUDGET, {"ratio": "0%", "floor": "0.2/s"})]
        chain = build_chain({"a": [503] * 9, "b": [503] * 9}, policies)
        await asyncio.gather(fail(chain), fail(chain))
        assert len(chain.scripts["a"].calls) + len(chain.scripts["b"].calls) == 4 + 2

    run(main())


def test_the_first_call_deposits_and_first_calls_to_fallbacks_do_neither() -> None:
    async def main() -> None:
        policies = [(RETRY, {"jitter": "none", "base": "1ms"}), (RETRY_BUDGET, {"ratio": "100%", "floor": "0.1/s"})]
        chain = build_chain({"a": [401] * 3 + [503] * 9, "b": [503] * 9}, policies, fallback_on={"auth": True})
        await fail(chain)
        assert chain.story() == "a 401 → b 503 → b 503"  # one deposit allows one repeat, on whichever target
        await fail(chain)
        assert chain.story() == "a 401 → b 503 → b 503"

    run(main())


def test_contract_repairs_neither_deposit_nor_withdraw() -> None:
    async def main() -> None:
        policies = [(RETRY, {"jitter": "none"}), (RETRY_BUDGET, {"ratio": "0%", "floor": "0.1/s"}), (CONTRACT, {})]
        chain = build_chain({"a": ["no json", 503, "{}"]}, policies)
        request = Request(messages=(message("user", "x"),), schema={"type": "object"})
        assert (await chain.answer(request)).text == "{}"

    run(main())


def test_a_wait_after_a_429_withdraws() -> None:
    async def main() -> None:
        budget = {"ratio": "0%", "floor": "0.01/s", "window": "100s"}
        policies = [(RETRY, {"jitter": "none"}), (RETRY_BUDGET, budget)]
        script = [{"status": 429, "retry_after": "20s"}, {"status": 429, "retry_after": "2s"}, "never"]
        chain = build_chain({"a": script}, policies, rate_limit=RateLimitRule())
        error = await fail(chain)
        assert chain.story() == "a 429 → a 429" and error.marks == ("retry_budget_exhausted",)

    run(main())


def test_a_wait_for_the_one_free_first_is_not_begun_without_a_withdrawal() -> None:
    async def main() -> None:
        policies = [(RETRY, {"jitter": "none"}), (RETRY_BUDGET, {"ratio": "0%", "floor": "0.01/s"})]
        chain = build_chain({"a": [{"status": 429, "retry_after": "20s"}, "never"]}, policies)
        error = await fail(chain)
        assert error.marks == ("retry_budget_exhausted",) and error.retry_after == 20 and chain.clock.now() == 0

    run(main())


def test_without_the_policy_repeats_are_not_rationed() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503] * 9 + ["hello"]}, [(RETRY, {"max_attempts": 10})])
        assert (await chain.answer()).text == "hello"

    run(main())


def test_a_repeat_that_is_given_back_can_be_taken_again() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio="0%", floor="0.1/s"))
    assert granted(budget, 0.0, 2) == 1
    budget.give_back(3.0, 0.0)
    assert granted(budget, 3.0, 2) == 1
    budget.give_back(30.0, 0.0)  # it has left the window by itself
    assert granted(budget, 30.0, 2) == 1


def test_a_repeat_that_left_the_window_while_it_was_waited_for_takes_none_from_others_when_given_back() -> None:
    budget = RetryBudget(RetryBudgetConfig(ratio="0%", floor="0.1/s"))
    assert granted(budget, 0.0, 1) == granted(budget, 12.0, 1) == 1
    budget.give_back(15.0, 0.0)
    assert granted(budget, 15.0, 1) == 0, "the one at 12 was made"
    budget.give_back(16.0, 12.0)
    assert granted(budget, 16.0, 1) == 1


class Broke:
    """A purse that has nothing."""

    async def hold(self, request: Request, run: Run) -> BudgetExceeded:
        return BudgetExceeded("spent", scope="run", limit=1.0, left=0.0, needed=1.0)

    def drop(self, run: Run) -> None:
        pass


def test_a_wait_that_cannot_be_paid_for_takes_no_repeat_from_the_budget() -> None:
    async def main() -> None:
        policies = [(RETRY, {"jitter": "none"}), (RETRY_BUDGET, {"ratio": "0%", "floor": "0.1/s"})]
        chain = build_chain({"a": [{"status": 429, "retry_after": "20s"}]}, policies)
        chain.targets["a"].purse = Broke()
        await fail(chain)
        assert chain.story() == "a 429"
        assert await chain.chain.allowance.withdraw(chain.clock.now())

    run(main())


ONE = (RETRY_BUDGET, {"ratio": "0%", "floor": "0.001/s", "window": "1000s"})
CALM = (RETRY, {"jitter": "none", "base": "10s"})


def close(chain: ScriptedChain) -> None:
    """As another call would, that opened its breaker."""
    chain.targets["a"].gates.append(lambda now: 99.0)


async def is_whole(chain: ScriptedChain) -> bool:
    """Whether the one repeat is there, and no more than that one."""
    allowance = chain.chain.allowance
    return await allowance.withdraw(chain.clock.now()) and not await allowance.withdraw(chain.clock.now())


@pytest.mark.parametrize("first", [503, {"status": 429, "retry_after": "20s"}])
def test_a_repeat_whose_target_closed_meanwhile_is_given_back(first: object) -> None:
    async def main() -> None:
        chain = build_chain({"a": [first]}, [CALM, ONE])
        call = asyncio.ensure_future(fail(chain))
        await asyncio.sleep(5)
        close(chain)
        await call
        assert chain.story() in {"a 503", "a 429"} and chain.clock.now() > 5
        assert await is_whole(chain)

    run(main())


@pytest.mark.parametrize("first", [503, {"status": 429, "retry_after": "20s"}])
def test_a_repeat_that_is_cancelled_while_it_waits_is_given_back(first: object) -> None:
    async def main() -> None:
        chain = build_chain({"a": [first]}, [CALM, ONE])
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await is_whole(chain)

    run(main())


@pytest.mark.parametrize("first", [503, {"status": 429, "retry_after": "20s"}])
def test_a_repeat_that_our_own_limit_refuses_is_given_back(first: object) -> None:
    async def main() -> None:
        limit = (RATE_LIMIT, {"rate": "0.001/s", "burst": 1, "max_wait": "0s"})
        chain = build_chain({"a": [first]}, [CALM, ONE, limit])
        await fail(chain)
        assert len(chain.attempts) == 1 and await is_whole(chain)

    run(main())


@pytest.mark.parametrize("first", [503, {"status": 429, "retry_after": "20s"}])
def test_a_repeat_that_was_made_is_not_given_back(first: object) -> None:
    async def main() -> None:
        chain = build_chain({"a": [first, "hello"]}, [CALM, ONE])
        assert (await chain.answer()).text == "hello"
        assert not await is_whole(chain)

    run(main())


def test_a_wait_for_another_target_gives_back_the_repeat_of_the_one_that_closed() -> None:
    async def main() -> None:
        waits = {"a": [{"status": 429, "retry_after": "20s"}], "b": [{"status": 429, "retry_after": "30s"}, "hello"]}
        chain = build_chain(waits, [CALM, (RETRY_BUDGET, {"ratio": "0%", "floor": "0.002/s", "window": "1000s"})])
        call = asyncio.ensure_future(chain.answer())
        await asyncio.sleep(5)
        close(chain)
        assert (await call).text == "hello" and chain.clock.now() == 30
        assert await is_whole(chain)

    run(main())


def test_a_hedge_that_was_never_sent_is_given_back() -> None:
    async def main() -> None:
        slow = {"reply": "hello", "first_chunk": "5s"}
        place = (CONCURRENCY, {"limit": 1})
        chain = build_chain(
            {"a": [slow], "b": [{"reply": "x", "delay": "1h"}]},
            [ONE, place],
            strategy=HEDGED,
            strategy_config={"after": "1s"},
        )
        other = build_chain({"b": [{"reply": "x", "delay": "1h"}]}, [place], shared=chain.shared)
        busy = asyncio.ensure_future(other.answer())
        await asyncio.sleep(0)
        assert (await chain.answer()).text == "hello"
        assert chain.events(HedgeStarted) and len(chain.attempts) == 1
        assert await is_whole(chain)
        busy.cancel()

    run(main())
