"""What policies and strategies keep to while they run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.component import PolicyType, Scope, StrategyType
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import Event, ObserverFailed
from wizard_dsl.core.response import Response
from wizard_dsl.core.target import MidStream
from wizard_dsl.strategies.sequential import SEQUENTIAL
from wizard_dsl.testing import virtual
from wizard_dsl.testing._conformance_case import Case, expect, same
from wizard_dsl.testing._conformance_stage import (
    PACE,
    Commit,
    Mood,
    Seen,
    Stage,
    Trace,
    asked,
    forgotten,
    left_behind,
    served,
    settled,
)
from wizard_dsl.testing.cancelling import CancellingLoop, Watch, cancelled_at_every_step
from wizard_dsl.testing.chains import ScriptedChain

Play = Callable[[str], Sequence[Any]]
#: How a chain serves that nobody asked before; computed once.
Fresh = Callable[[], list[Seen]]

_SLOW: Final = "a slow answer"
_ENDINGS: Final = ("completed", "failed", "cancelled", "abandoned")
_FACTS: Final = BoundFacts(deadline=600.0, max_retry_after=300.0)
_DEEP: Final = 7  # attempts that what is called may make
_RESUMING: Final[tuple[MidStream, ...]] = ("restart", "continue")
_STEPS: Final = 100_000  # loop iterations of a run, before it is taken to go on for ever


def running_cases(stage: Stage) -> Iterator[Case]:
    """Every rule on one stage."""

    def case(rule: str, what: str, test: Callable[[], None]) -> Case:
        return Case(stage.component.name, rule, f"{stage.title}{what and ', '}{what}", test)

    table = _Table(stage)
    yield case("unary-is-stream", "", partial(_unary_is_stream, table))
    yield case("observers", "", partial(_observers, table))
    yield case("declared", "", partial(_declared, table))
    yield case("bound", "", partial(_bound, table))
    fresh = cache(lambda: _fresh(stage))
    for ending in _ENDINGS:
        yield case("on-end", ending, partial(_ends_once, stage, ending))
        yield case("gives-back", ending, partial(_gives_back, stage, ending, fresh))
    for title, play, others in _cancelled_plays(stage):
        yield case("cancelled", title, partial(_cancelled, stage, play, others, fresh))
    if len(stage.targets) > 1:
        yield from _resuming_cases(stage, case, fresh)


def _resuming_cases(stage: Stage, case: Callable[..., Case], fresh: Fresh) -> Iterator[Case]:
    """A stream breaks, and the chain goes on with another."""
    for how in _RESUMING:
        resuming = replace(stage, mid_stream=how)
        for ending in ("resumed", "cancelled", "abandoned"):
            yield case("on-end", f"{how}, {ending}", partial(_ends_once, resuming, ending))
            yield case("gives-back", f"{how}, {ending}", partial(_gives_back, resuming, ending, fresh))
        play = _ending_play(stage, "resumed")
        yield case("cancelled", f"while it breaks, and on {how}", partial(_cancelled, resuming, play, 0, fresh))


def plays(stage: Stage) -> list[tuple[str, Play]]:
    """What the targets do: the table of scripts."""
    return [
        ("an answer", stage.forever()),
        (_SLOW, stage.forever(delay="5s")),
        ("503, then an answer", stage.first(503)),
        ("503 again and again", stage.forever(status=503)),
        ("refused, then an answer", stage.first({"refuse": True})),
        ("429 for a second", stage.first({"status": 429, "retry_after": "1s"})),
        ("429 for a minute", stage.first({"status": 429, "retry_after": "1m"})),
        ("429 without a time", stage.first(429)),
        ("an empty answer", stage.first("")),
        ("an error inside a 200", stage.first({"body": '{"error": {"type": "overloaded_error", "message": "no"}}'})),
        ("401", stage.forever(status=401)),
        ("400", stage.forever(status=400)),
        ("the prompt does not fit", stage.forever(status=400, body='{"error": {"code": "context_length_exceeded"}}')),
    ]


def _run(main: Awaitable[Any]) -> Any:
    async def task() -> Any:
        return await main

    return virtual.run(task(), max_steps=_STEPS)


class _Row(msgspec.Struct, frozen=True):
    """One play, asked one way: what was seen, the types of events by path, and the errors the component made."""

    title: str
    seen: Seen
    events: tuple[tuple[str, type[Event]], ...]
    own: tuple[WizardError, ...]


class _Table:
    """One call of a fresh chain for each play; made once, because each is the same every time."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.rows = cache(self._rows)

    def _rows(self, commit: Commit, mood: Mood = "quiet") -> list[_Row]:
        return [self._row(title, play, commit, mood) for title, play in plays(self.stage)]

    def _row(self, title: str, play: Play, commit: Commit, mood: Mood) -> _Row:
        trace = Trace(mood)

        async def main() -> Seen:
            return await asked(self.stage.build(play, trace), self.stage.request("hello"), commit=commit)

        return _row(title, _run(main()), trace)


def _row(title: str, seen: Seen, trace: Trace) -> _Row:
    events = tuple((event.path, type(event)) for event in trace.events)
    return _Row(title, seen, events, tuple(error.with_traceback(None) for error in trace.own))


def _unary_is_stream(table: _Table) -> None:
    for unary, streamed in zip(table.rows("end"), table.rows("content"), strict=True):
        same(f"{unary.title}, streamed", streamed.seen.result, unary.seen.result)


def _observers(table: _Table) -> None:
    for quiet, loud in zip(table.rows("content"), table.rows("content", "raising"), strict=True):
        same(f"{quiet.title}, with observers that raise", loud.seen, quiet.seen)
        same(f"{quiet.title}, events for a sink that raises", loud.events, quiet.events)


# -- what is declared ------------------------------------------------------------------------------------


def _declared(table: _Table) -> None:
    """All plays, and a queue: whatever it emits and raises in them is declared."""
    component = table.stage.component
    bursts = [_run(_burst(table.stage, deadline)) for deadline in (0.0, 0.5, 20.0)]
    for row in (*table.rows("end"), *table.rows("content"), *bursts):
        for path, kind in row.events:
            foreign = not _is_mine(table.stage, path) or kind is ObserverFailed
            known = foreign or kind in component.emits
            expect(known, f"{row.title}: it emitted {kind.__name__}, which is not in `emits`")
        for error in row.own:
            known = any(isinstance(error, each) for each in component.raises)
            name = type(error).__name__
            expect(known, f"{row.title}: it raised {name}, which is not in `raises`: {error}")


def _is_mine(stage: Stage, path: str) -> bool:
    if isinstance(stage.component, PolicyType):
        return path.endswith(f".{stage.component.name}")
    return path == "chains.chain"


async def _burst(stage: Stage, deadline: float) -> _Row:
    """Many slow calls at once, in little time."""
    trace = Trace()
    chain = stage.build(stage.forever(delay="1s"), trace)
    requests = [stage.request(f"call {index}") for index in range(3 * stage.how.at_once)]
    seen = await asyncio.gather(*(asked(chain, each, deadline=deadline) for each in requests))
    return _row(f"many at once, with {deadline:g} s", seen[0], trace)


def _bound(table: _Table) -> None:
    """Where attempts take next to no time of their own, what a run takes is what the component adds."""
    stage = table.stage
    slowest = PACE * len(stage.targets) if isinstance(stage.component, StrategyType) else 0.0
    inner = Bound(attempts=Figure(1), latency=Figure(slowest), cost=Figure(0), tokens=Figure(0))
    bound = _folded(stage, inner)
    expect(isinstance(bound, Bound), f"`bound` returned {bound!r}, which is no Bound")
    unnamed = [name for name in ("attempts", "latency") if _is_unnamed(getattr(bound, name))]
    expect(not unnamed, f"unbounded without a reason, which names the setting that would bound it: {unnamed}")
    deep = _folded(stage, msgspec.structs.replace(inner, attempts=Figure(_DEEP))).attempts.value
    expect(deep >= _DEEP, f"what it calls makes up to {_DEEP} attempts, and its bound says {deep:g}")
    if stage.around:
        return
    for row in table.rows("end"):
        made, took, slow = len(row.seen.attempts), row.seen.elapsed, row.title == _SLOW
        expect(made <= bound.attempts.value, f"{row.title}: {made} attempts, the bound says {bound.attempts.value:g}")
        fits = slow or took <= bound.latency.value + 1e-6
        expect(fits, f"{row.title}: {took:g} s, the bound says {bound.latency.value:g}")


def _is_unnamed(figure: Figure) -> bool:
    return not figure.bounded and not figure.reason


def _folded(stage: Stage, inner: Bound) -> Bound:
    """The bound of the smallest chain."""
    component = stage.component
    config = stage.config
    if not isinstance(component, PolicyType):
        return component.bound(config, [inner] * len(stage.targets), _FACTS)
    if component.scope is Scope.TARGET:
        return SEQUENTIAL.bound(None, [component.bound(config, inner, _FACTS)], _FACTS)
    return component.bound(config, SEQUENTIAL.bound(None, [inner], _FACTS), _FACTS)


# -- how a response ends ---------------------------------------------------------------------------------


def _ending_play(stage: Stage, ending: str) -> Play:
    if ending == "resumed":
        return stage.first({"reply": stage.how.answer, "chunk_every": "1s", "cut_after": 2})
    cut = {"cut_after": 2} if ending == "failed" else {}
    return stage.forever(chunk_every="1s", **cut)


async def _ended(chain: ScriptedChain, stage: Stage, ending: str) -> list[object]:
    """One call that ends so; what its last observer was told."""
    told: list[object] = []
    try:
        response = await chain.handler(stage.request("hello"), chain.run(commit="content"))
    except WizardError:
        return [None]
    response.on_end(told.append)
    if ending == "abandoned":
        await response.next_batch(0) if response.outcome is None else None
        response.close()
    elif ending == "cancelled":
        await _cancel(response, chain)
    else:
        with suppress(WizardError):
            await response.read()
    return told


async def _cancel(response: Response, chain: ScriptedChain) -> None:
    reading = asyncio.ensure_future(response.read())
    await chain.clock.sleep(0.5)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


def _ends_once(stage: Stage, ending: str) -> None:
    _run(_on_end(stage, ending))


async def _on_end(stage: Stage, ending: str) -> None:
    trace = Trace()
    chain = stage.build(_ending_play(stage, ending), trace)
    told = await _ended(chain, stage, ending)
    same("the ends that the caller was told of", len(told), 1)
    await settled(chain)
    expect(not left_behind(chain), left_behind(chain))
    left = await forgotten(chain)
    expect(not left, left)
    for passage in trace.passages:
        side = "above" if passage.above else "below"
        expect(passage.response.outcome is not None, f"a response from {side} never ended: it was {ending} above")
        same(f"the ends of a response {side}", passage.ends, 1)
    for passage in trace.passages:
        inner = [each for each in trace.passages if each.response is passage.response and not each.above]
        if passage.above and inner:
            at = trace.ended.index(passage)
            expect(all(trace.ended.index(each) < at for each in inner), "the outer end was told before the inner one")


# -- what is given back ----------------------------------------------------------------------------------


def _fresh(stage: Stage) -> list[Seen]:
    """How a chain serves that nobody asked before."""

    async def main() -> list[Seen]:
        chain = stage.build(_serving(stage))
        await forgotten(chain)
        return await served(chain, stage)

    seen: list[Seen] = _run(main())
    return seen


def _serving(stage: Stage) -> Play:
    return stage.forever(delay="1s", chunk_every="1s")


def _same_service(stage: Stage, got: list[Seen], wanted: list[Seen]) -> None:
    learns = stage.how.learns(stage.config)
    for index, (one, other) in enumerate(zip(got, wanted, strict=True)):
        what = f"call {index} of {len(got)} at once, afterwards"
        same(what, one.result, other.result) if learns else same(what, one, other)


def _gives_back(stage: Stage, ending: str, fresh: Fresh) -> None:
    async def main() -> list[Seen]:
        chain = stage.build(_ending_play(stage, ending))
        await _ended(chain, stage, ending)
        left = await forgotten(chain)
        expect(not left, left)
        _replay(chain, stage)
        return await served(chain, stage)

    _same_service(stage, _run(main()), fresh())


def _replay(chain: ScriptedChain, stage: Stage) -> None:
    """From now on the targets answer."""
    for name, script in chain.scripts.items():
        script.replace(stage.script(_serving(stage), name))


def _cancelled_plays(stage: Stage) -> Iterator[tuple[str, Play, int]]:
    """What is cancelled: a title, the scripts, and how many others are asking at the same time."""
    yield "while it answers", stage.forever(delay="1s", chunk_every="1s"), 0
    yield "while it fails and is repeated", stage.first(503, {"status": 429, "retry_after": "1s"}), 0
    if not stage.around and not stage.shared:
        yield "while others ask", stage.forever(delay="1s"), stage.how.at_once


def _cancelled(stage: Stage, play: Play, others: int, fresh: Fresh) -> None:
    wanted = fresh()

    async def story(watch: Watch) -> bool:
        chain = stage.build(play)
        asking = [asyncio.ensure_future(asked(chain, stage.request(f"other {each}"))) for each in range(others)]
        await chain.clock.sleep(0)
        task = watch(asked(chain, stage.request("hello"), commit="content"))
        await asyncio.wait([task])
        if not _was_struck():
            await asyncio.gather(*asking)
            return False
        expect(task.cancelled(), f"it was cancelled, and ended with {_how(task)}")
        await asyncio.gather(*asking)
        await settled(chain)
        expect(not left_behind(chain), left_behind(chain))
        left = await forgotten(chain)
        expect(not left, left)
        _replay(chain, stage)
        _same_service(stage, await served(chain, stage), wanted)
        return True

    cancelled_at_every_step(story)


def _was_struck() -> bool:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CancellingLoop)
    loop.victim = None
    return loop.struck


def _how(task: asyncio.Task[Any]) -> str:
    if task.cancelled():
        return "a cancellation"
    error = task.exception()
    return repr(error) if error is not None else f"an answer: {task.result()!r}"
