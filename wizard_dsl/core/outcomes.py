"""Outcomes: what a component may do in a run, by name, and by which event it is told.

A declaration lists them; tests are measured by them. A retry that was never seen to give up is a branch of the file
that nobody has looked at. An outcome that a config can never have (a second attempt where `max_attempts` is 1) does
not count there: `possible` says so, from the place alone, before anything runs.

    OUTCOMES = (
        outcome("gave_up", "no attempts were left", told(RetriesEnded, reason="attempts")),
        outcome("hit", "a stored answer was given", told(CacheHit, kind="ok"), possible=stores),
    )
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.target import RateLimitRule

#: Whose events tell of an outcome: the node's own, those about its target, those of its chain, those of its step.
About = Literal["node", "target", "chain", "step"]


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where a component stands in a program: what decides which outcomes it can have.

    `path` is the node's, `config` its config. `chain` is a name, empty for a step's own; `targets` are the names of the
    chain's targets, `target` that of its own and `target_path` the place of it. `step` is a name, where it belongs to
    one. `kinds` are the policies it works with: those of its target, or of all targets, and of its chain. `streamed`:
    a consumer sees the deltas of the chain. `deadline` is what a call has at most, in seconds. The rest is as the chain
    sets it.
    """

    path: str
    config: Any = None
    chain: str = ""
    targets: tuple[str, ...] = ()
    target: str = ""
    target_path: str = ""
    step: str = ""
    kinds: frozenset[str] = frozenset()
    streamed: bool = False
    deadline: float = 600.0
    rate_limit: RateLimitRule | None = None
    fallback_on: Mapping[str, bool] = {}
    allow_loss: frozenset[str] = frozenset()
    mid_stream: str = "fail"
    when_all_open: str = "fail"

    @property
    def has_choice(self) -> bool:
        """Whether there is another target to go to."""
        return len(self.targets) > 1


class Sign(msgspec.Struct, frozen=True):
    """An event that tells of an outcome: of this type, where `when(event, site)` is true."""

    event: type[Event]
    about: About
    when: Callable[[Any, Site], bool]


class OutcomeType(msgspec.Struct, frozen=True):
    """One thing a component may do. `summary` says what happened, as a clause of at most 100 characters; any of `signs`
    tells of it. `possible(site)` is pure."""

    name: str
    summary: str
    signs: tuple[Sign, ...]
    possible: Callable[[Site], bool]


def outcome(name: str, summary: str, *signs: Sign, possible: Callable[[Site], bool] = lambda site: True) -> OutcomeType:
    """An outcome that any of `signs` tells of."""
    return OutcomeType(name, summary, signs, possible)


def told(
    event: type[Event], about: About = "node", *, when: Callable[[Any, Site], bool] | None = None, **fields: Any
) -> Sign:
    """An event whose `fields` have these values (of a tuple: one of them), and of which `when` is true."""
    wanted = {name: value if isinstance(value, tuple) else (value,) for name, value in fields.items()}

    def matches(seen: Any, site: Site) -> bool:
        return all(getattr(seen, name) in values for name, values in wanted.items()) and (
            when is None or when(seen, site)
        )

    return Sign(event, about, matches)
