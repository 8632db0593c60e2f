"""A cache over one scripted target, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from wizard_dsl.core.attempt import AttemptFrame
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import ServerError
from wizard_dsl.core.events import Event
from wizard_dsl.core.messages import Completion, Delta, Request, Usage, message
from wizard_dsl.core.node import BuildContext, Store
from wizard_dsl.core.response import Response, Served
from wizard_dsl.core.rng import Chance
from wizard_dsl.core.run import Call, Run, Scope, Transcript
from wizard_dsl.core.target import Chain, Target, TargetState
from wizard_dsl.policies.cache import Cache, CacheConfig
from wizard_dsl.stores._open import StoreSet

USAGE = Usage(7, 3)
ASK = Request(messages=(message("user", "hi"),))

#: One step of an answer: seconds to wait, then a text, the end (None), or an error.
Step = tuple[float, str | Exception | None]
SPEAKS: list[Step] = [(1.0, "a"), (1.0, "b"), (1.0, "c"), (0.0, None)]


class Speaker:
    """A source that keeps its times: a read that is cancelled loses nothing."""

    def __init__(self, steps: list[Step], finish: str = "stop") -> None:
        self._clock = LoopClock()
        self._steps = list(steps)
        self._finish = finish
        self._due: float | None = None
        self._pending: asyncio.Future[None] | None = None
        self.done = False
        self.aborts: list[BaseException | None] = []

    async def read_batch(self) -> list[Delta]:
        if self.aborts:
            raise ServerError("aborted")
        if not self._steps:
            return []
        await self._wait(self._steps[0][0])
        if self.aborts:
            raise ServerError("aborted")
        _, what = self._steps.pop(0)
        self._due = None
        if isinstance(what, Exception):
            raise what
        if what is None:
            self.done = True
            return [Delta(finish_reason=self._finish, usage=USAGE)]
        return [Delta(text=what)]

    async def _wait(self, delay: float) -> None:
        if self._due is None:
            self._due = self._clock.now() + delay
        self._pending = self._clock.future()
        timer = self._clock.call_at(self._due, self._wake)
        try:
            await self._pending
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._pending is not None and not self._pending.done():
            self._pending.set_result(None)

    def abort(self, reason: BaseException | None) -> None:
        self.aborts.append(reason)
        self._wake()


class States:
    def __init__(self) -> None:
        self._values: dict[tuple[str, str], Any] = {}

    def state(self, kind: str, key: str, make: Callable[[], Any]) -> Any:
        if (kind, key) not in self._values:
            self._values[kind, key] = make()
        return self._values[kind, key]


@dataclass
class Bench:
    """`scripts` are used one per call of the target, the last again and again."""

    scripts: list[list[Step]] = field(default_factory=lambda: [SPEAKS])
    position: int = 0
    finish: str = "stop"
    answer: Completion | None = None
    store: Store | None = None
    stores: Any = None
    fingerprint: str = "model-1"
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = LoopClock()
        self.calls = 0
        self.sources: list[Speaker] = []
        self.background: list[asyncio.Future[None]] = []
        self.events: list[tuple[str, Event]] = []
        self.shared = States()
        self.stores = self.stores or StoreSet(None, self.clock)
        target = Target("scripted", self.position, TargetState("scripted"))
        context = BuildContext(
            path="chains.main.cache",
            clock=self.clock,
            chance=Chance(0, "chains.main.cache"),
            emit=lambda run, event: self.events.append((run.scope.run_id, event)),
            shared=self.shared,
            stores=self,
            http=None,
            spawn=lambda work: self.background.append(asyncio.ensure_future(work)),
            chain=Chain("main"),
            target=target,
            fingerprint=self.fingerprint,
        )
        self.frame = AttemptFrame(self.provide, context, {}, None)
        config = msgspec.convert(self.config, CacheConfig)
        self.cache = Cache(config, self.serve, replace(context, target=None))

    def open(self, *args: Any, **kwargs: Any) -> Store:
        return self.stores.open(*args, **kwargs) if self.store is None else self.store

    async def serve(self, request: Request, run: Run) -> Response:
        response = await self.frame.call(request, run)
        response.served.target = "scripted"
        response.served.position = self.position
        response.served.fallback = self.position > 0
        return response

    async def provide(self, request: Request, run: Run) -> Response:
        self.calls += 1
        if self.answer is not None:
            return Response.complete(self.answer)
        source = Speaker(self.scripts[min(self.calls, len(self.scripts)) - 1], self.finish)
        self.sources.append(source)
        return await Response.open(source, run.commit, clock=self.clock)

    def run(self, name: str = "r", *, deadline: float = 600.0, commit: str = "end", **changes: Any) -> Run:
        scope = {key: changes.pop(key) for key in ("session", "principal", "repeat") if key in changes}
        now = self.clock.now()
        return Run(
            scope=Scope(run_id=name, **scope),
            deadline=now + deadline,
            transcript=Transcript(now),
            call=Call(),
            commit=commit,
            **changes,
        )

    async def ask(self, request: Request = ASK, run: Run | None = None, **options: Any) -> str:
        """The whole text."""
        _, text = await self.ask_served(request, run, **options)
        return text

    async def ask_served(self, request: Request = ASK, run: Run | None = None, **options: Any) -> tuple[Served, str]:
        response = await self.cache.call(request, run or self.run(**options))
        async with response:
            return response.served, (await response.read()).text

    def names(self, run: str | None = None) -> list[str]:
        return [event.name for who, event in self.events if run in (None, who) and event.name.startswith("cache_")]

    @property
    def open_flights(self) -> int:
        return len(self.cache._flights._open)
