"""A policy or a strategy on its stage: a scripted chain around it, and spies above and below.

The spies see what passes, and change nothing: `Trace` knows which responses came from below and which left above,
how often each ended and in which order, which errors the component made itself, and which targets were entered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.component import PolicyType, Scope, StrategyType
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.events import Event, ObserverFailed
from wizard_dsl.core.messages import Completion, Request, message
from wizard_dsl.core.node import Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import MidStream
from wizard_dsl.core.units import parse_duration
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.deadline import DEADLINE
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.runtime.services import Background
from wizard_dsl.testing._conformance_declared import settings_of
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.scripted import Item, read_item
from wizard_dsl.testing.shared import MemoryKeeper
from wizard_dsl.testing.virtual import VirtualLoop

Commit = Literal["content", "end"]
#: Whether a response's end may be seen by an observer that raises.
Mood = Literal["quiet", "raising"]

_LADDER: Final[tuple[Policy, ...]] = (
    (DEADLINE, {"after": "5m"}),
    (RETRY, {}),
    (RETRY_BUDGET, {}),
    (RATE_LIMIT, {"rate": "50/s", "burst": 50}),
    (CONCURRENCY, {"limit": 50}),
    (CIRCUIT_BREAKER, {}),
    (TIMEOUT, {}),
)
#: Calls at once where state is shared: who waits for a place of all processes asks again and again.
_FEW: Final = 4
#: What a policy may remember is forgotten after that many seconds.
LONG: Final = 172_800.0
#: How much later than the one before it each target of a strategy answers, in seconds.
PACE: Final = 0.25


class Passage:
    """One response that passed a spy; `ends` counts how often its end was told."""

    __slots__ = ("above", "ends", "response")

    def __init__(self, response: Response, above: bool) -> None:
        self.response = response
        self.above = above
        self.ends = 0


class Trace(msgspec.Struct):
    """What the spies of one chain saw. `own` are errors that did not come from below, `steps` what was entered and
    left, by position: (position, None) is an entry, (position, error) a failure."""

    mood: Mood = "quiet"
    passages: list[Passage] = []
    ended: list[Passage] = []
    own: list[WizardError] = []
    below: list[BaseException] = []
    steps: list[tuple[int, WizardError | None]] = []
    events: list[Event] = []

    def sink(self, run: Run, event: Event) -> None:
        """Keeps each event; raises where observers do."""
        if not isinstance(event, ObserverFailed):
            self.events.append(event)
        if self.mood == "raising":
            raise RuntimeError("this sink raises")

    def passed(self, response: Response, *, above: bool) -> None:
        passage = Passage(response, above)
        self.passages.append(passage)

        def over(outcome: object) -> None:
            passage.ends += 1
            self.ended.append(passage)
            if self.mood == "raising":
                raise RuntimeError("this on_end raises")

        def shown(batch: object) -> None:
            raise RuntimeError("this on_delta raises")

        response.on_end(over)
        if self.mood == "raising":
            response.on_delta(shown)

    @property
    def entered(self) -> list[int]:
        """The positions of the targets that were entered."""
        return [position for position, error in self.steps if error is None]


class _Below:
    """Stands between the component and the next handler."""

    def __init__(self, next: Handler, trace: Trace, position: int) -> None:
        self._next, self._trace, self._position = next, trace, position

    async def call(self, request: Request, run: Run) -> Response:
        trace = self._trace
        trace.steps.append((self._position, None))
        try:
            response = await self._next(request, run)
        except WizardError as error:
            trace.below.append(error)
            trace.steps.append((self._position, error))
            raise
        trace.passed(response, above=False)
        return response


class _Above:
    """Stands between the component and who calls it."""

    def __init__(self, next: Handler, trace: Trace) -> None:
        self._next, self._trace = next, trace

    async def call(self, request: Request, run: Run) -> Response:
        try:
            response = await self._next(request, run)
        except WizardError as error:
            if not any(error is each for each in self._trace.below):
                self._trace.own.append(error)
            raise
        self._trace.passed(response, above=True)
        return response


def _spied_policy(type: PolicyType, trace: Trace) -> PolicyType:
    if type.scope is Scope.CHAIN:
        return type

    def build(config: Any, next: Handler, context: Any) -> Any:
        position = context.target.position if context.target is not None else 0
        node = type.build(config, _Below(next, trace, position).call, context)
        return _Above(node.call, trace)

    return replace(type, build=build)


def _spied_strategy(type: StrategyType, trace: Trace) -> StrategyType:
    def build(config: Any, branches: Sequence[Any], context: Any) -> Any:
        spied = [replace(each, handler=_Below(each.handler, trace, each.target.position).call) for each in branches]
        return _Above(type.build(config, spied, context).call, trace)

    return replace(type, build=build)


def ask_text(text: str) -> Request:
    """What is asked unless an author says otherwise."""
    return Request(messages=(message("user", text),))


class How(msgspec.Struct, frozen=True, kw_only=True):
    """What an author may say: see wizard_dsl.testing.conformance."""

    configs: Sequence[Mapping[str, Any]] = ()
    request: Callable[[str], Request] = ask_text
    answer: str = "one two three four"
    at_once: int = 12
    learns: Callable[[Any], bool] = lambda config: False


class Stage(msgspec.Struct, frozen=True):
    """One config of a component in one surrounding, over these targets. `shared`: its state is kept elsewhere, as where
    several processes share it; `mid_stream` is what the chain does where a stream breaks."""

    component: PolicyType | StrategyType
    title: str
    raw: Mapping[str, Any]
    around: tuple[Policy, ...]
    targets: tuple[str, ...]
    how: How
    shared: bool = False
    mid_stream: MidStream = "fail"

    @property
    def config(self) -> Any:
        """The config, as the component gets it."""
        return msgspec.convert(dict(self.raw), self.component.config)

    def request(self, text: str) -> Request:
        """What is asked, told apart by `text`."""
        return self.how.request(text)

    def build(self, play: Callable[[str], Sequence[Any]], trace: Trace | None = None) -> ScriptedChain:
        """A fresh chain whose targets play their scripts."""
        trace = trace or Trace()
        scripts = {name: self.script(play, name) for name in self.targets}
        more: dict[str, Any] = {"sinks": (trace.sink,), "on_mid_stream_error": self.mid_stream}
        if self.shared:
            more["state"] = MemoryKeeper(LoopClock()).member()
        if isinstance(self.component, StrategyType):
            strategy = _spied_strategy(self.component, trace)
            return build_chain(scripts, self.around, strategy=strategy, strategy_config=self.raw, **more)
        policies = [*self.around, (_spied_policy(self.component, trace), self.raw)]
        return build_chain(scripts, policies, **more)

    def script(self, play: Callable[[str], Sequence[Any]], name: str) -> Sequence[Any]:
        """The script of one target. Under a strategy each has a pace of its own, so that no two of them, asked at the
        same time, end at the same."""
        items = play(name)
        if isinstance(self.component, PolicyType):
            return items
        return [_slower(read_item(each), PACE * (1 + self.targets.index(name))) for each in items]

    def forever(self, **item: Any) -> Callable[[str], Sequence[Any]]:
        """A script for all targets of one item, the answer if it says nothing else, as often as it is asked."""
        return lambda name: [{"reply": self.how.answer, "times": "forever", **item}]

    def first(self, *items: Any) -> Callable[[str], Sequence[Any]]:
        """A script for all targets: `items`, then the answer as often as it is asked."""
        return lambda name: [*items, *self.forever()(name)]


def _slower(item: Item, seconds: float) -> Item:
    return msgspec.structs.replace(item, delay=f"{parse_duration(item.delay) + seconds:g}s")


def policy_stages(component: PolicyType, how: How) -> Iterator[Stage]:
    """Each config in the smallest chain, with state of its own or, where it can be, shared, and in a full ladder over
    two targets."""
    ladder = tuple(each for each in _LADDER if each[0].name != component.name)
    for title, raw in _settings(component, how.configs):
        alone = Stage(component, f"{title}, alone", raw, (), ("a",), how)
        yield alone
        if component.shared_state:
            few = msgspec.structs.replace(how, at_once=min(how.at_once, _FEW))
            yield replace(alone, title=f"{title}, shared", shared=True, how=few)
        yield Stage(component, f"{title}, in a ladder", raw, ladder, ("a", "b"), how)


def strategy_stages(component: StrategyType, how: How) -> Iterator[Stage]:
    """Each config over three targets, without policies and in a full ladder."""
    for title, raw in _settings(component, how.configs):
        yield Stage(component, f"{title}, alone", raw, (), ("a", "b", "c"), how)
        yield Stage(component, f"{title}, in a ladder", raw, _LADDER, ("a", "b", "c"), how)


def _settings(
    component: PolicyType | StrategyType, configs: Sequence[Mapping[str, Any]]
) -> list[tuple[str, Mapping[str, Any]]]:
    own = [(f"config {index}", raw) for index, raw in enumerate(configs, 1)]
    return [*settings_of(component), *own]


class Seen(msgspec.Struct, frozen=True):
    """How one call went: its answer, or the class, kind and marks of its error; the attempts, and how long it took."""

    text: str | None
    error: tuple[str, str, tuple[str, ...]] | None
    attempts: tuple[tuple[str, str | None, int | None], ...]
    elapsed: float

    @property
    def result(self) -> tuple[Any, ...]:
        """All but the time."""
        return self.text, self.error, self.attempts


async def asked(chain: ScriptedChain, request: Request, *, commit: Commit = "end", **options: Any) -> Seen:
    """Ask, read to the end, and note how it went."""
    run = chain.run(commit=commit, **options)
    began = chain.clock.now()
    answer: Completion | None = None
    error: tuple[str, str, tuple[str, ...]] | None = None
    try:
        async with await chain.handler(request, run) as response:
            answer = await response.read()
    except WizardError as failed:
        error = (type(failed).__name__, failed.kind, tuple(failed.marks))
    rows = tuple((row.target, row.kind, row.status) for row in run.transcript.attempts)
    return Seen(answer.text if answer is not None else None, error, rows, round(chain.clock.now() - began, 6))


def left_behind(chain: ScriptedChain) -> str:
    """Tasks that nobody waits for, and timers that nothing needs; empty where there are none."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    tracked = chain.shared.state("background", "", Background).running
    tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task() and each not in tracked]
    if tasks:
        return f"tasks are left: {[each.get_coro() for each in tasks]}"
    if not tracked and loop.timers():
        return f"timers are left: {loop.timers()}"
    return ""


async def settled(chain: ScriptedChain) -> None:
    """Let everything that is ready have its turn."""
    for _ in range(10):
        await chain.clock.sleep(0)


async def forgotten(chain: ScriptedChain) -> str:
    """Wait until nothing is remembered that may be forgotten; what is left behind even then."""
    await chain.clock.sleep(LONG)
    await settled(chain)
    if chain.shared.state("background", "", Background).running:
        return "work in the background never ends"
    return left_behind(chain)


async def served(chain: ScriptedChain, stage: Stage) -> list[Seen]:
    """As many calls at once as are tried, each of its own text, after one that closes what earlier failures opened.
    Their numbers, which seed chance, do not hang on how many were made before."""
    chain.asked = 1000
    await asked(chain, stage.request("the first of all"))
    calls = (asked(chain, stage.request(f"call {index}")) for index in range(stage.how.at_once))
    return list(await asyncio.gather(*calls))
