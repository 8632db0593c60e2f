"""Link: fold a program's policies into bound methods that await each other.

Nothing walks a list at run time. A chain is folded once; the call's own policies are folded on top of it once
for each step that asks it, because the contract belongs to the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from wizard_dsl.compiler.facts import Library, known_facts
from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, Program, TargetPlan, among
from wizard_dsl.core.attempt import AttemptFrame
from wizard_dsl.core.component import ModelSpec
from wizard_dsl.core.node import Assess, BuildContext, Handler
from wizard_dsl.core.rng import Chance
from wizard_dsl.core.target import Branch, Chain, Target, TargetState
from wizard_dsl.policies.on_rate_limit import ON_RATE_LIMIT
from wizard_dsl.strategies._mid_stream import around

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.http import Transport
    from wizard_dsl.core.node import Node, Shared, Spawn, Stores
    from wizard_dsl.core.run import Emit
    from wizard_dsl.core.state import State

#: May put another provider node in a target's place (scripts, mocks); None means: the target's own.
Provide = Callable[[TargetPlan, BuildContext], "Node | None"]


def provide_own(plan: TargetPlan, context: BuildContext) -> Node | None:
    """Every target is answered by its own provider."""
    return None


class Services(msgspec.Struct, frozen=True):
    """What living nodes share."""

    clock: Clock
    seed: int
    emit: Emit
    shared: Shared
    stores: Stores
    http: Transport
    spawn: Spawn
    library: Library
    provide: Provide
    assess: Assess | None = None
    state: State | None = None


class LinkedChain(msgspec.Struct):
    """A chain folded up to its strategy."""

    plan: ChainPlan
    chain: Chain
    targets: tuple[Target, ...]
    strategy: Handler
    context: BuildContext


class Linked(msgspec.Struct):
    """The living chains of a program."""

    chains: dict[str, LinkedChain] = {}


def link(program: Program, services: Services) -> Linked:
    """Build every chain of `program`. Raises SpecError where a provider cannot be built here."""
    for pool, config in program.pools.items():
        services.http.configure(pool, config)
    return Linked({name: _chain(plan, services) for name, plan in program.chains.items()})


def _context(path: str, chain: Chain, services: Services) -> BuildContext:
    return BuildContext(
        path=path,
        clock=services.clock,
        chance=Chance(services.seed, path),
        emit=services.emit,
        shared=services.shared,
        stores=services.stores,
        http=services.http,
        spawn=services.spawn,
        chain=chain,
        assess=services.assess,
        state=services.state,
    )


def _chain(plan: ChainPlan, services: Services) -> LinkedChain:
    chain = Chain(
        name=plan.name,
        rate_limit=plan.rate_limit,
        fallback_on=dict(plan.fallback_on),
        allow_loss=plan.allow_loss,
        mid_stream=plan.mid_stream,
        when_all_open=plan.when_all_open,
    )
    path = f"chains.{plan.name}"
    context = replace(_context(path, chain, services), fingerprint=plan.fingerprint)
    for policy in plan.shared:
        policy.type.build(policy.config, None, _at(policy, context))
    branches = tuple(_branch(target, chain, services) for target in plan.targets)
    at_strategy = _context(f"{path}.{plan.strategy.name}", chain, services)
    strategy = plan.strategy.build(plan.strategy_config, branches, at_strategy)
    handler = around(strategy.call, chain, services.clock)
    return LinkedChain(plan, chain, tuple(b.target for b in branches), handler, context)


def _at(policy: PolicyPlan, context: BuildContext) -> BuildContext:
    chance = context.chance.at(policy.path)
    return replace(context, path=policy.path, chance=chance, scope_key=policy.scope_key)


def _branch(plan: TargetPlan, chain: Chain, services: Services) -> Branch:
    state = services.shared.state("target", plan.key, lambda: TargetState(plan.key))
    facts = known_facts(plan, services.library)
    target = Target(
        name=plan.name,
        position=plan.position,
        state=state,
        facts=facts,
        params=plan.params,
        weight=plan.weight,
        priority=plan.priority,
        fingerprint=plan.fingerprint,
    )
    context = replace(_context(plan.path, chain, services), target=target, fingerprint=plan.fingerprint)
    node = services.provide(plan, context)
    if node is None:
        model = ModelSpec(name=plan.model, target=plan.name, facts=facts, pool=plan.provider)
        node = plan.type.build(plan.config, model, context)
    handler: Handler = AttemptFrame(node.call, context, plan.params, facts.prices).call
    for policy in reversed(with_frame(plan)):
        handler = policy.type.build(policy.config, handler, _at(policy, context)).call
    return Branch(target, handler)


def with_frame(plan: TargetPlan) -> list[PolicyPlan]:
    """A target's ladder with what stands in every one: the memory of refusals, directly inside the retry."""
    kinds = [policy.type.name for policy in plan.ladder]
    inside = kinds.index("retry") + 1 if "retry" in kinds else 0
    frame = PolicyPlan(ON_RATE_LIMIT, ON_RATE_LIMIT.config(), f"{plan.path}.on_rate_limit", plan.key)
    return [*plan.ladder[:inside], frame, *plan.ladder[inside:]]


def call_handler(linked: LinkedChain, own: Sequence[PolicyPlan] = ()) -> Handler:
    """The handler of one step's calls: the chain's call policies, with the step's own (contract, safety) among them."""
    handler = linked.strategy
    for plan in reversed(among(linked.plan.outer, own)):
        handler = plan.type.build(plan.config, handler, _at(plan, linked.context)).call
    return handler
