"""The story of a run: what each policy did and when, in plain words.

       0.000  run of triage begins
       0.000  openai/gpt-4o-mini: attempt 1
       0.120  openai/gpt-4o-mini: 503 server after 0.120 s
       0.120  openai/gpt-4o-mini: retry 1 in 1.000 s (server)

One line an event, in the order they happened; times are seconds since the run began. The text depends on the
transcript alone, so snapshots of it are stable. Where several steps speak, each line names its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.core import events as e
from wizard_dsl.core.units import show_money
from wizard_dsl.observe.redact import redact
from wizard_dsl.observe.summary import summary

if TYPE_CHECKING:
    from wizard_dsl.core.result import Result
from wizard_dsl.core.run import Transcript

__all__ = ["SENTENCES", "render", "summary"]

_GIVEN_UP: Final = {
    "attempts": "no attempts are left",
    "deadline": "the deadline is too near",
    "retry_budget_exhausted": "the retry budget is used up",
    "breaker_opened": "its breaker opened",
    "rate_limit": "it asks to wait too long",
}

_WITHHELD = {
    "closed": "no other target may be called now",
    "deadline": "the deadline is too near",
    "retry_budget_exhausted": "the retry budget is used up",
}


def render(transcript: Transcript, *, result: Result | None = None) -> str:
    """The transcript as text, without a newline at its end; with `result`, its one-line summary comes last."""
    entries = [(at, place_of(speaker, event), event) for at, speaker, event in transcript.events]
    places = {place for _, place, _ in entries if place}
    width = max(map(len, places), default=0) + 2 if len(places) > 1 else 0
    lines, attempts = [], 0
    for at, place, event in entries:
        attempts += isinstance(event, e.AttemptStarted)
        lines.append(f"{at:8.3f}  {place.ljust(width) if width else ''}{_line(event, attempts)}".rstrip())
    if result is not None:
        lines.append(f"{result.elapsed:8.3f}  {' ' * width}{summary(result)}")
    return "\n".join(lines)


def place_of(place: str, event: e.Event) -> str:
    """The place that speaks. A step's beginning and end are told from outside, and name themselves and their item."""
    if not isinstance(event, e.StepStarted | e.StepEnded):
        return place
    step = f"{place}/{event.step}" if place else event.step
    return step if event.item is None else f"{step}[{event.item}]"


def _line(event: e.Event, attempts: int) -> str:
    if isinstance(event, e.AttemptStarted):
        return f"{event.target}: attempt {attempts}"
    tell = SENTENCES.get(type(event), unknown)
    return redact(" ".join(tell(event).split()))


def unknown(event: e.Event) -> str:
    """An event of a plug-in: its name and what it holds."""
    held = {name: value for name, value in msgspec.structs.asdict(event).items() if name != "path"}
    return " ".join([event.name.replace("_", " "), *(f"{name}={value}" for name, value in held.items())])


def _run_ended(event: e.RunEnded) -> str:
    return f"run {_ended(event.kind)} after {event.elapsed:.3f} s"


def _step_ended(event: e.StepEnded) -> str:
    return "step is skipped" if event.kind == "skipped" else f"step {_ended(event.kind)}"


def _ended(kind: str) -> str:
    return "ends" if kind == "ok" else f"fails: {kind}"


def _attempt_ended(event: e.AttemptEnded) -> str:
    status = f"{event.status} " if event.status is not None and event.kind != "ok" else ""
    cut = f", cut by timeout.{event.cut}" if event.cut else ""
    return f"{event.target}: {status}{event.kind} after {event.elapsed:.3f} s{cut}"


def _contract_failed(event: e.ContractFailed) -> str:
    asked = f" after {event.repair} repairs" if event.repair > 1 else " after a repair" if event.repair else ""
    return f"{event.target}: output is not as declared{asked}: {'; '.join(event.violations)}"


def _input_guarded(event: e.InputGuarded) -> str:
    return f"input {event.input}: {event.finding}, {event.action}"


def _answer_refused(event: e.AnswerRefused) -> str:
    return f"{event.target or 'the stored answer'}: refused: {'; '.join(event.findings)}"


def _limit_refused(event: e.LimitRefused) -> str:
    free = "" if event.retry_after is None else f", free in {event.retry_after:.3f} s"
    return f"{event.limit}: refused{free}"


def _approaching(event: e.RateLimitApproaching) -> str:
    whose = "the provider's " if event.whose == "provider" else ""
    return f"{event.limit}: {event.used:.0%} of {whose}{event.rule} used"


def _cache_hit(event: e.CacheHit) -> str:
    what = "" if event.kind == "ok" else f", {_words(event.kind)}"
    return f"cache hit {event.key[:8]}, {event.age:.3f} s old{what}"


def _cache_stale(event: e.CacheStale) -> str:
    why = "it is refreshed" if event.reason == "revalidate" else f"the call failed: {_words(event.reason)}"
    return f"stale answer {event.key[:8]}, {event.expired:.3f} s after its time, {why}"


def _words(text: str) -> str:
    return text.replace("_", " ")


#: The sentence of each event; AttemptStarted is told by `render`, which counts attempts.
SENTENCES: Final[dict[type[e.Event], Callable[[Any], str]]] = {
    e.RunStarted: lambda it: f"run of {it.pipeline} begins",
    e.RunEnded: _run_ended,
    e.StepStarted: lambda it: "step begins",
    e.StepEnded: _step_ended,
    e.AttemptEnded: _attempt_ended,
    e.StreamCommitted: lambda it: f"{it.target}: first content",
    e.StreamEnded: lambda it: f"{it.target}: stream {it.ending}",
    e.RetryScheduled: lambda it: f"{it.target}: retry {it.retry} in {it.delay:.3f} s ({it.kind})",
    e.RetriesEnded: lambda it: (
        f"{it.target}: given up after attempt {it.attempts} ({it.kind}): {_GIVEN_UP.get(it.reason, _words(it.reason))}"
    ),
    e.TargetSkipped: lambda it: f"{it.target}: skipped, {_words(it.reason)}",
    e.PrimaryRecovered: lambda it: f"{it.target} answers again, after {it.calls} calls in {it.away:.3g} s",
    e.FallbackTriggered: lambda it: f"{it.target}: {it.kind}, falling back to {it.to}",
    e.LossAccepted: lambda it: f"{it.target}: used without {', '.join(it.lost)}",
    e.RateLimitWaited: lambda it: f"{it.target}: waiting {it.delay:.3f} s until it is free",
    e.RateLimitProlonged: lambda it: f"{it.target}: waited {it.delay:.3f} s more, it was blocked again",
    e.HedgeStarted: lambda it: f"{it.target}: late after {it.after:.3f} s, {it.to} is asked besides",
    e.HedgeWithheld: lambda it: f"{it.target}: late, nobody is asked besides: {_WITHHELD.get(it.reason, it.reason)}",
    e.BranchCancelled: lambda it: f"{it.target}: cancelled, {it.by} {it.reason}",
    e.TargetBlocked: lambda it: f"{it.target}: not called for {it.seconds:.3f} s ({_words(it.reason)})",
    e.BreakerChanged: lambda it: f"{it.target}: breaker {_words(it.before)} → {_words(it.after)}",
    e.BreakerProbed: lambda it: f"{it.target}: breaker probed it, {_words(it.kind)}",
    e.LimitWaited: lambda it: f"{it.limit}: waited {it.seconds:.3f} s",
    e.LimitRefused: _limit_refused,
    e.RateLimitApproaching: _approaching,
    e.CacheHit: _cache_hit,
    e.CacheMissed: lambda it: f"cache miss {it.key[:8]}",
    e.CacheStored: lambda it: f"cached as {it.key[:8]} for {it.ttl:.0f} s",
    e.CacheStale: _cache_stale,
    e.CacheRefreshed: lambda it: f"refresh of {it.key[:8]} {_ended(it.kind)}",
    e.CacheShared: lambda it: f"follows an equal call in flight, {it.key[:8]}",
    e.CacheUnavailable: lambda it: f"cache unavailable: {it.reason}",
    e.StateDegraded: lambda it: f"going on alone, without {it.keeper}: {it.reason}",
    e.StateRestored: lambda it: f"sharing state again, after {it.seconds:.3f} s",
    e.ContractFailed: _contract_failed,
    e.ContractRepaired: lambda it: (
        f"{it.target}: output is as declared after {'a repair' if it.repairs == 1 else f'{it.repairs} repairs'}"
    ),
    e.OutageProbed: lambda it: f"{it.target}: every breaker is open, it is asked all the same",
    e.InputGuarded: _input_guarded,
    e.AnswerRefused: _answer_refused,
    e.BudgetApproaching: lambda it: (
        f"the {it.budget} budget of {show_money(it.limit)} is spent or reserved to {show_money(it.warn_at)} or more"
    ),
    e.BudgetUnavailable: lambda it: f"budgets unavailable: {it.reason}",
    e.DeadlineCut: lambda it: f"no {it.what} any more: it needs {it.needed:.3f} s, {it.left:.3f} s are left",
    e.HistoryUnavailable: lambda it: f"not recorded: {it.reason}",
    e.ObserverFailed: lambda it: f"an observer failed: {it.error}",
}
