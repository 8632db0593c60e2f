"""One line after a run: who was asked, how it went, how long it took, what it cost."""

from __future__ import annotations

from typing import Any

import pytest

from wizard_dsl.core.result import AttemptRow, Cost, ErrorRow, ItemRow, PipelineRow, Result, StepRow, UsageRow
from wizard_dsl.observe.summary import short_names, show_time, summary

USAGE = UsageRow(1, 1, "reported")


def attempt(target: str, kind: str = "ok", status: int | None = None, elapsed: float = 1.0, **more: Any) -> AttemptRow:
    values: dict[str, Any] = {
        "step": "s", "item": None, "started": 0.0, "first_chunk": None, "usage": None, "cost": None,
        "confidence": "unknown", "waited": 0.0, "hedge": False, "retry_of": None, "message": None, **more,
    }  # fmt: skip
    return AttemptRow(target=target, kind=kind, status=status, elapsed=elapsed, **values)


def step(*attempts: AttemptRow, **more: Any) -> StepRow:
    values: dict[str, Any] = {
        "text": "", "json": None, "finish_reason": None, "tool_calls": [], "items": None, "served_by": None,
        "position": None, "cached": False, "shared": False, "saved": None, "stale": False, "age": None,
        "skipped": False, "lost": [], "usage": USAGE,
        "cost": Cost(None, "unknown"), "spec_version": None, "api_version": None, "compatibility": None,
        "first_chunk": None, "tokens_per_second": None, "elapsed": 0.0, "error": None, **more,
    }  # fmt: skip
    return StepRow(attempts=list(attempts), **values)


def line(
    *,
    usd: float | None = None,
    confidence: Any = "reported",
    elapsed: float = 0.0,
    error: str | None = None,
    **steps: StepRow,
) -> str:
    failed = None if error is None else ErrorRow(error, "m", None, False, None, None, [])
    return summary(
        Result(
            run_id="7f3a", pipeline=PipelineRow("p", "h"), ok=error is None, text="", output=None, served_by=None,
            elapsed=elapsed, tokens_per_second=None, cost=Cost(usd, confidence), usage=USAGE,
            attempts=[row for each in steps.values() for row in each.attempts],
            error=failed, partial=False, steps=steps,
        )
    )  # fmt: skip


def test_failures_waits_and_the_answer_read_from_left_to_right() -> None:
    rows = (
        attempt("openai/gpt", "server", 503),
        attempt("openai/gpt", "server", 503, waited=1.4),
        attempt("anthropic/claude", elapsed=3.1),
    )
    assert line(s=step(*rows), usd=0.0021) == "openai 503 ×2 → waited 1.4 s → anthropic 3.1 s · $0.0021"


def test_a_single_answer_is_a_target_and_a_time() -> None:
    assert line(s=step(attempt("local/smol", elapsed=0.82))) == "local 820 ms"


def test_a_wait_before_an_answer_stands_before_it() -> None:
    rows = (attempt("a/x", "rate_limited", 429), attempt("a/x", waited=2.0))
    assert line(s=step(*rows)) == "a 429 → waited 2.0 s → a 1.0 s"


def test_a_failure_without_a_status_is_told_by_its_kind() -> None:
    rows = (attempt("a/x", "connect"), attempt("a/x", "malformed_response", 200), attempt("b/x"))
    assert line(s=step(*rows)) == "a connect → a malformed response → b 1.0 s"


def test_a_cache_hit_and_a_shared_answer_show_how_fast_they_were() -> None:
    assert line(s=step(cached=True, elapsed=0.0004)) == "cache hit · 0.4 ms"
    assert line(s=step(cached=True, stale=True, elapsed=0.0004)) == "stale cache hit · 0.4 ms"
    assert line(s=step(shared=True, elapsed=1.25)) == "shared · 1.2 s"


def test_several_steps_stand_side_by_side_and_steps_that_call_nobody_are_left_out() -> None:
    shown = line(
        topic=step(attempt("a/x")), text=step(), reply=step(cached=True, elapsed=0.001), last=step(skipped=True)
    )
    assert shown == "topic: a 1.0 s | reply: cache hit · 1.0 ms | last: skipped"


def test_many_steps_are_counted() -> None:
    steps = {f"s{i}": step(attempt("a/x"), attempt("a/x", "server", 500)) for i in range(4)}
    shown = line(**steps, last=step(cached=True), elapsed=5.1, usd=0.5)
    assert shown == "5 steps · 8 attempts, 4 failed · 1 from the cache · 5.1 s · $0.5"


def test_items_at_once_take_the_time_of_their_step() -> None:
    rows = (
        attempt("a/x"),
        attempt("a/x", "server", 503),
        attempt("a/x"),
        attempt("a/x", "server", 503),
        attempt("a/x"),
    )
    items = [ItemRow("", None, False, None)] * 3
    assert line(parts=step(*rows, items=items, elapsed=2.0)) == "a ×3 2.0 s → a 503 ×2"


def test_a_failed_run_says_so() -> None:
    assert line(s=step(attempt("a/x", "auth", 401)), error="auth") == "a 401 · failed: auth"


def test_a_run_without_calls_says_so() -> None:
    assert line(s=step(), elapsed=0.0004) == "no calls · 0.4 ms"


@pytest.mark.parametrize(
    ("usd", "confidence", "shown"),
    [
        (None, "unknown", ""),
        (0.0, "reported", ""),
        (12.345, "reported", " · $12.35"),
        (0.0123, "estimated", " · ~$0.012"),
        (0.0000042, "reported", " · $0.0000042"),
    ],
)
def test_money_is_shown_where_it_is_known_and_some(usd: float | None, confidence: str, shown: str) -> None:
    assert line(s=step(attempt("a/x")), usd=usd, confidence=confidence) == f"a 1.0 s{shown}"


def test_targets_of_one_provider_keep_their_models() -> None:
    assert short_names(["a/x", "a/y", "b/z", "a/x"]) == {"a/x": "a/x", "a/y": "a/y", "b/z": "b"}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0.0 ms"), (0.0099, "9.9 ms"), (0.12, "120 ms"), (0.9996, "1.0 s"), (61.0, "61.0 s")]
)
def test_times_carry_their_unit(seconds: float, shown: str) -> None:
    assert show_time(seconds) == shown
