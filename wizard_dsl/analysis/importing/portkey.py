"""A gateway config of Portkey (JSON) as a pipeline file.

The tree of strategies becomes one chain: what is fallen back to has a higher priority, what is balanced has weights.
Conditions at the top become steps, each with a chain of its own.
"""

from __future__ import annotations

import re
from typing import Any, Final

from wizard_dsl.analysis.importing._outage import outage
from wizard_dsl.analysis.importing._portkey_policies import attempts_of, documented, policies_of
from wizard_dsl.analysis.importing._portkey_targets import Leaf, Targets
from wizard_dsl.analysis.importing._portkey_when import Conditions
from wizard_dsl.analysis.importing.findings import Imported, Ledger, Routing, Written
from wizard_dsl.analysis.importing.names import Names
from wizard_dsl.analysis.importing.reading import refusal
from wizard_dsl.analysis.importing.values import snake, whole
from wizard_dsl.analysis.importing.writing import Noted, document
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.source import Source

_NOBODY: Final = "a gateway config has `targets`, or a `provider`, a `virtual_key` or a `model` of its own"
_SIGNS: Final = frozenset(("targets", "provider", "virtual_key", "api_key", "override_params", "model"))


def import_portkey(source: Source) -> Imported:
    """Raises SpecError where there is nobody to ask."""
    if not _SIGNS & {snake(key) for key, value in source.data.items() if value}:
        raise refusal(source, (), "there is nobody to ask in this config", _NOBODY)
    return _Import(source).made()


class _Import:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._ledger = Ledger(source)
        self._targets = Targets(self._ledger)
        self._steps: dict[str, dict[str, Any]] = {}
        self._chains: dict[str, Any] = {}
        self._inputs: dict[str, Any] = {"prompt": {"type": "string"}}
        self._names = Names(frozenset(("prompt",)))

    def made(self) -> Imported:
        root = self._source.data
        found = [(name, *self._targets.chain(node, path, above)) for name, node, path, above in self._branches(root)]
        leaves = [leaf for _, tiers, _ in found for tier in tiers for leaf in tier]
        among = {leaf.identity for _, tiers, _ in found if sum(map(len, tiers)) > 1 for tier in tiers for leaf in tier}
        for leaf in [tiers[0][0] for _, tiers, _ in found if sum(map(len, tiers)) == 1]:
            if leaf.identity not in among:
                leaf.policies.setdefault("circuit_breaker", "off")
        if not leaves:
            raise refusal(self._source, ("targets",), "there is nobody to ask in this config", _NOBODY)
        policies = policies_of(leaves)
        for name, tiers, moves in found:
            self._chain(name, tiers, moves, policies)
        text = document(self._head(), self._document(policies))
        files = [Written(".yaml", text)]
        routing = self._routing(found[0][1], policies)
        return Imported("portkey", files, self._ledger.findings(), self._notes(policies), routing)

    def _routing(self, tiers: list[list[Leaf]], policies: dict[str, Any]) -> Routing:
        """What Portkey's documentation says of the first chain."""
        down, share = outage([[f"{leaf.provider}/{leaf.model}" for leaf in tier] for tier in tiers])
        most = sum(attempts_of(leaf.policies["retry"]) for tier in tiers for leaf in tier)
        head = ["Written by `wizard import --show-difference`: what Portkey documents, with Wizard's policies."]
        says = ["repeats of a call are not counted against those of others there; here retry_budget lets repeats be a "
                "fifth of the calls, or 3 a second"]  # fmt: skip
        if isinstance(policies.get("circuit_breaker"), dict):
            says.append("a circuit closes by itself after cooldown_interval; here one call is let through to see first")
        elif "circuit_breaker" not in policies:
            says.append("without cb_config every call asks a dead target first; here circuit_breaker skips it")
        return Routing(
            documented=document(head, self._document(documented(policies))),
            source="https://portkey.ai/docs/product/ai-gateway (automatic-retries, circuit-breaker, fallbacks)",
            says=says,
            inputs={"prompt": "Why is the sky blue?", **self._first_inputs()},
            down=down,
            share=share,
            most=(most, most),
        )

    def _first_inputs(self) -> dict[str, Any]:
        """Inputs with which the first step runs, as far as they are plain: a condition that one input equals a text."""
        when = next(iter(self._steps.values())).get("when", "")
        match = re.fullmatch(r"([a-z_0-9]+) == '([^'\\]*)'", when)
        return {match[1]: match[2]} if match else {}

    def _branches(self, root: dict[str, Any]) -> list[tuple[str, Any, DocPath, dict[str, Any]]]:
        """Name, node, path and inheritance of what gets a chain: the config, or each target that a condition names."""
        conditions = Conditions(root, self._ledger, self._names)
        if not conditions.found:
            self._steps["answer"] = {}
            return [("default", root, (), {})]
        above = self._targets.own(root, ())
        self._inputs |= conditions.inputs
        branches: list[tuple[str, Any, DocPath, dict[str, Any]]] = []
        for wanted, when, node, path in conditions.found:
            name = self._names.free(wanted, prefix="c")
            self._steps[name] = {"when": when}
            branches.append((name, node, path, above))
        return branches

    def _chain(self, name: str, tiers: list[list[Leaf]], moves: dict[str, bool], policies: dict[str, Any]) -> None:
        targets: list[Noted] = []
        for priority, tier in enumerate(tiers):
            for leaf in tier:
                made = self._target(leaf, priority, len(tier) > 1, policies)
                target = f"chains.{name}.targets[{len(targets)}]"
                own = {f"policies.default.{kind}": f"{target}.policies.{kind}" for kind in made.get("policies", {})}
                exact = {"chains.*.targets.*": target, "chains.*": f"chains.{name}"}
                self._ledger.place(leaf.path, {**exact, "providers.*": f"providers.{leaf.provider}", **own})
                targets.append(Noted(made, self._ledger.origin(leaf.path)))
        spec: dict[str, Any] = {}
        if any(len(tier) > 1 for tier in tiers):
            spec["strategy"] = "weighted"
        if moves:
            spec["fallback_on"] = moves
        if any(leaf.waits for tier in tiers for leaf in tier):
            spec["on_rate_limit"] = {"wait_up_to": "60s"}
        if isinstance(policies.get("circuit_breaker"), dict) and len(targets) > 1:
            spec["when_all_open"] = "probe_first"
        self._chains[name] = {**spec, "targets": targets}

    def _target(self, leaf: Leaf, priority: int, weighted: bool, policies: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {"provider": leaf.provider, "model": leaf.model}
        if leaf.params:
            made["params"] = leaf.params
        if weighted:
            made["weight"] = whole(round(leaf.weight, 6))
        if priority:
            made["priority"] = priority
        own = {kind: value for kind, value in leaf.policies.items() if policies.get(kind) != value}
        return {**made, "policies": own} if own else made

    def _document(self, policies: dict[str, Any]) -> dict[str, Any]:
        many = len(self._steps) > 1
        data: dict[str, Any] = {"version": 1, "name": "imported", "inputs": self._inputs}
        used = {target.value["provider"] for chain in self._chains.values() for target in chain["targets"]}
        data["providers"] = self._targets.section(used)
        data["policies"] = {"default": policies}
        data["chains"] = self._chains
        data["prompts"] = {"ask": {"user": "{{ prompt }}"}}
        data["steps"] = {
            name: {
                "prompt": "ask",
                **({} if name == "answer" and "default" in self._chains else {"chain": name}),
                **step,
            }
            for name, step in self._steps.items()
        }
        if many:
            data["output"] = f"{{{{ {' or '.join(f'steps.{name}.text' for name in self._steps)} }}}}"
        return data

    def _head(self) -> list[str]:
        name = self._source.file.rsplit("/", 1)[-1]
        return [f"Imported by `wizard import --from portkey` from {name}; comments name its lines."]

    def _notes(self, policies: dict[str, Any]) -> list[str]:
        notes = ["requests to the gateway bring their messages; here the input `prompt` is what the user says"]
        if policies.get("retry") == "off":
            notes.append("no retry is set, and a gateway does not repeat unasked: `retry: off`")
        if policies.get("circuit_breaker") == "off":
            notes.append("nobody is asked after a target, and no cb_config is set: `circuit_breaker: off`")
        elif "circuit_breaker" not in policies:
            notes.append(
                "circuit_breaker, retry_budget and the deadline are Wizard's defaults; the config has no such bounds"
            )
        return notes + [
            f"{each} names no model, a request does: another one is written, name yours"
            for each in self._targets.unnamed
        ]
