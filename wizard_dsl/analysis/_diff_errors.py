"""What becomes of each kind of error on each target: the executor's own rules, asked with one error of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wizard_dsl.core import errors
from wizard_dsl.core.errors import ATTEMPT_ERRORS, KINDS, AttemptTimeout, WizardError
from wizard_dsl.core.kinds import override
from wizard_dsl.policies._repeatable import may_repeat
from wizard_dsl.policies.circuit_breaker import verdict
from wizard_dsl.providers._errors import refused
from wizard_dsl.strategies._moving import moves_on

if TYPE_CHECKING:
    from wizard_dsl.analysis._diff_view import ChainView, TargetView
    from wizard_dsl.spec.diagnostics import DocPath

#: Of these no target is to blame, and no rule of a chain applies to them.
_NOT_OURS: Final = frozenset({"input", "session", "spec", "cancelled", "deadline", "stream_buffer"})
_BREAKER: Final = "the circuit breaker"
MOVES: Final = "moves on to "


class Fate(NamedTuple):
    """What one kind of error does on one target, in one respect; `at` are the places that may say so."""

    respect: str
    kind: str
    before: str
    after: str
    at: tuple[DocPath, ...]


class _Rules(NamedTuple):
    """What one side says of the errors of one target."""

    chain: ChainView
    target: TargetView
    retry: Any
    breakers: dict[str, Any]
    following: str | None


def fates(old: ChainView, new: ChainView, was: TargetView, now: TargetView) -> Iterator[Fate]:
    """Everything that changes about the errors of a target that both sides have."""
    before, after = _rules(old, was), _rules(new, now)
    for name in _names(before, after):
        error = _error(name)
        for respect, said in _RESPECTS.items():
            one, other = said(error, before), said(error, after)
            if one is not None and other is not None and not _alike(one, other):
                yield Fate(respect, _shown(name), one, other, _places(respect, name, after))


def _alike(one: str, other: str) -> bool:
    """Who is next may change with the targets, and is told there."""
    return one == other or (one.startswith(MOVES) and other.startswith(MOVES))


def _rules(chain: ChainView, target: TargetView) -> _Rules:
    order = list(chain.targets.values())
    place = next(index for index, each in enumerate(order) if each is target)
    following = order[place + 1].plan.name if place + 1 < len(order) else None
    retry = next((each.config for each in target.plan.ladder if each.type.name == "retry"), None)
    breakers = {
        "provider" if ".provider." in each.path else "target": each.config
        for each in target.plan.ladder
        if each.type.name == "circuit_breaker"
    }
    return _Rules(chain, target, retry, breakers, following)


def _names(*sides: _Rules) -> list[str]:
    """All kinds, and the statuses that either side names."""
    stated: set[str] = set()
    for side in sides:
        stated |= side.chain.plan.fallback_on.keys()
        stated |= set() if side.retry is None else side.retry.retry_on.keys()
        stated |= {name for config in side.breakers.values() for name in config.trip_on}
    statuses = sorted(each for each in stated if each.isdigit())
    return [*(kind for kind in KINDS if kind not in _NOT_OURS), *statuses]


def _shown(name: str) -> str:
    return f"status {name}" if name.isdigit() else name


@cache
def _classes() -> dict[str, type[WizardError]]:
    """The class that stands for each kind: the first one below the root in the order of the module."""
    found: dict[str, type[WizardError]] = {}
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, WizardError) and "kind" in vars(each):
            found.setdefault(each.kind, each)
    return found


def _error(name: str) -> WizardError:
    """An error of a kind, or the one that an answer with a status is."""
    if name.isdigit():
        return refused(int(name), {}, b"", wall=0.0, secrets=())
    if name in ATTEMPT_ERRORS:
        return ATTEMPT_ERRORS[name](name)
    if name == "timeout":
        return AttemptTimeout(name, phase="total")
    kind = _classes()[name]
    made: WizardError = Exception.__new__(kind, name)
    WizardError.__init__(made, name)
    return made


def _moves(error: WizardError, rules: _Rules) -> str:
    plan = rules.chain.plan
    cut = error.kind == "mid_stream" and plan.mid_stream == "fail"
    moves = not cut and rules.following is not None and moves_on(error, plan.fallback_on, plan.rate_limit)
    return f"{MOVES}{rules.following}" if moves else "fails"


def _repeats(error: WizardError, rules: _Rules) -> str:
    retry = rules.retry
    repeats = retry is not None and retry.max_attempts > 1 and may_repeat(error, retry.retry_on)
    return "is repeated" if repeats else "is not repeated"


def _waits(error: WizardError, rules: _Rules) -> str | None:
    """For how long a wish of the provider to wait is granted; None where nothing is repeated anyway."""
    if _repeats(error, rules) != "is repeated":
        return None
    asked_for = override(error, rules.retry.retry_on)
    return "up to max_retry_after" if asked_for else "up to wait_up_to"


def _counts(error: WizardError, rules: _Rules, owner: str = "target") -> str | None:
    if owner not in rules.breakers:
        return None
    return "counts" if verdict(error, rules.breakers[owner].trip_on) == "failure" else "does not count"


_RESPECTS: Final[dict[str, Callable[[WizardError, _Rules], str | None]]] = {
    "": _moves,
    "repeating": _repeats,
    "waiting for a Retry-After": _waits,
    _BREAKER: _counts,
    f"{_BREAKER} of its provider": partial(_counts, owner="provider"),
}


def _places(respect: str, name: str, rules: _Rules) -> tuple[DocPath, ...]:
    at = rules.chain.at
    if respect == "":
        then: tuple[DocPath, ...] = ((*at, "on_rate_limit", "then"),) if name in {"rate_limited", "429"} else ()
        return ((*at, "fallback_on", name), *then, (*at, "targets"), at)
    kind, table = ("circuit_breaker", "trip_on") if respect.startswith(_BREAKER) else ("retry", "retry_on")
    kind = f"provider's {kind}" if respect.endswith("provider") else kind
    part = rules.target.policies.get(kind)
    holders = part.at if part is not None else (at,)
    return (*((*each, table, name) for each in holders), *((*each, "max_attempts") for each in holders), *holders)
