"""The innermost frame of every ladder: one exchange with one target, timed, limited and booked.

It arms the attempt's one timer – the earliest of total, first_chunk and the run's deadline – around the provider,
hands the limits of what still arrives to the response, and keeps the attempt's row of the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.budget import most_output
from wizard_dsl.core.errors import AttemptTimeout, DeadlineExceeded, Interrupted, MalformedResponse, WizardError
from wizard_dsl.core.events import AttemptEnded, AttemptStarted, ObserverFailed, StreamCommitted, StreamEnded
from wizard_dsl.core.guard import Guard
from wizard_dsl.core.messages import Completion, Request, Usage, usage_seen
from wizard_dsl.core.record import Exchange
from wizard_dsl.core.run import Attempt, Run

if TYPE_CHECKING:
    from wizard_dsl.core.estimates import Sample
    from wizard_dsl.core.node import BuildContext, Handler
    from wizard_dsl.core.response import Outcome, Response
    from wizard_dsl.core.target import Facts, Prices

_UNCERTAIN = frozenset({"timeout", "cancelled", "mid_stream", "deadline"})


class AttemptFrame:
    """Calls the provider node `next` for one target. `params` are the target's own and win over the request's."""

    __slots__ = ("_chain", "_clock", "_emit", "_estimate", "_facts", "_next", "_params", "_path", "_prices", "_target")

    def __init__(self, next: Handler, context: BuildContext, params: Mapping[str, Any], prices: Prices | None) -> None:
        self._next = next
        self._clock = context.clock
        self._emit = context.emit
        self._path = context.path
        self._chain = context.chain
        target = context.require_target()
        self._target = target.name
        self._estimate = target.state.estimate
        self._facts = target.facts
        self._params = dict(params)
        self._prices = prices

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed, DeadlineExceeded, or what the provider raises."""
        if self._params:
            request = msgspec.structs.replace(request, params={**request.params, **self._params})
        started = self._clock.now()
        row = self._begin(run, started)
        at, phase, allowed = self._limit(run, started)
        guard = Guard(self._clock, at).arm()
        try:
            response = await self._next(request, run)
        except BaseException as error:
            cut = guard.disarm() and not isinstance(error, Exception)
            failure = self._late(phase, allowed) if cut else error
            try:
                self._failed(row, request, run, failure)
                if failure is error:
                    raise
                raise failure from None
            finally:
                del failure  # an exception left in a frame it passed through is a cycle
        guard.disarm()
        self._refuse_empty(row, request, run, response)
        self._watch(row, request, run, response)
        return response

    def _begin(self, run: Run, started: float) -> Attempt:
        call, transcript = run.call, run.transcript
        if not call.deposited and call.begin():
            self._chain.allowance.deposit(started)
        scope = run.scope
        row = Attempt(
            target=self._target,
            step=scope.step,
            item=scope.item,
            started=started - transcript.started,
            waited=call.waited,
            hedge=run.hedge,
            retry_of=run.retry_of,
        )
        call.waited = 0.0
        row.number = len(transcript.attempts)
        call.last = row
        transcript.attempts.append(row)
        self._emit(run, AttemptStarted(path=self._path, target=self._target))
        return row

    def _limit(self, run: Run, now: float) -> tuple[float, str, float]:
        """When this attempt is cut, and by what, as `_late` takes it. The deadline wins a tie with its own limits."""
        phase, allowed = "total", run.total
        first = run.first_chunk if run.commit == "content" else None
        if first is not None and (allowed is None or first < allowed):
            phase, allowed = "first_chunk", first
        if allowed is None or now + allowed >= run.deadline:
            return run.deadline, "", 0.0
        return now + allowed, phase, allowed

    def _late(self, phase: str, allowed: float) -> WizardError:
        """What cut the attempt: the timeout of a phase, after `allowed` seconds; without one, the deadline."""
        if not phase:
            return DeadlineExceeded("the deadline cut the attempt", where=self._target)
        sentence = f"{self._target} did not answer within {allowed:g} s (timeout.{phase})"
        return AttemptTimeout(sentence, phase=phase, where=self._target)

    def _failed(
        self, row: Attempt, request: Request, run: Run, error: BaseException, seen: Completion | None = None
    ) -> None:
        if isinstance(error, WizardError):
            error.where = error.where or self._target
            error.attempt = row.number
            row.status = getattr(error, "status", None)
            row.request_id = getattr(error, "request_id", None)
            row.message = error.message
            row.retry_after = error.retry_after
            row.should_retry = getattr(error, "should_retry", None)
            sent = getattr(error, "sent", isinstance(error, Interrupted))
            self._close(row, request, run, error.kind, seen or error.partial, sent, cut=_cut(error))
            if error.row.verdict == "failure":
                self._observe(row, run, False, at_least=error.kind == "timeout")
        else:
            cancelled = not isinstance(error, Exception)
            row.message = None if cancelled else f"{type(error).__name__}: {error}"
            self._close(row, request, run, "cancelled" if cancelled else "malformed_response", None, None)
            if cancelled and run.branch is not None and run.branch.reason == "overtaken":
                self._observe(row, run, None, at_least=True)

    def _observe(self, row: Attempt, run: Run, ok: bool | None, at_least: bool = False) -> Sample:
        """Tell the target's estimate how long the attempt took up to now: to its commit point, or at least that."""
        now = self._clock.now()
        seconds = now - run.transcript.started - row.started
        return self._estimate.add(now, seconds, ok, at_least=at_least, streamed=run.commit == "content")

    def _refuse_empty(self, row: Attempt, request: Request, run: Run, response: Response) -> None:
        """An answer that claims to have stopped and says nothing is garbage, unless the step allows it."""
        outcome = response.outcome
        if outcome is None or outcome.completion.text or run.allow_empty or outcome.kind != "completed":
            return
        if outcome.completion.finish_reason == "stop" and not outcome.completion.is_answer:
            error = MalformedResponse("the answer is empty, though it claims to be complete", where=self._target)
            self._failed(row, request, run, error, outcome.completion)
            raise error

    def _watch(self, row: Attempt, request: Request, run: Run, response: Response) -> None:
        row.status = row.status or 200
        response.on_raise(lambda error: self._emit(run, ObserverFailed(path=self._path, error=repr(error))))
        streamed = response.outcome is None
        if streamed:
            now = self._clock.now()
            row.first_chunk = now - run.transcript.started
            self._emit(run, StreamCommitted(path=self._path, target=self._target))
            response.due(run.deadline, lambda: DeadlineExceeded("the deadline cut the stream", where=self._target))
            if run.idle is not None:
                response.idle(run.idle)
            if run.total is not None:
                response.within(run.total - (now - run.transcript.started - row.started))
        sample = self._observe(row, run, True)
        response.on_end(lambda outcome: self._ended(row, request, run, outcome, sample, streamed))

    def _ended(
        self, row: Attempt, request: Request, run: Run, outcome: Outcome, sample: Sample, streamed: bool
    ) -> None:
        error = outcome.error
        if error is not None:
            error.attempt = row.number
            error.where = error.where or self._target
            row.message = error.message
            kind = error.kind
            if error.row.verdict == "failure":
                sample.ok = False
        else:
            kind = "ok" if outcome.kind == "completed" else "cancelled"
        row.request_id = outcome.completion.request_id
        if streamed:
            self._emit(run, StreamEnded(path=self._path, target=self._target, ending=outcome.kind))
        self._close(row, request, run, kind, outcome.completion, True, cut="" if error is None else _cut(error))
        if error is not None and error.partial is not None:
            error.partial = msgspec.structs.replace(error.partial, usage=row.usage)

    def _close(
        self,
        row: Attempt,
        request: Request,
        run: Run,
        kind: str,
        seen: Completion | None,
        sent: bool | None,
        *,
        cut: str = "",
    ) -> None:
        row.kind = kind
        row.elapsed = self._clock.now() - run.transcript.started - row.started
        row.usage = _usage(request, kind, seen, self._facts)
        row.cost, row.confidence = _cost(row, kind, sent, self._prices)
        if run.transcript.exchanges is not None:
            run.transcript.exchanges.append(Exchange(row.number, request, seen))
        ended = AttemptEnded(
            path=self._path,
            target=self._target,
            kind=kind,
            status=row.status,
            elapsed=row.elapsed,
            repeat=row.retry_of is not None,
            cut=cut,
        )
        self._emit(run, ended)


def _cut(error: WizardError) -> str:
    """The phase of `timeout` whose limit ended the attempt, before its commit point or after; empty where none did."""
    phase: str = getattr(error, "phase", "") or getattr(error.__cause__, "phase", "")
    return phase


def _usage(request: Request, kind: str, seen: Completion | None, facts: Facts) -> Usage | None:
    """The provider's usage, else an estimate of what was seen, never more than was asked for; None where nothing was
    seen."""
    if seen is None:
        return None
    if seen.usage is not None:
        return seen.usage
    if kind != "ok" and not seen.is_answer:
        return None
    usage, most = usage_seen(request, seen), most_output(request, {}, facts)
    if most is None or usage.output_tokens <= most or request.kind == "embed":
        return usage
    return msgspec.structs.replace(usage, output_tokens=most)


def _cost(row: Attempt, kind: str, sent: bool | None, prices: Prices | None) -> tuple[float | None, Any]:
    """What the attempt cost in US dollars and how sure that is: what was not sent and 4xx cost nothing, a 5xx nothing
    as an estimate; what was cut, lost without a status, or garbage costs what was seen, or an unknown sum; without
    prices a sum is unknown. An answer that was read and refused costs what its provider says it used."""
    usage = row.usage
    refused = kind == "malformed_response" and usage is not None and usage.confidence == "reported"
    if kind == "ok" or refused:
        assert usage is not None
        return (prices.cost(usage), usage.confidence) if prices else (None, "unknown")
    if sent is False or (row.status is not None and 400 <= row.status < 500):
        return 0.0, "reported"
    if kind in _UNCERTAIN or sent is None or row.status is None or (kind == "malformed_response" and row.status < 500):
        return (prices.cost(usage) if prices and usage else None), "unknown"
    return 0.0, "estimated"
