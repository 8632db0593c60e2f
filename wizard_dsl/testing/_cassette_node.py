"""Cassettes of providers without HTTP – the embedded model, mocks, plug-ins: their deltas are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.errors import ATTEMPT_ERRORS, AttemptFailed, AttemptTimeout, ServerError, Unsupported, WizardError
from wizard_dsl.core.messages import Completion, Delta, Request, Usage, as_deltas
from wizard_dsl.core.response import Response
from wizard_dsl.testing._cassette_http import PATIENCE
from wizard_dsl.testing._cassette_match import of_request
from wizard_dsl.testing._cassette_waits import Waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.node import Node
    from wizard_dsl.core.response import Outcome
    from wizard_dsl.core.run import Run
    from wizard_dsl.testing._cassette_lines import Failed
    from wizard_dsl.testing._cassette_take import Take
    from wizard_dsl.testing._cassette_tape import Played, Tape

#: Limits of ours that end an answer: to its provider, it was given up.
_OURS = ("deadline", "timeout", "stream_buffer", "cancelled")


class TapeNode:
    """The node of one target; `live` makes the provider's own, when it is asked for the first time."""

    def __init__(self, tape: Tape, live: Callable[[], Node], clock: Clock, *, target: str) -> None:
        self._tape = tape
        self._live = live
        self._own: Node | None = None
        self._clock = clock
        self._target = target

    async def call(self, request: Request, run: Run) -> Response:
        """Raises what the provider raised, or CassetteMiss."""
        asked, *others = (of_request(request, each) for each in self._tape.redactions)
        stream = run.commit == "content"
        played = self._tape.play(self._target, (asked, *others), stream=stream)
        if played is not None:
            return await self._replay(played, run)
        if self._own is None:
            self._own = self._live()
        take = self._tape.begin(self._clock, self._target, asked, stream=stream)
        try:
            response = await self._own.call(request, run)
        except (AttemptFailed, Unsupported) as error:
            _failed(take, error)
            raise
        except BaseException:
            take.cancel()
            raise
        await _listen(response, take)
        return response

    async def _replay(self, played: Played, run: Run) -> Response:
        exchange = played.exchange
        waits = Waits(self._clock)
        if exchange.vectors is not None:
            await waits.until(exchange.end or 0)
            told = exchange.vectors
            usage = None if told.input_tokens is None else Usage(told.input_tokens)
            vectors = Completion(
                embeddings=told.embeddings, finish_reason="stop", usage=usage, model=told.model, headers={}
            )
            return Response.complete(vectors)
        source = _Recorded(played, waits)
        response = await Response.open(source, run.commit, clock=self._clock, reasoning=run.reasoning, idle=run.idle)
        response.headers = exchange.headers
        return response


async def _listen(response: Response, take: Take) -> None:
    """Take down what is there, and what comes. What came before the commit point has that point's time."""
    take.headed(response.headers)
    outcome = response.outcome
    if outcome is not None and response.batches_seen == 0:
        if outcome.completion.embeddings:
            take.vectors(outcome.completion)
        else:
            take.batch(as_deltas(outcome.completion))
    for number in range(response.batches_seen):
        batch = await response.next_batch(number)
        assert batch is not None
        take.batch(batch)
    response.on_delta(take.batch)
    response.on_end(lambda outcome: _ended(take, outcome))


def _ended(take: Take, outcome: Outcome) -> None:
    if outcome.kind == "completed":
        take.end()
        return
    error: Any = outcome.error
    if error is not None and isinstance(error.__cause__, WizardError):
        error = error.__cause__
    if error is None or error.kind in _OURS:
        take.cancel()
    else:
        _failed(take, error)


def _failed(take: Take, error: WizardError) -> None:
    take.fail(
        error.kind,
        error.message,
        status=getattr(error, "status", None),
        retry_after=error.retry_after,
        sent=getattr(error, "sent", None),
    )


def _error(failed: Failed) -> WizardError:
    """The error as the provider raised it."""
    if failed.kind == "timeout":
        return AttemptTimeout(failed.message, phase="total")
    if failed.kind == "unsupported":
        return Unsupported(failed.message)
    kind = ATTEMPT_ERRORS.get(failed.kind, ServerError)
    return kind(failed.message, status=failed.status, retry_after=failed.retry_after, sent=failed.sent)


class _Recorded:
    """The source of an answer from the tape."""

    def __init__(self, played: Played, waits: Waits) -> None:
        self._played = played
        self._waits = waits
        self._next = 0
        self.done = False

    async def read_batch(self) -> list[Delta]:
        exchange = self._played.exchange
        if self._next < len(exchange.deltas):
            at, raw = exchange.deltas[self._next]
            await self._until(at)
            self._next += 1
            batch = [msgspec.convert(each, Delta) for each in raw]
            self.done = self.done or any(each.finish_reason is not None for each in batch)
            return batch
        if exchange.end is not None:
            await self._until(exchange.end)
            return []
        if exchange.failed is not None:
            await self._until(exchange.failed.at)
            raise _error(exchange.failed)
        await self._until((exchange.cancelled or 0) + PATIENCE)
        raise self._played.cut()

    async def _until(self, milliseconds: int) -> None:
        if not await self._waits.until(milliseconds):
            raise ServerError("the stream was given up")

    def abort(self, reason: BaseException | None) -> None:
        self._waits.give_up()
