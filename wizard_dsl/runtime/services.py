"""What the runs of one runtime share: keyed state, background work, and the sinks of events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any, TypeVar

from wizard_dsl.core.clock import Clock
from wizard_dsl.core.events import Event, ObserverFailed
from wizard_dsl.core.run import Run

T = TypeVar("T")
EventSink = Callable[[Run, Event], None]

#: Background work is awaited this long when a runtime closes, in seconds; then it is cancelled.
GRACE = 1.0


class SharedState:
    """One value a kind and key; see core.node.Shared."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], Any] = {}

    def state(self, kind: str, key: str, make: Callable[[], T]) -> T:
        found: T | None = self._values.get((kind, key))
        if found is None:
            found = self._values[kind, key] = make()
        return found

    async def close(self) -> None:
        """Close what can be closed (a loaded model, say): values with a coroutine method `aclose`. One that raises
        keeps none from being closed."""
        async with AsyncExitStack() as stack:
            for value in self._values.values():
                closing = getattr(value, "aclose", None)
                if closing is not None:
                    stack.push_async_callback(closing)

    def of_plugins(self) -> list[Any]:
        """All values of the kinds of plug-ins, which have a dot in their names."""
        return [value for (kind, _), value in self._values.items() if "." in kind]

    def of(self, kind: str) -> dict[str, Any]:
        """All values of a kind, by key: what is looked at from outside."""
        return {key: value for (each, key), value in self._values.items() if each == kind}


class Background:
    """Tracked tasks: nothing is left behind when the runtime closes."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin it, unless the runtime is closed: then it is dropped."""
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def running(self) -> frozenset[asyncio.Task[None]]:
        """What was begun and has not ended."""
        return frozenset(self._tasks)

    async def close(self) -> None:
        """Wait up to GRACE for what still runs, then cancel it. What is begun by then, such as giving back the lease
        of what was cancelled, has as long."""
        await self._drain()
        self._closed = True
        await self._drain()

    async def _drain(self) -> None:
        if not self._tasks:
            return
        pending = (await asyncio.wait(self._tasks, timeout=GRACE))[1]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def emitter(
    clock: Clock, sinks: Sequence[EventSink], counters: Mapping[type[Event], EventSink] = MappingProxyType({})
) -> Callable[[Run, Event], None]:
    """Writes each event into its run's transcript, with the time, hands it to the one of `counters` for its type, and
    to all `sinks` that take its type. A sink that raises stands in the transcript, and changes nothing else: events are
    emitted where leases and places are held."""

    now = clock.now
    listeners: dict[type[Event], tuple[EventSink, ...]] = {}
    known = listeners.get

    def listening(kind: type[Event]) -> tuple[EventSink, ...]:
        counter = (counters[kind],) if kind in counters else ()
        found = listeners[kind] = (*counter, *(sink for sink in sinks if takes(sink, kind)))
        return found

    def emit(run: Run, event: Event) -> None:
        transcript, scope, kind = run.transcript, run.scope, type(event)
        place = scope.step if scope.item is None else scope.place
        at = now() - transcript.started
        transcript.events.append((at, place, event))
        hears = known(kind)
        for sink in listening(kind) if hears is None else hears:
            try:
                sink(run, event)
            except Exception as error:
                transcript.events.append((at, place, ObserverFailed(path=event.path, error=repr(error))))

    return emit


def takes(sink: EventSink, kind: type[Event]) -> bool:
    """Whether a sink has any use for events of `kind`: it says so by `takes(kind)`, where it has that, and always the
    same. One that cannot say gets them all."""
    says = getattr(sink, "takes", None)
    try:
        return says is None or says(kind)
    except Exception:  # emitting changes nothing else; it is as a sink that says nothing
        return True
