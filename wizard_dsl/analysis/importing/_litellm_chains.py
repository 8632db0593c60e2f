"""Model groups of LiteLLM as chains: a group's deployments first, then those of the groups it falls back to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import Any, Final

import msgspec

from wizard_dsl.analysis.importing._litellm_models import Deployment
from wizard_dsl.analysis.importing._litellm_settings import Groups, Settings
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.values import whole
from wizard_dsl.analysis.importing.writing import Noted
from wizard_dsl.spec.diagnostics import DocPath

#: `fallbacks` are for all errors; those that do not move on by themselves have to be named.
_EVERY_ERROR: Final = ("auth", "not_found", "invalid_request", "content_filter")
#: Kinds that move on by themselves, for chains that move on for one kind alone.
_BY_ITSELF: Final = (
    "connect",
    "timeout",
    "server",
    "rate_limited",
    "quota_exhausted",
    "context_length",
    "malformed_response",
    "circuit_open",
)


class Tier(msgspec.Struct):
    """Deployments that are tried before those of the next tier; `group` is how many are in their model group."""

    deployments: list[Deployment]
    group: int


class Chain(msgspec.Struct):
    """A chain in the making."""

    name: str
    group: str
    kind: str
    tiers: list[Tier]
    fallback_on: dict[str, bool]

    @property
    def moves_on(self) -> bool:
        """Whether every error leads to another group."""
        return self.fallback_on.get("auth", False)

    @property
    def reached(self) -> list[Tier]:
        """Tiers that an outage leads to: not those for one kind of error alone."""
        own = [tier for tier in self.tiers if tier.deployments[0].group == self.group]
        return self.tiers if self.moves_on else own

    @property
    def targets(self) -> Iterator[tuple[int, int, Deployment]]:
        """Priority, size of the group, deployment."""
        for priority, tier in enumerate(self.tiers):
            for each in tier.deployments:
                yield priority, tier.group, each


class Chains:
    """Makes them, and accounts for fallbacks and retries."""

    def __init__(self, deployments: Sequence[Deployment], settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._groups: dict[str, list[Deployment]] = {}
        for each in deployments:
            self._groups.setdefault(each.group, []).append(each)
        self._by_id = {each.id: each for each in deployments if each.id is not None}
        self._spare_the_only_ones()
        self._keep_apart(deployments)

    @property
    def groups(self) -> Mapping[str, list[Deployment]]:
        return self._groups

    def _spare_the_only_ones(self) -> None:
        """A deployment that nobody stands beside or behind is not cooled down unasked: LiteLLM does not, and a call
        that fails at once helps nobody. One deployment has one breaker, wherever it is asked."""
        if self._settings.allowed is not None or not self._settings.cooldowns:
            return
        alone = {
            group: len({each.identity for each in own}) == 1 and not self._falls_back(group)
            for group, own in self._groups.items()
        }
        beside = {each.identity for group, own in self._groups.items() if not alone[group] for each in own}
        for group, own in self._groups.items():
            for each in own if alone[group] else ():
                if each.identity not in beside:
                    each.target["policies"] = {"circuit_breaker": "off", **each.target.get("policies", {})}

    def _keep_apart(self, deployments: Sequence[Deployment]) -> None:
        """One target has one breaker and one limit, in all chains; where deployments of it set them differently, each
        chain has its own."""
        found: dict[str, list[Deployment]] = {}
        for each in deployments:
            found.setdefault(each.identity, []).append(each)
        for same, kind in product(found.values(), ("circuit_breaker", "rate_limit", "concurrency")):
            if len({str(each.target.get("policies", {}).get(kind)) for each in same}) > 1:
                for each in same:
                    _alone(each, kind)

    def _falls_back(self, group: str) -> bool:
        settings = self._settings
        listed = settings.fallbacks.get(group) or settings.fallbacks.get("*") or settings.default_fallbacks
        return any(other != group and self._found(other) for other, _ in listed)

    def _found(self, other: str) -> list[Deployment]:
        """The deployments of a group, of its alias, or the one with that id."""
        name = self._settings.aliases.get(other, other)
        return self._groups.get(name) or ([self._by_id[other]] if other in self._by_id else [])

    def make(self, name: str, group: str) -> Chain:
        """The chain of one group."""
        own = self._groups[group]
        chain = Chain(name, group, own[0].kind, self._tiers(own), {})
        general, also = self._general(group), self._special(group)
        alone = len(own) == 1 and not general
        for (other, path), why in [*((each, "") for each in general), *also]:
            self._append(chain, other, path, why, exact=not why or alone)
        if general:
            chain.fallback_on = dict.fromkeys(_EVERY_ERROR, True)
        elif also and alone:
            kinds = {kind for _, kind in also}
            chain.fallback_on = {kind: False for kind in _BY_ITSELF if kind not in kinds}
            chain.fallback_on |= dict.fromkeys(sorted(kinds), True)
        elif also:
            chain.fallback_on = {kind: True for _, kind in also if kind == "content_filter"}
        if len(list(chain.targets)) == 1:
            chain.fallback_on = {}
        limited = ["rate_limit" in each.target.get("policies", {}) for _, _, each in chain.targets]
        if any(limited) and len(limited) > 1:
            chain.fallback_on["local_limit"] = True
        return chain

    def spec(self, chain: Chain) -> dict[str, Any]:
        """The section of a file."""
        made: dict[str, Any] = {}
        if any(len(tier.deployments) > 1 for tier in chain.tiers):
            window = self._settings.window if self._settings.strategy == "fastest" else None
            made["strategy"] = {"type": "fastest", "window": window} if window else self._settings.strategy
        if chain.fallback_on:
            made["fallback_on"] = chain.fallback_on
        made["targets"] = [self._target(chain, *each) for each in chain.targets]
        return made

    def _target(self, chain: Chain, priority: int, size: int, each: Deployment) -> Noted:
        made = dict(each.target)
        if any(len(tier.deployments) > 1 for tier in chain.tiers):
            made |= {} if each.weight is None else {"weight": whole(each.weight)}
        elif each.group == chain.group:
            why = "there is nobody to weigh the deployment against"
            self._ledger.withdraw((*each.path, "litellm_params"), why, ".weight")
        if priority:
            made["priority"] = priority
        attempts = self._settings.attempts(each.retries, size)
        if attempts != self._settings.attempts(None, 1):
            made["policies"] = {"retry": {"max_attempts": attempts}, **made.get("policies", {})}
        return Noted(made, each.origin)

    def _tiers(self, deployments: Sequence[Deployment]) -> list[Tier]:
        """By `order`; equal ones once, with their weights added."""
        tiers = []
        for order in sorted({each.order for each in deployments}):
            found: dict[str, Deployment] = {}
            for each in deployments:
                if each.order == order:
                    before = found.get(each.identity)
                    found[each.identity] = each if before is None else self._together(before, each)
            tiers.append(Tier(list(found.values()), len({each.identity for each in deployments})))
        return tiers

    def _together(self, one: Deployment, other: Deployment) -> Deployment:
        """Two deployments that are one target: same service, key and model."""
        if {**one.target, "provider": ""} != {**other.target, "provider": ""}:
            why = (
                "it is the same target as another of its group, which has other settings: a target is asked in one way"
            )
            self._ledger.withdraw((*other.path, "litellm_params"), why)
        weight = None if one.weight is None and other.weight is None else (one.weight or 1) + (other.weight or 1)
        return msgspec.structs.replace(one, weight=2.0 if weight is None else weight)

    def _general(self, group: str) -> list[tuple[str, DocPath]]:
        fallbacks = self._settings.fallbacks
        listed = fallbacks.get(group) or fallbacks.get("*")
        if listed is None:
            listed = [each for each in self._settings.default_fallbacks if each[0] != group]
        for _, path in listed[self._settings.max_fallbacks :]:
            self._ledger.dropped(path, f"max_fallbacks is {self._settings.max_fallbacks}")
        return self._there(listed[: self._settings.max_fallbacks])

    def _special(self, group: str) -> list[tuple[tuple[str, DocPath], str]]:
        settings = self._settings
        return [
            *((each, "context_length") for each in self._there(settings.context.get(group, []))),
            *((each, "content_filter") for each in self._there(settings.content.get(group, []))),
        ]

    def _there(self, listed: Sequence[tuple[str, DocPath]]) -> list[tuple[str, DocPath]]:
        """Those fallbacks that have deployments; the others are dropped."""
        for other, path in listed:
            if not self._found(other):
                wild = next((group for group in self._groups if "*" in group and fnmatchcase(other, group)), None)
                taken = f"; the group '{wild}' would take it: give it an entry of its own" if wild else ""
                self._ledger.dropped(path, f"model_list has no group or id '{other}'{taken}")
        return [each for each in listed if self._found(each[0])]

    def _append(self, chain: Chain, other: str, path: DocPath, kind: str, *, exact: bool) -> None:
        """Put the deployments of another group behind those that are there."""
        found = self._found(other)
        present = {each.identity for _, _, each in chain.targets}
        for tier in self._tiers(found):
            tier.deployments = [each for each in tier.deployments if each.identity not in present]
            if tier.deployments:
                chain.tiers.append(tier)
        to = f"chains.{chain.name}.targets"
        if all(each.identity in present for each in found):
            self._ledger.approximated(path, to, "its deployments are in the chain already, and none is entered twice")
        elif exact:
            self._ledger.mapped(path, to, f"after {kind} alone" if kind else "after every error, each kind named")
        else:
            self._ledger.approximated(path, to, f"last in the chain, after other errors, too; there after {kind} alone")

    def account(self) -> None:
        """For fallbacks of groups that are not there, and for retries, which depend on the size of each group."""
        settings = self._settings
        for groups in (settings.fallbacks, settings.content, settings.context):
            self._missing(groups)
        for _, path in settings.default_fallbacks:
            self._ledger.dropped(path, "every group has fallbacks of its own")
        sizes = {group: len({each.identity for each in own}) for group, own in self._groups.items()}
        if settings.retries_at is not None:
            self._retried(settings.retries_at, settings.retries, max(sizes.values()))
        for own in self._groups.values():
            for each in own:
                if each.retries is not None and each.retries_at is not None:
                    self._retried(each.retries_at, each.retries, sizes[each.group])

    def _missing(self, groups: Groups) -> None:
        for group, listed in groups.items():
            for _, path in listed:
                reason = (
                    "every group has fallbacks of its own" if group == "*" else f"model_list has no group '{group}'"
                )
                self._ledger.dropped(path, reason)

    def _retried(self, path: DocPath, retries: int, size: int) -> None:
        to = "policies.default.retry.max_attempts"
        attempts = self._settings.attempts(retries, size)
        if size == 1 and attempts == retries + 1:
            self._ledger.mapped(path, to, f"{attempts}, the first included")
            return
        once = "once" if attempts == 1 else f"up to {attempts} times"
        why = (
            f"LiteLLM repeats a call {retries} times in a group, each time on any deployment of it; here each "
            f"deployment of a group of {size} is asked {once}"
        )
        self._ledger.approximated(path, to, why)


def _alone(deployment: Deployment, kind: str) -> None:
    """Give a policy of a deployment `per: chain`. One that is off has no state to share."""
    held = deployment.target.get("policies", {}).get(kind)
    if held is None or held == "off":
        return
    own = {"limit": held} if kind == "concurrency" else held
    deployment.target["policies"] = {**deployment.target["policies"], kind: {**own, "per": "chain"}}
