"""Cancellation: it reaches the source, everything is given back, and no task is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compiler_kit import compile_text
from semantics_kit import WIRED, Commit, ask, file, forever, wire

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing.cancelling import cancelled_at_every_step
from wizard_dsl.testing.chains import build_chain
from wizard_dsl.testing.scripted import Script, Scripted
from wizard_dsl.testing.transport import Reply, ScriptedTransport

#: The task whose steps are counted.
Watch = Callable[..., asyncio.Task[Any]]
WORD = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'


def arriving(*chunks: tuple[float, bytes], **more: Any) -> Reply:
    return Reply(headers={"content-type": "text/event-stream"}, chunks=chunks, **more)


def one(policy: str, targets: str = "targets: [a]") -> str:
    """A chain with one policy."""
    return f"{{{targets}, policies: {{use: none, {policy}}}}}"


HEDGED = "strategy: {type: hedged, after: 500ms}, targets: [a, a]"
WAITS, FLOWS = arriving((100, WORD)), arriving((0, WORD), (100, WORD))


@pytest.mark.parametrize(
    ("chain", "before", "replies", "aborted"),
    [
        (one("rate_limit: {rate: 0.01/s, burst: 1}"), [Reply(status=400)], [], 0),
        (one("concurrency: 1"), [WAITS], [], 0),
        (one("retry: {base: 10s}"), [], [Reply(status=503)], 0),
        (one("retry: {}"), [], [arriving((0, WORD), delay=100)], 0),
        (one("retry: {}"), [], [WAITS], 1),
        (one("retry: {}"), [], [FLOWS], 1),
        (one("cache: 1h"), [], [FLOWS], 1),
        (one("retry: {}", HEDGED), [], [WAITS, WAITS], 2),
    ],
    ids=["token", "place", "delay", "headers", "first chunk", "next chunk", "flight", "hedge"],
)
def test_x1_cancelling_reaches_the_source_in_every_phase(
    chain: str, before: list[Reply], replies: list[Reply], aborted: int, tmp_path: Path, commit: Commit
) -> None:
    async def work(pipeline: Pipeline, transport: ScriptedTransport) -> None:
        first = [asyncio.ensure_future(ask(pipeline, commit)) for _ in before]
        await asyncio.sleep(1)
        call = asyncio.ensure_future(ask(pipeline, commit))
        await asyncio.sleep(1)
        before_it = transport.aborted
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() and asyncio.get_running_loop().time() == 2
        assert transport.aborted - before_it == aborted
        for each in first:
            each.cancel()
        await asyncio.gather(*first, return_exceptions=True)
        await asyncio.sleep(1000)
        assert len(transport.sent) == len(before) + len(replies) and len(asyncio.all_tasks()) == 1

    wire(file(chain, head=WIRED), tmp_path, [*before, *replies], work)


@pytest.mark.parametrize("victim", ["leader", "follower"])
def test_x2_leases_tokens_reservations_and_places_in_a_flight_are_always_given_back(
    victim: str, commit: Commit
) -> None:
    """Of two that share a flight and its half-open lease one is cancelled, at each of its steps: the other is answered,
    and so is the next one. What was left behind would refuse it at once: there is one lease, one place, and room for
    one reservation and a few tokens that were seen."""
    policies = [
        (CACHE, {}),
        (RATE_LIMIT, {"windows": ["110 tokens/day"], "max_wait": "0s"}),
        (CONCURRENCY, {"limit": 1, "max_wait": "0s"}),
        (CIRCUIT_BREAKER, {"failure_threshold": 1, "success_threshold": 9}),
    ]

    async def story(watch: Watch) -> bool:
        slow = {"reply": "a b", "delay": "1s", "chunk_every": "1s"}
        chain = build_chain({"a": [503, *forever(slow)]}, policies)

        async def answer(text: str) -> str:
            request = Request(messages=(message("user", text),), params={"max_tokens": 90})
            return (await chain.answer(request, commit=commit)).text

        with pytest.raises(WizardError):
            await answer("hi")
        await asyncio.sleep(30)
        calls = {
            who: (watch if who == victim else asyncio.ensure_future)(answer("hi")) for who in ("leader", "follower")
        }
        await asyncio.wait(calls.values())
        lost = calls.pop(victim)
        assert [await call for call in calls.values()] == ["a b"] and await answer("ho") == "a b"
        return lost.cancelled()

    assert cancelled_at_every_step(story) > 3


def test_x3_a_cancelled_run_leaves_no_task_running(tmp_path: Path, commit: Commit) -> None:
    """Two steps at once, each on a chain that hedges: cancelled at each step of the run."""
    chain = "{strategy: {type: hedged, after: 1s}, targets: [a, b], policies: {cache: 1h, retry: {jitter: none}}}"
    compiled = compile_text(file(chain).replace("{one:", "{two: {prompt: {user: ho}}, one:"), tmp_path)
    scripts = {
        "a": [503, *forever({"reply": "late", "delay": "9s"})],
        "b": forever({"reply": "a b", "delay": "1s", "chunk_every": "1s"}),
    }

    async def story(watch: Watch) -> bool:
        played = {name: Script(name, items) for name, items in scripts.items()}
        async with running(
            compiled,
            Registry(plugins=False),
            seed=1,
            provide=lambda plan, context: Scripted(played[plan.name], context.clock),
        ) as pipeline:
            task = watch(ask(pipeline, commit))
            await asyncio.wait([task])
            assert asyncio.all_tasks() == {asyncio.current_task()}
        return task.cancelled()

    assert cancelled_at_every_step(story) > 10
