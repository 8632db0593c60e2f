"""Breaker: what opens it, what does not count, how it closes, and who holds it by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from run_kit import play
from semantics_kit import CALM, Commit, ask, failure, file, forever, refusal, story

from wizard_dsl.core.bound import bound_unchanged
from wizard_dsl.core.component import NoConfig, PolicyType, Rung, Scope
from wizard_dsl.core.errors import CircuitOpen, InvalidRequest, WizardError
from wizard_dsl.core.events import TargetSkipped
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.policies._breaker import Breaker
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.strategies.hedged import HEDGED
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

#: One failure opens it, for 30 s.
ONCE = {"failure_threshold": 1}
SLOW = {"reply": "slow", "first_chunk": "5s"}
BREAKS = {"reply": "one two", "chunk_every": "1s", "cut_after": 1}


def build(script: list[Any], *more: Policy, total: str = "10s", **config: Any) -> ScriptedChain:
    return build_chain({"a": script}, [(CIRCUIT_BREAKER, config), (TIMEOUT, {"total": total}), *more])


def below(build: Any) -> PolicyType:
    """A policy of these tests, that stands under the breaker."""
    return PolicyType(
        name="below",
        summary="Does what a test needs.",
        rung=Rung.BUDGET,
        scope=Scope.TARGET,
        config=NoConfig,
        build=build,
        bound=bound_unchanged,
    )


def breaker(chain: ScriptedChain, target: str = "a") -> Breaker:
    found = chain.shared.of("circuit_breaker")[target]
    assert isinstance(found, Breaker)
    return found


def state(chain: ScriptedChain) -> str:
    return breaker(chain).figures().state


def counted(chain: ScriptedChain) -> tuple[int, int, int]:
    """Successes, failures and slow attempts in the window."""
    figures = breaker(chain).figures()
    return figures.successes, figures.failures, figures.slow


async def until(moment: float, chain: ScriptedChain) -> None:
    await chain.clock.sleep(moment - chain.clock.now())


async def opened(chain: ScriptedChain) -> ScriptedChain:
    """After one failure, when it may be half-open: at 30 s."""
    await failure(chain)
    assert state(chain) == "open"
    await until(30, chain)
    return chain


async def kind(chain: ScriptedChain, commit: Commit) -> str:
    """How one call ends."""
    try:
        await chain.answer(commit=commit)
    except WizardError as error:
        return error.kind
    return "ok"


def items(drawn: str) -> list[Any]:
    """A script from a drawing: `x` fails, `.` answers, `~` answers after 2001 ms, `-` after 2 s."""
    late = {"~": "2001ms", "-": "2s"}
    return [503 if each == "x" else {"reply": "hello", "first_chunk": late.get(each, "0s")} for each in drawn]


async def opens_at(chain: ScriptedChain, calls: int, commit: Commit) -> int | None:
    """The number of the call whose verdict opens it."""
    for number in range(1, calls + 1):
        await kind(chain, commit)
        if state(chain) == "open":
            return number
    return None


@pytest.mark.parametrize(("moments", "after"), [((0, 30, 60), "open"), ((0, 30, 67), "closed")])
def test_b1_it_opens_at_failure_threshold_failures_within_the_window(
    moments: tuple[float, ...], after: str, commit: Commit
) -> None:
    async def main() -> None:
        chain = build([503] * 3, failure_threshold=3, window="60s")
        for moment in moments:
            assert state(chain) == "closed"
            await until(moment, chain)
            assert (await failure(chain, commit=commit)).kind == "server"
        assert state(chain) == after

    run(main())


@pytest.mark.parametrize(
    ("threshold", "ratio", "drawn", "at"),
    [
        ("off", "50%", "xxx.", 4),  # no ratio before minimum_calls; then any verdict may be the one
        ("off", "50%", "x...xx", 6),
        ("off", "51%", "x...xx", None),
        (3, "off", "x..x.x", 6),
        (3, "50%", "xxx", 3),
        (3, "50%", "x..x", 4),
    ],
)
def test_b2_it_opens_at_failure_ratio_once_minimum_calls_were_seen_and_either_or_both_may_be_set(
    threshold: Any, ratio: str, drawn: str, at: int | None, commit: Commit
) -> None:
    async def main() -> None:
        chain = build(items(drawn), failure_threshold=threshold, failure_ratio=ratio, minimum_calls=4)
        assert await opens_at(chain, len(drawn), commit) == at

    run(main())


@pytest.mark.parametrize(
    ("first", "second", "after"), [(5.9, 65.9, "open"), (0, 65.9, "open"), (5.9, 66, "closed"), (6, 66, "open")]
)
def test_b3_a_failure_may_count_one_bucket_longer_than_the_window_and_never_shorter(
    first: float, second: float, after: str, commit: Commit
) -> None:
    async def main() -> None:
        chain = build([503] * 2, failure_threshold=2, window="60s")  # buckets of 6 s
        for moment in (first, second):
            await until(moment, chain)
            await failure(chain, commit=commit)
        assert state(chain) == after

    run(main())


class Unbuilt:
    """Finds that no request can be made of what is asked, as a provider's node does before it sends."""

    def __init__(self, config: NoConfig, next: Handler, context: BuildContext) -> None:
        pass

    async def call(self, request: Request, run: Run) -> Response:
        raise InvalidRequest("the request cannot be written as JSON", sent=False)


def test_b4_a_cancelled_call_a_local_limit_and_a_request_that_could_not_be_built_never_count(commit: Commit) -> None:
    """Whatever trip_on says of its kind."""

    async def main() -> None:
        chain = build(
            [SLOW, 400], (CONCURRENCY, {"limit": 1, "max_wait": "0s"}), **ONCE, trip_on={"invalid_request": True}
        )
        first = asyncio.ensure_future(chain.answer(commit=commit))
        await asyncio.sleep(1)
        assert await kind(chain, commit) == "local_limit"
        first.cancel()
        await asyncio.wait([first])
        unbuilt = build([], (below(Unbuilt), {}), **ONCE, trip_on={"invalid_request": True})
        assert await kind(unbuilt, commit) == "invalid_request"
        for each in (chain, unbuilt):
            assert (state(each), counted(each)) == ("closed", (0, 0, 0))
        assert await kind(chain, commit) == "invalid_request" and state(chain) == "open"

    run(main())


def test_b5_a_stream_is_a_success_at_its_first_content_and_a_failure_replaces_it_if_it_breaks() -> None:
    async def main() -> None:
        chain = build([BREAKS, {"reply": "one two", "chunk_every": "1s"}])
        response = await chain.ask(commit="content")
        assert chain.clock.now() == 0 and counted(chain) == (1, 0, 0)
        with pytest.raises(WizardError, match="lost"):
            await response.read()
        assert counted(chain) == (0, 1, 0)
        await chain.answer(commit="content")
        assert counted(chain) == (1, 1, 0)

    run(main())


def test_b6_a_breaker_that_such_a_success_had_closed_opens_again_for_twice_as_long_with_an_empty_window() -> None:
    async def main() -> None:
        chain = await opened(build([503, BREAKS, "hello"], **ONCE))
        response = await chain.ask(commit="content")
        assert state(chain) == "closed"
        await chain.answer(commit="content")
        assert counted(chain) == (1, 0, 0)
        with pytest.raises(WizardError, match="lost"):
            await response.read()
        figures = breaker(chain).figures()
        assert (figures.state, figures.retry_after) == ("open", 60) and counted(chain) == (0, 0, 0)

    run(main())


@pytest.mark.parametrize(
    ("drawn", "at"), [("--~~~", 5), ("~~~~", 4), ("~~~", None), ("--~~-~", None), ("x~~~", 4), ("x-x~~~", None)]
)
def test_b7_slow_verdicts_have_a_ratio_of_their_own_and_open_at_it_once_minimum_calls_were_seen(
    drawn: str, at: int | None, commit: Commit
) -> None:
    """What comes on the instant of slow_after is not slow; a failure is one of the calls, and no slow one."""

    async def main() -> None:
        chain = build(items(drawn), slow_after="2s", slow_ratio="60%", minimum_calls=4)
        assert await opens_at(chain, len(drawn), commit) == at

    run(main())


def test_b8_an_attempt_that_a_hedge_overtook_is_slow_so_a_hanging_target_does_not_hide_behind_hedges(
    commit: Commit,
) -> None:
    async def main() -> None:
        scripts = {"a": forever({"reply": "late", "delay": "1h"}), "b": forever("hello")}
        chain = build_chain(scripts, [(CIRCUIT_BREAKER, {})], strategy=HEDGED, strategy_config={"after": "1s"})
        for number in range(1, 11):
            assert state(chain) == "closed"
            await chain.answer(commit=commit)
            assert (chain.story(), chain.clock.now()) == ("a cancelled → b ok", number)
        assert state(chain) == "open"
        await chain.answer(commit=commit)
        assert (chain.story(), chain.clock.now()) == ("b ok", 10)

    run(main())


def test_b9_half_open_admits_half_open_max_calls_at_once_and_nothing_queues(commit: Commit) -> None:
    async def main() -> None:
        chain = await opened(build([503, SLOW, SLOW], half_open_max_calls=2, **ONCE))
        probes = [asyncio.ensure_future(chain.answer(commit=commit)) for _ in range(2)]
        await asyncio.sleep(1)
        error = await failure(chain, commit=commit)
        assert isinstance(error, CircuitOpen) and error.retry_after == 10 and chain.clock.now() == 31
        assert [each.text for each in await asyncio.gather(*probes)] == ["slow", "slow"]
        assert len(chain.scripts["a"].calls) == 3

    run(main())


class Held:
    """Holds the first call that comes after 30 s for an hour, under the breaker and out of reach of any timeout."""

    def __init__(self, config: NoConfig, next: Handler, context: BuildContext) -> None:
        self._next, self._clock, self._held = next, context.clock, False

    async def call(self, request: Request, run: Run) -> Response:
        if self._clock.now() >= 30 and not self._held:
            self._held = True
            await self._clock.sleep(3600)
        return await self._next(request, run)


@pytest.mark.parametrize("path", ["cancelled", 401, "bug"])
def test_b10_a_half_open_lease_is_given_back_on_every_path_and_expires_a_second_after_the_attempts_total(
    path: Any, commit: Commit
) -> None:
    async def returned() -> None:
        probed = {"cancelled": SLOW, "bug": {"body": "what the script cannot read"}}.get(path, path)
        chain = await opened(build([503, probed, "hello"], **ONCE))
        probe = asyncio.ensure_future(chain.answer(commit=commit))
        await asyncio.sleep(1)
        probe.cancel()  # too late for all but the first
        await asyncio.wait([probe])
        assert state(chain) == "half_open" and len(chain.scripts["a"].calls) == 2
        assert (await chain.answer(commit=commit)).text == "hello"

    async def expired() -> None:
        chain = await opened(build([503, "hello"], (below(Held), {}), total="10s", **ONCE))
        probe = asyncio.ensure_future(chain.answer(commit=commit, deadline=9999))
        await until(40.5, chain)
        assert (await failure(chain, commit=commit)).retry_after == 0.5
        await until(41, chain)
        assert (await chain.answer(commit=commit)).text == "hello" and state(chain) == "closed"
        probe.cancel()
        await asyncio.wait([probe])

    run(returned())
    run(expired())


def test_b11_successes_close_it_one_failure_doubles_its_time_up_to_a_maximum_and_closing_forgets_the_growth(
    commit: Commit,
) -> None:
    async def main() -> None:
        script = [*[503] * 6, "good", 503, "good", "good", 503]
        chain = build(script, success_threshold=2, max_reset_timeout="5m", **ONCE)
        seen = []
        for _ in script:
            await kind(chain, commit)
            seen.append(breaker(chain).figures().retry_after or state(chain))
            await asyncio.sleep(seen[-1] if isinstance(seen[-1], float) else 0)
        assert seen == [30, 60, 120, 240, 300, 300, "half_open", 300, "half_open", "closed", 30]

    run(main())


def test_b12_a_neutral_verdict_leaves_it_half_open_for_the_next_call(commit: Commit) -> None:
    async def main() -> None:
        chain = await opened(build([503, 401, 404, "hello"], **ONCE))
        for neutral in ("auth", "not_found"):
            assert await kind(chain, commit) == neutral and state(chain) == "half_open"
        assert (await chain.answer(commit=commit)).text == "hello"
        assert state(chain) == "closed" and chain.clock.now() == 30

    run(main())


@pytest.mark.parametrize("late", [{"status": 503, "delay": "35s"}, {"reply": "late", "delay": "35s"}])
def test_b13_results_of_calls_from_before_a_transition_are_dropped(late: dict[str, Any], commit: Commit) -> None:
    async def main() -> None:
        chain = build([late, 503, {"reply": "probe", "delay": "10s"}], total="60s", **ONCE)
        old = asyncio.ensure_future(kind(chain, commit))
        await asyncio.sleep(0)
        await opened(chain)
        probe = asyncio.ensure_future(chain.answer(commit=commit))
        await until(36, chain)
        assert old.done() and state(chain) == "half_open" and counted(chain) == (0, 0, 0)
        await probe
        assert state(chain) == "closed" and chain.clock.now() == 40

    run(main())


def test_b14_circuit_open_is_never_repeated_in_place_and_moves_on_at_once(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [503], "b": forever("hello")}, [*CALM, (CIRCUIT_BREAKER, ONCE)])
        await chain.answer(commit=commit)
        assert chain.story() == "a 503 → b ok"
        for _ in range(3):
            await chain.answer(commit=commit)
            assert (chain.story(), chain.clock.now()) == ("b ok", 0)
            assert [event.reason for event in chain.events(TargetSkipped)] == ["circuit_open"]  # type: ignore[attr-defined]
        alone = build_chain({"a": [503]}, [*CALM, (CIRCUIT_BREAKER, ONCE)])
        await failure(alone, commit=commit)
        assert await kind(alone, commit) == "circuit_open" and alone.clock.now() == 0

    run(main())


def test_b15_where_all_targets_are_open_the_call_fails_with_the_smallest_remaining_time(commit: Commit) -> None:
    async def main() -> None:
        keys = [(CIRCUIT_BREAKER, {**ONCE, "reset_timeout": time}) for time in ("50s", "20s", "40s")]
        scripts = {"a": [503], "b": [503], "c": [503]}
        chain = build_chain(scripts, overrides={name: [key] for name, key in zip("abc", keys, strict=True)})
        await failure(chain, commit=commit)
        await asyncio.sleep(5)
        error = await failure(chain, commit=commit)
        assert isinstance(error, CircuitOpen) and error.retry_after == 15
        assert chain.clock.now() == 5 and chain.story() == "" and len(chain.events(TargetSkipped)) == 3

    run(main())


def test_b16_probe_first_sends_one_forced_probe_to_the_first_target_through_a_lease(
    tmp_path: Path, commit: Commit
) -> None:
    text = file("{when_all_open: probe_first, targets: [a, b], policies: {retry: off, circuit_breaker: 1}}")

    async def work(pipeline: Pipeline) -> None:
        assert story((await refusal(pipeline, commit)).result) == "a 503 → b 503"
        await asyncio.sleep(10)
        probe = asyncio.ensure_future(ask(pipeline, commit))
        await asyncio.sleep(1)
        for _ in range(2):
            error = await refusal(pipeline, commit)
            assert isinstance(error, CircuitOpen) and error.retry_after == 19  # until b may be half-open
        assert pipeline.breakers()["a"].state == "half_open" and asyncio.get_running_loop().time() == 11
        result = await probe
        assert (story(result), result.text) == ("a ok", "slow") and asyncio.get_running_loop().time() == 15
        assert [each.state for each in pipeline.breakers().values()] == ["closed", "open"]

    _, scripts = play(text, tmp_path, {"a": [503, SLOW], "b": [503]}, work)
    assert [len(script.calls) for script in scripts.values()] == [2, 1]


def test_b17_a_person_holds_it_open_holds_it_closed_and_resets_it(tmp_path: Path, commit: Commit) -> None:
    text = file("{targets: [a], policies: {use: none, circuit_breaker: {failure_threshold: 2, probe: true}}}")

    async def work(pipeline: Pipeline) -> None:
        held = pipeline.breaker("a")
        held.force_open()
        await asyncio.sleep(1e6)
        error = await refusal(pipeline, commit)
        assert isinstance(error, CircuitOpen) and error.retry_after is None
        held.force_close()
        for _ in range(3):
            assert (await refusal(pipeline, commit)).kind == "server"
        assert (held.figures().state, held.figures().failures) == ("forced_closed", 3)
        held.reset()
        assert (held.figures().state, held.figures().failures) == ("closed", 0)
        for wait in (30.5, 0):
            for _ in range(2):
                assert (await refusal(pipeline, commit)).kind == "server"
            assert held.figures().retry_after == 30
            await asyncio.sleep(wait)
            assert held.figures().retry_after == (59.5 if wait else 30)  # a probe failed: it has grown
            held.reset()

    _, scripts = play(text, tmp_path, {"a": forever(503)}, work)
    assert len(scripts["a"].calls) == 3 + 2 + 1 + 2


@pytest.mark.parametrize("failing", [1, 3, 6])
def test_b18_with_probe_the_return_of_a_target_is_noticed_within_30_seconds_without_any_traffic(failing: int) -> None:
    """However long it has grown to stay open: it was gone when it was asked 30 s before."""

    async def main() -> None:
        chain = build([*[503] * failing, "ok"], probe=True, **ONCE)
        await failure(chain)
        await until(30 * failing - 0.1, chain)
        assert state(chain) == "open" and len(chain.scripts["a"].calls) == failing
        await until(30 * failing + 0.1, chain)
        assert state(chain) == "closed" and chain.scripts["a"].left == 0

    run(main())
