"""What earlier runs of a pipeline left behind for a recorded one: open breakers, refusals, stored answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.core import events as e
from wizard_dsl.observe.story_scene import Past
from wizard_dsl.observe.summary import show_time

if TYPE_CHECKING:
    from wizard_dsl.observe.history_record import Stored

#: Events whose causes may lie in an earlier run.
_ASKING: Final = frozenset({e.TargetSkipped.name, e.CacheMissed.name})


def asks_for_past(stored: Stored) -> bool:
    """Whether the story has questions that only earlier runs answer."""
    return any(name in _ASKING for _, _, name, _ in stored.events)


def past_of(stored: Stored, earlier: Iterable[Stored]) -> Past:
    """What `earlier` runs, the newest first, say about it: of each target and key the newest of them."""
    past = Past()
    for run in earlier:
        for at, place, name, held in reversed(run.events):
            ago = stored.began - run.began - at
            if ago >= 0:
                _note(past, run, ago, place, name, held)
    return past


def _note(past: Past, run: Stored, ago: float, place: str, name: str, held: dict[str, Any]) -> None:
    when = f"{_ago(ago)} before this run, in run {run.id[:8]}"
    if name == e.BreakerChanged.name:
        past.opened.setdefault(str(held.get("target")), f" {when}" if held.get("after") == "open" else "")
    elif name == e.TargetBlocked.name:
        past.blocked.setdefault(str(held.get("target")), f" {when}")
    elif name == e.CacheStored.name:
        key, ttl = str(held.get("key")), float(held.get("ttl") or 0.0)
        why = "its time was over" if ttl <= ago else "it was in the memory of that process, or was removed"
        past.stored.setdefault(key, f" (one was stored {when}: {why})")
        past.other.setdefault(place, f" (run {run.id[:8]} asked under key {key[:8]}, {_ago(ago)} before: {_DIFFERENT})")


_DIFFERENT: Final = "the prompt, the parameters or the chain are others"


def _ago(seconds: float) -> str:
    """As somebody would say it."""
    if seconds < 120:
        return show_time(seconds)
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"
