"""A LiteLLM proxy's `config.yaml` as a pipeline file.

Each model group becomes a chain, each deployment a target, and the `model` of a request an input that chooses the
chain. What LiteLLM does where a file says nothing is written out, so that the file says what it does.
"""

from __future__ import annotations

from typing import Any

from wizard_dsl.analysis.importing import _litellm_tables as tables
from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing._litellm_chains import Chain, Chains, Tier
from wizard_dsl.analysis.importing._litellm_credentials import Credentials
from wizard_dsl.analysis.importing._litellm_models import Deployment, Models
from wizard_dsl.analysis.importing._litellm_service import usual_variable
from wizard_dsl.analysis.importing._litellm_settings import COOLDOWN, RETRIES, Settings, read_settings
from wizard_dsl.analysis.importing._outage import outage
from wizard_dsl.analysis.importing.findings import Imported, Ledger, Routing, Written
from wizard_dsl.analysis.importing.names import Keys, Names, literal, seconds
from wizard_dsl.analysis.importing.reading import refusal
from wizard_dsl.analysis.importing.writing import Noted, document
from wizard_dsl.core.units import parse_duration
from wizard_dsl.spec.diagnostics import did_you_mean, show_path
from wizard_dsl.spec.source import Source

_SECTIONS = ("model_list", "router_settings", "litellm_settings", "general_settings")
_DEFAULT_DEADLINE = 600.0


def import_litellm(source: Source) -> Imported:
    """Raises SpecError where the file is no configuration of a proxy, or has no deployment that can be asked."""
    listed = source.data.get("model_list")
    if not isinstance(listed, list) or not listed:
        near = did_you_mean("model_list", [key for key in source.data if key not in _SECTIONS])
        hint = f"is '{near}' meant to be it?" if near else "a LiteLLM configuration lists its deployments there"
        raise refusal(source, (), "there is no list 'model_list' in the file", hint)
    ledger = Ledger(source)
    settings = read_settings(source.data, ledger)
    credentials = Credentials(source.data.get("credential_list"), ledger)
    listed = credentials.applied(listed)
    keys = _keys(listed)
    models = Models(settings, ledger, keys)
    deployments = models.read(listed)
    credentials.account(keys)
    if not deployments:
        hint = "each needs a model_name and litellm_params.model, and to be for chats or embeddings"
        raise refusal(source, ("model_list",), "no deployment of model_list can be asked", hint)
    settings.sections.finish(models.providers.unpriced())
    file = _File(source, settings, models, deployments, ledger)
    text = file.text()
    _account_for_sections(source.data, ledger)
    return Imported("litellm", [Written(".yaml", text)], ledger.findings(), file.notes(), file.routing())


def _keys(listed: list[Any]) -> Keys:
    """Variables that the source uses itself are not taken for keys that stand in it."""
    keys = Keys()
    params = [each["litellm_params"] for each in listed if isinstance(each, dict) and "litellm_params" in each]
    for held in params:
        for value in held.values() if isinstance(held, dict) else ():
            name = values.variable(value)
            if name:
                keys.reserve(name)
        if isinstance(held, dict) and not held.get("api_key") and isinstance(held.get("model"), str):
            keys.reserve(usual_variable(held))
    return keys


def _account_for_sections(data: dict[str, Any], ledger: Ledger) -> None:
    for name in data:
        if name in tables.TOP:
            ledger.dropped((name,), tables.TOP[name])
        elif name.startswith(("x-", ".")):
            ledger.dropped((name,), "a place for anchors; where they are used, they are accounted for")
        elif name not in _SECTIONS:
            ledger.unknown((name,), [*_SECTIONS, *tables.TOP])
    for name in _SECTIONS[1:]:
        if not isinstance(data.get(name), dict) or not data[name]:
            ledger.dropped((name,), "there is nothing in it")


class _File:
    def __init__(
        self, source: Source, settings: Settings, models: Models, deployments: list[Deployment], ledger: Ledger
    ) -> None:
        self._source = source
        self._settings = settings
        self._models = models
        self._ledger = ledger
        chains = Chains(deployments, settings, ledger)
        names = Names()
        self._chains = [chains.make(names.free(group), group) for group in chains.groups]
        chains.account()
        self._specs = {chain.name: chains.spec(chain) for chain in self._chains}
        for chain in self._chains:
            self._place(chain)

    def text(self) -> str:
        """The pipeline file."""
        name = self._source.file.rsplit("/", 1)[-1]
        head = [f"Imported by `wizard import --from litellm` from {name}; comments name its lines."]
        return document(head, self._data(self._policies()))

    def routing(self) -> Routing | None:
        """What LiteLLM's documentation says of the first group that falls back, else of the first."""
        chats = [chain for chain in self._chains if chain.kind == "chat"]
        if not chats:
            return None
        chain = next((each for each in chats if each.moves_on), chats[0])
        down, share = outage([[each.name for each in tier.deployments] for tier in chain.reached])
        groups = {each.group for tier in chain.reached for each in tier.deployments}
        most = sum(self._settings.attempts(None, 1) for _ in groups)
        here = sum(self._settings.attempts(each.retries, size) for _, size, each in chain.targets)
        head = ["Written by `wizard import --show-difference`: what LiteLLM documents, with Wizard's policies."]
        many = {"model": literal(chain.group)} if len(self._chains) > 1 else {}
        return Routing(
            documented=document(head, self._data({**self._policies(), **self._settings.documented()})),
            source="https://docs.litellm.ai/docs/routing",
            says=self._says(),
            inputs={"prompt": "Why is the sky blue?", **many},
            down=down,
            share=share,
            most=(most, here),
            limits=[limit for *_, each in chain.targets for limit in _limits(each)],
        )

    def _says(self) -> list[str]:
        settings = self._settings
        says = [
            f"num_retries: {settings.retries} repeats in each group that a call passes; here retry_budget lets "
            "repeats be a fifth of the calls, or 3 a second",
            "an error that is no rate limit is repeated at once there; here after a pause that grows",
        ]
        if settings.cooldowns:
            says.append(
                f"cooldown: after {seconds(settings.cooldown)} all calls go back to a deployment; here one is let "
                "through, and the pause doubles while it fails"
            )
        return says

    def _data(self, policies: dict[str, Any]) -> dict[str, Any]:
        many = len(self._chains) > 1
        data: dict[str, Any] = {"version": 1, "name": "imported", "inputs": self._inputs(many)}
        used = {each.target["provider"] for chain in self._chains for *_, each in chain.targets}
        data["providers"] = self._models.providers.section(used)
        data["policies"] = {"default": policies}
        data["chains"] = {
            chain.name: Noted(self._specs[chain.name], f"model_name {_word(chain.group)}") for chain in self._chains
        }
        if any(chain.kind == "chat" for chain in self._chains):
            data["prompts"] = {"ask": {"user": "{{ prompt }}"}}
        data["steps"] = {chain.name: self._step(chain, many) for chain in self._chains}
        if many:
            data["output"] = self._output()
        return data | self._sections()

    def _place(self, chain: Chain) -> None:
        """Findings about deployments name the provider and the target that came of them."""
        for number, (_, _, each) in enumerate(chain.targets):
            if each.group == chain.group:
                provider = f"providers.{each.target['provider']}"
                self._ledger.place(
                    each.path,
                    {
                        "providers.*.models.*": show_path((*provider.split("."), "models", each.target["model"])),
                        "providers.*": provider,
                        "chains.*.targets": f"chains.{chain.name}.targets[{number}]",
                        "steps.*": f"steps.{chain.name}",
                        "chains.*": f"chains.{chain.name}",
                    },
                )

    def notes(self) -> list[str]:
        """What no setting of the source says."""
        notes = ["requests to the proxy bring their messages; here the input `prompt` is what the user says"]
        if self._settings.retries_at is None:
            notes.append(f"no num_retries is set: its documented default of {RETRIES} is written out as max_attempts")
        if self._settings.cooldowns and self._settings.allowed is None:
            notes.append(
                f"no allowed_fails is set: its documented default, over half of a minute's calls failed, "
                f"{seconds(COOLDOWN)} of cooldown, is written out as circuit_breaker"
            )
        if any(tier.deployments[0].target.get("policies", {}).get("circuit_breaker") == "off" for tier in self._only()):
            notes.append(
                "a group of one deployment without fallbacks is not cooled down by default: circuit_breaker: off"
            )
        notes.append("retry_budget and the growth of reset_timeout are Wizard's own; LiteLLM has no such bounds")
        return notes

    def _only(self) -> list[Tier]:
        """The deployments of chains that have no other."""
        return [chain.tiers[0] for chain in self._chains if len(list(chain.targets)) == 1]

    def _inputs(self, many: bool) -> dict[str, Any]:
        inputs: dict[str, Any] = {"prompt": {"type": "string"}}
        if many:
            models = [name for chain in self._chains for name in self._models_of(chain)]
            inputs["model"] = {"type": "string", "enum": models, "default": models[0]}
        return inputs

    def _models_of(self, chain: Chain) -> list[str]:
        """What a request calls a group: its name and its aliases."""
        aliases = [alias for alias, group in self._settings.aliases.items() if group == chain.group]
        return [literal(chain.group), *(literal(each) for each in aliases if each != chain.group)]

    def _step(self, chain: Chain, many: bool) -> dict[str, Any]:
        made: dict[str, Any] = {"prompt": "ask", "chain": chain.name}
        if chain.kind == "embedding":
            made = {"type": "embed", "texts": "{{ prompt }}", "chain": chain.name}
        if many:
            names = self._models_of(chain)
            made["when"] = f"model == {names[0]!r}" if len(names) == 1 else f"model in {names!r}"
        return made

    def _output(self) -> dict[str, str]:
        output = {}
        for key, kind, field in (("text", "chat", "text"), ("vectors", "embedding", "json")):
            steps = [f"steps.{chain.name}.{field}" for chain in self._chains if chain.kind == kind]
            if steps:
                output[key] = f"{{{{ {' or '.join(steps)} }}}}"
        return output

    def _policies(self) -> dict[str, Any]:
        settings = self._settings
        at = settings.retries_at
        made: dict[str, Any] = {
            "retry": Noted(settings.retry(), self._ledger.origin(at) if at else "num_retries: LiteLLM's default"),
            "circuit_breaker": Noted(settings.breaker(), "allowed_fails, cooldown_time"),
        }
        if settings.timeout:
            made["timeout"] = settings.timeout
        if settings.parallel:
            made["concurrency"] = settings.parallel
        if settings.sections.cache:
            made["cache"] = settings.sections.cache
        return made

    def _sections(self) -> dict[str, Any]:
        sections = self._settings.sections
        made: dict[str, Any] = {}
        longest = max(map(self._longest, self._chains))
        if longest > _DEFAULT_DEADLINE:
            made["deadline"] = Noted(seconds(longest + 60), "room for every attempt; LiteLLM has no deadline")
        if sections.observe:
            made["observe"] = {"log": sections.observe}
        if sections.state:
            made["state"] = sections.state
        if sections.budgets:
            made["budgets"] = sections.budgets
        return made

    def _longest(self, chain: Chain) -> float:
        """Seconds that all attempts of a chain may take, where the source limits them."""
        total = 0.0
        for _, size, each in chain.targets:
            own = each.target.get("policies", {}).get("timeout", {}).get("total")
            limit = parse_duration(own) if own else self._settings.total
            total += self._settings.attempts(each.retries, size) * (limit or 0)
        return total


def _limits(deployment: Deployment) -> list[int]:
    """Requests a minute that a deployment is held to."""
    windows = deployment.target.get("policies", {}).get("rate_limit", {}).get("windows", [])
    return [int(each.removesuffix("/minute")) for each in windows if "tokens" not in each]


def _word(text: str) -> str:
    """A text of the source inside a comment."""
    return " ".join(text.split())[:60]
