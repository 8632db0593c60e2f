"""Each rule catches the plug-in that breaks it: a sound one, with one fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from exchanges import CHAT
from msgspec import Meta
from msgspec.structs import replace

from wizard_dsl.core.bound import Bound, Figure, bound_unchanged
from wizard_dsl.core.component import Example, PolicyConfig, PolicyType, ProviderType, Rung, Scope, StoreType
from wizard_dsl.core.errors import AllFallbacksFailed, MalformedResponse, RateLimitExceeded, WizardError
from wizard_dsl.core.events import LimitWaited
from wizard_dsl.core.messages import Completion
from wizard_dsl.core.response import Response
from wizard_dsl.providers.presets import OPENAI
from wizard_dsl.stores.memory import MemoryStore
from wizard_dsl.strategies.sequential import SEQUENTIAL
from wizard_dsl.testing.conformance import Case, cases, check


def breaks(component: Any, rule: str, **how: Any) -> bool:
    """Whether one of the rule's cases fails, and says so."""
    tried = [case for case in cases(component, **how) if case.rule == rule]
    assert tried
    for case in tried:
        try:
            case()
        except AssertionError as error:
            return all(word in str(error) for word in (component.name, rule, "seen: "))
    return False


# -- policies --------------------------------------------------------------------------------------------


class PlacesConfig(PolicyConfig, frozen=True):
    """The keys of `acme.places`."""

    limit: Annotated[int, Meta(ge=1, description="calls at once")] = 2


class Places:
    """At most `limit` calls at once; each waits for its turn, and gives its place back at the end."""

    def __init__(self, config: PlacesConfig, next: Any, context: Any) -> None:
        self.next, self.context, self.free = next, context, config.limit
        self.waiting: list[Any] = []

    async def call(self, request: Any, run: Any) -> Response:
        await self.take(run)
        try:
            response = await self.next(request, run)
        except BaseException:
            self.give()
            raise
        response.on_end(lambda outcome: self.give())
        return response

    async def take(self, run: Any) -> None:
        if self.free:
            self.free -= 1
            return
        turn = self.context.clock.future()
        self.waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn in self.waiting:
                self.waiting.remove(turn)
            else:
                self.give()
            raise

    def give(self) -> None:
        if self.waiting:
            self.waiting.pop(0).set_result(None)
        else:
            self.free += 1


def bound_places(config: PlacesConfig, inner: Bound, facts: Any) -> Bound:
    return inner.with_latency(inner.latency + Figure(facts.deadline, "the queue has no end"))


PLACES = PolicyType(
    name="acme.places",
    summary="Limits how many calls are under way at once.",
    rung=Rung.ADMISSION,
    scope=Scope.CALL,
    config=PlacesConfig,
    build=Places,
    bound=bound_places,
    scalar="limit",
    examples=(Example("One at a time", "acme.places: 1"),),
)


def test_the_sound_policy_breaks_no_rule() -> None:
    check(PLACES)


class ForgetsOnEnd(Places):
    async def call(self, request, run):
        await self.take(run)
        try:
            response = await self.next(request, run)
        except BaseException:
            self.give()
            raise
        if response.outcome is not None:
            self.give()
        return response  # the place of a stream is never given back


class LeaksWhenCancelled(Places):
    async def call(self, request, run):
        await self.take(run)
        try:
            response = await self.next(request, run)
        except Exception:  # and not BaseException
            self.give()
            raise
        response.on_end(lambda outcome: self.give())
        return response


class LeaksInTheQueue(Places):
    async def take(self, run):
        if self.free:
            self.free -= 1
            return
        turn = self.context.clock.future()
        self.waiting.append(turn)
        await turn  # cancelled, it stays in the line


class GivesTwice(Places):
    async def call(self, request, run):
        response = await super().call(request, run)
        response.on_end(lambda outcome: self.give())
        return response


class GivesTwiceOnFailure(Places):
    async def call(self, request, run):
        response = await super().call(request, run)
        response.on_end(lambda outcome: self.give() if outcome.kind != "completed" else None)
        return response


class SwallowsCancellation(Places):
    async def call(self, request, run):
        try:
            return await super().call(request, run)
        except asyncio.CancelledError:
            raise MalformedResponse("no answer") from None


class LeavesATask(Places):
    async def call(self, request, run):
        task = asyncio.ensure_future(super().call(request, run))
        return await asyncio.shield(task)


class LeavesATimer(Places):
    async def call(self, request, run):
        timer = self.context.clock.call_at(self.context.clock.now() + 60, lambda: None)
        response = await super().call(request, run)
        timer.cancel()
        return response


class ShowsACopy(Places):
    """The caller reads another response, whose end does not reach the real one."""

    async def call(self, request, run):
        response = await super().call(request, run)
        if response.outcome is not None:
            return response
        copy = Response(_Batches(response), self.context.clock)
        copy.served, copy._committed = response.served, True
        return copy


class _Batches:
    def __init__(self, of):
        self.of, self.index = of, 0

    @property
    def done(self):
        return self.of.answered

    async def read_batch(self):
        batch = await self.of.next_batch(self.index)
        self.index += 1
        return batch or []

    def abort(self, reason):
        pass


class ChangesTheStream(Places):
    async def call(self, request, run):
        if run.commit == "content":
            return Response.complete(Completion(text="something else", finish_reason="stop"))
        return await super().call(request, run)


class Undeclared(Places):
    async def call(self, request, run):
        self.context.emit(run, LimitWaited(path=self.context.path, limit="acme", seconds=0.0))
        return await super().call(request, run)


class RaisesUndeclared(Places):
    async def take(self, run):
        if not self.free:
            raise RateLimitExceeded("full", limit="acme")
        await super().take(run)


class AsksTwice(Places):
    async def call(self, request, run):
        (await self.next(request, run)).close()
        return await super().call(request, run)


class WaitsLonger(Places):
    async def call(self, request, run):
        await self.context.clock.sleep(10_000.0)
        return await super().call(request, run.child(deadline=run.deadline + 20_000.0))


class HearsObservers(Places):
    async def call(self, request, run):
        seen = len(run.transcript.events)
        response = await super().call(request, run)
        if any(type(event).__name__ == "ObserverFailed" for _, _, event in run.transcript.events[seen:]):
            raise MalformedResponse("an observer failed")
        return response


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (ForgetsOnEnd, "gives-back"),
        (LeaksWhenCancelled, "cancelled"),
        (LeaksInTheQueue, "cancelled"),
        (GivesTwice, "gives-back"),
        (GivesTwiceOnFailure, "gives-back"),
        (SwallowsCancellation, "cancelled"),
        (LeavesATask, "cancelled"),
        (LeavesATimer, "cancelled"),
        (ShowsACopy, "on-end"),
        (ChangesTheStream, "unary-is-stream"),
        (Undeclared, "declared"),
        (RaisesUndeclared, "declared"),
        (AsksTwice, "bound"),
        (WaitsLonger, "bound"),
        (HearsObservers, "observers"),
    ],
)
def test_a_policy_with_a_fault_is_caught(build: Callable[..., Any], rule: str) -> None:
    assert breaks(replace(PLACES, build=build), rule)


class Silent(PolicyConfig, frozen=True):
    """A key without a description."""

    limit: int = 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Acme Places"},
        {"summary": ""},
        {"scalar": "most"},
        {"config": Silent},
        {"examples": (Example("A typing mistake", "acme.places: {limits: 1}"),)},
        {"examples": (Example("No number", "acme.places: many"),)},
        {"check": lambda config: ["one is not enough"] if config.limit == 1 else []},
        {"emits": ("LimitWaited",)},
        {"raises": (ValueError,)},
    ],
    ids=lambda change: f"{next(iter(change))}",
)
def test_a_declaration_with_a_fault_is_caught(change: dict[str, Any]) -> None:
    assert breaks(replace(PLACES, **change), "declaration")


def test_a_bound_that_is_none_or_has_no_reason_is_caught() -> None:
    assert breaks(replace(PLACES, bound=lambda config, inner, facts: None), "bound")
    endless = replace(PLACES, bound=lambda config, inner, facts: inner.with_latency(Figure(float("inf"))))
    assert breaks(endless, "bound")
    assert not breaks(replace(PLACES, bound=bound_unchanged), "bound"), "alone nothing has to wait"


def test_a_bound_that_says_fewer_attempts_than_what_it_calls_makes_is_caught() -> None:
    def once(config: PlacesConfig, inner: Bound, facts: Any) -> Bound:
        return msgspec.structs.replace(inner, attempts=Figure(1))

    assert breaks(replace(PLACES, bound=once), "bound")


class SharedPlaces(Places):
    """Its places are leased from the keeper of a shared state, which is forgotten for a stream."""

    async def call(self, request, run):
        if self.context.state is None:
            return await super().call(request, run)
        return await ForgetsOnEnd.call(self, request, run)


def test_a_policy_that_is_wrong_only_where_its_state_is_shared_is_caught() -> None:
    assert breaks(replace(PLACES, build=SharedPlaces, shared_state=True), "gives-back")
    assert not breaks(replace(PLACES, build=SharedPlaces), "gives-back")


class ForgetsWhatBroke(Places):
    """A place is given back only by an answer that ends well."""

    async def call(self, request, run):
        await self.take(run)
        try:
            response = await self.next(request, run)
        except BaseException:
            self.give()
            raise
        resumes = self.context.chain.resumes
        response.on_end(lambda outcome: None if resumes and outcome.kind == "failed" else self.give())
        return response


def test_a_policy_that_is_wrong_only_where_a_stream_is_resumed_is_caught() -> None:
    assert breaks(replace(PLACES, build=ForgetsWhatBroke, scope=Scope.TARGET, rung=Rung.CONCURRENCY), "gives-back")


class Rounded(PolicyConfig, frozen=True):
    """A config that does not come back as it was."""

    limit: Annotated[float, Meta(description="calls at once")] = 2.0

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 0


def test_a_config_that_does_not_come_back_is_caught() -> None:
    assert breaks(replace(PLACES, config=Rounded, build=lambda config, next, context: Passes(next)), "round-trip")


class Passes:
    """Adds nothing."""

    def __init__(self, next: Any) -> None:
        self.call = next


# -- strategies ------------------------------------------------------------------------------------------


class InOrder:
    """A plain walk, with places to go wrong."""

    forgets = moves_always = ignores_failures = ignores_only = turns = False

    def __init__(self, config, branches, context):
        self.branches = branches

    async def call(self, request, run):
        failed: list[WizardError] = [each.error for each in run.failures]
        given_up = {each.position for each in run.failures}
        tried = []
        for branch in self.branches:
            position = branch.target.position
            if position in given_up and not self.ignores_failures:
                continue
            if run.only not in (None, position) and not self.ignores_only:
                continue
            try:
                response = await branch.handler(request, run)
            except WizardError as error:
                failed.append(error)
                tried.append(position)
                if error.row.fallback == "no" and not self.moves_always:
                    raise
                continue
            return self.serve(response, branch.target, run, failed, tried)
        if len(failed) == 1:
            raise failed[0]
        raise AllFallbacksFailed(failed[::-1] if self.turns else failed, failed[-1])

    def serve(self, response, target, run, failed, tried):
        if not self.forgets:
            from wizard_dsl.core.run import Failure

            served = response.served
            served.target, served.position = target.name, target.position
            new = [Failure(at, "", error) for at, error in zip(tried, failed[len(run.failures) :], strict=True)]
            served.failures = (*run.failures, *new)
        return response


PLAIN = replace(SEQUENTIAL, name="acme.plain", build=InOrder, examples=(Example("Usual", "strategy: acme.plain"),))


def strategy(**faults: bool) -> Any:
    return replace(PLAIN, build=type("Faulty", (InOrder,), faults))


def test_the_sound_strategy_breaks_no_rule() -> None:
    check(PLAIN)


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("ignores_failures", "excluded"),
        ("ignores_only", "only"),
        ("forgets", "served"),
        ("turns", "errors"),
        ("moves_always", "moving"),
    ],
)
def test_a_strategy_with_a_fault_is_caught(fault: str, rule: str) -> None:
    assert breaks(strategy(**{fault: True}), rule)


# -- providers -------------------------------------------------------------------------------------------


class Around:
    """OPENAI's node with a fault."""

    def __init__(self, config, model, context):
        self.node, self.config, self.context = OPENAI.build(config, model, context), config, context

    async def call(self, request, run):
        return await self.node.call(request, run)


class ShowsItsKey(Around):
    async def call(self, request, run):
        try:
            return await self.node.call(request, run)
        except WizardError as error:
            raise type(error)(f"{error.message} ({self.config.api_key})", status=getattr(error, "status", 0)) from None


class CallsAllServerErrors(Around):
    async def call(self, request, run):
        try:
            return await self.node.call(request, run)
        except WizardError as error:
            raise MalformedResponse(error.message) from None


class TakesCutsForAnswers(Around):
    async def call(self, request, run):
        response = await self.node.call(request, run)
        try:
            await response.read()
        except WizardError as error:
            if error.partial is not None:
                return Response.complete(error.partial)
        return response


class TellsTheStreamApart(Around):
    async def call(self, request, run):
        response = await self.node.call(request, run)
        if run.commit == "end":
            return Response.complete(Completion(text=response.outcome.completion.text + "!", finish_reason="stop"))
        return response


class Deaf(Around):
    """A cancelled call reads on in a task of its own."""

    async def call(self, request, run):
        return await asyncio.shield(asyncio.ensure_future(self.node.call(request, run)))


def provider(build: Callable[..., Any] = Around, **changes: Any) -> ProviderType:
    examples = (Example("One", 'type: acme.llm\napi_key: "${env:ACME_KEY}"'),)
    return replace(OPENAI, name="acme.llm", build=build, examples=examples, **changes)


def test_the_sound_provider_breaks_no_rule() -> None:
    check(provider(), exchanges=[CHAT])


@pytest.mark.parametrize(
    ("component", "rule"),
    [
        (provider(ShowsItsKey), "secret"),
        (provider(CallsAllServerErrors), "kinds"),
        (provider(TakesCutsForAnswers), "cut"),
        (provider(TellsTheStreamApart), "exchange"),
        (provider(Deaf), "abort"),
        (provider(endpoint=lambda config: f"https://{config.api_key}@llm.example"), "endpoint"),
        (provider(endpoint=lambda config: ""), "endpoint"),
    ],
    ids=["key", "kinds", "cut", "stream", "deaf", "key-in-endpoint", "no-endpoint"],
)
def test_a_provider_with_a_fault_is_caught(component: ProviderType, rule: str) -> None:
    assert breaks(component, rule, exchanges=[CHAT])


# -- stores ----------------------------------------------------------------------------------------------


def store(kind: type[MemoryStore]) -> StoreType:
    def open(*, folder: Any, max_entries: int, eviction: Any, **more: Any) -> MemoryStore:
        return kind(max_entries, eviction)

    return StoreType("acme.shelf", "Keeps things.", open)


class LosesEmpty(MemoryStore):
    def put(self, key, value):
        if value:
            super().put(key, value)


class NotAtHand(MemoryStore):
    def look(self, key):
        return b"?"


class CountsWhatWasNotThere(MemoryStore):
    async def delete(self, *keys):
        await super().delete(*keys)
        return len(keys)


class KeepsAll(MemoryStore):
    def __init__(self, most, by):
        super().__init__(1000, by)


class LookingIsUse(MemoryStore):
    async def items(self):
        return [(key, await self.get(key)) for key in reversed(await self.keys())]


class ForgetsToCount(MemoryStore):
    def count(self, **added):
        pass


SHELF: dict[int, MemoryStore] = {}


def shared(*, max_entries: int, eviction: Any, clock: Any, **more: Any) -> MemoryStore:
    return SHELF.setdefault(id(clock), MemoryStore(max_entries, eviction))


def test_the_sound_store_breaks_no_rule() -> None:
    check(store(MemoryStore))


@pytest.mark.parametrize(
    ("component", "rule"),
    [
        (store(LosesEmpty), "kept"),
        (store(NotAtHand), "at-hand"),
        (store(CountsWhatWasNotThere), "deleted"),
        (store(KeepsAll), "full"),
        (store(LookingIsUse), "looking"),
        (store(ForgetsToCount), "counted"),
        (StoreType("acme.shelf", "Keeps things.", shared), "apart"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_store_with_a_fault_is_caught(component: StoreType, rule: str) -> None:
    assert breaks(component, rule)


def test_check_names_the_component_the_rule_and_what_was_seen() -> None:
    with pytest.raises(AssertionError, match=r"(?s)acme.places breaks the rule cancelled.*seen: it was cancelled"):
        check(replace(PLACES, build=SwallowsCancellation))


def test_cases_have_names_of_their_own() -> None:
    names = [str(case) for case in cases(PLACES)]
    assert len({*names}) == len(names)
    assert isinstance(cases(PLACES)[0], Case)
