"""Policies of plug-ins, each with a flaw that reads like a slip: what a search has to find."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from wizard_dsl.core.bound import bound_unchanged
from wizard_dsl.core.component import NoConfig, PolicyType, Rung, Scope
from wizard_dsl.core.errors import CircuitOpen, WizardError
from wizard_dsl.core.events import BreakerChanged
from wizard_dsl.core.figures import LimitFigures
from wizard_dsl.core.messages import Completion, Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.registry import Registry


class SecondChance:
    """Waits a minute after a failure and asks once more, however little time is left."""

    def __init__(self, config: NoConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._clock = context.clock

    async def call(self, request: Request, run: Run) -> Response:
        try:
            return await self._next(request, run)
        except WizardError as error:
            if not error.retryable:
                raise
        await self._clock.sleep(60)
        return await self._next(request, run)


class Gate:
    """A breaker of its own, which looks whether it is open at the first attempt of a call alone."""

    def __init__(self, config: NoConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._emit = context.emit
        self._path = context.path
        self._target = context.require_target().name
        self._open = False

    async def call(self, request: Request, run: Run) -> Response:
        if self._open and run.used == 0:
            raise CircuitOpen(f"{self._target} is closed")
        try:
            return await self._next(request, run)
        except WizardError:
            if not self._open:
                self._open = True
                self._emit(run, BreakerChanged(path=self._path, target=self._target, before="closed", after="open"))
            raise


class Places:
    """Two at once."""

    def __init__(self) -> None:
        self.taken = 0

    def figures(self, now: float) -> list[LimitFigures]:
        return [LimitFigures("acme.places", "all", "places", "2", 2, 2 - self.taken, 0, None)]


class Turnstile:
    """Takes a place for each attempt, and gives it back where the attempt answered."""

    def __init__(self, config: NoConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._places = context.shared.state("acme.places", "all", Places)

    async def call(self, request: Request, run: Run) -> Response:
        self._places.taken += 1
        response = await self._next(request, run)
        self._places.taken -= 1
        return response


class Stubborn:
    """Has something to say whatever happens, also to a caller who is gone."""

    def __init__(self, config: NoConfig, next: Handler, context: BuildContext) -> None:
        self._next = next

    async def call(self, request: Request, run: Run) -> Response:
        try:
            return await self._next(request, run)
        except asyncio.CancelledError:
            return Response.complete(Completion(text="Please try again later.", finish_reason="stop"))


def _policy(name: str, build: type, rung: Rung) -> PolicyType:
    return PolicyType(
        name=name,
        summary=str(build.__doc__),
        rung=rung,
        scope=Scope.TARGET,
        config=NoConfig,
        build=build,
        bound=bound_unchanged,
    )


FLAWED = (
    _policy("acme.second_chance", SecondChance, Rung.RETRY),
    _policy("acme.gate", Gate, Rung.CIRCUIT_BREAKER),
    _policy("acme.places", Turnstile, Rung.CONCURRENCY),
    _policy("acme.stubborn", Stubborn, Rung.RETRY),
)


def of_acme() -> Registry:
    """A registry that knows them."""
    announced = [SimpleNamespace(name=each.name, dist=None, load=lambda each=each: each) for each in FLAWED]
    return Registry(scan=lambda group: announced if group == "policies" else [])
