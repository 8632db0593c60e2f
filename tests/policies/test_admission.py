"""Admission: once for each logical call, all limits or none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.component import PolicyConfig
from wizard_dsl.core.errors import ContractViolated, RateLimitExceeded, WizardError
from wizard_dsl.core.events import LimitWaited
from wizard_dsl.core.messages import Request, message
from wizard_dsl.policies.admission import ADMISSION, AdmissionConfig, Sessions
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.registry import Registry
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]
FOREVER = {"reply": "hello there", "times": "forever"}
ONE = {"rate": "0.1/s", "burst": 1}


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def build(script: list[Any], *more: Policy, **limits: Any) -> ScriptedChain:
    return build_chain({"a": script}, [(ADMISSION, limits), *more])


async def answer(chain: ScriptedChain, session: str | None = None, **options: Any) -> str:
    """Ask with a session."""
    begun = chain.run(**options)
    begun = begun.child(scope=msgspec.structs.replace(begun.scope, session=session))
    async with await chain.handler(Request(messages=(message("user", "hi"),)), begun) as response:
        return (await response.read()).text


async def failure(chain: ScriptedChain, session: str | None = None, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await answer(chain, session, **options)
    return caught.value


def available(chain: ScriptedChain) -> dict[str, float]:
    now = chain.clock.now()
    lines = [*chain.shared.of("admission").values()]
    lines += [line for each in chain.shared.of("admission_sessions").values() for line in each]
    return {f"{line.name} {line.of}".strip(): line.levels(now)[0].available for line in lines}


@pytest.mark.parametrize("part", ["global", "pipeline"])
def test_a_call_waits_for_its_turn_and_is_counted_once_whatever_it_does_inside(part: str, commit: Commit) -> None:
    async def main() -> None:
        chain = build([503, 503, "one", "two"], (RETRY, {"jitter": "none"}), **{part: ONE})
        await answer(chain, commit=commit)
        assert chain.clock.now() == 3
        await answer(chain, commit=commit)
        assert chain.clock.now() == 10 and chain.attempts[0].waited == 7
        assert [event.limit for event in chain.events(LimitWaited)] == [f"admission.{part}"]  # type: ignore[attr-defined]

    run(main())


def test_a_cache_hit_takes_nothing() -> None:
    async def main() -> None:
        chain = build([FOREVER], (CACHE, {}), **{"global": {**ONE, "max_wait": "0s"}})
        for _ in range(5):
            await answer(chain)
        assert chain.clock.now() == 0

    run(main())


def test_repairs_take_nothing_more() -> None:
    async def main() -> None:
        chain = build(["nonsense", "more"], (CONTRACT, {"repairs": 1}), **{"global": {**ONE, "burst": 2}})
        begun = chain.run()
        request = Request(messages=(message("user", "hi"),), schema={"type": "object"})
        with pytest.raises(ContractViolated):
            await chain.handler(request, begun)
        assert len(chain.attempts) == 2 and available(chain) == {"admission.global": 1}

    run(main())


def test_fallbacks_take_nothing_more() -> None:
    async def main() -> None:
        chain = build_chain({"a": [503], "b": ["hello"]}, [(ADMISSION, {"global": {**ONE, "burst": 2}})])
        await answer(chain)
        assert chain.story() == "a 503 → b ok" and available(chain) == {"admission.global": 1}

    run(main())


def test_each_session_has_its_own_limit_and_calls_without_one_have_none() -> None:
    async def main() -> None:
        chain = build([FOREVER], session={**ONE, "max_wait": "0s"})
        await answer(chain, "anna")
        await answer(chain, "bert")
        error = await failure(chain, "anna")
        assert isinstance(error, RateLimitExceeded) and error.limit == "admission.session" and error.retry_after == 10
        for _ in range(3):
            await answer(chain)

    run(main())


def test_where_one_refuses_what_the_others_gave_is_given_back() -> None:
    async def main() -> None:
        wide = {"rate": "0.001/s", "burst": 10}
        chain = build([FOREVER], pipeline=wide, session=wide, **{"global": {**ONE, "max_wait": "0s"}})
        await answer(chain, "anna")
        error = await failure(chain, "anna")
        assert isinstance(error, RateLimitExceeded) and error.limit == "admission.global"
        assert available(chain) == {
            "admission.pipeline": 9,
            "admission.session anna": 9,
            "admission.global": 0,
        }

    run(main())


def test_a_call_that_waits_for_its_session_holds_nothing_of_the_others() -> None:
    async def main() -> None:
        chain = build([FOREVER], session=ONE, **{"global": {"rate": "0.001/s", "burst": 3}})
        await answer(chain, "anna")
        waiting = asyncio.ensure_future(answer(chain, "anna"))
        await asyncio.sleep(1)
        assert available(chain)["admission.global"] == pytest.approx(2, abs=0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert available(chain)["admission.session anna"] == pytest.approx(0.1)

    run(main())


def test_a_call_cancelled_in_the_last_line_gives_back_what_it_took_before(commit: Commit) -> None:
    async def main() -> None:
        chain = build([FOREVER], session={"rate": "0.001/s", "burst": 2}, **{"global": ONE})
        await answer(chain, "anna", commit=commit)
        await answer(chain, "bert", commit=commit)
        waiting = asyncio.ensure_future(answer(chain, "bert", commit=commit))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert available(chain)["admission.session bert"] == pytest.approx(1, abs=0.05)

    run(main())


def test_a_call_that_sent_nothing_gives_its_turn_back_and_one_that_failed_keeps_it(commit: Commit) -> None:
    async def main() -> None:
        chain = build([{"refuse": True}, 503], **{"global": {"rate": "0.001/s", "burst": 2}})
        await failure(chain, commit=commit)
        assert available(chain) == {"admission.global": 2}
        await failure(chain, commit=commit)
        assert available(chain) == {"admission.global": 1}

    run(main())


def test_llm_tokens_are_reserved_once_and_become_what_all_attempts_used(commit: Commit) -> None:
    async def main() -> None:
        usage = {"input_tokens": 100, "output_tokens": 50}
        script = [{"reply": "", "usage": usage}, {"reply": "hello", "usage": usage, "first_chunk": "5s"}]
        limit = {"windows": ["1000 tokens/minute"], "token_estimate": 500}
        chain = build(script, (RETRY, {"jitter": "none"}), **{"global": limit})
        call = asyncio.ensure_future(answer(chain, commit=commit))
        await asyncio.sleep(3)
        assert available(chain) == {"admission.global": 1000 - 501}
        await call
        assert available(chain) == {"admission.global": 1000 - 300}

    run(main())


def test_the_limits_of_everybody_are_shared_by_all_chains_and_those_of_a_target_are_not_touched() -> None:
    async def main() -> None:
        limits = [(ADMISSION, {"global": {**ONE, "max_wait": "0s"}})]
        first = build_chain({"a": [FOREVER]}, limits)
        second = build_chain({"b": [FOREVER]}, limits, shared=first.shared, name="second")
        await answer(first)
        assert isinstance(await failure(second), RateLimitExceeded)

    run(main())


def test_sessions_in_which_nothing_is_taken_are_forgotten() -> None:
    async def main() -> None:
        chain = build([FOREVER], session={"rate": "1/s", "burst": 1})
        for number in range(300):
            await answer(chain, f"session {number}")
            await asyncio.sleep(0.1)
        (sessions,) = chain.shared.of("admission_sessions").values()
        assert isinstance(sessions, Sessions) and len(list(sessions)) < 100
        assert isinstance(await failure(chain, "session 299", deadline=0.5), RateLimitExceeded)

    run(main())


def test_the_bound_grows_by_the_max_wait_of_each_limit() -> None:
    inner = Bound(attempts=Figure(1), latency=Figure(10), cost=Figure(1), tokens=Figure(1))
    config = msgspec.convert({"global": {"max_wait": "5s"}, "session": {"max_wait": "3s"}}, AdmissionConfig)
    assert ADMISSION.bound(config, inner, BoundFacts()).latency.value == 18
    open_ended = ADMISSION.bound(msgspec.convert({"global": {}}, AdmissionConfig), inner, BoundFacts(deadline=90))
    assert open_ended.latency.value == 100


def test_what_makes_no_sense_is_pointed_out() -> None:
    def check(raw: dict[str, Any]) -> str:
        config: PolicyConfig = msgspec.convert(raw, AdmissionConfig)
        return "; ".join(ADMISSION.check(config))

    assert "no limit is set" in check({})
    assert check({"global": {}}) == ""
    assert check({"session": {"windows": ["0.5/s"]}}).startswith("session: window 0.5/s")


def test_two_chains_that_set_one_of_them_differently_are_an_error_with_both_lines(tmp_path: Path) -> None:
    from wizard_dsl.compiler.compile import Sources, compile_file

    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\nproviders: {a: {type: mock, model: m}}\nchains:\n"
        "  default: {targets: [a], policies: {admission: {global: {rate: 5/s}, session: {rate: 1/s}}}}\n"
        "  other: {targets: [a], policies: {admission: {global: {rate: 6/s}, session: {rate: 1/s}}}}\n"
        "steps: {one: {prompt: {user: Hi}}, two: {prompt: {user: Hi}, chain: other}}\n"
    )
    compiled = compile_file(file, Registry(plugins=False), Sources(env={}))
    (found,) = [each for each in compiled.diagnostics if each.code.startswith("E")]
    assert found.code == "E064" and "admission.global is set in two ways" in found.message
    assert found.line == 5 and found.related[0].line == 4
