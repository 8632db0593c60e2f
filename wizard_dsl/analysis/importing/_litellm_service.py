"""Who a LiteLLM deployment asks: `model`, `api_base`, `api_key` and their like, as a provider and a model."""

from __future__ import annotations

import re
from typing import Any, Final

from wizard_dsl.analysis.importing import _litellm_tables as tables
from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing._providers import COMPATIBLE, NO_KEYS, PARAMETERS, SAMPLES, TYPES, VARIABLES
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import Keys, literal, reference, variable_of, without_keys
from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import DocPath

_OTHERS: Final = ("azure", "bedrock", "vertex_ai", "huggingface", "sagemaker", "replicate", "watsonx", "predibase")
_AZURE_VERSION: Final = "2024-10-21"
_OPENAI_LIKE: Final = ("openai_like", "custom_openai", "litellm_proxy", "lm_studio", "text-completion-openai",
                       "llamafile", "azure_ai", "databricks", "docker_model_runner", "vercel_ai_gateway")  # fmt: skip
_URL: Final = regex(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_SECRET_HEADER: Final = regex(r"auth|key|token|secret|cookie", re.IGNORECASE)


def service(params: dict[str, Any], path: DocPath, ledger: Ledger, keys: Keys) -> tuple[str, str, dict[str, Any]]:
    """A name for the provider, the model, and the provider's keys; every one of these settings is accounted for."""
    return _Service(params, path, ledger, keys).read()


class _Service:
    def __init__(self, params: dict[str, Any], path: DocPath, ledger: Ledger, keys: Keys) -> None:
        self._params = params
        self._path = path
        self._ledger = ledger
        self._keys = keys
        self._spec: dict[str, Any] = {}
        self._service, self._model = _named(params)

    def read(self) -> tuple[str, str, dict[str, Any]]:
        base = self._base()
        if isinstance(self._params.get("mock_response"), str):
            self._mock()
        elif self._service == "azure":
            self._azure(base)
        elif self._service in TYPES:
            self._own(base)
        else:
            self._compatible(base)
        self._rest()
        return self._service, literal(self._model), self._spec

    def _base(self) -> str | None:
        name = "api_base" if self._params.get("api_base") else "base_url"
        value = self._params.get(name)
        base = values.text(value)
        if base is None or not (values.variable(value) or _URL.fullmatch(base)):
            if value not in (None, ""):
                self._ledger.dropped((*self._path, name), "not an http: or https: URL without user, query and fragment")
            return None
        return base.rstrip("/")

    def _mock(self) -> None:
        self._spec = {"type": "mock", "reply": literal(self._params["mock_response"])}
        self._ledger.mapped((*self._path, "mock_response"), "providers.*.reply")
        for name in ("model", "api_key", "api_base", "base_url", "api_version", "organization"):
            self._ledger.mapped((*self._path, name), "providers.*.type: mock", "a mock is asked, as there")

    def _azure(self, base: str | None) -> None:
        self._spec["type"] = "openai_compatible"
        told = base or "${env:AZURE_API_BASE}"
        whole = "/openai/" in told
        url = told if whole else f"{told}/openai/deployments/{literal(self._model)}"
        self._spec["base_url"] = values.base_url(url, "${env:AZURE_API_BASE}")
        why = "the URL of the deployment; a variable in it is the endpoint without a slash at its end"
        self._ledger.mapped((*self._path, "api_base"), "providers.*.base_url", why)
        self._ledger.mapped((*self._path, "base_url"), "providers.*.base_url", why)
        if "/openai/v1" not in told:
            self._spec["api_version"] = values.api_version(self._params.get("api_version")) or _AZURE_VERSION
        if values.api_version(self._params.get("api_version")):
            self._ledger.mapped((*self._path, "api_version"), "providers.*.api_version")
        self._key(usual_variable(self._params))
        self._ledger.mapped((*self._path, "model"), "providers.*.base_url", "the deployment's name")

    def _own(self, base: str | None) -> None:
        kind = TYPES[self._service]
        if base and kind == "openai" and "api.openai.com" not in base:
            kind = "openai_compatible"
        self._spec["type"] = kind
        if base:
            self._spec["base_url"] = base
            self._ledger.mapped((*self._path, "api_base"), "providers.*.base_url")
            self._ledger.mapped((*self._path, "base_url"), "providers.*.base_url")
        keyless = kind in ("ollama", "vllm") or (kind == "openai_compatible" and "api_key" not in self._params)
        if not keyless or "api_key" in self._params:
            self._key(usual_variable(self._params))
        self._told_model()

    def _compatible(self, base: str | None) -> None:
        """A service at an address of its own; one whose protocol is another is asked through a gateway."""
        known = base or COMPATIBLE.get(self._service)
        self._spec["type"] = "openai_compatible"
        self._spec["base_url"] = known or reference(f"{variable_of(self._service)}_BASE_URL")
        speaks = self._service in COMPATIBLE or self._service in _OPENAI_LIKE
        if speaks and known:
            self._ledger.mapped((*self._path, "api_base"), "providers.*.base_url")
            self._ledger.mapped((*self._path, "base_url"), "providers.*.base_url")
            self._told_model()
        else:
            why = f"Wizard does not speak the protocol of '{self._service}'; it is asked over OpenAI's, at a gateway"
            why += "" if known else f", whose address is in {variable_of(self._service)}_BASE_URL"
            for name in ("model", "api_base", "base_url"):
                self._ledger.approximated((*self._path, name), "providers.*.base_url", why)
        if "api_key" in self._params or not base:
            self._key(usual_variable(self._params))

    def _told_model(self) -> None:
        if "*" not in self._model:
            self._ledger.mapped((*self._path, "model"), "chains.*.targets.model")
            return
        kind = self._spec["type"]
        self._model = SAMPLES.get(kind, "model")
        why = f"a request names the model there; a target is one model: '{self._model}' is written, name yours"
        self._ledger.approximated((*self._path, "model"), "chains.*.targets.model", why)

    def _key(self, usual: str) -> None:
        """A key is a reference, whatever stands in the source."""
        path, value = (*self._path, "api_key"), self._params.get("api_key")
        to = "providers.*.api_key"
        name = values.variable(value)
        if name:
            self._spec["api_key"] = reference(name)
            self._ledger.mapped(path, to)
        elif (
            isinstance(value, str) and value.lower() in NO_KEYS and self._spec["type"] in ("openai_compatible", "vllm")
        ):
            self._ledger.mapped(path, "providers", "it stands for no key: none is sent")
        elif value is None:
            self._spec["api_key"] = reference(usual)
        else:
            chosen = self._keys.variable(str(value), usual)
            self._spec["api_key"] = reference(chosen)
            self._ledger.approximated(path, to, f"a key does not stand in a file: put it into the variable {chosen}")

    def _rest(self) -> None:
        for name, value in self._params.items():
            path = (*self._path, name)
            if name in ("extra_headers", "headers", "default_headers") and isinstance(value, dict):
                self._headers(value, path)
            elif name == "organization" and self._spec["type"] == "openai":
                self._header("openai-organization", value, path)
            elif name == "api_version":
                self._api_version(value, path)
            elif name == "model":
                self._ledger.mapped(path, "chains.*.targets.model")
            elif name in ("custom_llm_provider", "organization", "mock_response"):
                self._ledger.dropped(
                    path, "named by the provider's type" if name == "custom_llm_provider" else "not sent"
                )
            elif name.startswith(tables.FOREIGN):
                self._ledger.dropped(path, "about credentials of a service whose own protocol Wizard does not speak")
            elif name in ("num_retries", "max_retries"):
                pass  # its meaning depends on the size of the group
            elif name in ("api_key", "api_base", "base_url"):
                self._ledger.dropped(path, "not needed by a provider of this type")
            else:
                known = [*PARAMETERS, *tables.DEPLOYMENT, "api_key", "api_base", "rpm", "tpm", "weight", "order"]
                self._ledger.unknown(path, known)

    def _headers(self, value: dict[str, Any], path: DocPath) -> None:
        for name, each in value.items():
            self._header(name, each, (*path, name))

    def _header(self, name: str, value: Any, path: DocPath) -> None:
        """A header whose name says that it is a secret is a reference, too."""
        told = values.text(value)
        if told is None or not told.isprintable() or self._spec["type"] == "mock":
            self._ledger.dropped(path, "the value is not one line of text")
            return
        headers = self._spec.setdefault("headers", {})
        if not values.variable(value) and (_SECRET_HEADER.search(name) or without_keys(told) != told):
            chosen = self._keys.variable(told, variable_of(f"{self._service}_{name}"))
            headers[name] = reference(chosen)
            why = f"what may be a key does not stand in a file: put it into the variable {chosen}"
            self._ledger.approximated(path, f"providers.*.headers.{name}", why)
            return
        headers[name] = told
        self._ledger.mapped(path, f"providers.*.headers.{name}")

    def _api_version(self, value: Any, path: DocPath) -> None:
        told = values.api_version(value)
        if told and self._spec["type"] == "openai_compatible":
            self._spec["api_version"] = told
            self._ledger.mapped(path, "providers.*.api_version")
        else:
            self._ledger.dropped(path, "no version, or not one of what a provider of this type speaks")


def usual_variable(params: dict[str, Any]) -> str:
    """The variable that LiteLLM takes the key of a deployment from, where it has none."""
    service, _ = _named(params)
    return VARIABLES.get(TYPES.get(service, ""), f"{variable_of(service)}_API_KEY")


def _named(params: dict[str, Any]) -> tuple[str, str]:
    """The service and the model. A prefix that is no service's is part of a model's name where there is a URL."""
    model, custom = str(params["model"]), params.get("custom_llm_provider")
    if isinstance(custom, str):
        return custom, model.removeprefix(f"{custom}/")
    prefix, slash, rest = model.partition("/")
    known = prefix in TYPES or prefix in COMPATIBLE or prefix in _OPENAI_LIKE or prefix in _OTHERS
    if slash and rest and (known or not (params.get("api_base") or params.get("base_url"))):
        return prefix, rest
    return _guess(model), model


def _guess(model: str) -> str:
    """The service of a model without a prefix."""
    starts = {
        "claude": "anthropic",
        "command": "cohere",
        "gemini": "gemini",
        "mistral-": "mistral",
        "deepseek": "deepseek",
    }
    return next((name for start, name in starts.items() if model.startswith(start)), "openai")
