"""Chaos: the phases of a scenario laid over the targets of a real run, below all policies.

A phase counts from the moment its targets are built, which is when the run begins. The attempts that it hits fail as it
says, without the provider being asked, or, where an answer is to break or stop on the way, with what the provider
sent until then; `latency` delays them. All others go to the provider. What is hit is a function of the seed, as in a
simulation; loads, models of latency and provider limits of the scenario play no part.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from wizard_dsl.analysis._draws import draws_of
from wizard_dsl.analysis._faults import Fault, faults, hit
from wizard_dsl.compiler.facts import known_facts
from wizard_dsl.core.component import ModelSpec
from wizard_dsl.core.errors import ServerError, WizardError
from wizard_dsl.core.response import Response
from wizard_dsl.core.units import parse_duration
from wizard_dsl.providers._prices import library
from wizard_dsl.testing.words import lost, pieces_of

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Sequence

    from wizard_dsl.analysis.scenario import Scenario
    from wizard_dsl.compiler.link import Provide
    from wizard_dsl.compiler.program import TargetPlan
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.messages import Delta, Request
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.core.run import Run

_LATENCY: Final = 0


def laid_over(inner: Provide, scenario: Scenario, seed: int) -> Provide:
    """As `inner`, with the scenario's phases over the targets that its patterns match; the first pattern counts."""
    end = parse_duration(scenario.load.duration)

    def provide(plan: TargetPlan, context: BuildContext) -> Node | None:
        pattern = next((each for each in scenario.targets if fnmatchcase(plan.name, each)), None)
        found = [] if pattern is None else faults(scenario.targets[pattern].phases, end)
        node = inner(plan, context)
        if not found:
            return node
        if node is None:
            model = ModelSpec(name=plan.model, target=plan.name, facts=known_facts(plan, library), pool=plan.provider)
            node = plan.type.build(plan.config, model, context)
        return Chaos(node, found, plan.name, seed, context.clock)

    return provide


class Chaos:
    """The node of one target with faults over it."""

    def __init__(self, node: Node, found: Sequence[Fault], name: str, seed: int, clock: Clock) -> None:
        self._node = node
        self._faults = found
        self._name = name
        self._seed = seed
        self._clock = clock
        self._since = clock.now()

    async def call(self, request: Request, run: Run) -> Response:
        """Raises what the phase says, or what the provider raises."""
        now = self._clock.now() - self._since
        draws = draws_of(self._seed, self._name, run, now)
        fault = hit(self._faults, now, draws)
        if fault is None:
            return await self._node.call(request, run)
        if fault.refuses:
            if fault.delay:
                await self._clock.sleep(fault.delay)
            raise fault.error(self._clock)
        if fault.latency is not None:
            await self._clock.sleep(fault.latency.at(draws.pair(_LATENCY)))
        if fault.stall_after == 0:
            await self._clock.future()
        return await self._broken(await self._node.call(request, run), fault, run)

    async def _broken(self, response: Response, fault: Fault, run: Run) -> Response:
        """The provider's answer, cut or held up after so many words."""
        if fault.cut_after is None and fault.stall_after is None:
            return response
        if response.outcome is None:
            source = _Broken(response, fault, self._clock)
            if fault.cut_after == 0:
                source.abort(None)
                raise lost()
            return Response.committed(source, response, clock=self._clock)
        words = len(pieces_of(response.outcome.completion.text))
        if fault.stall_after is not None and fault.stall_after < words:
            await self._clock.future()
        if fault.cut_after is not None and fault.cut_after < words:
            raise lost()
        return response


class _Broken:
    """Reads another response, until as many words have come as its fault allows."""

    def __init__(self, of: Response, fault: Fault, clock: Clock) -> None:
        self._of = of
        self._cut = fault.cut_after
        self._stall = fault.stall_after
        self._clock = clock
        self._index = 0
        self._words = 0
        self._waiter: Future[None] | None = None
        self._reason: BaseException | None = None

    @property
    def done(self) -> bool:
        return self._of.answered and self._index == self._of.batches_seen

    async def read_batch(self) -> list[Delta]:
        if self._cut is not None and self._words >= self._cut:
            self._of.abort(lost())
            raise lost()
        if self._stall is not None and self._words >= self._stall:
            await self._held()
        batch = await self._of.next_batch(self._index)
        if batch is None:
            return []
        self._index += 1
        self._words += sum(len(pieces_of(delta.text)) for delta in batch)
        return batch

    async def _held(self) -> None:
        """For ever; `abort` wakes it."""
        self._waiter = self._clock.future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        raise self._reason if isinstance(self._reason, WizardError) else ServerError("the stream was given up")

    def abort(self, reason: BaseException | None) -> None:
        self._reason = self._reason or reason
        self._of.abort(reason if isinstance(reason, WizardError) else ServerError("the stream was given up"))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
