"""Who a target of Portkey asks: `provider`, `virtual_key`, `api_key`, and models such as `@openai-prod/gpt-4o`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing._providers import (
    COMPATIBLE,
    ELSEWHERE,
    PARAMETERS,
    SAMPLES,
    TYPES,
    VARIABLES,
    Providers,
)
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import Keys, literal, reference, variable_of
from wizard_dsl.analysis.importing.values import snake
from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import DocPath, show_path

_VARIABLE: Final = regex(r"\$\{env:(\w+)\}")
_FOREIGN: Final = ("aws_", "vertex_", "azure_", "workers_ai_", "snowflake_", "huggingface_", "sagemaker_", "mistral_")
_AZURE: Final = ("resource_name", "deployment_id", "api_version")
#: A service whose models are called `@cf/meta/…`: no slug of Portkey's.
_OWN_SLUGS: Final = "workers-ai"
_ASKS: Final = ("provider", "virtual_key", "api_key", "model", "openai_organization", "openai_project", *_AZURE)
_OTHERS: Final = ("retry", "cache", "request_timeout", "override_params", "custom_host", "targets", "strategy")


class Services:
    """Collects providers; `unnamed` are targets for which a model had to be made up."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._keys = Keys()
        self._addresses = Keys()
        self._providers = Providers()
        self.unnamed: list[str] = []

    def section(self, used: Collection[str]) -> dict[str, Any]:
        return self._providers.section(used)

    def identity(self, provider: str, model: str) -> str:
        """What makes a target one: service, address, key and model."""
        spec = self._providers.section()[provider]
        return "|".join(str(spec.get(key)) for key in ("type", "base_url", "api_key")) + f"|{model}"

    def params(self, held: dict[str, Any], path: DocPath) -> dict[str, Any]:
        """`override_params`: what the gateway puts over a request."""
        found = {}
        for key, value in held.items():
            if key == "model":
                found[key] = value
                self._ledger.mapped((*path, key), "chains.*.targets.*.model")
            elif key in PARAMETERS:
                found["max_tokens" if key == "max_completion_tokens" else key] = value
                self._ledger.mapped((*path, key), f"chains.*.targets.*.params.{key}")
            elif key in ELSEWHERE:
                self._ledger.dropped((*path, key), ELSEWHERE[key])
            else:
                self._ledger.unknown((*path, key), ("model", *PARAMETERS))
        return found

    def host(self, value: Any, path: DocPath) -> str | None:
        told = values.text(value)
        if told is None or not told.startswith(("http://", "https://")) or any(each in told for each in " ?#@"):
            self._ledger.dropped(path, "not an http: or https: URL without user, query and fragment")
            return None
        self._ledger.mapped(path, "providers.*.base_url")
        return told.rstrip("/")

    def place(
        self,
        node: dict[str, Any],
        path: DocPath,
        override: Any,
        host: str | None,
        params: dict[str, Any],
        policies: dict[str, Any],
    ) -> tuple[str, str]:
        """The provider's name and the model."""
        held = {snake(key): (value, (*path, key)) for key, value in node.items()}
        named = override if isinstance(override, str) else held.get("model", (None, ()))[0]
        model = named if isinstance(named, str) else ""
        provider = held.get("provider", (None, ()))[0]
        slugged = model.startswith("@") and "/" in model and provider != _OWN_SLUGS
        slug, inner = model[1:].partition("/")[::2] if slugged else ("", model)
        virtual = held.get("virtual_key", (None, ()))[0]
        told = str(provider or slug or virtual or "openai")
        service = _service(told.lstrip("@")) or ("provider" if told == virtual else told.lstrip("@"))
        spec = self._spec(service, held, host, inner, str(virtual) if service == "provider" else service)
        self._key(service, spec, held, slug or (told if told.startswith("@") else ""))
        self._told(service, spec, held)
        if service == "azure-openai":
            inner = inner or spec["base_url"].rsplit("/", 1)[-1]
        if not inner:
            inner = SAMPLES.get(spec["type"], "model")
            self.unnamed.append(show_path(path) if path else "the config")
        settings = {"params": params, "policies": policies}
        model = inner if service == "azure-openai" else literal(inner)
        return self._providers.place(service, spec, model, settings, {}), model

    def rest(self, name: str, path: DocPath) -> None:
        """What no other reader knows."""
        if name in _ASKS or name in _OTHERS:
            self._ledger.dropped(path, "not needed by a provider of this type")
        elif name == "cb_config":
            self._ledger.dropped(path, "Portkey reads it in a `strategy`, for the targets beside that")
        elif name.startswith(_FOREIGN):
            self._ledger.dropped(path, "about credentials of a service whose own protocol Wizard does not speak")
        else:
            self._ledger.unknown(path, (*_ASKS, *_OTHERS, "weight", "name"))

    def _spec(self, service: str, held: dict[str, Any], host: str | None, model: str, whose: str) -> dict[str, Any]:
        """Type and address; `whose` is what has one address, where that is not known."""
        if service == "azure-openai":
            resource = values.text(held.get("resource_name", ("", ()))[0]) or "${env:AZURE_RESOURCE_NAME}"
            deployment = values.text(held.get("deployment_id", ("", ()))[0]) or literal(model) or "deployment"
            version = values.api_version(held.get("api_version", ("", ()))[0]) or "2024-10-21"
            base = host or f"https://{resource}.openai.azure.com"
            url = values.base_url(f"{base}/openai/deployments/{deployment}", "${env:AZURE_API_BASE}")
            return {"type": "openai_compatible", "base_url": url, "api_version": version}
        kind = TYPES.get(service)
        if kind is not None and not (host and kind == "openai"):
            return {"type": kind, **({"base_url": host} if host else {})}
        known = host or COMPATIBLE.get(service)
        if known is None:
            known = reference(self._addresses.variable(whose, f"{variable_of(service)}_BASE_URL"))
        return {"type": "openai_compatible", "base_url": known}

    def _key(self, service: str, spec: dict[str, Any], held: dict[str, Any], slug: str) -> None:
        """The variable of the key. Virtual keys and slugs stand for keys that Portkey holds."""
        if spec["type"] in ("ollama", "vllm"):
            return
        usual = VARIABLES.get(spec["type"], f"{variable_of(service)}_API_KEY")
        api_key, path = held.get("api_key", (None, ()))
        virtual, virtual_path = held.get("virtual_key", (None, ()))
        if api_key is not None:
            chosen = self._keys.variable(str(api_key), usual)
            why = f"a key does not stand in a file: put it into the variable {chosen}"
            self._ledger.approximated(path, "providers.*.api_key", why)
        else:
            chosen = self._keys.variable(str(virtual or slug or usual), usual)
        if virtual is not None:
            why = f"the key behind it is with Portkey: put the provider's own into the variable {chosen}"
            address = _VARIABLE.fullmatch(spec.get("base_url", ""))
            why += f", and the address of a gateway that speaks OpenAI's protocol into {address[1]}" if address else ""
            self._ledger.approximated(virtual_path, "providers.*.api_key", why)
        spec["api_key"] = reference(chosen)

    def _told(self, service: str, spec: dict[str, Any], held: dict[str, Any]) -> None:
        gateway = "_BASE_URL}" in str(spec.get("base_url"))
        for name in ("provider", "model", *_AZURE):
            value, path = held.get(name, (None, ()))
            if value is None or (name in _AZURE and service != "azure-openai"):
                continue
            if name == "provider" and gateway:
                why = f"Wizard does not speak the protocol of '{service}'; it is asked over OpenAI's, at a gateway"
                self._ledger.approximated(path, "providers.*.base_url", f"{why}, whose address is in a variable")
            elif name == "provider":
                self._ledger.mapped(path, "providers.*.type")
            else:
                to = "chains.*.targets.*.model" if name == "model" else "providers.*.base_url"
                self._ledger.mapped(path, "providers.*.api_version" if name == "api_version" else to)
        for name in ("openai_organization", "openai_project"):
            value, path = held.get(name, (None, ()))
            told = values.text(value)
            if told and spec["type"] == "openai":
                spec.setdefault("headers", {})[name.replace("_", "-")] = told
                self._ledger.mapped(path, f"providers.*.headers.{name.replace('_', '-')}")


def _service(told: str) -> str:
    """`openai` of `openai-prod`: the longest name of a service that it begins with, empty for none."""
    known = [*TYPES, *COMPATIBLE, "azure-openai", "bedrock", "vertex-ai"]
    found = [each for each in known if told == each or told.startswith((f"{each}-", f"{each}_"))]
    return max(found, key=len, default="")
