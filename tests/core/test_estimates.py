"""What is known of a target's speed and success, in numbers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

import pytest

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.estimates import KEPT, WINDOW, Estimate
from wizard_dsl.core.run import Branch
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]


def filled(*seconds: float, at_least: tuple[float, ...] = ()) -> Estimate:
    estimate = Estimate()
    for each in seconds:
        estimate.add(0.0, each, True)
    for each in at_least:
        estimate.add(0.0, each, None, at_least=True)
    return estimate


def test_nothing_is_known_without_samples() -> None:
    estimate = Estimate()
    assert (estimate.p95(0.0), estimate.mean(0.0), estimate.success(0.0), estimate.count(0.0)) == (None, None, None, 0)


def test_the_p95_is_the_time_within_which_95_of_100_commit() -> None:
    assert filled(*range(1, 101)).p95(0.0) == 95
    assert filled(*range(1, 11)).p95(0.0) == 10
    assert filled(*[1.0] * 19, 9.0).p95(0.0) == 1


def test_the_mean_of_whole_samples_is_their_mean() -> None:
    assert filled(1.0, 2.0, 6.0).mean(0.0) == pytest.approx(3.0)


def test_a_lower_bound_says_nothing_about_shorter_times_and_makes_longer_ones_likelier() -> None:
    exact = filled(1.0, 1.0, 1.0, 5.0)
    assert filled(1.0, 1.0, 1.0, 5.0, at_least=(0.1,)).mean(0.0) == pytest.approx(exact.mean(0.0))
    assert filled(1.0, 1.0, 1.0, 5.0, at_least=(4.0,)).mean(0.0) == pytest.approx(1.0 * 0.6 + 5.0 * 0.4)
    assert filled(1.0, at_least=(1.0,)).mean(0.0) == pytest.approx(1.0)
    assert filled(*[1.0] * 19, at_least=(3.0,)).p95(0.0) == 1
    assert filled(*[1.0] * 18, at_least=(3.0, 4.0)).p95(0.0) == 4, "the largest seen: more is not known"
    assert filled(at_least=(3.0, 2.0)).p95(0.0) == filled(at_least=(3.0, 2.0)).mean(0.0) == 3


def test_success_counts_answers_and_failures_and_nothing_else() -> None:
    estimate = filled(1.0, 1.0, 1.0, at_least=(9.0,))
    estimate.add(0.0, 0.1, False)
    assert estimate.success(0.0) == 0.75
    assert estimate.p95(0.0) == 9.0 and estimate.count(0.0) == 4, "how fast a failure came says nothing"
    assert filled(at_least=(9.0,)).success(0.0) is None


def test_samples_are_forgotten_after_the_window_and_beyond_a_fixed_number() -> None:
    estimate = Estimate()
    estimate.add(0.0, 9.0, True)
    estimate.add(100.0, 1.0, True)
    assert estimate.mean(WINDOW) == 5 and estimate.mean(WINDOW + 1) == 1
    assert estimate.p95(100.0, window=50.0) == 1 and estimate.success(800.0) is None
    for _ in range(KEPT):
        estimate.add(101.0, 2.0, True)
    assert estimate.count(101.0) == KEPT and estimate.mean(101.0) == 2


def test_first_contents_and_ends_are_told_apart_where_asked_for() -> None:
    estimate = filled(8.0)
    estimate.add(0.0, 1.0, True, streamed=True)
    assert (estimate.p95(0.0, streamed=True), estimate.p95(0.0, streamed=False), estimate.p95(0.0)) == (1, 8, 8)
    assert (estimate.mean(0.0, streamed=True), estimate.count(0.0, streamed=False)) == (1, 1)


async def tried(chain: ScriptedChain, **options: Any) -> None:
    with suppress(WizardError):
        await chain.answer(**options)


@pytest.mark.parametrize("commit", ["end", "content"])
def test_an_attempt_that_answers_is_booked_with_its_time_to_the_commit_point(commit: Commit) -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "one two three", "first_chunk": "2s", "chunk_every": "1s"}]})
        await chain.answer(commit=commit)
        estimate = chain.targets["a"].state.estimate
        assert estimate.success(9) == 1
        assert estimate.mean(9, streamed=commit == "content") == (2 if commit == "content" else 4)
        assert estimate.mean(9, streamed=commit == "end") is None

    run(main())


@pytest.mark.parametrize(
    ("item", "success", "seconds"),
    [
        ({"status": 503, "delay": "2s"}, 0, None),
        ({"refuse": True}, 0, None),
        ({"reply": ""}, 0, None),
        ({"reply": "x", "delay": "9s"}, 0, 5),
        ({"status": 429, "retry_after": "1h"}, None, None),
        (401, None, None),
    ],
    ids=["server", "connect", "malformed", "timeout: at least that long", "429", "auth"],
)
@pytest.mark.parametrize("commit", ["end", "content"])
def test_a_failure_of_the_target_counts_and_what_says_nothing_about_it_does_not(
    item: Any, success: float | None, seconds: float | None, commit: Commit
) -> None:
    async def main() -> None:
        chain = build_chain({"a": [item]}, [(TIMEOUT, {"total": "5s"})])
        await tried(chain, commit=commit)
        estimate = chain.targets["a"].state.estimate
        assert (estimate.success(9), estimate.mean(9)) == (success, seconds)

    run(main())


def test_a_stream_that_breaks_after_its_commit_point_becomes_a_failure_and_one_given_up_stays_an_answer() -> None:
    async def main() -> None:
        chain = build_chain({"a": ["x y z", {"reply": "x y z", "cut_after": 1}]})
        async with await chain.ask(commit="content"):
            pass
        estimate = chain.targets["a"].state.estimate
        assert (estimate.success(0), estimate.count(0)) == (1, 1)
        await tried(chain, commit="content")
        assert (estimate.success(0), estimate.count(0)) == (0.5, 1)

    run(main())


@pytest.mark.parametrize(("reason", "seconds"), [("overtaken", 3.0), ("", None)])
@pytest.mark.parametrize("commit", ["end", "content"])
def test_an_attempt_that_was_overtaken_took_at_least_its_time_and_one_that_was_cancelled_says_nothing(
    reason: Any, seconds: float | None, commit: Commit
) -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "x", "delay": "9s"}]})
        cell = Branch()
        task = asyncio.ensure_future(chain.answer(branch=cell, commit=commit))
        await asyncio.sleep(3)
        cell.reason = reason
        task.cancel()
        await asyncio.wait([task])
        estimate = chain.targets["a"].state.estimate
        assert (estimate.mean(9), estimate.success(9), chain.attempts[0].kind) == (seconds, None, "cancelled")

    run(main())
