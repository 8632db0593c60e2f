"""The resolved program: names looked up, policies inherited, ladders in order. Inert: compared, described, hashed;
`link` makes it live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from wizard_dsl.core.component import PolicyConfig, PolicyType, ProviderConfig, ProviderType, StepType, StrategyType
from wizard_dsl.core.target import Facts, MidStream, RateLimitRule, WhenAllOpen
from wizard_dsl.policies.budget import Limit
from wizard_dsl.policies.contract import CONTRACT, ContractConfig
from wizard_dsl.policies.safety import SAFETY, SafetyConfig
from wizard_dsl.spec.document import BoundsSpec, InputGuardSpec

if TYPE_CHECKING:
    from wizard_dsl.core.http import PoolConfig
    from wizard_dsl.spec.document import InputSpec


class PolicyPlan(msgspec.Struct, frozen=True):
    """One policy at one place. `path` is the node's path; `origin` the document path that configured it."""

    type: PolicyType
    config: PolicyConfig
    path: str
    scope_key: str
    origin: tuple[str | int, ...] = ()


def _describe(plan: PolicyPlan) -> dict[str, Any]:
    return {"kind": plan.type.name, **msgspec.to_builtins(plan.config)}


def among(outer: Sequence[PolicyPlan], own: Sequence[PolicyPlan]) -> list[PolicyPlan]:
    """The policies of a chain's calls, outermost first, with those that a step brings at their rungs."""
    plans = list(outer)
    for policy in own:
        inner = [index for index, plan in enumerate(plans) if plan.type.rung > policy.type.rung]
        plans.insert(inner[0] if inner else len(plans), policy)
    return plans


class TargetPlan(msgspec.Struct, frozen=True):
    """One place in a chain. `key` is the target's identity: provider type, endpoint, model and key id;
    `ladder` holds its policies, outermost first; `facts` are those the file states. `position` counts the enabled
    targets, the lowest priority first; `index` is the place in the file."""

    name: str
    position: int
    provider: str
    type: ProviderType
    config: ProviderConfig
    model: str
    key: str
    params: Mapping[str, Any]
    facts: Facts
    ladder: tuple[PolicyPlan, ...]
    path: str
    index: int = 0
    weight: float = 1.0
    priority: int = 0

    @property
    def fingerprint(self) -> str:
        """What is asked of this target: its endpoint, model and parameters, as canonical text."""
        asked = (self.type.name, self.type.endpoint(self.config), self.model, self.params)
        return msgspec.json.encode(asked, order="deterministic").decode()

    def describe(self) -> dict[str, Any]:
        """Plain data, without the key."""
        return {
            "name": self.name,
            "provider": self.provider,
            "type": self.type.name,
            "endpoint": self.type.endpoint(self.config),
            "model": self.model,
            "params": dict(self.params),
            "weight": self.weight,
            "priority": self.priority,
            "policies": [_describe(plan) for plan in self.ladder],
        }


class ChainPlan(msgspec.Struct, frozen=True):
    """`outer` are the call's policies, outermost first; `shared` those that only keep state for the chain. `sticky`
    is the compiled expression of a strategy that has one."""

    name: str
    strategy: StrategyType
    strategy_config: PolicyConfig
    targets: tuple[TargetPlan, ...]
    outer: tuple[PolicyPlan, ...]
    shared: tuple[PolicyPlan, ...]
    rate_limit: RateLimitRule
    fallback_on: Mapping[str, bool]
    allow_loss: frozenset[str]
    mid_stream: MidStream = "fail"
    when_all_open: WhenAllOpen = "fail"
    sticky: Any = None

    @property
    def fingerprint(self) -> str:
        """What is asked for, as far as the cache's key is concerned: endpoint, model and parameters of the first
        target or of all of them, as the strategy says."""
        asked = self.targets[:1] if self.strategy.asks == "first" else self.targets
        return " ".join([self.strategy.name, *(target.fingerprint for target in asked)])

    def ladder(self, own: Sequence[PolicyPlan] = ()) -> str:
        """The kinds a call passes, outermost first: `deadline > sequential > retry > circuit_breaker > timeout`; with
        `own`, what steps bring is among them."""
        below: dict[str, int] = {}
        for target in self.targets:
            for plan in target.ladder:
                below.setdefault(plan.type.name, plan.type.rung)
        inner = sorted(below, key=lambda kind: (below[kind], kind))
        if len({tuple(plan.type.name for plan in target.ladder) for target in self.targets}) == 1:
            inner = list(dict.fromkeys(plan.type.name for plan in self.targets[0].ladder))
        outer = [plan.type.name for plan in among(self.outer, own)]
        return " > ".join([*outer, self.strategy.name, *inner])

    def describe(self) -> dict[str, Any]:
        """Plain data, without keys and headers."""
        return {
            "strategy": {"type": self.strategy.name, **msgspec.to_builtins(self.strategy_config)},
            "policies": [_describe(plan) for plan in (*self.outer, *self.shared)],
            "targets": [target.describe() for target in self.targets],
            "on_rate_limit": msgspec.to_builtins(self.rate_limit),
            "fallback_on": dict(self.fallback_on),
            "allow_loss": sorted(self.allow_loss),
            "on_mid_stream_error": self.mid_stream,
            "when_all_open": self.when_all_open,
        }


class StepPlan(msgspec.Struct, frozen=True):
    """One step. `needs` maps each step it waits for, those that its templates use among them, to `done` or `ran` (a
    skipped one does not count). `prompt`, `when`, `for_each`, `templates` and its chain's `sticky` are compiled;
    `when_each`: the condition looks at the item, and skips items instead of the step. `block_when` is the text of the
    expression that refuses an answer."""

    name: str
    type: StepType
    config: PolicyConfig
    chain: str | None
    needs: Mapping[str, Literal["done", "ran"]]
    templates: Mapping[str, Any]
    prompt: Any = None
    when: Any = None
    when_each: bool = False
    for_each: Any = None
    concurrency: int = 4
    on_error: str | Mapping[str, Any] = "fail"
    params: Mapping[str, Any] = {}
    sticky: Any = None
    tools: tuple[Any, ...] = ()
    subprogram: Any = None
    block_when: str | None = None

    def own(self, *, assessed: bool = False) -> tuple[PolicyPlan, ...]:
        """The policies that the step brings to its chain: a contract, and safety where something judges its answers;
        `assessed`: somebody outside of the file does."""
        output = getattr(self.config, "output", None)
        if self.chain is None or output is None:
            return ()
        found = []
        if output.schema is not None:
            path = f"chains.{self.chain}.contract"
            found.append(PolicyPlan(CONTRACT, ContractConfig(repairs=output.repairs), path, path))
        if self.block_when is not None or assessed:
            path = f"steps.{self.name}.safety"
            found.append(PolicyPlan(SAFETY, SafetyConfig(block_when=self.block_when), path, path))
        return tuple(found)

    def describe(self) -> dict[str, Any]:
        """Plain data; conditions and loops as yes or no, because their text stands in the file."""
        return {
            "name": self.name,
            "type": self.type.name,
            "chain": self.chain,
            "needs": dict(self.needs),
            "conditional": self.when is not None,
            "for_each": self.for_each is not None,
            "concurrency": self.concurrency if self.for_each is not None else None,
            "on_error": self.on_error,
            "policies": [_describe(plan) for plan in self.own()],
            "pipeline": None if self.subprogram is None else self.subprogram.describe(),
        }


class StreamRule(msgspec.Struct, frozen=True):
    """The `stream` section: deltas that are kept where the consumer does not hold the run back."""

    buffer: int = 256
    when_full: Literal["block", "drop_oldest", "error"] = "block"


class Program(msgspec.Struct, frozen=True):
    """One file, compiled. `hash` changes with anything in it, or in files that it names, `prompts` with the texts that
    reach a target. `steps` are in an order that respects `needs`; `streamed` names the step whose deltas
    a consumer sees; `output` is a template, a mapping of templates, or None for the last step's text.
    `invariants` are compiled expressions over a run, see core.result.FACTS.
    `state` names where state lives; its URL may hold a password. `budgets` are its own limits and those of the files
    that run it, `bounds` what it may need in the worst case."""

    name: str
    description: str
    file: str
    hash: str
    prompts: str
    inputs: Mapping[str, InputSpec]
    chains: Mapping[str, ChainPlan]
    steps: tuple[StepPlan, ...]
    pools: Mapping[str, PoolConfig]
    output: Any
    passes: str | None
    streamed: str | None
    deadline: float
    api_versions: Mapping[str, str | None] = {}
    straight: bool = True
    guard: InputGuardSpec = InputGuardSpec()
    state: str = "memory"
    budgets: tuple[Limit, ...] = ()
    stream: StreamRule = StreamRule()
    invariants: Mapping[str, Any] = {}
    bounds: BoundsSpec = BoundsSpec()

    def step(self, name: str) -> StepPlan:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)

    def ladder(self, chain: str, *, assessed: bool = False) -> str:
        """The kinds that calls of a chain pass, outermost first: on any of its targets, from any of its steps."""
        asking = [step.own(assessed=assessed) for step in self.steps if step.chain == chain]
        own = {plan.type.name: plan for each in asking for plan in each}
        return self.chains[chain].ladder(tuple(own.values()))

    def describe(self) -> dict[str, Any]:
        """The compiled program as plain data: what `graph` draws and tests compare. Holds no secret."""
        return {
            "name": self.name,
            "hash": self.hash,
            "deadline": self.deadline,
            "budgets": [msgspec.to_builtins(limit) for limit in self.budgets],
            "inputs": {name: {"schema": spec.schema, "trusted": spec.trusted} for name, spec in self.inputs.items()},
            "chains": {name: chain.describe() for name, chain in self.chains.items()},
            "steps": [step.describe() for step in self.steps],
            "streamed": self.streamed,
            "stream": msgspec.to_builtins(self.stream),
        }
