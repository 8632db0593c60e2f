"""The sentences of a story: one for each attempt, each wait, and whatever else has a cause or an effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.core import events as e
from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.units import show_money
from wizard_dsl.observe.summary import show_time
from wizard_dsl.observe.transcript import SENTENCES, unknown

if TYPE_CHECKING:
    from wizard_dsl.core.result import AttemptRow
    from wizard_dsl.observe.story_scene import Scene

#: The events that say that something was waited for.
WAITS: Final = (e.RetryScheduled, e.RateLimitWaited, e.RateLimitProlonged, e.LimitWaited)
Wait = e.RetryScheduled | e.RateLimitWaited | e.RateLimitProlonged | e.LimitWaited

_GIVEN_UP: Final = {
    "attempts": "no attempts are left",
    "deadline": "the deadline is too near for another one",
    "budget": "another one would not fit the budget",
    "retry_budget_exhausted": "too many calls are repeated already, the retry budget is used up",
    "breaker_opened": "its breaker opened",
    "rate_limit": "it asks to wait longer than is waited for",
    "when": "its predicate says that this is not repeated",
}
#: Why a target was not asked at all.
_SKIPPED: Final = {
    "budget": "a call would not fit the budget",
    "local_limit": "one of our own limits had no room",
    "deadline": "its call could not end before the deadline",
    "context_length": "the prompt does not fit its window",
    "disabled": "it is switched off",
}
#: Kinds that say that we gave up, not the target.
_CUT_OFF: Final = frozenset({"deadline", "cancelled"})
#: Kinds of a target that was left without being asked.
_NOT_ASKED: Final = frozenset({"circuit_open", "budget", "local_limit", "unsupported"})


# -- attempts -----------------------------------------------------------------------------------------


def attempt(scene: Scene, position: int, number: int) -> str:
    """Whom it asked, why, and what became of it."""
    event = scene.events[position][2]
    target = getattr(event, "target", "")
    row = scene.row(number)
    told = f"Attempt {number + 1} asked {target}{_why(scene, position, number, row)}"
    return f"{told}." if row is None else f"{told}: {_fate(scene, number, row)}."


def _why(scene: Scene, position: int, number: int, row: AttemptRow | None) -> str:
    if row is not None and row.retry_of is not None:
        earlier = scene.row(row.retry_of)
        failed = "" if earlier is None else f" failed with {earlier.kind}"
        return f" again, because attempt {row.retry_of + 1}{failed}"
    said = scene.since_attempt(position)
    target = getattr(scene.events[position][2], "target", "")
    for event in reversed(said):
        why = _because(scene, position, event, target)
        if why:
            return why
    return (
        ""
        if any(scene.place(each) == scene.place_at(position) for each in scene.result.attempts[:number])
        else " first"
    )


def _because(scene: Scene, position: int, event: e.Event, target: str) -> str:
    match event:
        case e.HedgeStarted(to=to) if to == target:
            return f" besides, because {event.target} had not answered after {show_time(event.after)}"
        case e.FallbackTriggered(to=to) if to == target:
            return f" instead, because {event.target} {_left(event.kind)}"
        case e.ContractFailed():
            return f" for a repair, because the output of {event.target} was not as declared"
        case e.RateLimitWaited():
            return " once it was free"
        case e.TargetSkipped():
            return f" instead, because {event.target} was skipped"
    return ""


def _left(kind: str) -> str:
    return "was skipped" if kind in _NOT_ASKED else f"failed with {kind}"


def _fate(scene: Scene, number: int, row: AttemptRow) -> str:
    after = f"after {show_time(row.elapsed)}"
    if row.kind == "ok":
        return ", ".join([f"answered {after}", *_spent(row)])
    if row.kind == "cancelled":
        cut = scene.cut(number)
        why = f", because {cut.by} {'answered first' if cut.reason == 'answered' else 'failed'}" if cut else ""
        return f"cancelled {after}{why}"
    status = f"{row.status} " if row.status is not None and row.status >= 400 else ""
    begun = "" if row.first_chunk is None else ", after it had begun to answer"
    words = (row.message or "").removeprefix(f"status {row.status}").removeprefix(": ")
    said = f" ({words})" if words else ""
    if number < len(scene.told) and scene.told[number].should_retry is False:
        said += ", which the provider says is not to be repeated"
    return ", ".join([f"{status}{row.kind} {after}{begun}{said}", *_spent(row)])


def _spent(row: AttemptRow) -> list[str]:
    parts = []
    if row.first_chunk is not None and row.kind == "ok":
        parts.append(f"first content after {show_time(row.first_chunk - row.started)}")
    if row.usage is not None:
        parts.append(f"{row.usage.input_tokens} + {row.usage.output_tokens} tokens")
    if row.cost:
        parts.append(show_money(row.cost))
    return parts


# -- waits --------------------------------------------------------------------------------------------


def wait(scene: Scene, position: int, event: Wait) -> str:
    """For how long, and for what."""
    match event:
        case e.RetryScheduled():
            return _back_off(scene, position, event)
        case e.RateLimitWaited():
            cut = _cut_short(scene, position, event.target, event.delay)
            return f"{cut}, because no other target is left and {event.target} is free then."
        case e.RateLimitProlonged():
            return f"Waited {show_time(event.delay)} more, because {event.target} was blocked again meanwhile."
        case e.LimitWaited():
            return f"Waited {show_time(event.seconds)}, because the limit {event.limit} had no room before."


def _back_off(scene: Scene, position: int, event: e.RetryScheduled) -> str:
    if event.delay == 0:
        return f"Waited for nothing, because a {event.kind} failure is repeated at once."
    last = scene.last_attempt(position, event.target)
    asked = scene.told[last].retry_after if last is not None and last < len(scene.told) else None
    cut = _cut_short(scene, position, event.target, event.delay)
    if asked is not None and event.delay >= asked - 1e-3:
        return f"{cut}, because {event.target} asked for {show_time(asked)}."
    return f"{cut}, because a {event.kind} failure is repeated after a back-off."


def _cut_short(scene: Scene, position: int, target: str, delay: float) -> str:
    """`Waited 1.0 s`, or that nothing came of it."""
    following = scene.next_attempt(position, target)
    row = None if following is None else scene.row(following)
    if row is not None:
        return f"Waited {show_time(delay)}"
    return f"Began to wait {show_time(delay)}, which nothing followed"


# -- the rest -----------------------------------------------------------------------------------------


def note(scene: Scene, position: int, event: e.Event) -> str:
    """One sentence, empty for what another one tells."""
    special = _NOTES.get(type(event))
    if special is not None:
        told: str = special(scene, position, event)
        return told
    return f"{SENTENCES.get(type(event), unknown)(event)}."


def _silent(scene: Scene, position: int, event: e.Event) -> str:
    return ""


def _given_up(scene: Scene, position: int, event: e.RetriesEnded) -> str:
    why = _GIVEN_UP.get(event.reason, event.reason.replace("_", " "))
    last = scene.last_attempt(position, event.target)
    asked = scene.told[last].retry_after if last is not None and last < len(scene.told) else None
    if event.reason == "rate_limit" and asked is not None:
        why = f"it asks to wait {_long(asked)}, which is more than is waited for"
    attempts = "1 attempt" if event.attempts == 1 else f"{event.attempts} attempts"
    return f"{event.target} was given up after {attempts}: {why}."


def _skipped(scene: Scene, position: int, event: e.TargetSkipped) -> str:
    target = event.target
    if event.reason == "circuit_open":
        opened = scene.before(position, e.BreakerChanged, lambda it: it.target == target and it.after == "open")
        when = f" at {scene.events[opened[0]][0]:.3f} s" if opened else scene.past.opened.get(target, "")
        return (
            f"{target} was skipped, because its breaker {'opened' if when else 'was open before this run began'}{when}."
        )
    if event.reason in ("rate_limited", "quota_exhausted"):
        blocked = scene.before(position, e.TargetBlocked, lambda it: it.target == target)
        if blocked:
            asked = f"{blocked[1].seconds:.3g} s from {scene.events[blocked[0]][0]:.3f} s on"
            return f"{target} was skipped, because it is not to be called for {asked} ({_words(event.reason)})."
        since = scene.past.blocked.get(target, " before this run began")
        return f"{target} was skipped, because it said {_words(event.reason)}{since}."
    if event.reason in _SKIPPED:
        return f"{target} was skipped, because {_SKIPPED[event.reason]}."
    return f"{target} was skipped, because it lacks {event.reason}."


def _breaker(scene: Scene, position: int, event: e.BreakerChanged) -> str:
    last = scene.last_attempt(position, event.target)
    row = None if last is None else scene.row(last)
    of = f"The breaker of {event.target}"
    if event.after == "open":
        again = " again" if event.before == "half_open" else ""
        why = "" if row is None else _broken(row.kind, (last or 0) + 1, bool(again))
        return f"{of} opened{again}{why}: it is not called for a while."
    if event.after == "half_open":
        return f"{of} lets a trial through, because its time was over."
    why = f", because attempt {(last or 0) + 1} was answered" if row is not None and row.kind == "ok" else ""
    return f"{of} is {_words(event.after)}{why}."


def _broken(kind: str, number: int, on_trial: bool) -> str:
    """What the attempt that opened a breaker was: a trial, or the last of too many that failed or were overtaken."""
    if kind == "ok":
        return ""
    if kind == "cancelled":
        return f", because too many attempts were overtaken, attempt {number} the last of them"
    if on_trial:
        return f", because attempt {number} failed with {kind}"
    return f", because too many attempts failed, the last of them attempt {number} with {kind}"


def _fallback(scene: Scene, position: int, event: e.FallbackTriggered) -> str:
    """Told with the attempt that follows, or why there is none, if that is known."""
    if (
        scene.skipped_after(position, event.to)
        or event.to == event.target
        or scene.next_attempt(position, event.to) is not None
    ):
        return ""
    return f"{event.target} {_left(event.kind)}, so {event.to} was next; it was not asked."


def _hedge(scene: Scene, position: int, event: e.HedgeStarted) -> str:
    if scene.next_attempt(position, event.to) is not None:
        return ""
    return f"{event.target} had not answered after {show_time(event.after)}; {event.to} was to be asked besides."


def _cancelled(scene: Scene, position: int, event: e.BranchCancelled) -> str:
    """Told with the attempt that it ended, if it ended one."""
    ended = any(scene.cut(number) is event for number in range(len(scene.result.attempts)))
    return "" if ended else f"{event.target} was given up, because {event.by} {event.reason}."


def _step_ended(scene: Scene, position: int, event: e.StepEnded) -> str:
    if event.kind == "ok":
        return ""
    how = {"skipped": "was skipped", "cancelled": "was cancelled"}.get(event.kind, f"failed with {event.kind}")
    return f"The step {how}{_final(scene, position, event.kind)}."


def _final(scene: Scene, position: int, kind: str) -> str:
    """Why nothing more was tried, where the very first attempt failed with what is the end."""
    here = scene.place_at(position)
    kinds = [row.kind for row in scene.result.attempts if scene.place(row) == here]
    row = TABLE.get(kind)
    if kinds == ["mid_stream"] == [kind]:
        return ", for a part of the answer was given out already: `on_mid_stream_error` says what is done then"
    if kinds == [kind] and row is not None and (row.retry, row.fallback) == ("no", "no") and kind not in _CUT_OFF:
        return ", which is neither repeated nor passed on to another target"
    return ""


def _blocked(scene: Scene, position: int, event: e.TargetBlocked) -> str:
    return f"{event.target} said {_words(event.reason)}, so nobody calls it for {_long(event.seconds)}."


def _refused(scene: Scene, position: int, event: e.LimitRefused) -> str:
    free = "" if event.retry_after is None else f", and would have some in {show_time(event.retry_after)}"
    return f"The limit {event.limit} had no room{free}, so the call was refused."


def _violated(scene: Scene, position: int, event: e.ContractFailed) -> str:
    asked = f", after {event.repair} repairs" if event.repair > 1 else ", after a repair" if event.repair else ""
    return f"The output of {event.target} was not as declared{asked} ({'; '.join(event.violations)})."


def _cache_hit(scene: Scene, position: int, event: e.CacheHit) -> str:
    what = "answered" if event.kind == "ok" else f"remembers that this fails with {event.kind}"
    return f"The cache {what}, so nobody was asked (key {event.key[:8]}, stored {show_time(event.age)} before)."


def _cache_missed(scene: Scene, position: int, event: e.CacheMissed) -> str:
    past = scene.past.stored.get(event.key) or scene.past.other.get(scene.place_at(position), "")
    return f"The cache had no answer under key {event.key[:8]}, so the chain was asked{past}."


def _cache_stored(scene: Scene, position: int, event: e.CacheStored) -> str:
    return f"The answer was stored in the cache for {_long(event.ttl)} (key {event.key[:8]})."


def _cache_shared(scene: Scene, position: int, event: e.CacheShared) -> str:
    return f"An equal call was under way, so this one took its answer (key {event.key[:8]})."


def _deadline(scene: Scene, position: int, event: e.DeadlineCut) -> str:
    left = f"{max(event.left, 0.0):.3f}"
    return (
        f"No {event.what} was begun, because it needs {event.needed:.3f} s and {left} s were left before the deadline."
    )


def _long(seconds: float) -> str:
    """`2.0 s`, `12 min`, `1 h 5 min`."""
    if seconds < 119.5:
        return show_time(seconds)
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join([*([f"{hours} h"] if hours else []), *([f"{minutes} min"] if minutes else [])])


def _words(text: str) -> str:
    return text.replace("_", " ")


_NOTES: Final[dict[type[e.Event], Callable[[Scene, int, Any], str]]] = {
    e.RunStarted: _silent,
    e.RunEnded: _silent,
    e.StepStarted: _silent,
    e.AttemptEnded: _silent,
    e.StreamCommitted: _silent,
    e.StreamEnded: _silent,
    e.StepEnded: _step_ended,
    e.RetriesEnded: _given_up,
    e.TargetSkipped: _skipped,
    e.FallbackTriggered: _fallback,
    e.HedgeStarted: _hedge,
    e.BranchCancelled: _cancelled,
    e.BreakerChanged: _breaker,
    e.TargetBlocked: _blocked,
    e.LimitRefused: _refused,
    e.ContractFailed: _violated,
    e.CacheHit: _cache_hit,
    e.CacheMissed: _cache_missed,
    e.CacheStored: _cache_stored,
    e.CacheShared: _cache_shared,
    e.DeadlineCut: _deadline,
}
