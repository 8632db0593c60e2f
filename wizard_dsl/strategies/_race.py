"""A walk with several branches under way at once: the first that commits answers, the others are cancelled.

Each branch is a task of its own, and runs its own ladder: retries, tokens, breaker. What it leaves is booked by the
caller's task, one ended branch after the other, so that the story is the same every time. A branch's task ends at the
commit point; what still arrives of the answer is read by the caller, and no timer of it belongs to the task.

Whatever ends the race – an answer, an error, the caller's cancellation, a bug – it waits until every task has ended,
and closes what the losers had opened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from wizard_dsl.core.bound import Bound, Figure
from wizard_dsl.core.clock import LOOKS, Clock, settle
from wizard_dsl.core.errors import Cancelled, WizardError
from wizard_dsl.core.events import BranchCancelled, HedgeStarted, HedgeWithheld, LossAccepted
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Branch as Cell
from wizard_dsl.core.run import Call, Run
from wizard_dsl.core.target import Branch, Target
from wizard_dsl.strategies._losses import fitted, incapable, losses
from wizard_dsl.strategies._visit import Visit
from wizard_dsl.strategies._walk import DUST, Walk

if TYPE_CHECKING:
    from asyncio import Future, Task

#: Seconds that a target has to commit before another is asked besides; None: no hedge. Gets the target, whether its
#: commit point is its first content, and the time.
After = Callable[[Target, bool, float], float | None]

#: A hedge on the instant on which an attempt's own timer or answer is due comes after it.
_LOOKS = LOOKS + 5


class Runner:
    """A branch under way. `cell` says why it is cancelled, where that says something about its target."""

    __slots__ = ("began", "call", "cell", "lost", "streamed", "target", "task")

    def __init__(self, target: Target, task: Task[Response], run: Run, lost: tuple[str, ...], began: float) -> None:
        assert run.branch is not None
        self.target = target
        self.task = task
        self.call: Call = run.call
        self.cell: Cell = run.branch
        self.streamed = run.commit == "content"
        self.lost = lost
        self.began = began

    @property
    def error(self) -> WizardError | None:
        """How it failed; None where it answered. Raises what is no failure of an attempt: a bug, a cancellation."""
        if self.task.cancelled():
            self.task.result()
        error = self.task.exception()
        if error is None or isinstance(error, WizardError):
            return error
        raise error

    def give_back(self) -> None:
        """Close what it may have opened all the same. It has ended."""
        if not self.task.cancelled() and self.task.exception() is None:
            self.task.result().close()


class Field:
    """The branches of one call that are under way at once, in the order in which they began."""

    __slots__ = ("_clock", "_waiter", "halted", "hedges", "newest", "running", "withheld")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiter: Future[None] | None = None
        self.running: list[Runner] = []
        self.hedges: list[tuple[Call, float]] = []  # with when the retry budget allowed each
        self.newest: Runner | None = None
        self.withheld = False  # no hedge of the newest
        self.halted: Target | None = None  # after its error no target may follow

    def start(
        self, branch: Branch, request: Request, run: Run, lost: tuple[str, ...], *, hedge: float | None = None
    ) -> None:
        """Ask it, in a task of its own; as a hedge, which the retry budget allowed at loop time `hedge`."""
        from asyncio import ensure_future

        target = branch.target
        request, run = fitted(target, request, run, lost)
        run = msgspec.structs.replace(run, branch=Cell(), call=run.call.branch(), hedge=hedge is not None)
        task = ensure_future(branch.handler(request, run))
        task.add_done_callback(self._wake)
        self.newest = Runner(target, task, run, lost, self._clock.now())
        self.running.append(self.newest)
        if hedge is not None:
            self.hedges.append((run.call, hedge))
        self.withheld = False

    @property
    def has_news(self) -> bool:
        """Whether one of them has ended."""
        return any(each.task.done() for each in self.running)

    async def wait(self, until: float | None) -> None:
        """Until one has ended, or until a loop time; on the same instant the end comes first."""
        if self.has_news:
            return
        waiter = self._waiter = self._clock.future()
        timer = None if until is None else self._clock.call_at(until, settle, self._clock, self._wake, _LOOKS)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self, task: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def clear(self, winner: Runner | None) -> list[Runner]:
        """Cancel all but the winner and wait until they have ended, however often the one who waits is cancelled; the
        losers. A branch that one that began later outran is told that it was overtaken."""
        from asyncio import CancelledError, wait

        losers = [each for each in self.running if each is not winner]
        self.newest = None  # its task may hold the error that leaves, which holds the frames that hold this
        for each in losers:
            if winner is not None and each.began < winner.began:
                each.cell.reason = "overtaken"
            each.task.cancel()
        cancelled: CancelledError | None = None
        while pending := [each.task for each in losers if not each.task.done()]:
            try:
                await wait(pending)
            except CancelledError as error:
                cancelled = error
        for each in losers:
            each.give_back()
        if cancelled is not None:
            if winner is not None:
                winner.give_back()
            raise cancelled
        return losers


class Race(Walk):
    """`at_once` branches begin where none is under way; with `after`, one more where the newest is late.

    An error that does not move on ends a race of hedges at once; where several began together, what the others say is
    awaited first.
    """

    __slots__ = ("_after", "_at_once")

    def __init__(
        self, branches: Sequence[Branch], context: BuildContext, *, at_once: int = 1, after: After | None = None
    ) -> None:
        super().__init__(branches, context)
        self._at_once = at_once
        first = branches[0].target.state  # whoever begins at once, or is the same target, is no fallback
        self._first = {
            position for position, each in enumerate(branches) if position < at_once or each.target.state is first
        }
        self._after = after

    async def _visit(self, visit: Visit) -> Response:
        field = Field(self._clock)
        try:
            return await self._race(visit, field)
        finally:
            for call, taken in field.hedges:
                if not call.deposited:  # it was never sent
                    self._chain.allowance.give_back(self._clock.now(), taken)

    async def _race(self, visit: Visit, field: Field) -> Response:
        winner: Runner | None = None
        try:
            winner = await self._compete(visit, field)
        finally:
            losers = await field.clear(winner)
        by = winner.target if winner is not None else field.halted
        if by is not None:
            self._part(visit, losers, by, "failed" if winner is None else "answered")
        if winner is None:
            return await self._wait_or_leave(visit, None if by is None else by.position)
        return self._serve(winner.task.result(), winner.target, visit, winner.lost)

    async def _compete(self, visit: Visit, field: Field) -> Runner | None:
        """Who answers first; None where nobody did and no more may begin."""
        queue = deque(self._untried(visit))
        while field.running or self._begin(visit, field, queue):
            due = self._due(field, queue)
            await field.wait(due)
            winner = self._settle(visit, field)
            if winner is not None:
                return winner
            if field.halted is not None and (self._after is not None or not field.running):
                return None
            if due is not None and field.running and self._clock.now() >= due - DUST:
                await self._hedge(visit, field, queue)
        return None

    def _begin(self, visit: Visit, field: Field, queue: deque[Branch]) -> bool:
        """None is under way: begin with as many as go at once. False where nobody may be called."""
        while queue and len(field.running) < self._at_once:
            if not field.running and not self._has_time(visit):
                raise self._left(visit)
            branch = queue.popleft()
            lost = self._admit(branch, visit)
            if lost is not None:
                field.start(branch, visit.request, visit.run, lost)
            elif not self._moves_on(visit.failures[-1].error):
                field.halted = branch.target
                break
        return bool(field.running)

    def _settle(self, visit: Visit, field: Field) -> Runner | None:
        """Book what has ended. Who has answered, of several the one that began first."""
        for runner in [each for each in field.running if each.task.done()]:
            error = runner.error
            if error is None:
                return runner
            field.running.remove(runner)
            self._book(runner.target, visit, error, visit.run.used)
            refused = error.attempt is None and field.running  # it was never asked; the others are
            if not refused and not self._moves_on(error):
                field.halted = runner.target
            del error
        return None

    def _part(self, visit: Visit, losers: Sequence[Runner], by: Target, reason: str) -> None:
        """Book those that were cancelled. One that was called is not called again, be it for a contract."""
        for each in losers:
            self._emit(visit.run, BranchCancelled(path=self._path, target=each.target.name, by=by.name, reason=reason))
            if reason == "answered" and each.call.deposited:
                error = Cancelled(f"{by.name} answered first", where=each.target.name)
                visit.fail(each.target, error, called=True)

    # -- hedging ------------------------------------------------------------------------------------

    def _due(self, field: Field, queue: deque[Branch]) -> float | None:
        """When one more begins if nothing ends before: counted from the last that began, whatever became of it."""
        newest = field.newest
        if self._after is None or newest is None or not queue or field.withheld or len(field.running) > 1:
            return None
        after = self._after(newest.target, newest.streamed, self._clock.now())
        return None if after is None else newest.began + after

    async def _hedge(self, visit: Visit, field: Field, queue: deque[Branch]) -> None:
        """Ask one more, if somebody may be called, there is time, and the retry budget has a repeat to give."""
        run, now = visit.run, self._clock.now()
        late = field.running[0]
        branch = next((each for each in queue if self._may_hedge(each.target, visit, now)), None)
        reason = "closed" if branch is None else "deadline" if now + run.min_attempt > run.deadline + DUST else ""
        if not reason and not await self._chain.allowance.withdraw(now):
            reason = "retry_budget_exhausted"
        if branch is None or reason:
            field.withheld = True
            self._emit(run, HedgeWithheld(path=self._path, target=late.target.name, reason=reason))
        elif field.has_news:  # asking for the budget may have taken a while
            self._chain.allowance.give_back(self._clock.now(), now)
        else:
            name, to = late.target.name, branch.target.name
            self._emit(run, HedgeStarted(path=self._path, target=name, to=to, after=now - late.began))
            lost = losses(branch.target.facts, visit.request, run)
            if lost:
                self._emit(run, LossAccepted(path=self._path, target=to, lost=lost))
            queue.remove(branch)
            field.start(branch, visit.request, run, lost, hedge=now)

    def _may_hedge(self, target: Target, visit: Visit, now: float) -> bool:
        """Whether it could be called now. One that could not is not given up: its turn may still come."""
        if target.closed_for(now) is not None:
            return False
        return incapable(target, visit, losses(target.facts, visit.request, visit.run), self._chain.allow_loss) is None


def in_flight(total: Bound, branches: Sequence[Bound], most: int) -> Bound:
    """`total` with up to `most` branches in flight at once."""
    largest = sorted((branch.in_flight.value for branch in branches), reverse=True)
    return msgspec.structs.replace(total, in_flight=Figure(sum(largest[:most])))
