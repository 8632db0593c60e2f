"""What `on_mid_stream_error` does around a strategy, whichever it is.

`buffer` has nothing shown before the answer is complete, so that a break is still before the commit point. `restart`
and `continue` enter the strategy again where a stream breaks, as a contract does after its repairs: the target that
broke stands among the run's `failures`, and the strategy goes on with those not yet tried. What retry could still
make of the same target it has done before: its own splice is the inner one.
"""

from __future__ import annotations

import msgspec

from wizard_dsl.core.clock import Clock
from wizard_dsl.core.errors import MaxRetriesExceeded, StreamBroken, WizardError
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import Handler
from wizard_dsl.core.response import Response, Served
from wizard_dsl.core.run import Failure, Run
from wizard_dsl.core.splice import continued
from wizard_dsl.core.target import Chain


def around(strategy: Handler, chain: Chain, clock: Clock) -> Handler:
    """The strategy of a chain, with what the chain does where a stream breaks."""
    if chain.mid_stream == "buffer":
        return _Buffered(strategy).call
    if chain.resumes:
        return _Resumed(strategy, clock, restarts=chain.mid_stream == "restart").call
    return strategy


class _Buffered:
    """Answers when the answer is complete."""

    __slots__ = ("_next",)

    def __init__(self, next: Handler) -> None:
        self._next = next

    async def call(self, request: Request, run: Run) -> Response:
        return await self._next(request, run if run.commit == "end" else msgspec.structs.replace(run, commit="end"))


class _Resumed:
    """Goes on with the next target where a stream breaks."""

    __slots__ = ("_clock", "_next", "_restarts")

    def __init__(self, next: Handler, clock: Clock, *, restarts: bool) -> None:
        self._next = next
        self._clock = clock
        self._restarts = restarts

    async def call(self, request: Request, run: Run) -> Response:
        """Raises what the strategy raises. After the commit point that is the cause of a StreamBroken."""
        response = await self._next(request, run)
        if response.outcome is not None:
            return response

        async def resume(broken: StreamBroken) -> Response:
            return await self._resume(request, run, spliced.served, broken)

        spliced = Response.spliced(response, resume, clock=self._clock, reset=self._restarts)
        return spliced

    async def _resume(self, request: Request, run: Run, served: Served, broken: StreamBroken) -> Response:
        """Targets that were skipped were not tried: they are looked at anew."""
        again = request if self._restarts else continued(request, broken.partial)
        if again is None:
            raise broken
        tried = [each for each in served.failures if each.called]
        failure = Failure(served.position, served.target, _last(broken))
        return await self._next(again, msgspec.structs.replace(run, failures=(*tried, failure)))


def _last(broken: StreamBroken) -> WizardError:
    """What retry said at last of a target that it repeated; else the break itself."""
    cause = broken.__cause__
    return cause if isinstance(cause, MaxRetriesExceeded) else broken
