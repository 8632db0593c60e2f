"""Admission: how many calls get in at all, for everybody, for a pipeline, or for a session.

A call takes from each limit that is set, once: what it does inside – repairs, repeats, fallbacks, hedges – takes
nothing more, and a cache hit, which is answered before, takes nothing. It gets all or none: where one limit refuses,
what the others gave is given back. The narrowest limit is asked first, so that a call that waits for its session
holds nothing that others could use. Calls without a session are not limited by `session`.

The limits work as those of `rate_limit`. LLM tokens are reserved for the call as a whole, and become what all of its
attempts used. A call that sent nothing gives everything back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Example, PolicyConfig, PolicyType, Rung, Scope
from wizard_dsl.core.errors import DeadlineExceeded, RateLimitExceeded
from wizard_dsl.core.events import LimitRefused, LimitWaited, RateLimitApproaching
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import OutcomeType, Site, outcome, told
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Attempt, Run
from wizard_dsl.policies._limited import LimitConfig, can_be_near, contradictions, may_wait, reservation_of
from wizard_dsl.policies._line import Taken
from wizard_dsl.policies._nearness import Nearness
from wizard_dsl.policies._queueing import bound_waiting
from wizard_dsl.policies._shared_limits import line_of, waiting_of

if TYPE_CHECKING:
    from wizard_dsl.policies._shared_limits import LimitLine


class AdmissionConfig(PolicyConfig, frozen=True):
    """The keys of `admission`."""

    everybody: Annotated[LimitConfig | msgspec.UnsetType, Meta(description="all calls of the runtime")] = msgspec.field(
        default=msgspec.UNSET, name="global"
    )
    pipeline: Annotated[LimitConfig | msgspec.UnsetType, Meta(description="all calls of this pipeline")] = msgspec.UNSET
    session: Annotated[LimitConfig | msgspec.UnsetType, Meta(description="the calls of each session")] = msgspec.UNSET


class Sessions:
    """A line for each session; one in which nothing is taken is as good as none, and is forgotten."""

    __slots__ = ("_lines", "_make", "_sweep_at", "of")

    def __init__(self, make: Callable[[str], LimitLine]) -> None:
        self._make = make
        self._lines: OrderedDict[str, LimitLine] = OrderedDict()
        self._sweep_at = 64

    def line(self, session: str, now: float) -> LimitLine:
        found = self._lines.get(session)
        if found is None:
            if len(self._lines) >= self._sweep_at:
                self._lines = OrderedDict((key, line) for key, line in self._lines.items() if not line.is_idle(now))
                self._sweep_at = max(64, 2 * len(self._lines))
            found = self._lines[session] = self._make(session)
        return found

    def __iter__(self) -> Iterator[LimitLine]:
        return iter(self._lines.values())


class Part:
    """One of the limits: whose line a run stands in, and what a call takes of it."""

    __slots__ = ("_find", "_near", "_now", "_reserve", "_waiting")

    def __init__(
        self, name: str, config: LimitConfig, find: Callable[[Run, float], LimitLine | None], context: BuildContext
    ) -> None:
        self._find = find
        self._now = context.clock.now
        self._reserve = reservation_of(config, name, context)
        self._waiting = waiting_of(name, config, context)
        self._near = Nearness(name, config.warn_at, context)

    async def enter(self, request: Request, run: Run) -> tuple[LimitLine, Taken] | None:
        """What the call took, and where; None where the limit does not apply. Raises as Waiting.turn."""
        now = self._now()
        line = self._find(run, now)
        if line is None:
            return None
        tokens = 0 if self._reserve is None else self._reserve.tokens(request)
        taken = line.take(now, tokens)
        if taken is None:
            taken = await self._waiting.turn(line, run, now, tokens)
        self._near.look(line, run, self._now())
        return line, taken


class Admission:
    """Takes a turn in each limit, then calls."""

    __slots__ = ("_next", "_parts")

    def __init__(self, config: AdmissionConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._parts = tuple(_parts(config, context))

    async def call(self, request: Request, run: Run) -> Response:
        """Raises RateLimitExceeded and what Waiting.turn raises; then what comes from below."""
        held: list[tuple[LimitLine, Taken]] = []
        begun = len(run.transcript.attempts)
        try:
            for part in self._parts:
                entered = await part.enter(request, run)
                if entered is not None:
                    held.append(entered)
            response = await self._next(request, run)
        except BaseException:
            _leave(held, run, begun)
            raise
        response.on_end(lambda outcome: _leave(held, run, begun))
        return response


def _leave(held: list[tuple[LimitLine, Taken]], run: Run, begun: int) -> None:
    """Give back what a call took that sent nothing; else count the LLM tokens that its attempts used."""
    rows = [row for row in run.transcript.attempts[begun:] if row.step == run.scope.step and row.item == run.scope.item]
    sent = not all(map(_never_sent, rows))
    used = sum(row.usage.input_tokens + row.usage.output_tokens for row in rows if row.usage is not None)
    for line, taken in reversed(held):
        if not sent:
            line.give(taken)
        elif taken.tokens:
            line.settle(taken, used)


def _never_sent(row: Attempt) -> bool:
    return row.kind == "connect" and row.confidence == "reported"


def _parts(config: AdmissionConfig, context: BuildContext) -> Iterator[Part]:
    """The limits that are set, the narrowest first."""
    program = context.scope_key.partition(":chains.")[0]

    def line(part: str, own: LimitConfig, of: str) -> LimitLine:
        return line_of(own, context, of, name=f"admission.{part}", of=of)

    def single(part: str, own: LimitConfig, of: str) -> Callable[[Run, float], LimitLine]:
        found = context.shared.state("admission", f"{part}:{of}", lambda: line(part, own, of))
        return lambda run, now: found

    if isinstance(config.session, LimitConfig):
        own = config.session
        sessions = context.shared.state(
            "admission_sessions", "", lambda: Sessions(lambda each: line("session", own, each))
        )
        yield Part("admission.session", own, lambda run, now: _of_session(sessions, run, now), context)
    if isinstance(config.pipeline, LimitConfig):
        yield Part("admission.pipeline", config.pipeline, single("pipeline", config.pipeline, program), context)
    if isinstance(config.everybody, LimitConfig):
        yield Part("admission.global", config.everybody, single("global", config.everybody, ""), context)


def _of_session(sessions: Sessions, run: Run, now: float) -> LimitLine | None:
    session = run.scope.session
    return None if session is None else sessions.line(session, now)


def _set(config: AdmissionConfig) -> Iterator[tuple[str, LimitConfig]]:
    for part, own in (("global", config.everybody), ("pipeline", config.pipeline), ("session", config.session)):
        if isinstance(own, LimitConfig):
            yield part, own


def parts(config: AdmissionConfig) -> dict[str, Any]:
    """The limits with one state for many chains."""
    return dict(_set(config))


def bound(config: AdmissionConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """A call may wait for the max_wait of each, else up to the deadline."""
    for part, own in _set(config):
        inner = bound_waiting(f"admission.{part}", own.max_wait or None, inner, facts)
    return inner


def check(config: AdmissionConfig) -> list[str]:
    """Sentences about keys that do not fit together."""
    found = [f"{part}: {sentence}" for part, own in _set(config) for sentence in contradictions(own)]
    return found or ([] if parts(config) else ["no limit is set; write global, pipeline or session"])


def _outcomes() -> Iterator[OutcomeType]:
    """Those of each limit that may be set."""
    for part in ("global", "pipeline", "session"):

        def fits(site: Site, ask: Callable[[LimitConfig], bool], part: str = part) -> bool:
            own = parts(site.config).get(part)
            return own is not None and ask(own)

        limit = f"admission.{part}"
        yield outcome(
            f"{part}_waited",
            f"a call waited for its turn in `{part}`",
            told(LimitWaited, limit=limit),
            possible=partial(fits, ask=may_wait),
        )
        yield outcome(
            f"{part}_refused",
            f"no turn in `{part}` came in time: the call was refused",
            told(LimitRefused, limit=limit),
            possible=partial(fits, ask=lambda own: True),
        )
        yield outcome(
            f"{part}_near",
            f"the limit `{part}` was nearly used up, and that was told",
            told(RateLimitApproaching, limit=limit),
            possible=partial(fits, ask=can_be_near),
        )


ADMISSION = PolicyType(
    name="admission",
    summary="Limits the calls of everybody, of a pipeline, or of a session; each logical call counts once.",
    rung=Rung.ADMISSION,
    scope=Scope.CALL,
    config=AdmissionConfig,
    build=Admission,
    bound=bound,
    parts=parts,
    emits=(LimitWaited, LimitRefused, RateLimitApproaching),
    outcomes=tuple(_outcomes()),
    raises=(RateLimitExceeded, DeadlineExceeded),
    examples=(
        Example("Fifty calls a second, whoever asks", "admission: {global: {rate: 50/s, burst: 100}}"),
        Example(
            "No session takes more than its share, and none waits for it",
            'admission: {session: {windows: ["20/minute", "50000 tokens/hour"], max_wait: 0s}}',
        ),
    ),
    check=check,
)
