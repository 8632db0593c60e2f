"""Runtimes: what many runs share – state, stores, connections, background work – and its lifetime."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.link import Provide, Services, provide_own
from wizard_dsl.core.clock import Clock, LoopClock
from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.events import CacheUnavailable, Event, HistoryUnavailable
from wizard_dsl.core.run import nobody
from wizard_dsl.providers._prices import library
from wizard_dsl.registry import Registry, make_transport
from wizard_dsl.runtime.live import Live
from wizard_dsl.runtime.mocks import provide_missing, provide_mocks
from wizard_dsl.runtime.on_demand import OnDemand
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.recording import Recording, setup_of
from wizard_dsl.runtime.services import Background, EventSink, SharedState, emitter
from wizard_dsl.runtime.statistics import Statistics
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.spec.keeper import MEMORY_STATE, StateHome, state_home
from wizard_dsl.stores._open import StoreSet
from wizard_dsl.stores._open_book import BOOK, open_book
from wizard_dsl.stores._open_state import open_state

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.core.http import Transport
    from wizard_dsl.core.node import Assess
    from wizard_dsl.core.record import Chronicle, Setup


class Runtime:
    """Made and closed by `open`."""

    _recordings: tuple[Recording, ...] = ()

    def __init__(
        self,
        *,
        seed: int,
        folder: Path | None,
        transport: Transport | None,
        sinks: Sequence[EventSink],
        provide: Provide | None,
        assess: Assess | None = None,
        state: StateHome = MEMORY_STATE,
        book: Path | None = None,
        family: str = "",
    ) -> None:
        self.seed = seed
        clock: Clock = LoopClock()
        self._background = Background()
        self._transport = transport if transport is not None else OnDemand(make_transport)
        self._own_transport = transport is None
        virtual = getattr(asyncio.get_running_loop(), "virtual", False)
        self.statistics = Statistics()
        self._emit = emitter(clock, sinks, self.statistics.counters)
        self._state = None if virtual else open_state(state.kind, state.place, clock, self._tell)
        server = state.place if state.kind == "redis" and not virtual else ""
        self.stores = StoreSet(folder, clock, threads=not virtual, server=server if folder else "", family=family)
        self.shared = SharedState()
        if book is not None and not virtual:
            self.shared.state("book", "", lambda: open_book(server, book, clock))
        self.services = Services(
            clock=clock,
            seed=seed,
            emit=self._emit,
            shared=self.shared,
            stores=self.stores,
            http=self._transport,
            spawn=self._background.spawn,
            library=library,
            provide=provide or provide_own,
            assess=assess,
            state=self._state,
        )

    def record(self, history: Chronicle, setup: Setup) -> Recording:
        """What hands runs that ended to `history`; it is closed with the runtime."""
        recording = Recording(history, setup, self.services.clock, self._unrecorded)
        self._recordings = (*self._recordings, recording)
        return recording

    def _unrecorded(self, reason: str) -> None:
        self._tell(HistoryUnavailable(path="history", reason=reason))

    def run_id(self, number: int) -> str:
        """Eight hex digits that name run `number`."""
        return sha256(f"{self.seed}/run/{number}".encode()).hexdigest()[:8]

    async def close(self) -> None:
        """Release everything, whatever fails on the way; background work is awaited for a moment first."""
        async with AsyncExitStack() as stack:
            if self._own_transport:
                stack.push_async_callback(self._transport.close)
            stack.push_async_callback(self._close_stores)
            if self._state is not None:
                stack.push_async_callback(self._state.close)
            stack.push_async_callback(self.shared.close)
            for recording in self._recordings:
                stack.push_async_callback(recording.aclose)
            stack.push_async_callback(self._background.close)

    async def _close_stores(self) -> None:
        """What a store could tell no run any more, the sinks are told, under no run's id."""
        for sentence in await self.stores.close():
            self._tell(CacheUnavailable(path="stores", reason=sentence))

    def _tell(self, event: Event) -> None:
        """What belongs to no run, the sinks get under no run's id."""
        self._emit(nobody(self.services.clock.now()), event)


@asynccontextmanager
async def open(
    path: str | Path,
    *,
    overlays: Sequence[str] = (),
    sets: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    seed: int | None = None,
    mock: bool = False,
    transport: Transport | None = None,
    sinks: Sequence[EventSink] = (),
    provide: Provide | None = None,
    registry: Registry | None = None,
    assess: Assess | None = None,
    history: Chronicle | None = None,
) -> AsyncIterator[Pipeline]:
    """Load, compile and link a pipeline file for many runs.

    `env` are the variables that references see (default: the process's own). With `seed`, chance and run ids
    derive from it. With `mock`, every target is answered by the mock provider. `provide(plan, context)` may put
    another node in a target's place, and returns None to leave it. `sinks` get every event that they take.
    `assess(completion)` judges every answer of a generate step: it returns the reasons why the answer must not be used
    (the run then ends with kind safety), nothing where it may. `history` (`wizard.History()`) records each run once it
    has ended. Raises SpecError with all diagnostics.
    """
    variables = dict(os.environ) if env is None else dict(env)
    kinds = registry or Registry(plugins=variables.get("WIZARD_PLUGINS", "all") != "")
    compiled = compile_file(path, kinds, Sources(overlays=tuple(overlays), sets=tuple(sets), env=variables, mock=mock))
    async with running(
        compiled,
        kinds,
        seed=seed,
        mock=mock,
        transport=transport,
        sinks=sinks,
        provide=provide,
        assess=assess,
        history=history,
    ) as pipeline:
        yield pipeline


@asynccontextmanager
async def running(compiled: Compiled, registry: Registry, **options: Any) -> AsyncIterator[Pipeline]:
    """A compiled file as a running pipeline; closes everything at the end. Options are those of `running_all`."""
    async with running_all([compiled], registry, **options) as (pipeline,):
        yield pipeline


@asynccontextmanager
async def running_all(
    files: Sequence[Compiled],
    registry: Registry,
    *,
    seed: int | None = None,
    mock: bool = False,
    transport: Transport | None = None,
    sinks: Sequence[EventSink] = (),
    provide: Provide | None = None,
    assess: Assess | None = None,
    stored: bool = True,
    history: Chronicle | None = None,
) -> AsyncIterator[list[Pipeline]]:
    """Compiled variants of one file, with one runtime for all: they share limits, breakers, caches and connections.
    `stored` False: no answer comes from a cache that outlives the runtime, and none goes there."""
    programs = [require(each) for each in files]
    first, loaded = programs[0], files[0].loaded
    chosen = int.from_bytes(os.urandom(6), "big") if seed is None else seed
    runtime = Runtime(
        seed=chosen,
        folder=None if mock or not stored else loaded.root / ".wizard" / "cache",
        book=None if mock else loaded.root / BOOK,
        transport=transport,
        sinks=sinks,
        state=MEMORY_STATE if mock else state_home(first.state).below(loaded.root),
        family=first.name,
        provide=provide or (provide_mocks if mock else provide_missing(loaded.keyless)),
        assess=assess,
    )
    try:
        yield [_pipeline(each, runtime, registry, history, mock=mock) for each in files]
    finally:
        await runtime.close()


def _pipeline(
    compiled: Compiled, runtime: Runtime, registry: Registry, history: Chronicle | None, *, mock: bool
) -> Pipeline:
    recording = None
    if history is not None:
        recording = runtime.record(history, setup_of(compiled, seed=runtime.seed, mock=mock))
    return Pipeline(Live(require(compiled), runtime.services, registry), runtime, recording)


def require(compiled: Compiled) -> Program:
    """The program, or SpecError with every diagnostic."""
    if compiled.program is None:
        raise SpecError(render_text(compiled.diagnostics), diagnostics=compiled.diagnostics)
    return compiled.program
