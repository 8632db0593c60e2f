"""Budget: no attempt begins whose worst case does not fit what is left to spend.

The section `budgets` sets the limits; the compiler puts this node into the ladder of every target, directly around the
attempt. Before an attempt, and before any sleep that an attempt follows, its worst case is reserved on every account
at once; afterwards what it really cost takes the place of the reservation. What an attempt cost is not always known (it
was cut, or cancelled): then the worst case stays booked.

At its limit a budget stops (the target is skipped, and if none fits the call ends with kind budget), or degrades: then
only the cheapest target of the chain is called, whatever it costs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.budget import (
    NANO,
    Book,
    BookUnavailable,
    Ceiling,
    MemoryBook,
    Refused,
    Reserved,
    Told,
    Worst,
    nano,
    usd,
    worst_case,
)
from wizard_dsl.core.component import Money, PolicyConfig, PolicyType, Ratio, Rung, Scope
from wizard_dsl.core.errors import BudgetExceeded
from wizard_dsl.core.events import BudgetApproaching, BudgetUnavailable, StepEnded, TargetSkipped
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Facts
from wizard_dsl.core.units import parse_money, parse_ratio, show_money

Period = Literal["run", "session", "day", "month"]

#: Seconds after the run's deadline, from which on nobody is left who could settle a reservation.
_GRACE = 60.0
_DAY = 86400.0
_SHORTEST: Final = {"day": _DAY, "month": 28 * _DAY}
_LACKS = {
    "price": ("its price is not known", "state it: providers.NAME.models.MODEL.prices"),
    "output": ("nothing bounds its answer", "set max_tokens, or state max_output under providers.NAME.models.MODEL"),
}


class Limit(PolicyConfig, frozen=True):
    """One limit. `owner` is the file that sets it, empty for one that the whole project shares."""

    scope: Period
    limit: Money
    warn_at: Annotated[Ratio, Meta(description="of the limit, from which on a warning is given")] = "80%"
    then: Annotated[Literal["stop", "degrade"], Meta(description="at the limit")] = "stop"
    owner: str = ""


class BudgetConfig(PolicyConfig, frozen=True):
    """The limits, made from the section `budgets`."""

    limits: tuple[Limit, ...] = ()


class _Held:
    """The reservations of one attempt: of the run's own book, and of the one that is shared."""

    __slots__ = ("_places", "_told")

    def __init__(self, told: Told) -> None:
        self._places: list[tuple[Book, str]] = []
        self._told = told

    def add(self, book: Book, id: str) -> None:
        self._places.append((book, id))

    def settle(self, amount: int | None) -> None:
        """What was spent; None: not known. Only the first word counts."""
        places, self._places = self._places, []
        for book, id in places:
            book.settle(id, amount, self._told)


class Budget:
    """The node of one target; also its purse."""

    __slots__ = (
        "_book",
        "_chain",
        "_clock",
        "_degrades",
        "_emit",
        "_limits",
        "_next",
        "_path",
        "_stops",
        "_sums",
        "_target",
    )

    def __init__(self, config: BudgetConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._limits = config.limits
        self._sums = [_sums(each) for each in config.limits]
        self._stops = next_stop(config.limits)
        self._degrades = any(each.then == "degrade" for each in config.limits)
        self._clock = context.clock
        self._emit = context.emit
        self._path = context.path
        self._book: Book = context.shared.state("book", "", MemoryBook)
        self._target = context.require_target()
        self._target.purse = self
        self._chain = context.chain
        self._chain.spenders.append(self)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises BudgetExceeded; then what comes from below."""
        held = self._taken(run)
        if held is None:
            held = await self._reserve(request, run)
        begun = len(run.transcript.attempts)
        try:
            response = await self._next(request, run)
        except BaseException:
            held.settle(self._spent(run, begun))
            raise
        response.on_end(lambda outcome: held.settle(self._spent(run, begun)))
        return response

    def worst(self, request: Request) -> Worst:
        """The worst case of one attempt."""
        return worst_case(request, self._target.params, self._target.facts)

    def _spent(self, run: Run, begun: int) -> int | None:
        """What the attempt since row `begun` cost; None where nobody knows. Refused below, it was none."""
        for row in run.transcript.attempts[begun:]:
            if row.target == self._target.name and row.step == run.scope.step and row.item == run.scope.item:
                return None if row.confidence == "unknown" or row.cost is None else nano(row.cost)
        return 0

    # -- what retry and strategies ask ------------------------------------------------------------

    async def hold(self, request: Request, run: Run) -> BudgetExceeded | None:
        self.drop(run)
        try:
            held = await self._reserve(request, run)
        except BudgetExceeded as error:
            return error
        if run.call.held is None:
            run.call.held = {}
        run.call.held[self._target.position] = held
        return None

    def drop(self, run: Run) -> None:
        held = self._taken(run)
        if held is not None:
            held.settle(0)

    def _taken(self, run: Run) -> _Held | None:
        return None if run.call.held is None else run.call.held.pop(self._target.position, None)

    # -- reserving --------------------------------------------------------------------------------

    async def _reserve(self, request: Request, run: Run) -> _Held:
        """Reserve on the run's own account, then on those that are shared; on all, or on none."""
        worst = self.worst(request)
        if worst.amount is None and self._stops is not None:
            raise self._unbounded(worst, self._stops)
        soft = self._degrades and self._is_cheapest(request, worst)
        ceilings = self._ceilings(run, soft)
        amount = worst.amount or 0
        held = _Held(partial(self._warn, run))
        try:
            await self._on(run, held, amount, ceilings, soft)
        except BaseException:
            held.settle(0)
            raise
        return held

    async def _on(self, run: Run, held: _Held, amount: int, ceilings: list[Ceiling], soft: bool) -> None:
        own = [each for each in ceilings if each.account.startswith("run/")]
        shared = [each for each in ceilings if not each.account.startswith("run/")]
        if own:
            book = run.transcript.book
            if book is None:
                book = run.transcript.book = MemoryBook()
            self._took(run, held, book, book.take(amount, own), amount)
        if not shared:
            return
        left = run.deadline - self._clock.now()
        try:
            answer = await self._book.reserve(amount, shared, lasts=left + _GRACE, within=max(0.0, left))
        except BookUnavailable as error:
            self._without_book(run, error, amount, soft)
        else:
            self._took(run, held, self._book, answer, amount)

    def _took(self, run: Run, held: _Held, book: Book, answer: Reserved | Refused, amount: int) -> None:
        if isinstance(answer, Refused):
            raise self._exceeded(answer, amount)
        held.add(book, answer.id)
        if answer.away:
            self._emit(run, BudgetUnavailable(path=self._path, reason=answer.away))
        self._warn(run, answer.warned)

    def _warn(self, run: Run, accounts: tuple[str, ...]) -> None:
        for account in accounts:
            limit = self._limit(account)
            whole, warn = _sums(limit)
            near = BudgetApproaching(path=self._path, budget=limit.scope, warn_at=usd(warn), limit=usd(whole))
            self._emit(run, near)

    def _ceilings(self, run: Run, soft: bool) -> list[Ceiling]:
        """The accounts of this run, each with its limit; the cheapest target passes those that degrade."""
        wall = self._clock.wall()
        made = []
        for limit, (whole, warn) in zip(self._limits, self._sums, strict=True):
            name = account(limit, run, wall)
            if name is not None:
                made.append(Ceiling(name, None if soft and limit.then == "degrade" else whole, warn))
        return made

    def _is_cheapest(self, request: Request, own: Worst) -> bool:
        """Whether no other target of the chain has a smaller worst case; one that is not known is the largest."""
        amounts = [each.worst(request).amount for each in self._chain.spenders]
        known = [each for each in amounts if each is not None]
        return not known if own.amount is None else own.amount <= min(known, default=own.amount)

    # -- saying no --------------------------------------------------------------------------------

    def _limit(self, name: str) -> Limit:
        scope, _, owner = name.split("/", 2)
        return next(each for each in self._limits if (each.scope, each.owner) == (scope, owner))

    def _exceeded(self, refused: Refused, amount: int) -> BudgetExceeded:
        limit = self._limit(refused.account)
        left = show_money(usd(refused.left))
        message = (
            f"the {limit.scope} budget of {limit.limit} has {left} left,"
            f" and an attempt on {self._target.name} may cost {show_money(usd(amount))}"
        )
        if limit.then == "degrade":
            message += "; a cheaper target of the chain is asked instead"
        return BudgetExceeded(
            message,
            scope=limit.scope,
            limit=usd(refused.limit),
            left=usd(refused.left),
            needed=usd(amount),
            where=self._target.name,
            retry_after=_until_next(limit.scope, self._clock.wall()),
        )

    def _unbounded(self, worst: Worst, limit: Limit) -> BudgetExceeded:
        why, suggestion = _LACKS[worst.lacks]
        whole = parse_money(limit.limit)
        return BudgetExceeded(
            f"the {limit.scope} budget is a hard one, and an attempt on {self._target.name} may cost anything: {why}",
            scope=limit.scope,
            limit=whole,
            left=whole,
            needed=None,
            where=self._target.name,
            suggestion=suggestion,
        )

    def _without_book(self, run: Run, error: BookUnavailable, amount: int, soft: bool) -> None:
        """Nobody knows what was spent, so it is taken as all: what stops, stops; what degrades, degrades."""
        if error.first:
            self._emit(run, BudgetUnavailable(path=self._path, reason=str(error)))
        shared = [each for each in self._limits if account(each, run, 0.0) is not None and each.scope != "run"]
        closed = next((each for each in shared if each.then == "stop" or not soft), None)
        if closed is not None:
            raise BudgetExceeded(
                f"the {closed.scope} budget fails closed: {error}",
                scope=closed.scope,
                limit=parse_money(closed.limit),
                left=0.0,
                needed=usd(amount),
                where=self._target.name,
                suggestion="mend or move away the database, or let the budget degrade instead",
            )


def _sums(limit: Limit) -> tuple[int, int]:
    """The limit and where its warning is due, in nano-dollars."""
    whole = round(parse_money(limit.limit) * NANO)
    return whole, round(whole * parse_ratio(limit.warn_at))


def next_stop(limits: tuple[Limit, ...]) -> Limit | None:
    """The first limit that stops."""
    return next((each for each in limits if each.then == "stop"), None)


def account(limit: Limit, run: Run, wall: float) -> str | None:
    """The account a limit is held against; None for a session's where there is none. Days and months are UTC's."""
    match limit.scope:
        case "run":
            period: str | None = ""
        case "session":
            session = run.scope.session
            period = None if session is None else hashlib.sha256(session.encode()).hexdigest()[:16]
        case _:
            period = _date(wall)[: 10 if limit.scope == "day" else 7]
    return None if period is None else f"{limit.scope}/{period}/{limit.owner}"


def _date(wall: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(wall, UTC).date().isoformat()


def _until_next(scope: Period, wall: float) -> float | None:
    """Seconds until the next day or month begins; None for what time does not cure."""
    if scope not in ("day", "month"):
        return None
    length = 10 if scope == "day" else 7
    today, midnight = _date(wall)[:length], wall - wall % _DAY + _DAY
    while _date(midnight)[:length] == today:
        midnight += _DAY
    return midnight - wall


def periods(scope: Period, latency: float) -> int:
    """How many accounts of a limit a run may use in so many seconds: those of the days or months that it touches."""
    return 1 + math.ceil(latency / _SHORTEST[scope]) if scope in _SHORTEST else 1


def is_never_paid(config: BudgetConfig, request: Request, params: Mapping[str, Any], facts: Facts) -> bool:
    """Whether no attempt can begin, whatever the prompt of `request` says: an answer alone may cost more than all that
    a limit that stops ever has. A session's may not apply; of prices in tiers nothing is said."""
    if facts.prices is None or facts.prices.tiers:
        return False
    bare = Request(kind=request.kind, params=request.params)
    least = worst_case(bare, params, facts).amount or 0
    stops = [each for each in config.limits if each.then == "stop" and each.scope != "session"]
    return any(_sums(each)[0] < least for each in stops)


def bound(config: BudgetConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """No attempt costs more than the smallest limit that stops; a session's may not apply."""
    stops = [each for each in config.limits if each.then == "stop" and each.scope != "session"]
    most = [Figure(parse_money(each.limit), f"budgets.{each.scope}") for each in stops]
    return msgspec.structs.replace(inner, cost=min([inner.cost, *most], key=lambda figure: figure.value))


BUDGET = PolicyType(
    name="budget",
    summary="Reserves the worst case of each attempt, within the limits of the section `budgets`.",
    rung=Rung.BUDGET,
    scope=Scope.TARGET,
    config=BudgetConfig,
    build=Budget,
    bound=bound,
    emits=(BudgetApproaching, BudgetUnavailable),
    raises=(BudgetExceeded,),
    outcomes=(
        outcome(
            "near",
            "most of a budget was spent, and that was told",
            told(BudgetApproaching),
            possible=lambda site: any(parse_ratio(each.warn_at) <= 1 for each in site.config.limits),
        ),
        outcome(
            "skipped",
            "a target was not asked: its worst case did not fit",
            told(TargetSkipped, "target", reason="budget"),
        ),
        outcome(
            "stopped",
            "nothing fitted, and the call ended",
            told(StepEnded, "chain", kind="budget"),
            possible=lambda site: next_stop(site.config.limits) is not None,
        ),
    ),
)
