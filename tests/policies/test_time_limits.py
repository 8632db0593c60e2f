"""deadline and timeout in a ladder."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from wizard_dsl.core.bound import Bound, BoundFacts, Figure, unbounded
from wizard_dsl.core.errors import AttemptTimeout, DeadlineExceeded, StreamBroken, WizardError
from wizard_dsl.policies.deadline import DEADLINE, DeadlineConfig
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.timeout import TIMEOUT, TimeoutConfig
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
INNER = Bound(attempts=Figure(3), latency=Figure(100), cost=Figure(1), tokens=Figure(1))


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def build(item: Any, **timeout: Any) -> ScriptedChain:
    return build_chain({"a": [item]}, [(TIMEOUT, timeout)])


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


def test_total_limits_the_whole_attempt(commit: Commit) -> None:
    async def main() -> None:
        chain = build({"reply": "late", "first_chunk": "41s"}, total="40s", idle="off")
        error = await failure(chain, commit=commit)
        assert isinstance(error, AttemptTimeout) and chain.clock.now() == 40

    run(main())


def test_after_commit_the_passing_of_total_is_mid_stream() -> None:
    async def main() -> None:
        chain = build({"reply": "a b c", "chunk_every": "15s"}, total="20s")
        error = await failure(chain, commit="content")
        assert isinstance(error, StreamBroken) and chain.clock.now() == 20
        assert error.partial is not None and error.partial.text == "a b"

    run(main())


def test_first_chunk_limits_streamed_attempts_only() -> None:
    async def main() -> None:
        item = {"reply": "late", "first_chunk": "30s"}
        error = await failure(build(item, first_chunk="20s"), commit="content")
        assert isinstance(error, AttemptTimeout) and error.phase == "first_chunk"
        assert (await build(item, first_chunk="20s").answer(commit="end")).text == "late"

    run(main())


def test_idle_limits_the_silence_between_two_events() -> None:
    async def main() -> None:
        chain = build({"reply": "a b c d", "stall_after": 2, "chunk_every": "9s"}, idle="10s")
        error = await failure(chain, commit="content")
        assert isinstance(error, StreamBroken) and chain.clock.now() == 19

    run(main())


def test_each_may_be_off(commit: Commit) -> None:
    async def main() -> None:
        chain = build(
            {"reply": "a b", "first_chunk": "8m", "chunk_every": "1m"}, total="off", first_chunk="off", idle="off"
        )
        assert (await chain.answer(commit=commit)).text == "a b"

    run(main())


def test_connect_reaches_the_provider() -> None:
    async def main() -> None:
        chain = build("hello", connect="3s")
        await chain.answer()
        assert chain.scripts["a"].calls[0][1].connect == 3

    run(main())


def test_the_deadline_bounds_all_attempts_and_waits_together(commit: Commit) -> None:
    async def main() -> None:
        slow = {"status": 503, "delay": "20s", "times": "forever"}
        chain = build_chain({"a": [slow]}, [(DEADLINE, {"after": "45s"}), (RETRY, {"jitter": "none"})])
        error = await failure(chain, commit=commit)
        assert chain.story() == "a 503 → a 503 → a deadline" and chain.clock.now() == 45
        assert error.kind == "deadline"

    run(main())


def test_the_deadline_goes_on_after_commit() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "a b c", "chunk_every": "30s"}]}, [(DEADLINE, {"after": "45s"})])
        response = await chain.ask(commit="content")
        with pytest.raises(DeadlineExceeded):
            await response.read()
        assert chain.clock.now() == 45 and response.so_far.text == "a b"

    run(main())


def test_a_deadline_never_loosens_the_runs_own() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "x", "first_chunk": "1h"}]}, [(DEADLINE, {"after": "1h"})])
        assert (await failure(chain, deadline=7)).kind == "deadline" and chain.clock.now() == 7

    run(main())


def test_an_answer_on_the_very_instant_of_a_limit_wins(commit: Commit) -> None:
    async def main() -> None:
        item = {"reply": "just", "first_chunk": "10s"}
        chain = build_chain({"a": [item]}, [(TIMEOUT, {"total": "10s"})])
        assert (await chain.answer(commit=commit)).text == "just"
        chain = build_chain({"a": [item]}, [(DEADLINE, {"after": "10s"})])
        assert (await chain.answer(commit=commit)).text == "just"

    run(main())


def test_bounds_are_total_and_after() -> None:
    facts, endless = BoundFacts(), INNER.with_latency(unbounded("nothing ends it"))
    assert TIMEOUT.bound(TimeoutConfig(total="40s"), endless, facts).latency.value == 40
    assert TIMEOUT.bound(TimeoutConfig(total="40s"), INNER, facts).latency.value == 100  # waits below it, too
    off = TIMEOUT.bound(TimeoutConfig(total="off"), INNER, facts).latency
    assert not off.bounded and "timeout.total" in off.reason
    assert DEADLINE.bound(DeadlineConfig(after="45s"), INNER, facts).latency.value == 45
    assert DEADLINE.bound(DeadlineConfig(after="3m"), INNER, facts).latency.value == 100


def test_limits_that_never_apply_are_pointed_out() -> None:
    assert TIMEOUT.check(TimeoutConfig()) == [] and TIMEOUT.check(TimeoutConfig(total="off")) == []
    assert TIMEOUT.check(TimeoutConfig(total="10s")) == []
    assert "idle (50s) is longer than total (40s)" in TIMEOUT.check(TimeoutConfig(total="40s", idle="50s"))[0]
    assert DEADLINE.check(DeadlineConfig(after="10s")) == []
    assert "min_attempt" in DEADLINE.check(DeadlineConfig(after="500ms"))[0]
