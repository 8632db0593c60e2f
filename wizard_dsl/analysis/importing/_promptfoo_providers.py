"""Providers of promptfoo: `openai:chat:gpt-4o` and its like, each the only target of a chain."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing._providers import COMPATIBLE, ELSEWHERE, PARAMETERS, TYPES, VARIABLES, Providers
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import Keys, Names, literal, reference, variable_of
from wizard_dsl.spec.diagnostics import DocPath

_CODE: Final = ("python", "exec", "file", "javascript", "http", "https", "webhook", "websocket", "ws", "wss", "package",
                "browser", "mcp", "golang", "ruby", "sequence", "simulated-user", "promptfoo")  # fmt: skip
_FORMS: Final = ("chat", "completion", "messages", "responses", "chat-completion")
_OTHERS: Final = ("embedding", "embeddings", "image", "moderation", "realtime", "transcription", "assistant", "agents")
_ALIASES: Final = {"togetherai": "together", "google": "google", "palm": "gemini", "azureopenai": "azure"}
_ZERO: Final = "policies of the chain: `rate_limit`"
_DROPPED: Final = {
    "delay": _ZERO,
    "transform": "code of its own, which is not run",
    "env": "variables are set where Wizard runs",
    "inputs": "inputs are those of the pipeline",
}
_CONFIG: Final = {
    **ELSEWHERE,
    "cost": "prices stand under `models` of the provider",
    "inputCost": "prices stand under `models` of the provider",
    "outputCost": "prices stand under `models` of the provider",
    "showThinking": "reasoning is no part of an answer's text",
}


class _Entry(NamedTuple):
    """One provider: `at` is where its settings stand, `named` where its id does."""

    id: str | None
    held: dict[str, Any]
    at: DocPath
    named: DocPath


class Chain(msgspec.Struct, kw_only=True):
    """A chain of one target; `prompts` are the labels of those it is asked with, none for all."""

    name: str
    target: dict[str, Any]
    prompts: list[str]
    origin: str

    def asks(self, labels: set[str]) -> bool:
        return not self.prompts or any(_matches(wanted, label) for wanted in self.prompts for label in labels)


class Providing:
    """Reads `providers`; `variables` are those that hold keys."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._keys = Keys()
        self._names = Names()
        self._providers = Providers()
        self.variables: set[str] = set()

    def section(self) -> dict[str, Any]:
        return self._providers.section()

    def read(self, listed: Any, path: DocPath) -> list[Chain]:
        """At least one chain: a mock where there is no provider that can be asked."""
        pairs = [(path, _entry(listed, path))] if isinstance(listed, str) else []
        if isinstance(listed, list):
            pairs = [((*path, index), _entry(each, (*path, index))) for index, each in enumerate(listed)]
        elif isinstance(listed, dict):
            pairs = [((*path, key), _keyed(key, held, path)) for key, held in listed.items()]
        found = [chain for chain in (self._one(each, at) for at, each in pairs) if chain is not None]
        if found:
            return found
        self._providers.place("mock", {"type": "mock"}, "mock", {}, {})
        target = {"provider": "mock", "model": "mock"}
        return [Chain(name="mock", target=target, prompts=[], origin="no provider of the source can be asked")]

    def _one(self, entry: _Entry, path: DocPath) -> Chain | None:
        id, held, at, named = entry
        if id is None:
            self._ledger.dropped(path, "a provider is an id, or a mapping with one")
            return None
        service, model, why = _named(id)
        if why:
            self._ledger.dropped(path, why)
            return None
        prompts = held.get("prompts")
        config = held.get("config")
        reader = _Config(self._ledger, self._keys, service, model)
        spec = reader.spec(config if isinstance(config, dict) else {}, (*at, "config"))
        for name in held:
            self._setting(name, held[name], (*at, name))
        settings = {"params": reader.params}
        provider = self._providers.place(service, spec, model, settings, {})
        label = held.get("label")
        name = self._names.free(label if isinstance(label, str) else f"{service}_{model}", prefix="c")
        to = f"chains.{name}.targets[0]"
        self._told_id(named, service, to, spec)
        if "api_key" in spec:
            self.variables.add(spec["api_key"].removeprefix("${env:").removesuffix("}"))
        target = {"provider": provider, "model": model, **({"params": reader.params} if reader.params else {})}
        asked = [each for each in prompts if isinstance(each, str)] if isinstance(prompts, list) else []
        self._ledger.place(
            path, {"chains.*.targets": to, "chains.*": f"chains.{name}", "providers.*": f"providers.{provider}"}
        )
        return Chain(name=name, target=target, prompts=asked, origin=self._ledger.origin(path))

    def _told_id(self, place: DocPath, service: str, to: str, spec: dict[str, Any]) -> None:
        if "_BASE_URL}" in str(spec.get("base_url")):
            why = f"Wizard does not speak the protocol of '{service}'; it is asked over OpenAI's, at a gateway"
            self._ledger.approximated(place, to, f"{why}, whose address is in a variable")
        else:
            self._ledger.mapped(place, to)

    def _setting(self, name: str, value: Any, path: DocPath) -> None:
        if name == "label":
            self._ledger.mapped(path, "chains.*", "its name")
        elif name == "prompts":
            self._ledger.mapped(path, "tests.*.for_each", "the rows of this chain")
        elif name in _DROPPED:
            self._ledger.dropped(path, _DROPPED[name])
        elif name not in ("id", "config"):
            self._ledger.unknown(path, ("id", "label", "config", "prompts", *_DROPPED))


class _Config:
    """`config` of a provider."""

    def __init__(self, ledger: Ledger, keys: Keys, service: str, model: str) -> None:
        self._ledger = ledger
        self._keys = keys
        self._service = service
        self._model = model
        self.params: dict[str, Any] = {}

    def spec(self, config: dict[str, Any], path: DocPath) -> dict[str, Any]:
        spec = self._who(config)
        for name, value in config.items():
            self._setting(name, value, (*path, name), spec)
        usual = VARIABLES.get(spec["type"], f"{variable_of(self._service)}_API_KEY")
        if "api_key" not in spec and spec["type"] not in ("ollama", "vllm", "mock"):
            spec["api_key"] = reference(usual)
        return spec

    def _who(self, config: dict[str, Any]) -> dict[str, Any]:
        base = _url(config.get("apiBaseUrl", config.get("apiHost")))
        if self._service == "azure":
            host = base or "${env:AZURE_API_BASE}"
            version = values.api_version(config.get("apiVersion")) or "2024-10-21"
            url = values.base_url(f"{host}/openai/deployments/{literal(self._model)}", "${env:AZURE_API_BASE}")
            return {"type": "openai_compatible", "base_url": url, "api_version": version}
        kind = TYPES.get(self._service)
        if kind is not None and not (base and kind == "openai"):
            return {"type": kind, **({"base_url": base} if base else {})}
        known = base or COMPATIBLE.get(self._service)
        return {"type": "openai_compatible", "base_url": known or reference(f"{variable_of(self._service)}_BASE_URL")}

    def _setting(self, name: str, value: Any, path: DocPath, spec: dict[str, Any]) -> None:
        if name in PARAMETERS or name == "maxTokens":
            sent = {"max_completion_tokens": "max_tokens", "maxTokens": "max_tokens"}.get(name, name)
            self.params[sent] = value
            self._ledger.mapped(path, f"chains.*.targets.params.{sent}")
        elif name == "apiKeyEnvar" and isinstance(value, str) and value.isidentifier():
            spec["api_key"] = reference(value)
            self._ledger.mapped(path, "providers.*.api_key")
        elif name == "apiKey":
            self._key(value, path, spec)
        elif (name in ("apiBaseUrl", "apiHost", "apiVersion") and _url(value)) or name == "apiVersion":
            self._ledger.mapped(path, f"providers.*.{'api_version' if name == 'apiVersion' else 'base_url'}")
        elif name == "organization" and spec["type"] == "openai" and isinstance(value, str):
            spec["headers"] = {"openai-organization": literal(value)}
            self._ledger.mapped(path, "providers.*.headers")
        elif name in _CONFIG:
            self._ledger.dropped(path, _CONFIG[name])
        else:
            self._ledger.unknown(path, [*PARAMETERS, *_CONFIG, "apiKey", "apiKeyEnvar", "apiBaseUrl", "apiHost"])

    def _key(self, value: Any, path: DocPath, spec: dict[str, Any]) -> None:
        text = str(value).strip()
        inner = text.removeprefix("{{").removesuffix("}}").strip() if text.startswith("{{") else ""
        if inner.startswith("env.") and inner[4:].isidentifier():
            spec["api_key"] = reference(inner[4:])
            self._ledger.mapped(path, "providers.*.api_key")
            return
        usual = VARIABLES.get(spec["type"], f"{variable_of(self._service)}_API_KEY")
        chosen = self._keys.variable(text, usual)
        spec["api_key"] = reference(chosen)
        why = f"a key does not stand in a file: put it into the variable {chosen}"
        self._ledger.approximated(path, "providers.*.api_key", why)


def _entry(entry: Any, path: DocPath) -> _Entry:
    """Of a list: an id, a mapping with one, or settings under the id as the only key."""
    if isinstance(entry, str):
        return _Entry(entry, {}, path, path)
    if isinstance(entry, dict) and isinstance(entry.get("id"), str):
        return _Entry(entry["id"], entry, path, (*path, "id"))
    if isinstance(entry, dict) and len(entry) == 1:
        ((key, held),) = entry.items()
        return _keyed(key, held, path)
    return _Entry(None, {}, path, path)


def _keyed(key: str, held: Any, path: DocPath) -> _Entry:
    """Settings under a key, which is the id unless they have one."""
    at = (*path, key)
    if isinstance(held, dict) and isinstance(held.get("id"), str):
        return _Entry(held["id"], {"label": key, **held}, at, (*at, "id"))
    return _Entry(key, held if isinstance(held, dict) else {}, at, at)


def _named(id: str) -> tuple[str, str, str | None]:
    """Service and model of an id, or why it cannot be asked."""
    service, _, rest = id.partition(":")
    service = _ALIASES.get(service, service)
    form, _, model = rest.partition(":")
    if service == "file" and id.endswith((".yaml", ".yml", ".json")):
        return service, "", "providers in a file of their own: write them into the source and import again"
    if service in _CODE or "://" in id or (service == id and "/" in id):
        return service, "", "code or an address of its own: write a provider as a plug-in (wizard new provider)"
    if service == "echo":
        return service, "", "it repeats the prompt; `wizard run --dry-run` shows it"
    if form in _OTHERS:
        return service, "", "tests of prompts ask for completions only"
    if form in _FORMS and model:
        return service, model, None
    return (service, rest, None) if rest else (service, "", "it names no model")


def _url(value: Any) -> str | None:
    """A base URL; a host alone gets https."""
    if not isinstance(value, str) or not value or any(each in value for each in " {}?#@"):
        return None
    return (value if value.startswith(("http://", "https://")) else f"https://{value}").rstrip("/")


def _matches(wanted: str, label: str) -> bool:
    group = wanted.removesuffix(":*")
    return label == wanted or label.startswith(f"{group}:")
