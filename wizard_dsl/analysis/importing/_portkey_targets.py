"""The tree of a gateway config, flattened into tiers of targets."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing._portkey_policies import Policies, every, none, only
from wizard_dsl.analysis.importing._portkey_service import Services
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.values import snake
from wizard_dsl.spec.diagnostics import DocPath

_CHECKS: Final = "guardrails are Portkey's; see `safety`, and `output` of a step for a schema"
_DROPPED: Final = {
    **dict.fromkeys(
        ("before_request_hooks", "after_request_hooks", "input_guardrails", "output_guardrails",
         "default_input_guardrails", "default_output_guardrails", "input_mutators", "output_mutators"), _CHECKS,
    ),
    "forward_headers": "a pipeline has no request whose headers could be passed on",
    "strict_open_ai_compliance": "about the shape of the gateway's answers",
    "metadata": "about Portkey's own logs",
    "trace_id": "about Portkey's own logs",
    "debug": "about Portkey's own logs",
    "cache_namespace": "a chain's cache is its own",
    "cache_force_refresh": "`wizard cache clear` empties it",
    "id": "a config is a file here",
    "version": "about Portkey's own format",
}  # fmt: skip
_MODES: Final = ("single", "fallback", "loadbalance", "conditional")


class Leaf(msgspec.Struct, kw_only=True):
    """A target, with all that holds for it."""

    path: DocPath
    provider: str
    model: str
    params: dict[str, Any]
    policies: dict[str, Any]
    cache: dict[str, str] | None
    waits: bool
    identity: str
    weight: float = 1.0


Tiers = list[list[Leaf]]


class Targets:
    """Reads the tree; every setting in it is accounted for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._policies = Policies(ledger)
        self._services = Services(ledger)
        self._moves: dict[str, bool] | None = None
        self._balances = False

    @property
    def unnamed(self) -> list[str]:
        """Targets for which a model had to be made up."""
        return self._services.unnamed

    def section(self, used: Collection[str]) -> dict[str, Any]:
        return self._services.section(used)

    def own(self, node: dict[str, Any], path: DocPath) -> dict[str, Any]:
        """What a node passes on to those below it, where it becomes no chain itself."""
        held = self._read(node, path, {})
        self._rest(node, path)
        return held

    def chain(self, node: Any, path: DocPath, above: dict[str, Any]) -> tuple[Tiers, dict[str, bool]]:
        """The tiers of a chain, and its `fallback_on`: nothing, where the load is only balanced."""
        self._moves, self._balances = None, False
        tiers = _once(self._flat(node, path, above))
        if sum(map(len, tiers)) < 2:
            return tiers, {}
        if len(tiers) == 1 and self._balances:
            return tiers, none()
        return tiers, every() if self._moves is None else self._moves

    def _flat(self, node: Any, path: DocPath, above: dict[str, Any]) -> Tiers:
        """The tiers of a node: those of the first are tried before those of the second."""
        if not isinstance(node, dict):
            self._ledger.dropped(path, "a target is a mapping")
            return []
        held = self._read(node, path, above)
        if not isinstance(node.get("targets"), list) or not node["targets"]:
            return [[self._leaf(node, path, held)]]
        return self._group(node, path, held)

    def _group(self, node: dict[str, Any], path: DocPath, held: dict[str, Any]) -> Tiers:
        self._rest(node, path)
        strategy = node.get("strategy")
        found = strategy.get("mode") if isinstance(strategy, dict) else "single"
        mode = found if found in _MODES else "single"
        children = list(enumerate(node["targets"]))
        if mode in ("single", "conditional"):
            for index, _ in children[1:]:
                why = "a condition that does not stand at the top: its first target is taken"
                self._ledger.dropped(
                    (*path, "targets", index), why if mode == "conditional" else "mode single asks the first"
                )
            children = children[:1]
        tiers = [(self._flat(child, (*path, "targets", index), held), child) for index, child in children]
        self._strategy(strategy, (*path, "strategy"), mode, path == () or not path[:-2], len(tiers))
        if mode != "loadbalance":
            return [tier for each, _ in tiers for tier in each]
        return self._balanced([(each, _weight(child)) for each, child in tiers if each])

    def _balanced(self, branches: list[tuple[Tiers, float]]) -> Tiers:
        """The first tiers of all branches in one, weights within that of the branch; what they fall back to later."""
        self._balances = True
        first: list[Leaf] = []
        later: Tiers = []
        for tiers, weight in branches:
            total = sum(leaf.weight for leaf in tiers[0]) or 1.0
            for leaf in tiers[0]:
                leaf.weight = weight * leaf.weight / total
            first += tiers[0]
            later += tiers[1:]
        return [first, *later]

    def _strategy(self, held: Any, path: DocPath, mode: str, top: bool, size: int) -> None:
        for key, value in held.items() if isinstance(held, dict) else ():
            at, name = (*path, key), snake(key)
            if name == "mode":
                self._told_mode(value, at, mode, top, size)
            elif name == "on_status_codes" and mode == "fallback":
                codes = self._policies.codes(value, at, "chains.*.fallback_on")
                if codes is not None and self._moves is None:
                    self._moves = only(codes)
            elif name in ("conditions", "default"):
                self._ledger.dropped(at, "conditions are taken over at the top only")
            elif name == "sticky_session":
                self._ledger.dropped(at, "write `strategy: {type: weighted, sticky: …}` with an input for the session")
            elif name != "cb_config":
                self._ledger.unknown(at, ("mode", "on_status_codes", "conditions", "default", "cb_config"))

    def _told_mode(self, value: Any, path: DocPath, mode: str, top: bool, size: int) -> None:
        to = "chains.*.strategy"
        if value not in _MODES:
            self._ledger.approximated(path, to, f"no strategy of this name; known are {', '.join(_MODES)}")
        elif mode == "conditional":
            self._ledger.approximated(path, to, "conditions are taken over at the top only")
        elif mode == "loadbalance" and not top and size > 1:
            self._ledger.approximated(path, to, "weighted; where one fails, the others of the group are tried, too")
        elif mode == "fallback" and not top:
            self._ledger.approximated(path, to, "by priority; in one chain with what stands around it")
        else:
            self._ledger.mapped(path, to, {"loadbalance": "weighted", "fallback": "by priority"}.get(mode))

    def _read(self, node: dict[str, Any], path: DocPath, above: dict[str, Any]) -> dict[str, Any]:
        """What holds at a node: its own settings over those from above."""
        held = dict(above)
        strategy = node.get("strategy")
        for key, value in node.items():
            name, at = snake(key), (*path, key)
            if name == "retry":
                held["retry"] = self._policies.retry(value, at)
            elif name == "cache":
                held["cache"] = self._policies.cache(value, at) or held.get("cache")
            elif name == "request_timeout":
                held["timeout"] = self._policies.timeout(value, at) or held.get("timeout")
            elif name == "override_params" and isinstance(value, dict):
                held["params"] = {**held.get("params", {}), **self._services.params(value, at)}
            elif name in _DROPPED:
                self._ledger.dropped(at, _DROPPED[name])
            elif name == "custom_host":
                held["host"] = self._services.host(value, at) or held.get("host")
        for key, value in strategy.items() if isinstance(strategy, dict) else ():
            if snake(key) == "cb_config":
                held["breaker"] = self._policies.breaker(value, (*path, "strategy", key))
        return held

    def _leaf(self, node: dict[str, Any], path: DocPath, held: dict[str, Any]) -> Leaf:
        retry, waits = held.get("retry", ("off", False))
        policies: dict[str, Any] = {"retry": retry}
        if held.get("breaker"):
            policies["circuit_breaker"] = held["breaker"]
        if held.get("timeout"):
            policies["timeout"] = held["timeout"]
        params = {key: value for key, value in held.get("params", {}).items() if key != "model"}
        model = held.get("params", {}).get("model")
        asked = self._services.place(node, path, model, held.get("host"), params, policies)
        self._rest(node, path)
        identity = self._services.identity(*asked)
        return Leaf(path=path, provider=asked[0], model=asked[1], params=params, policies=policies,
                    cache=held.get("cache"), waits=waits, identity=identity)  # fmt: skip

    def _rest(self, node: dict[str, Any], path: DocPath) -> None:
        """What a node says of its place in the tree, and what nobody knows."""
        for key, value in node.items():
            name = snake(key)
            if name == "weight":
                self._told_weight(value, (*path, key))
            elif name == "name":
                self._ledger.mapped((*path, key), "chains", "what conditions call it")
            elif name not in ("targets", "strategy"):
                self._services.rest(name, (*path, key))

    def _told_weight(self, value: Any, path: DocPath) -> None:
        found = values.number(value)
        if found is None or found < 0:
            self._ledger.dropped(path, "the value is not a number of at least 0")
        else:
            self._ledger.mapped(path, "chains.*.targets.*.weight")


def _weight(node: Any) -> float:
    found = values.number(node.get("weight", 1)) if isinstance(node, dict) else None
    return 1.0 if found is None or found < 0 else found


def _once(tiers: Tiers) -> Tiers:
    """Each target where it is asked first, with the weights of all in its tier: none is entered twice."""
    met: dict[str, Leaf] = {}
    made: Tiers = []
    for tier in tiers:
        here: Tiers = [[]]
        for leaf in tier:
            before = met.get(leaf.identity)
            if before is None:
                met[leaf.identity] = leaf
                here[0].append(leaf)
            elif before in here[0]:
                before.weight += leaf.weight
        made += [each for each in here if each]
    return made
