"""The walk over the targets of a chain, one after the other, until one answers: what all strategies do alike.

Targets of a lower `priority` number are tried before those of a higher one, as Envoy and litellm count it; a
strategy's order holds among those of one number. The compiler numbers positions in that order already.

They differ in the order, or race several branches by the same rules: what a target must be able to do, which
failure moves on, who is waited for, and what leaves when nobody answered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.errors import (
    AllFallbacksFailed,
    CircuitOpen,
    DeadlineExceeded,
    MaxRetriesExceeded,
    TargetBlocked,
    Unsupported,
    WindowTooSmall,
    WizardError,
)
from wizard_dsl.core.events import (
    DeadlineCut,
    FallbackTriggered,
    LossAccepted,
    OutageProbed,
    PrimaryRecovered,
    RateLimitProlonged,
    RateLimitWaited,
    TargetSkipped,
)
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Branch, Target
from wizard_dsl.strategies._leaving import leaving
from wizard_dsl.strategies._losses import fitted, incapable, is_open_minded, losses
from wizard_dsl.strategies._moving import moves_on
from wizard_dsl.strategies._outage import note, to_probe
from wizard_dsl.strategies._visit import Visit, Waiting, reason

#: What every walk may emit, and how it may fail.
EMITS = (
    TargetSkipped,
    FallbackTriggered,
    PrimaryRecovered,
    OutageProbed,
    LossAccepted,
    RateLimitWaited,
    RateLimitProlonged,
    DeadlineCut,
)
RAISES = (AllFallbacksFailed, TargetBlocked, CircuitOpen, Unsupported, WindowTooSmall, DeadlineExceeded)

#: A wait that ends at the deadline fits it, whatever rounding makes of the sum.
DUST = 1e-9

#: The branches in the order in which one call tries them; asked once for each logical call.
Order = Callable[[Request, Run], Sequence[Branch]]


class Walk:
    """The targets of one chain, one after the other: in the order of the file, or in that of `order`."""

    __slots__ = ("_branches", "_chain", "_clock", "_emit", "_first", "_open_minded", "_order", "_path")

    def __init__(self, branches: Sequence[Branch], context: BuildContext, order: Order | None = None) -> None:
        self._branches = tuple(branches)
        self._order = order
        self._first: Collection[int] = (0,)
        self._open_minded = tuple(is_open_minded(branch.target.facts) for branch in branches)
        self._chain = context.chain
        self._clock = context.clock
        self._emit = context.emit
        self._path = context.path

    async def call(self, request: Request, run: Run) -> Response:
        """Raises the error of the only target called, AllFallbacksFailed of several, or why none was called."""
        visit = Visit(request, run, self._first, list(run.failures))
        if run.failures and run.commit == "content":  # a broken stream is resumed; a contract has its answers whole
            self._recall(visit)
        try:
            return await self._visit(visit)
        finally:
            for taken in visit.granted.values():
                self._chain.allowance.give_back(self._clock.now(), taken)
            visit.failures = []  # each of these errors holds frames that hold the visit: a cycle

    async def _visit(self, visit: Visit) -> Response:
        for branch in self._untried(visit):
            if not self._has_time(visit):
                raise self._left(visit)
            lost = self._admit(branch, visit)
            if lost is not None:
                response = await self._enter(branch, visit, visit.run, lost)
                if response is not None:
                    return response
            if not self._moves_on(visit.failures[-1].error):
                return await self._wait_or_leave(visit, visit.failures[-1].position)
        return await self._wait_or_leave(visit, None)

    def _untried(self, visit: Visit) -> Iterator[Branch]:
        """The branches that this call may enter, in order. Raises what leaves where nothing may follow."""
        run = visit.run
        done = {each.position for each in run.failures} if run.failures else ()
        if run.failures and run.only is None and not self._moves_on(run.failures[-1].error):
            raise leaving(visit.failures, self._path)
        for branch in self._branches if self._order is None else self._ordered(visit, self._order):
            position = branch.target.position
            if position not in done and (run.only is None or position == run.only):
                yield branch

    def _ordered(self, visit: Visit, order: Order) -> list[Branch]:
        """The order of this call. A repair enters the same call again, and finds the order as it was."""
        call = visit.run.call
        if not call.order:
            call.order = tuple(branch.target.position for branch in order(visit.request, visit.run))
        visit.first = call.order[:1]
        return [self._branches[position] for position in call.order]

    # -- one target ---------------------------------------------------------------------------------

    def _admit(self, branch: Branch, visit: Visit) -> tuple[str, ...] | None:
        """What is lost where it may be called; None where it may not, and is skipped, which is then booked."""
        target, request, run = branch.target, visit.request, visit.run
        lost: tuple[str, ...] = ()
        if not self._open_minded[target.position] or visit.window is not None:
            lost = losses(target.facts, request, run)
            error = incapable(target, visit, lost, self._chain.allow_loss)
            if error is not None:
                self._skip(target, visit, error)
                return None
        now = self._clock.now()
        closed = target.closed_for(now)
        if closed is not None:
            blocked = target.blocked_for(now)
            if blocked is not None:
                visit.waiting[target.position] = Waiting(now + blocked)
            self._skip(target, visit, target.refusal(closed, now))
            return None
        if lost or visit.failures:
            self._announce(target, visit, lost)
        return lost

    def _skip(self, target: Target, visit: Visit, error: WizardError) -> None:
        self._emit(visit.run, TargetSkipped(path=self._path, target=target.name, reason=reason(target, error)))
        visit.fail(target, error, called=False)

    def _announce(self, target: Target, visit: Visit, lost: tuple[str, ...]) -> None:
        if visit.failures and visit.run.only is None:
            left = visit.failures[-1]
            self._emit(
                visit.run,
                FallbackTriggered(path=self._path, target=left.target, kind=left.error.kind, to=target.name),
            )
        if lost:
            self._emit(visit.run, LossAccepted(path=self._path, target=target.name, lost=lost))

    async def _enter(self, branch: Branch, visit: Visit, run: Run, lost: tuple[str, ...]) -> Response | None:
        """Call it. A refusal on the way (the breaker, our own limit) is a skip, a failed attempt is a failure."""
        target = branch.target
        request, run = fitted(target, visit.request, run, lost)
        try:
            response = await branch.handler(request, run)
        except WizardError as error:
            self._book(target, visit, error, run.used)
            return None
        return self._serve(response, target, visit, lost)

    def _serve(self, response: Response, target: Target, visit: Visit, lost: tuple[str, ...]) -> Response:
        """Say on the answer who gave it, and what happened before."""
        served, position, failures = response.served, target.position, visit.failures
        served.target, served.position, served.losses = target.name, position, lost
        served.fallback = position not in visit.first
        served.failures = tuple([each for each in failures if each.position != position]) if failures else ()
        if failures or self._chain.primary.since is not None:
            recovered = note(self._chain.primary, target, failures, self._clock.now(), self._path)
            if recovered is not None:
                self._emit(visit.run, recovered)
        return response

    def _book(self, target: Target, visit: Visit, error: WizardError, used: int) -> None:
        """What a failure of `target`, which had `used` attempts before, leaves for the rest of the call."""
        now = self._clock.now()
        waiting = visit.waiting.pop(target.position, Waiting(now))
        if error.attempt is None:
            self._book_refusal(target, visit, error, waiting, now)
            return
        visit.idle = None
        visit.fail(target, error, called=True)
        if error.kind == "context_length":
            visit.window = max(visit.window or 0, target.facts.context or 0)
        self._wait_for(target, visit, error, used, now)

    def _wait_for(self, target: Target, visit: Visit, error: WizardError, used: int, ended: float) -> None:
        """A target that asked for time, at loop time `ended`, may be called again after it."""
        if error.kind in {"rate_limited", "server"} and error.retry_after is not None and target.repeats(error):
            now = self._clock.now()
            visit.waiting[target.position] = Waiting(
                free_at=max(ended + error.retry_after, now + (target.blocked_for(now) or 0.0)),
                used=error.attempts if isinstance(error, MaxRetriesExceeded) else used + 1,
                retry_of=error.attempt,
            )

    def _recall(self, visit: Visit) -> None:
        """What the failures of an earlier visit of this call leave for the rest of it."""
        transcript = visit.run.transcript
        for each in visit.failures:
            error, target = each.error, self._branches[each.position].target
            if error.attempt is None:
                continue
            row = transcript.attempts[error.attempt]
            self._wait_for(target, visit, error, 0, transcript.started + row.started + (row.elapsed or 0.0))
            if error.kind == "context_length":
                visit.window = max(visit.window or 0, target.facts.context or 0)

    def _book_refusal(self, target: Target, visit: Visit, error: WizardError, waiting: Waiting, now: float) -> None:
        """Refused before it was sent. A target that was called before in this call keeps its real error."""
        if error.kind == "deadline" and visit.called and visit.run.only is None:
            visit.marks = ("deadline",)
        if waiting.used == 0:
            self._skip(target, visit, error)
        blocked = target.blocked_for(now)
        if blocked is not None:
            waiting.free_at = now + blocked
            visit.waiting[target.position] = waiting

    # -- what a failure does ------------------------------------------------------------------------

    def _moves_on(self, error: WizardError) -> bool:
        return moves_on(error, self._chain.fallback_on, self._chain.rate_limit)

    def _has_time(self, visit: Visit) -> bool:
        """Whether another target may begin: the first needs any time at all, after a failure min_attempt."""
        run = visit.run
        now = self._clock.now()
        need = run.min_attempt if run.only is not None or (visit.failures and visit.called) else 0.0
        if now + need <= run.deadline + DUST and now < run.deadline:
            return True
        self._emit(run, DeadlineCut(path=self._path, what="target", needed=need, left=run.deadline - now))
        visit.marks = ("deadline",)
        return False

    def _left(self, visit: Visit) -> WizardError:
        """The error that leaves; marked with why nothing more was tried."""
        if "deadline" in visit.marks and (visit.run.only is not None or not visit.called):
            return DeadlineExceeded("no time was left to call a target", where=self._path)
        if visit.called:
            [each for each in visit.failures if each.called][-1].error.mark(*visit.marks)
        if visit.run.only is not None:
            return leaving(visit.failures[-1:], self._path)
        return leaving(visit.failures, self._path)

    # -- waiting for a blocked target ---------------------------------------------------------------

    async def _wait_or_leave(self, visit: Visit, only: int | None) -> Response:
        """No untried target is left: wait for the one free first, as often as that is allowed, then leave.

        With `only`, that target alone is waited for, and not longer than `wait_up_to`.
        """
        while (branch := await self._free_first(visit, only)) is not None:
            target, waiting = branch.target, visit.waiting[branch.target.position]
            try:
                free = await self._is_free(target, visit, waiting, self._limit(target, visit, only))
                response = await self._again(branch, visit, waiting) if free else None
            finally:
                target.drop_held(visit.run)
            if response is not None:
                return response
            if free and visit.failures[-1].position == target.position and not self._moves_on(visit.failures[-1].error):
                break
        response = await self._probe(visit) if self._chain.when_all_open == "probe_first" else None
        if response is not None:
            return response
        raise self._left(visit)

    async def _is_free(self, target: Target, visit: Visit, waiting: Waiting, limit: float) -> bool:
        """Sleep until it should be; False where something closed it again meanwhile."""
        await self._sleep_until(waiting.free_at, target, visit, limit)
        now = max(self._clock.now(), waiting.free_at)
        blocked, closed = target.blocked_for(now), target.closed_for(now)
        if blocked is not None:
            waiting.free_at = now + blocked
        elif closed is not None:
            del visit.waiting[target.position]
        return closed is None

    async def _probe(self, visit: Visit) -> Response | None:
        """Every breaker is open: ask the first target before its time, through a lease."""
        branch = to_probe(self._branches, visit.failures, self._clock.now()) if visit.run.only is None else None
        if branch is None or not self._has_time(visit):
            return None
        self._emit(visit.run, OutageProbed(path=self._path, target=branch.target.name))
        run = msgspec.structs.replace(visit.run, probe=True)
        return await self._enter(branch, visit, run, losses(branch.target.facts, visit.request, run))

    async def _again(self, branch: Branch, visit: Visit, waiting: Waiting) -> Response | None:
        run = visit.run
        position = branch.target.position
        granted, failures = visit.granted.pop(position, None), visit.failures
        if waiting.used:
            run = msgspec.structs.replace(run, used=waiting.used, retry_of=waiting.retry_of)
        lost = losses(branch.target.facts, visit.request, run)
        response = await self._enter(branch, visit, run, lost)
        if granted is not None and response is None and visit.failures is failures:  # refused before it was sent
            visit.granted[position] = granted
        return response

    async def _free_first(self, visit: Visit, only: int | None) -> Branch | None:
        """The branch to wait for; ties by declaration. None, with a mark, where none may be waited for: what other
        calls learn meanwhile makes no wait for an attempt longer than the rule allows."""
        now = self._clock.now()
        visit.idle = now if visit.idle is None else visit.idle
        latest = self._latest(visit.idle, only)
        candidates = [
            (waiting.free_at, position)
            for position, waiting in visit.waiting.items()
            if only in {None, position}
            and waiting.used < self._branches[position].target.max_attempts
            and waiting.free_at <= latest
            and not visit.has_outgrown(self._branches[position].target)
        ]
        if not candidates:
            return None
        free_at, position = min(candidates)
        if max(now, free_at) + visit.run.min_attempt > visit.run.deadline + DUST:
            left, needed = visit.run.deadline - now, free_at - now
            self._emit(visit.run, DeadlineCut(path=self._path, what="wait", needed=needed, left=left))
            visit.marks = ("deadline",) if visit.called and visit.run.only is None else ()
            return None
        waiting, branch = visit.waiting[position], self._branches[position]
        if not await self._pays(position, visit):
            return await self._free_first(visit, only)
        if waiting.used and position not in visit.granted:
            if not await self._chain.allowance.withdraw(now):
                visit.marks = ("retry_budget_exhausted",)
                branch.target.drop_held(visit.run)
                return None
            visit.granted[position] = now
        return branch

    async def _pays(self, position: int, visit: Visit) -> bool:
        """Reserve the attempt before it is slept for. One that cannot be paid ends its target."""
        target = self._branches[position].target
        unpaid = None if target.purse is None else await target.purse.hold(visit.request, visit.run)
        if unpaid is None:
            return True
        del visit.waiting[position]
        called = next((each.error for each in visit.failures if each.position == position and each.called), None)
        if called is not None:
            called.unpaid = unpaid
        visit.fail(target, called or unpaid, called=called is not None)
        return False

    def _latest(self, since: float, only: int | None) -> float:
        """The loop time up to which a call that only waits `since` then may wait."""
        rule = self._chain.rate_limit
        return since + DUST + (rule.max_retry_after if only is None else min(rule.wait_up_to, rule.max_retry_after))

    def _limit(self, target: Target, visit: Visit, only: int | None) -> float:
        """The loop time up to which its block may be prolonged while it is waited for: until the rule, the deadline or
        another target that is free before says otherwise."""
        assert visit.idle is not None, "it is set where the target is chosen"
        run = visit.run
        others = [each.free_at for position, each in visit.waiting.items() if position != target.position]
        return min(self._latest(visit.idle, only), run.deadline + DUST - run.min_attempt, *others)

    async def _sleep_until(self, at: float, target: Target, visit: Visit, limit: float) -> None:
        """Until loop time `at`, or until a block that ends then, and is prolonged up to `limit` at most, has ended."""
        began, state = self._clock.now(), target.state
        if at <= began:
            return
        blocked = state.blocked
        shared = blocked is not None and blocked.kind == "rate_limited" and at - DUST <= blocked.until <= limit
        end = blocked.until if blocked is not None and shared else at
        self._emit(visit.run, RateLimitWaited(path=self._path, target=target.name, delay=end - began))
        if shared:
            ended = await state.waiters.wait(self._clock, limit)
            if ended > end:
                self._emit(visit.run, RateLimitProlonged(path=self._path, target=target.name, delay=ended - end))
        else:
            await self._clock.sleep(at - began)
        visit.run.call.waited += self._clock.now() - began


def bound_walk(branches: Sequence[Bound], facts: BoundFacts) -> Bound:
    """One target after the other. Any attempt may come after a wait for a 429 to pass, and the last wait may be for
    nothing."""
    total = branches[0]
    for branch in branches[1:]:
        total = total.after(branch)
    waits = (total.attempts + Figure(len(branches))).times(facts.max_retry_after)
    return total.with_latency(total.latency + waits)
