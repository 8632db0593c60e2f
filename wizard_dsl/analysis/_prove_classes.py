"""What an attempt can come to, as far as a file can tell: its classes of outcomes, the simplest first.

Each class is an item of a script, so that what was found can be played again as a test. The first one is the plain
answer. Kinds that retry, strategy, breaker and cache treat alike on a target, and that nothing in the file names, are
one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._prove_literals import Named, named
from wizard_dsl.analysis._prove_values import answers
from wizard_dsl.core.errors import TABLE
from wizard_dsl.core.units import parse_duration, show_duration
from wizard_dsl.policies._backoff import MODES
from wizard_dsl.providers._errors import kind_of_status

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import ChainPlan, Program, StepPlan, TargetPlan
    from wizard_dsl.core.component import PolicyConfig

Item = str | int | dict[str, Any]

#: How much before or after a declared delay an outcome comes, in seconds.
MOMENT: Final = 0.001
#: The longest Retry-After that is believed, in seconds.
_BELIEVED: Final = 3600.0
NOT_AS_DECLARED: Final = "this is not as declared"
_BROKEN: Final = "an answer that breaks"


class Outcome(msgspec.Struct, frozen=True):
    """One class. `covers` are the kinds it stands for; `cancels`: the caller goes away while the attempt is under way,
    or, with `after`, a moment after it has ended."""

    name: str
    item: Item
    covers: tuple[str, ...] = ()
    cancels: bool = False
    after: bool = False


def _told(code: str) -> str:
    return msgspec.json.encode({"error": {"code": code, "message": "as wizard prove made it"}}).decode()


#: One way to each kind that a target can cause before its answer begins, the simplest first.
_FAULTS: Final[tuple[tuple[str, int | None, Item], ...]] = (
    ("connect", None, {"refuse": True}),
    ("server", 503, 503),
    ("rate_limited", 429, 429),
    ("quota_exhausted", 402, {"status": 402, "body": _told("insufficient_quota")}),
    ("auth", 401, 401),
    ("not_found", 404, 404),
    ("context_length", 413, {"status": 413, "body": _told("context_length_exceeded")}),
    ("content_filter", 400, {"status": 400, "body": _told("content_filter")}),
    ("invalid_request", 400, 400),
    ("malformed_response", 200, {"status": 200, "body": _told("unreadable")}),
)


class Spot(msgspec.Struct, frozen=True):
    """Where an attempt is made: the target in its chain, the step that asks, and whether its deltas are seen."""

    target: TargetPlan
    chain: ChainPlan
    step: StepPlan | None
    streams: bool


class Classes:
    """The classes of one program. `deadline` is what limits its runs, in seconds."""

    def __init__(self, program: Program, deadline: float | None = None) -> None:
        self.named: Named = named(program)
        self.deadline = program.deadline if deadline is None else min(program.deadline, deadline)
        self._money = bool(program.budgets) or "cost" in self.named.words
        self._made: dict[tuple[int, int, int, bool], tuple[Outcome, ...]] = {}

    def of(self, spot: Spot) -> tuple[Outcome, ...]:
        """All classes at a place, the plain answer first."""
        key = id(spot.target), id(spot.chain), id(spot.step), spot.streams
        if key not in self._made:
            self._made[key] = tuple(self._all(spot))
        return self._made[key]

    def _all(self, spot: Spot) -> Iterator[Outcome]:
        said = [ANSWERED] if spot.step is None else [_answer(each) for each in answers(spot.step, self.named)]
        said[0] = msgspec.structs.replace(said[0], name="an answer")
        yield from said
        faults = list(self._faults(spot))
        yield from faults
        yield from self._slow(spot, said[0], faults)
        if _schema(spot) is not None:
            yield Outcome("an answer not as declared", NOT_AS_DECLARED, ("contract",))
        if spot.streams:
            yield Outcome("a break after the first content", {"reply": _BROKEN, "cut_after": 1}, ("mid_stream",))
            yield Outcome("silence after the first content", {"reply": _BROKEN, "stall_after": 1}, ("mid_stream",))
        silent: Item = {"reply": _BROKEN, "stall_after": 0}
        yield Outcome("no answer, and the caller goes away", silent, ("cancelled",), cancels=True)
        yield Outcome("503, and the caller goes away", 503, ("cancelled",), cancels=True, after=True)

    # -- kinds ------------------------------------------------------------------------------------------

    def _faults(self, spot: Spot) -> Iterator[Outcome]:
        rows = [*_FAULTS, *self._statuses()]
        groups: dict[Any, list[int]] = {}
        for index, (kind, status, _) in enumerate(rows):
            groups.setdefault(self._signature(spot, kind, status), []).append(index)
        for members in groups.values():
            kind, status, item = rows[members[0]]
            covers = tuple(dict.fromkeys(rows[index][0] for index in members))
            name = kind if status is None else f"{status} ({kind})"
            yield Outcome(name, item, covers)
        for members in groups.values():
            kind, _, item = rows[members[0]]
            if kind in ("server", "rate_limited") and isinstance(item, int):
                yield from self._announced(spot, kind, item)

    def _statuses(self) -> Iterator[tuple[str, int, Item]]:
        known = {status for _, status, _ in _FAULTS}
        for status in sorted(self.named.statuses - known):
            yield kind_of_status(status), status, status

    def _signature(self, spot: Spot, kind: str, status: int | None) -> Any:
        """What tells outcomes apart; equal ones are one class."""
        own = {policy.type.name: policy.config for policy in spot.target.ladder}
        row = TABLE[kind]
        retry, breaker = own.get("retry"), own.get("circuit_breaker")
        cache = next((policy.config for policy in spot.chain.outer if policy.type.name == "cache"), None)
        return (
            kind if kind in self.named.kinds or kind in ("auth", "rate_limited", "quota_exhausted") else "",
            status if status in self.named.statuses else 0,
            row.retry if retry is not None else "no",
            {**MODES, **getattr(retry, "backoff", {})}.get(kind, "") if retry is not None else "",
            row.fallback if len(spot.chain.targets) > 1 else "no",
            row.verdict if breaker is not None else "neutral",
            _bill(kind, status) if self._money else "",
            (row.negative, row.stale_ok) if cache is not None else (),
        )

    def _announced(self, spot: Spot, kind: str, status: int) -> Iterator[Outcome]:
        """A time to wait: one that is waited for, one beyond it, one beyond the deadline."""
        patience = spot.chain.rate_limit.wait_up_to
        tried = [patience, patience + 1.0, self.deadline + 1.0]
        words = ["as long as is waited for", "beyond what is waited for", "beyond the deadline"]
        for index, after in enumerate(tried):
            if 0 < after <= _BELIEVED and not (index == 1 and after > self.deadline):
                told = show_duration(after)
                item: Item = {"status": status, "retry_after": told}
                yield Outcome(f"{status} ({kind}) with retry-after {told}, {words[index]}", item, (kind,))

    # -- time -------------------------------------------------------------------------------------------

    def _slow(self, spot: Spot, plain: Outcome, faults: Sequence[Outcome]) -> Iterator[Outcome]:
        """Outcomes that come after a declared delay, or just before one that ends the attempt."""
        limit, what = self._limit(spot)
        hedge = _after(spot.chain.strategy_config) if len(spot.chain.targets) > 1 else None
        slow = next(
            (_after(each.config, "slow_after") for each in spot.target.ladder if hasattr(each.config, "slow_after")),
            None,
        )
        if hedge is not None and hedge + MOMENT < limit:
            for each in (plain, *(fault for fault in faults if not isinstance(fault.item, dict))):
                yield _delayed(each, hedge + MOMENT, f"just after {show_duration(hedge)}, when a hedge begins")
        if slow is not None and slow + MOMENT < limit and slow != hedge:
            yield _delayed(plain, slow + MOMENT, f"just after slow_after, {show_duration(slow)}")
        late = limit - MOMENT
        server = next((fault for fault in faults if fault.item == 503), None)
        for one in (plain, *([] if server is None else [server])):
            yield _delayed(one, late, f"just before {what}, {show_duration(limit)}")
        yield Outcome(f"no answer until {what}, {show_duration(limit)}", {"reply": _BROKEN, "stall_after": 0}, (
            "timeout" if what.startswith("timeout") else "deadline",
        ))  # fmt: skip

    def _limit(self, spot: Spot) -> tuple[float, str]:
        """What ends an attempt that says nothing, in seconds, and its name."""
        limits = [(self.deadline, "the deadline")]
        timeout = next((each.config for each in spot.target.ladder if each.type.name == "timeout"), None)
        for name in ("total", "first_chunk") if spot.streams else ("total",):
            value = None if timeout is None else _after(timeout, name)
            if value is not None:
                limits.append((value, f"timeout.{name}"))
        for policy in spot.chain.outer:
            if policy.type.name == "deadline" and (value := _after(policy.config)) is not None:
                limits.append((value, "the call's deadline"))
        return min(limits, key=lambda each: each[0])


ANSWERED: Final = Outcome("an answer", "an answer", ("ok",))


def _answer(value: Any) -> Outcome:
    if isinstance(value, str):
        return Outcome(f"the answer {value!r}", value, ("ok",))
    told = msgspec.json.encode(value).decode()
    return Outcome(f"the answer {told}", {"reply": value}, ("ok",))


def as_mapping(item: Item) -> dict[str, Any]:
    """An item as it is written in full."""
    if isinstance(item, dict):
        return dict(item)
    return {"status": item} if isinstance(item, int) else {"reply": item}


def _delayed(outcome: Outcome, after: float, words: str) -> Outcome:
    item = {**as_mapping(outcome.item), "delay": show_duration(round(after, 6))}
    return Outcome(f"{outcome.name}, {words}", item, outcome.covers)


def _after(config: PolicyConfig, field: str = "after") -> float | None:
    """Seconds of a duration in a config; None where it is off, measured, or not there."""
    text = getattr(config, field, None)
    if not isinstance(text, str) or text == "off":
        return None
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _schema(spot: Spot) -> Mapping[str, Any] | None:
    output = getattr(spot.step.config, "output", None) if spot.step is not None else None
    return None if output is None else output.schema


def _bill(kind: str, status: int | None) -> str:
    """How an attempt of that kind is billed: not at all, or nobody knows."""
    return "unknown" if status == 200 and kind == "malformed_response" else "nothing"
