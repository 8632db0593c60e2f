"""Timeout: how long the phases of one attempt may take.

The node only writes the limits into the run. The transport keeps `connect`, the attempt's one timer `first_chunk`
and `total`, the response `idle` and what is left of `total`; the last two stand still while our own reader holds
the stream back.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts, Figure, unbounded
from wizard_dsl.core.component import AboveZeroOrOff, Example, PolicyConfig, PolicyType, Rung, Scope, seconds
from wizard_dsl.core.errors import AttemptTimeout, ConnectError, StreamBroken
from wizard_dsl.core.events import AttemptEnded
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import Site, outcome, told
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run


class TimeoutConfig(PolicyConfig, frozen=True):
    """The keys of `timeout`; each may be `off`."""

    connect: Annotated[AboveZeroOrOff, Meta(description="to a usable connection")] = "5s"
    first_chunk: Annotated[AboveZeroOrOff, Meta(description="to the first content of a streamed answer")] = "60s"
    idle: Annotated[AboveZeroOrOff, Meta(description="between two events of a stream, of whatever kind")] = "30s"
    total: Annotated[AboveZeroOrOff, Meta(description="the whole attempt, the streamed body included")] = "5m"


class Timeout:
    """Tells those below the limits of each phase."""

    __slots__ = ("_connect", "_first_chunk", "_idle", "_next", "_total")

    def __init__(self, config: TimeoutConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._connect = seconds(config.connect)
        self._first_chunk = seconds(config.first_chunk)
        self._idle = seconds(config.idle)
        self._total = context.require_target().total = seconds(config.total)

    async def call(self, request: Request, run: Run) -> Response:
        limited = msgspec.structs.replace(
            run, connect=self._connect, first_chunk=self._first_chunk, idle=self._idle, total=self._total
        )
        return await self._next(request, limited)


def bound(config: TimeoutConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """An attempt takes at most `total`, as `plan` tells it; the time in which the consumer holds a stream back is the
    deadline's to bound. What waits between this and the attempt is not limited by it."""
    total = seconds(config.total)
    if total is None:
        return inner.with_latency(unbounded("timeout.total is off"))
    return inner if inner.latency.bounded else inner.with_latency(Figure(total))


def check(config: TimeoutConfig) -> list[str]:
    """Sentences about keys that do not fit together; a default that another key makes idle is no mistake."""
    total, usual = seconds(config.total), TimeoutConfig()
    if total is None:
        return []
    set_here = {
        name: text
        for name in ("connect", "first_chunk", "idle")
        if (text := getattr(config, name)) != getattr(usual, name) and (seconds(text) or 0.0) > total
    }
    return [
        f"{name} ({text}) is longer than total ({config.total}): it never applies" for name, text in set_here.items()
    ]


def _cuts(phase: str, site: Site) -> bool:
    """Whether the limit of a phase can be what cuts an attempt: nothing shorter around it does so before."""
    limit, total = seconds(getattr(site.config, phase)), seconds(site.config.total)
    if limit is None or limit >= site.deadline:
        return False
    return phase == "total" or total is None or limit < total


TIMEOUT = PolicyType(
    name="timeout",
    summary="Limits the phases of one attempt: connect, first content, silence, and the whole.",
    rung=Rung.TIMEOUT,
    scope=Scope.TARGET,
    config=TimeoutConfig,
    build=Timeout,
    bound=bound,
    scalar="total",
    raises=(AttemptTimeout, ConnectError, StreamBroken),
    outcomes=(
        outcome(
            "connect",
            "no connection came about in time",
            told(AttemptEnded, "target", cut="connect"),
            possible=lambda site: _cuts("connect", site),
        ),
        outcome(
            "first_chunk",
            "the first content of a stream came too late",
            told(AttemptEnded, "target", cut="first_chunk"),
            possible=lambda site: site.streamed and _cuts("first_chunk", site),
        ),
        outcome(
            "idle",
            "a stream paused for too long",
            told(AttemptEnded, "target", cut="idle"),
            possible=lambda site: site.streamed and _cuts("idle", site),
        ),
        outcome(
            "total",
            "the attempt as a whole took too long",
            told(AttemptEnded, "target", cut="total"),
            possible=lambda site: _cuts("total", site),
        ),
    ),
    examples=(
        Example("An attempt takes at most 40 seconds", "timeout: 40s"),
        Example("A stream must begin soon and never pause long", "timeout: {first_chunk: 20s, idle: 10s, total: 2m}"),
        Example("A stream of any length", "timeout: {total: off}"),
    ),
    check=check,
)
