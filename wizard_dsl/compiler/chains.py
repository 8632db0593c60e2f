"""Chains: targets looked up, policies inherited, ladders put in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from wizard_dsl.compiler import ladder
from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, TargetPlan
from wizard_dsl.core import units
from wizard_dsl.core.component import PolicyConfig, PolicyType, Scope
from wizard_dsl.core.target import Facts, Prices, RateLimitRule
from wizard_dsl.policies.budget import BUDGET, BudgetConfig, Limit
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.names import Known
from wizard_dsl.spec.diagnostics import DocPath, Place, Related, meant, show_path

if TYPE_CHECKING:
    from wizard_dsl.compiler.report import Report
    from wizard_dsl.registry import Registry
    from wizard_dsl.spec.document import ChainEntry, Document, ModelFacts, ProviderEntry, RateLimitSpec

#: The set that takes nothing, not even the built-in default.
NO_SET = "none"
_ENDPOINT = "endpoint:"


class Setting(NamedTuple):
    """How a policy with shared state was set first, and where: `chain` is the file and the chain."""

    config: PolicyConfig
    chain: tuple[str, str]
    written: DocPath
    place: Place


#: By kind and scope key; one for a file and all that it runs as steps, because they share the state too.
Agreed = dict[tuple[str, str], Setting]


class ChainPlanner:
    """Makes the plans of a document's chains, and reports what does not fit together."""

    def __init__(
        self,
        document: Document,
        registry: Registry,
        report: Report,
        *,
        program: str,
        file: str,
        agreed: Agreed,
        budgets: tuple[Limit, ...] = (),
        told: frozenset[str] = frozenset(),
    ) -> None:
        self._told = told  # kinds of which load has told a mistake already: a key that is wrong is not missing
        self._document = document
        self._registry = registry
        self._report = report
        self._program = program
        self._file = file
        self._agreed = agreed
        self._budgets = budgets

    def plan(self) -> dict[str, ChainPlan]:
        """All chains that could be resolved."""
        plans = {}
        for name, entry in self._document.chains.items():
            plan = self._chain(entry)
            if plan is not None:
                plans[name] = plan
        return plans

    def _chain(self, entry: ChainEntry) -> ChainPlan | None:
        base = self._base(entry)
        if base is None:
            return None
        merged = ladder.inherit(base, entry.policies)
        path: DocPath = ("chains", entry.name)
        key = f"{self._program}:chains.{entry.name}"
        plans = list(self._policies(merged, entry, None, key))
        targets = tuple(target for target in self._targets(entry, merged) if target is not None)
        if not targets:
            if all(not spec.enabled for spec in entry.targets):
                self._report.add("E067", f"no target of chain '{entry.name}' is enabled", (*path, "targets"))
            return None
        self._no_twins(entry, targets)
        self._can_draw(entry, targets)
        return ChainPlan(
            name=entry.name,
            strategy=entry.strategy,
            strategy_config=entry.strategy_config,
            targets=targets,
            outer=ladder.in_order((p for p in plans if p.type.scope is not Scope.CHAIN), entry.stack),
            shared=tuple(p for p in plans if p.type.scope is Scope.CHAIN),
            rate_limit=_rule(entry.rate_limit),
            fallback_on=entry.spec.fallback_on,
            allow_loss=frozenset(entry.spec.allow_loss),
            mid_stream=entry.spec.on_mid_stream_error,
            when_all_open=entry.spec.when_all_open,
            sticky=self._sticky(entry),
        )

    def _base(self, entry: ChainEntry) -> ladder.PolicyMap | None:
        sets = self._document.policies
        if entry.use is None:
            return ladder.inherit(ladder.BUILT_IN_DEFAULT, sets.get("default", {}))
        if entry.use == NO_SET:
            return {}
        if entry.use not in sets:
            self._report.add(
                "E043",
                f"there is no policy set '{entry.use}'",
                ("chains", entry.name, "policies", "use"),
                suggestion=meant(entry.use, [*sets, NO_SET]),
            )
            return None
        return sets[entry.use]

    # -- targets ------------------------------------------------------------------------------------

    def _targets(self, entry: ChainEntry, merged: ladder.PolicyMap) -> Iterator[TargetPlan | None]:
        position = 0
        for index in sorted(range(len(entry.targets)), key=lambda index: entry.targets[index].priority):
            spec = entry.targets[index]
            provider = self._document.providers.get(spec.provider)
            path: DocPath = ("chains", entry.name, "targets", index)
            if provider is None:
                self._report.add(
                    "E043",
                    f"there is no provider '{spec.provider}'",
                    path,
                    value=spec.provider,
                    suggestion=self._set_of(spec.provider) or meant(spec.provider, self._document.providers),
                )
                yield None
            elif spec.enabled:
                yield self._target(entry, index, position, provider, merged)
                position += 1

    def _set_of(self, name: str) -> str | None:
        """What to write where a target is called as a set of policies is."""
        known = name in self._document.policies and name != "default"
        return f"it is a set of policies: write policies: {{use: {name}}} in the chain" if known else None

    def _target(
        self, entry: ChainEntry, index: int, position: int, provider: ProviderEntry, merged: ladder.PolicyMap
    ) -> TargetPlan | None:
        spec = entry.targets[index]
        model = spec.model or provider.common.model or provider.type.default_model
        path: DocPath = ("chains", entry.name, "targets", index)
        if model is None:
            self._report.add(
                "E066",
                f"target '{entry.names[index]}' names no model, and provider '{provider.name}' has none",
                path,
                suggestion=f"write {provider.name}/MODEL, or set providers.{provider.name}.model",
            )
            return None
        identity = _identity(provider)
        key = f"{identity}|{model}"
        own = ladder.inherit(merged, entry.target_policies[index])
        node = f"chains.{entry.name}.targets[{position}]"
        policies = list(self._policies(own, entry, index, key, node))
        policies += self._provider_policies(provider, identity, node)
        return TargetPlan(
            name=entry.names[index],
            position=position,
            provider=provider.name,
            type=provider.type,
            config=provider.config,
            model=model,
            key=key,
            params=spec.params,
            facts=_facts(provider.common.models.get(model)),
            ladder=self._with_budget(ladder.in_order(policies, entry.stack), key, node),
            path=node,
            index=index,
            weight=spec.weight,
            priority=spec.priority,
        )

    def _with_budget(self, plans: tuple[PolicyPlan, ...], key: str, node: str) -> tuple[PolicyPlan, ...]:
        if not self._budgets:
            return plans
        config = BudgetConfig(limits=self._budgets)
        return ladder.around_attempt(plans, PolicyPlan(BUDGET, config, f"{node}.budget", key, ("budgets",)))

    def _no_twins(self, entry: ChainEntry, targets: tuple[TargetPlan, ...]) -> None:
        if entry.strategy.repeats:
            return
        seen: dict[str, str] = {}
        for target in sorted(targets, key=lambda target: target.index):
            path: DocPath = ("chains", entry.name, "targets", target.index)
            if target.key in seen:
                self._report.add(
                    "E063",
                    f"target '{target.name}' stands twice in chain '{entry.name}' (as '{seen[target.key]}')",
                    path,
                    suggestion="raise `retry` to ask it again",
                )
            seen.setdefault(target.key, target.name)

    # -- the strategy -------------------------------------------------------------------------------

    def _can_draw(self, entry: ChainEntry, targets: tuple[TargetPlan, ...]) -> None:
        if entry.strategy.weighs and not any(target.weight for target in targets):
            hint = "give one a weight, or leave `weight` out: it is 1"
            path: DocPath = ("chains", entry.name, "targets")
            self._report.add("E072", f"all weights of chain '{entry.name}' are 0", path, suggestion=hint)

    def _sticky(self, entry: ChainEntry) -> Expression | None:
        """The strategy's expression over the inputs, compiled, if it has one."""
        field = entry.strategy.expression
        text = getattr(entry.strategy_config, field) if field else None
        if text is None:
            return None
        path: DocPath = ("chains", entry.name, "strategy", field)
        known = Known(inputs=frozenset(self._document.inputs), steps=frozenset(), loop=False)
        made = compile_expression(text, known, where=".".join(map(str, path)))
        if isinstance(made, list):
            self._report.template(made, path, expression=True)
            return None
        if not made.names:
            self._report.add("E072", f"{field} looks at no input, so every call gets the same target", path)
        return made

    # -- policies -----------------------------------------------------------------------------------

    def _policies(
        self, merged: ladder.PolicyMap, entry: ChainEntry, index: int | None, key: str, node: str = ""
    ) -> Iterator[PolicyPlan]:
        """The plans of one place: those of the target at `index`, or those above the strategy."""
        for kind, raw in ladder.configured(merged).items():
            type = self._registry.policy(kind)
            if type is None or self._is_below(type, entry) != (index is not None):
                continue
            origin = self._origin(kind, entry, index)
            config = self._config(type, raw, origin or ("chains", entry.name), self._under(kind, entry, origin))
            if config is None:
                continue
            chain = f"chains.{entry.name}"
            plan = PolicyPlan(
                type=type,
                config=config,
                path=f"{node or chain}.{kind}",
                scope_key=self._scope_key(type, config, entry, key),
                origin=origin,
            )
            self._agree(plan, ("chains", entry.name), repeats=entry.strategy.repeats)
            self._agree_parts(plan, ("chains", entry.name))
            yield plan

    def _config(
        self, type: PolicyType, raw: dict[str, Any], path: DocPath, under: Sequence[DocPath] = ()
    ) -> PolicyConfig | None:
        """The config of what all places together set: `path`, over those `under` it. Each of them is checked by load;
        only a key that none gives, and keys that no policy takes together, are found here."""
        try:
            config = ladder.convert(type, raw)
        except msgspec.ValidationError as error:
            if type.name not in self._told:
                self._report.add("E071", f"the policy {type.name} is not complete: {error}", path)
            return None
        refused = type.refuse(config)
        if refused is not None:
            self._report.add(*refused, path, related=[(each, "put together with this") for each in under])
            return None
        return config

    def _is_below(self, type: PolicyType, entry: ChainEntry) -> bool:
        """Whether a policy stands below the strategy: by its scope, or because a stack puts it under one that does."""
        if type.scope is not Scope.CALL or entry.stack is None or type.name not in entry.stack:
            return type.scope is Scope.TARGET
        around = entry.stack[: entry.stack.index(type.name)]
        found = (self._registry.policy(kind) for kind in around)
        return any(each is not None and each.scope is Scope.TARGET for each in found)

    def _provider_policies(self, provider: ProviderEntry, identity: str, node: str) -> Iterator[PolicyPlan]:
        for kind, raw in ladder.configured(self._document.provider_policies.get(provider.name, {})).items():
            type = self._registry.policy(kind)
            if type is None:
                continue
            config = self._config(type, raw, ("providers", provider.name, "policies", kind))
            if config is None:
                continue
            yield PolicyPlan(
                type=type,
                config=config,
                path=f"{node}.provider.{kind}",
                scope_key=f"provider:{provider.name}:{identity}",
                origin=("providers", provider.name, "policies", kind),
            )

    def _origin(self, kind: str, entry: ChainEntry, index: int | None) -> DocPath:
        """The most specific place that configures a kind; empty for a built-in default."""
        if index is not None and kind in entry.target_policies[index]:
            return ("chains", entry.name, "targets", index, "policies", kind)
        if kind in entry.policies:
            return ("chains", entry.name, "policies", kind)
        name = entry.use or "default"
        if kind in self._document.policies.get(name, {}):
            return ("policies", name, kind)
        return ()

    def _under(self, kind: str, entry: ChainEntry, origin: DocPath) -> list[DocPath]:
        """The less specific places that configure a kind, too."""
        places: list[tuple[DocPath, ladder.PolicyMap]] = [
            (("chains", entry.name, "policies", kind), entry.policies),
            (("policies", entry.use or "default", kind), self._document.policies.get(entry.use or "default", {})),
        ]
        return [path for path, policies in places if path != origin and isinstance(policies.get(kind), dict)]

    def _scope_key(self, type: PolicyType, config: Any, entry: ChainEntry, key: str) -> str:
        if not type.shared_state:
            return key
        per = getattr(config, "per", "target")
        if per == "chain":
            return f"{self._program}:chains.{entry.name}|{key}"
        if per == "endpoint":
            return f"{_ENDPOINT}{key.rsplit('|', 1)[0]}"
        return key

    def _agree(self, plan: PolicyPlan, chain: tuple[str, str], *, repeats: bool) -> None:
        """Two places that set a shared policy of one target differently would fight over one state. A target that
        stands twice in one chain, where it may not, is reported as that."""
        if not plan.type.shared_state:
            return
        written = plan.origin or chain
        here = Setting(plan.config, (self._file, chain[1]), written, self._report.places.value_at(written))
        first = self._agreed.setdefault((plan.type.name, plan.scope_key), here)
        twin = not repeats and first.chain == here.chain and not plan.scope_key.startswith(_ENDPOINT)
        if first.config != plan.config and not twin:
            elsewhere = "" if first.chain[0] == self._file else f" of {Path(first.chain[0]).name}"
            self._report.add(
                "E064",
                f"{plan.type.name} of one target is set in two ways: here and in {show_path(first.written)}{elsewhere}",
                written,
                suggestion="set it alike, or give one of them `per: chain`",
                elsewhere=[Related(*first.place, "the other setting")],
            )

    def _agree_parts(self, plan: PolicyPlan, chain: tuple[str, str]) -> None:
        """The same for parts of a call's policy that all chains share."""
        for part, own in plan.type.parts(plan.config).items():
            written = (*plan.origin, part) if plan.origin else chain
            here = Setting(own, (self._file, chain[1]), written, self._report.places.value_at(written))
            first = self._agreed.setdefault((f"{plan.type.name}.{part}", self._program), here)
            if first.config != own:
                self._report.add(
                    "E064",
                    f"{plan.type.name}.{part} is set in two ways: here and in {show_path(first.written)}",
                    written,
                    suggestion="all chains share it: set it in one way",
                    elsewhere=[Related(*first.place, "the other setting")],
                )


def _identity(provider: ProviderEntry) -> str:
    """Provider type, endpoint and key id. The key itself is not in it: eight hex digits of its hash are."""
    secret = getattr(provider.config, "api_key", None)
    key_id = hashlib.sha256(secret.encode()).hexdigest()[:8] if secret else "-"
    return f"{provider.type.name}|{provider.type.endpoint(provider.config)}|{key_id}"


def _facts(stated: ModelFacts | None) -> Facts:
    if stated is None:
        return Facts()
    prices = None
    if stated.prices is not None:
        cached = stated.prices.cached
        prices = Prices(
            input=units.parse_money(stated.prices.input),
            output=units.parse_money(stated.prices.output),
            cached=None if cached is None else units.parse_money(cached),
        )
    own = {name: getattr(stated, name) for name in stated.__struct_fields__ if name != "prices"}
    return msgspec.structs.replace(Facts(), **own, prices=prices)


def _rule(spec: RateLimitSpec) -> RateLimitRule:
    return RateLimitRule(
        wait_up_to=units.parse_duration(spec.wait_up_to),
        then=spec.then,
        max_retry_after=units.parse_duration(spec.max_retry_after),
        quota_block=units.parse_duration(spec.quota_block),
    )
