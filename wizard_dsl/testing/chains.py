"""A chain of scripted targets under any policies: what a test of a policy, ours or a plug-in's, needs.

    async def main():
        chain = build_chain({"a": [503, "hello"]}, policies=[(RETRY, {})])
        response = await chain.ask("hi")

    run(main())                                            # wizard_dsl.testing.virtual

The ladder is folded as `link` folds it: policies by their rung, `on_rate_limit` always among them. Stores are in
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec.structs import replace

from wizard_dsl.core.attempt import AttemptFrame
from wizard_dsl.core.clock import Clock, LoopClock
from wizard_dsl.core.component import PolicyType, Scope, StrategyType
from wizard_dsl.core.events import Event
from wizard_dsl.core.messages import Completion, Request, message
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.rng import Chance
from wizard_dsl.core.run import Attempt, Call, Emit, Run, Transcript
from wizard_dsl.core.run import Scope as RunScope
from wizard_dsl.core.state import State
from wizard_dsl.core.target import Branch, Chain, Facts, MidStream, RateLimitRule, Target, TargetState
from wizard_dsl.policies.on_rate_limit import ON_RATE_LIMIT
from wizard_dsl.runtime.services import Background, EventSink, SharedState, emitter
from wizard_dsl.stores._open import StoreSet
from wizard_dsl.strategies._mid_stream import around
from wizard_dsl.strategies.sequential import SEQUENTIAL
from wizard_dsl.testing.scripted import Script, Scripted

#: A policy and the keys a file would give it.
Policy = tuple[PolicyType, Mapping[str, Any]]


class ScriptedChain(msgspec.Struct):
    """A living chain. `transcript` is that of the last `ask`, `scripts` and `targets` are by name."""

    handler: Handler
    chain: Chain
    scripts: dict[str, Script]
    targets: dict[str, Target]
    clock: Clock
    shared: SharedState
    transcript: Transcript
    asked: int = 0

    def run(self, *, commit: Literal["content", "end"] = "end", deadline: float = 600.0, **changes: Any) -> Run:
        """A run that begins now and has `deadline` seconds."""
        now = self.clock.now()
        self.asked += 1
        self.transcript = Transcript(now)
        scope = RunScope(run_id=f"run-{self.asked}", number=self.asked, streams=commit == "content")
        run = Run(scope=scope, deadline=now + deadline, transcript=self.transcript, call=Call(), commit=commit)
        return run.child(**changes)

    async def ask(self, text: str | Request = "hello", **options: Any) -> Response:
        """Open an answer; options are those of `run`."""
        request = text if isinstance(text, Request) else Request(messages=(message("user", text),))
        return await self.handler(request, self.run(**options))

    async def answer(self, text: str | Request = "hello", **options: Any) -> Completion:
        """The whole answer."""
        async with await self.ask(text, **options) as response:
            return await response.read()

    @property
    def attempts(self) -> list[Attempt]:
        return self.transcript.attempts

    def events(self, *types: type[Event]) -> list[Event]:
        """The events of the last run, of these types or of all."""
        return [event for _, _, event in self.transcript.events if not types or isinstance(event, types)]

    def story(self) -> str:
        """The attempts of the last run in one line: `a 503 → a ok → …`; the errors by status, else by kind."""
        return " → ".join(f"{row.target} {(row.kind != 'ok' and row.status) or row.kind}" for row in self.attempts)


def build_chain(
    scripts: Mapping[str, Iterable[Any]],
    policies: Sequence[Policy] = (),
    *,
    overrides: Mapping[str, Sequence[Policy]] | None = None,
    strategy: StrategyType = SEQUENTIAL,
    strategy_config: Mapping[str, Any] | None = None,
    listed: Sequence[str] | None = None,
    facts: Mapping[str, Facts] | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    shared: SharedState | None = None,
    name: str = "chain",
    seed: int = 0,
    rate_limit: RateLimitRule | None = None,
    fallback_on: Mapping[str, bool] | None = None,
    allow_loss: Iterable[str] = (),
    on_mid_stream_error: MidStream = "fail",
    state: State | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    sinks: Sequence[EventSink] = (),
) -> ScriptedChain:
    """Fold `policies` (any scope) around targets that play `scripts`; must be called while a loop runs.

    `overrides` are the policies of single targets, in place of those of target scope, `params` their own parameters,
    `fields` more fields of them, such as `weight`. Chains with the same `shared` state share their targets; those with
    a `state` are like processes that share it. `strategy_config` holds the strategy's keys; `listed` names the targets
    in order, where one may stand twice. `sinks` get every event that they take."""
    clock, shared, branches = LoopClock(), shared or SharedState(), []
    chain = Chain(name, rate_limit or RateLimitRule(), mid_stream=on_mid_stream_error)
    chain.fallback_on, chain.allow_loss = dict(fallback_on or {}), frozenset(allow_loss)
    base = _context(f"chains.{name}", emitter(clock, sinks), clock, shared, chain, seed, state)
    build = _Builder(base, policies, seed)
    played = {each: Script(each, items) for each, items in scripts.items()}
    for position, each in enumerate(played if listed is None else listed):
        target = _target(each, position, shared, facts=facts or {}, params=params or {}, fields=fields or {})
        branches.append(build.branch(target, played[each], (overrides or {}).get(each)))
    config = msgspec.convert(dict(strategy_config or {}), strategy.config)
    handler = build.outer(around(strategy.build(config, branches, base).call, chain, clock))
    targets = {each.target.name: each.target for each in branches}
    return ScriptedChain(handler, chain, played, targets, clock, shared, Transcript(clock.now()))


def _target(
    name: str, position: int, shared: SharedState, fields: Mapping[str, Any], **more: Mapping[str, Any]
) -> Target:
    own = {"facts": Facts(), **{field: by[name] for field, by in more.items() if name in by}, **fields.get(name, {})}
    return Target(name, position, shared.state("target", name, lambda: TargetState(name)), **own)


def _context(
    path: str, emit: Emit, clock: Clock, shared: SharedState, chain: Chain, seed: int, state: State | None
) -> BuildContext:
    absent = cast(Any, None)  # scripted chains have no network
    behind = shared.state("background", "", Background)
    stores = shared.state("stores", "", lambda: StoreSet(None, clock))
    return BuildContext(path, clock, Chance(seed, path), emit, shared, stores, absent, behind.spawn, chain, state=state)


class _Builder:
    """Builds nodes of one chain, in ladder order."""

    def __init__(self, base: BuildContext, policies: Sequence[Policy], seed: int) -> None:
        self._base = base
        self._seed = seed
        self._call = _in_order(policies, Scope.CALL)
        self._target = _in_order(policies, Scope.TARGET)
        for type, raw in _in_order(policies, Scope.CHAIN):
            type.build(msgspec.convert(raw, type.config), None, self._at(base, type))

    def _at(self, context: BuildContext, type: PolicyType, key: str = "") -> BuildContext:
        path = f"{context.path}.{type.name}"
        return replace(context, path=path, chance=Chance(self._seed, path), scope_key=key)

    def branch(self, target: Target, script: Script, own: Sequence[Policy] | None) -> Branch:
        context = replace(self._base, path=f"{self._base.path}.targets[{target.position}]", target=target)
        handler: Handler = AttemptFrame(
            Scripted(script, context.clock).call, context, target.params, target.facts.prices
        ).call
        ladder = self._target if own is None else _in_order(own, Scope.TARGET)
        for type, raw in reversed(_in_order([*ladder, (ON_RATE_LIMIT, {})], Scope.TARGET)):
            config = msgspec.convert(raw, type.config)
            chain = f"{self._base.path}|" if getattr(config, "per", "target") == "chain" else ""
            handler = _built(type.build, config, handler, self._at(context, type, f"{chain}{target.name}"))
        return Branch(target, handler)

    def outer(self, handler: Handler) -> Handler:
        for type, raw in reversed(self._call):
            handler = _built(type.build, msgspec.convert(raw, type.config), handler, self._at(self._base, type))
        return handler


def _built(build: Callable[..., Any], config: Any, next: Handler, context: BuildContext) -> Handler:
    handler: Handler = build(config, next, context).call
    return handler


def _in_order(policies: Sequence[Policy], scope: Scope) -> list[Policy]:
    return sorted((each for each in policies if each[0].scope is scope), key=lambda each: (each[0].rung, each[0].name))
