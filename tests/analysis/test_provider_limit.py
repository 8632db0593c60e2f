"""The provider's own limit: buckets that refill, and what answers and refusals tell of them."""

from __future__ import annotations

import pytest

from wizard_dsl.analysis._provider_limit import Granted
from wizard_dsl.analysis._target import Simulated
from wizard_dsl.analysis.scenario import ProviderLimit, TargetModel
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.messages import Request
from wizard_dsl.core.run import nobody
from wizard_dsl.testing import virtual


def test_a_bucket_is_full_at_the_start_and_refills_all_the_time() -> None:
    granted = Granted(ProviderLimit(rates=["2/s"]))
    assert [granted.admit(1, at) for at in (0.0, 0.0)] == [None, None]
    assert granted.admit(1, 0.0) == pytest.approx(0.5)
    assert granted.admit(1, 0.5) is None
    assert [granted.admit(1, at) for at in (10.0, 10.0)] == [None, None]
    assert granted.admit(1, 10.0) == pytest.approx(0.5)  # it holds no more than its rate grants in a period


def test_all_rates_have_to_have_room_and_a_refusal_takes_nothing() -> None:
    granted = Granted(ProviderLimit(rates=["10/s", "100 tokens/s"]))
    assert granted.admit(90, 0.0) is None
    assert granted.admit(30, 0.0) == pytest.approx(0.2)
    assert granted.admit(10, 0.0) is None


def test_a_request_beyond_the_whole_bucket_waits_for_a_full_one() -> None:
    granted = Granted(ProviderLimit(rates=["100 tokens/s"]))
    assert granted.admit(250, 0.0) is None
    assert granted.admit(1, 0.0) == pytest.approx(1.51)


@pytest.mark.parametrize(("announced", "told"), [("exact", "500"), ("3s", "3000"), ("none", None)])
def test_a_refusal_announces_what_the_scenario_says(announced, told) -> None:
    granted = Granted(ProviderLimit(rates=["2/s"], retry_after=announced, headers=False))
    granted.admit(1, 0.0), granted.admit(1, 0.0)
    headers = granted.headers(0.0, granted.admit(1, 0.0))
    assert headers == ({} if told is None else {"retry-after-ms": told})


def test_an_answer_tells_what_is_left() -> None:
    async def asked() -> object:
        granted = Granted(ProviderLimit(rates=["60/minute"]))
        node = Simulated("one", TargetModel(), seed=0, clock=LoopClock(), since=0.0, end=60.0, granted=granted)
        return (await node.call(Request(), nobody(0.0))).headers

    assert virtual.run(asked()) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1.000s",
    }
