"""The story of a run: each event has a sentence, and the text depends on the transcript alone."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest

from wizard_dsl.core import events as e
from wizard_dsl.core.run import Transcript
from wizard_dsl.observe.transcript import SENTENCES, render
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import build_chain


def told(*entries: tuple[float, str, e.Event]) -> list[str]:
    transcript = Transcript(0.0)
    transcript.events.extend(entries)
    return render(transcript).splitlines()


def sentence(event: e.Event) -> str:
    (line,) = told((0.0, "", event))
    return line.removeprefix("   0.000  ")


EXAMPLES: list[tuple[e.Event, str]] = [
    (e.RunStarted(pipeline="triage"), "run of triage begins"),
    (e.RunEnded(kind="ok", elapsed=1.4804), "run ends after 1.480 s"),
    (e.RunEnded(kind="server", elapsed=1.0), "run fails: server after 1.000 s"),
    (e.StepStarted(step="topic"), "step begins"),
    (e.StepEnded(step="topic", kind="ok"), "step ends"),
    (e.StepEnded(step="topic", kind="skipped"), "step is skipped"),
    (e.StepEnded(step="topic", kind="contract"), "step fails: contract"),
    (e.AttemptStarted(target="openai/gpt"), "openai/gpt: attempt 1"),
    (e.AttemptEnded(target="openai/gpt", kind="ok", status=200, elapsed=3.1), "openai/gpt: ok after 3.100 s"),
    (e.AttemptEnded(target="a", kind="server", status=503, elapsed=0.12), "a: 503 server after 0.120 s"),
    (e.AttemptEnded(target="a", kind="connect", elapsed=0.0), "a: connect after 0.000 s"),
    (
        e.AttemptEnded(target="a", kind="timeout", elapsed=60.0, cut="first_chunk"),
        "a: timeout after 60.000 s, cut by timeout.first_chunk",
    ),
    (e.ContractRepaired(target="a", repairs=1), "a: output is as declared after a repair"),
    (e.ContractRepaired(target="a", repairs=2), "a: output is as declared after 2 repairs"),
    (e.OutageProbed(target="a"), "a: every breaker is open, it is asked all the same"),
    (e.StreamCommitted(target="a"), "a: first content"),
    (e.StreamEnded(target="a", ending="cancelled"), "a: stream cancelled"),
    (e.RetryScheduled(target="a", kind="server", retry=1, delay=1.0), "a: retry 1 in 1.000 s (server)"),
    (
        e.RetriesEnded(target="a", kind="server", attempts=3, reason="attempts"),
        "a: given up after attempt 3 (server): no attempts are left",
    ),
    (
        e.RetriesEnded(target="a", kind="server", attempts=1, reason="some_new_one"),
        "a: given up after attempt 1 (server): some new one",
    ),
    (e.TargetSkipped(target="a", reason="circuit_open"), "a: skipped, circuit open"),
    (e.PrimaryRecovered(target="a", away=30.0, calls=3), "a answers again, after 3 calls in 30 s"),
    (e.FallbackTriggered(target="a", kind="server", to="b"), "a: server, falling back to b"),
    (e.LossAccepted(target="a", lost=("tools", "images")), "a: used without tools, images"),
    (e.RateLimitWaited(target="a", delay=2.5), "a: waiting 2.500 s until it is free"),
    (e.RateLimitProlonged(target="a", delay=2.5), "a: waited 2.500 s more, it was blocked again"),
    (e.HedgeStarted(target="a", to="b", after=3.0), "a: late after 3.000 s, b is asked besides"),
    (
        e.HedgeWithheld(target="a", reason="retry_budget_exhausted"),
        "a: late, nobody is asked besides: the retry budget is used up",
    ),
    (e.BranchCancelled(target="a", by="b", reason="answered"), "a: cancelled, b answered"),
    (
        e.TargetBlocked(target="a", reason="quota_exhausted", seconds=3600.0),
        "a: not called for 3600.000 s (quota exhausted)",
    ),
    (e.BreakerChanged(target="a", before="open", after="half_open"), "a: breaker open → half open"),
    (e.BreakerProbed(target="a", kind="rate_limited"), "a: breaker probed it, rate limited"),
    (e.LimitWaited(limit="rate_limit", seconds=0.5), "rate_limit: waited 0.500 s"),
    (e.LimitRefused(limit="rate_limit", retry_after=1.0), "rate_limit: refused, free in 1.000 s"),
    (e.LimitRefused(limit="concurrency", retry_after=None), "concurrency: refused"),
    (
        e.RateLimitApproaching(limit="rate_limit", rule="60/minute", whose="own", used=0.8),
        "rate_limit: 80% of 60/minute used",
    ),
    (
        e.RateLimitApproaching(limit="rate_limit", rule="input-tokens", whose="provider", used=0.951),
        "rate_limit: 95% of the provider's input-tokens used",
    ),
    (e.CacheHit(key="0123456789abcdef", age=12.0), "cache hit 01234567, 12.000 s old"),
    (
        e.CacheHit(key="0123456789abcdef", age=2.0, kind="not_found"),
        "cache hit 01234567, 2.000 s old, not found",
    ),
    (
        e.CacheStale(key="0123456789abcdef", age=72.0, expired=12.0, reason="circuit_open"),
        "stale answer 01234567, 12.000 s after its time, the call failed: circuit open",
    ),
    (
        e.CacheStale(key="0123456789abcdef", age=72.0, expired=12.0, reason="revalidate"),
        "stale answer 01234567, 12.000 s after its time, it is refreshed",
    ),
    (e.CacheRefreshed(key="0123456789abcdef", kind="ok"), "refresh of 01234567 ends"),
    (e.CacheRefreshed(key="0123456789abcdef", kind="server"), "refresh of 01234567 fails: server"),
    (e.CacheMissed(key="0123456789abcdef"), "cache miss 01234567"),
    (e.CacheStored(key="0123456789abcdef", ttl=3601.7), "cached as 01234567 for 3602 s"),
    (e.CacheShared(key="0123456789abcdef"), "follows an equal call in flight, 01234567"),
    (e.CacheUnavailable(reason="database is locked"), "cache unavailable: database is locked"),
    (
        e.StateDegraded(keeper="redis://h:6379/0", reason="ConnectionError"),
        "going on alone, without redis://h:6379/0: ConnectionError",
    ),
    (e.StateRestored(keeper="redis://h:6379/0", seconds=2.0), "sharing state again, after 2.000 s"),
    (e.ContractFailed(target="a", violations=("$.x: enum",), repair=0), "a: output is not as declared: $.x: enum"),
    (
        e.ContractFailed(target="a", violations=("$.x: enum", "$: type"), repair=2),
        "a: output is not as declared after 2 repairs: $.x: enum; $: type",
    ),
    (
        e.InputGuarded(input="q", action="escaped", finding="role marker </s> at character 3"),
        "input q: role marker </s> at character 3, escaped",
    ),
    (e.AnswerRefused(target="a", findings=("it is rude", "it is long")), "a: refused: it is rude; it is long"),
    (
        e.BudgetApproaching(budget="day", warn_at=16.0, limit=20.0),
        "the day budget of $20.00 is spent or reserved to $16.00 or more",
    ),
    (e.BudgetUnavailable(reason="it is corrupt"), "budgets unavailable: it is corrupt"),
    (e.DeadlineCut(what="retry", needed=5.0, left=2.0), "no retry any more: it needs 5.000 s, 2.000 s are left"),
    (e.HistoryUnavailable(reason="disk is full"), "not recorded: disk is full"),
    (e.ObserverFailed(error="ValueError('x')"), "an observer failed: ValueError('x')"),
]


@pytest.mark.parametrize(("event", "expected"), EXAMPLES, ids=lambda each: getattr(each, "name", None))
def test_an_event_is_told_in_plain_words(event: e.Event, expected: str) -> None:
    if isinstance(event, e.StepStarted | e.StepEnded):
        assert sentence(event).removeprefix("topic").strip() == expected
    else:
        assert sentence(event) == expected


def test_every_event_has_a_sentence_and_an_example_of_it() -> None:
    assert {*SENTENCES, e.AttemptStarted} == set(e.EVENTS)
    assert {type(event) for event, _ in EXAMPLES} == set(e.EVENTS)


def test_an_event_of_a_plug_in_is_told_by_its_fields() -> None:
    class Redacted(e.Event, frozen=True):
        name: ClassVar[str] = "acme_redacted"
        count: int

    assert sentence(Redacted(path="p", count=2)) == "acme redacted count=2"


def test_attempts_are_counted_over_the_whole_run() -> None:
    first, second = e.AttemptStarted(target="a"), e.AttemptStarted(target="b")
    assert told((0.0, "s", first), (1.0, "s", second)) == ["   0.000  a: attempt 1", "   1.000  b: attempt 2"]


def test_several_steps_are_named_in_a_column_and_one_is_not() -> None:
    ended = e.StreamCommitted(target="a")
    assert told((0.0, "only", ended)) == ["   0.000  a: first content"]
    assert told((0.0, "topic", ended), (0.5, "reply/draft", ended), (1.0, "", e.RunEnded(kind="ok", elapsed=1.0))) == [
        "   0.000  topic        a: first content",
        "   0.500  reply/draft  a: first content",
        "   1.000               run ends after 1.000 s",
    ]


def test_items_and_inner_steps_are_named() -> None:
    lines = told(
        (0.0, "", e.StepStarted(step="parts", item=1)),
        (0.1, "outer", e.StepEnded(step="inner", kind="ok")),
        (0.2, "outer[0]", e.StepStarted(step="inner", item=2)),
        (0.3, "outer[0]/inner[2]", e.StreamCommitted(target="a")),
        (0.4, "same", e.StepStarted(step="same")),
    )
    places = [line.split()[1] for line in lines]
    assert places == ["parts[1]", "outer/inner", "outer[0]/inner[2]", "outer[0]/inner[2]", "same/same"]


def test_a_text_from_outside_stays_on_its_line_and_is_redacted() -> None:
    line = sentence(e.ObserverFailed(error="two\nlines with Bearer opaque0token"))
    assert line == "an observer failed: two lines with Bearer ***"


def test_the_text_has_no_trailing_space_and_no_last_newline() -> None:
    transcript = Transcript(0.0)
    transcript.events.append((0.0, "", e.CacheUnavailable(reason="")))
    assert render(transcript) == "   0.000  cache unavailable:"


def test_an_empty_transcript_is_an_empty_text() -> None:
    assert render(Transcript(0.0)) == ""


def test_a_run_that_fails_twice_and_falls_back_reads_like_its_story(snapshot: Any) -> None:
    async def main() -> str:
        chain = build_chain(
            {"openai/gpt": [503, {"status": 503, "delay": "120ms"}], "anthropic/claude": ["hello there"]},
            policies=[(RETRY, {"max_attempts": 3, "jitter": "none"}), (CIRCUIT_BREAKER, {"failure_threshold": 2})],
        )
        async with await chain.ask("hi", commit="content") as response:
            await response.read()
        return render(chain.transcript)

    first, second = virtual.run(main()), virtual.run(main())
    assert first == second
    assert first == snapshot


def test_sentences_do_not_change_what_an_event_holds() -> None:
    event = e.CacheHit(key="0123456789abcdef", age=1.0)
    before = msgspec.structs.asdict(event)
    sentence(event)
    assert msgspec.structs.asdict(event) == before
