"""The deployments of `model_list`: who is asked, how, and what is known of the model."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wizard_dsl.analysis.importing import _litellm_tables as tables
from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing._litellm_service import service
from wizard_dsl.analysis.importing._litellm_settings import Settings
from wizard_dsl.analysis.importing._providers import PARAMETERS, Providers
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import Keys, seconds
from wizard_dsl.core.units import show_money
from wizard_dsl.spec.diagnostics import DocPath

_CHAT: Final = ("chat", "completion", "responses")
_NAMED: Final = (
    ("embed", "embedding"), ("dall-e", "image_generation"), ("gpt-image", "image_generation"),
    ("imagen", "image_generation"), ("whisper", "audio_transcription"), ("tts-1", "audio_speech"), ("rerank", "rerank"),
    ("moderation", "moderation"),
)  # fmt: skip
_FACTS: Final = {
    "max_tokens": "max_output",
    "max_output_tokens": "max_output",
    "max_input_tokens": "context",
}
_CAN: Final = {
    "supports_function_calling": "tools",
    "supports_vision": "images",
    "supports_response_schema": "json_schema",
    "supports_system_messages": "system",
    "supports_native_streaming": "streaming",
}
_COSTS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
}


class Deployment(msgspec.Struct, kw_only=True):
    """An entry of `model_list`. `target` is what stands in a chain, without weight, priority and retry."""

    group: str
    path: DocPath
    origin: str
    kind: str
    name: str
    identity: str
    target: dict[str, Any]
    weight: float | None = None
    order: int = 0
    retries: int | None = None
    retries_at: DocPath | None = None
    id: str | None = None


class Models:
    """Reads `model_list`."""

    def __init__(self, settings: Settings, ledger: Ledger, keys: Keys) -> None:
        self._settings = settings
        self._ledger = ledger
        self._keys = keys
        self.providers = Providers()

    def read(self, listed: list[Any]) -> list[Deployment]:
        found = [self._one(entry, ("model_list", index)) for index, entry in enumerate(listed)]
        return [each for each in found if each is not None]

    def _one(self, entry: Any, path: DocPath) -> Deployment | None:
        held = entry if isinstance(entry, dict) else {}
        group, params = held.get("model_name"), held.get("litellm_params")
        if not isinstance(group, str) or not isinstance(params, dict) or not _is_named(params.get("model")):
            self._ledger.dropped(path, "a deployment has a `model_name`, and a `model` among its `litellm_params`")
            return None
        told = held.get("model_info")
        info: dict[str, Any] = told if isinstance(told, dict) else {}
        mode = str(info.get("mode", _mode_of(params["model"])))
        if mode not in (*_CHAT, "embedding"):
            self._ledger.dropped(path, f"mode {mode}: Wizard asks for completions and embeddings only")
            return None
        reader = _Reader(self._settings, self._ledger, (*path, "litellm_params"))
        reader.params(params)
        facts = self._facts(info, params, path)
        wanted, model, spec = service(params, (*path, "litellm_params"), self._ledger, self._keys)
        settings = {"params": reader.sampling, "policies": reader.policies()}
        provider = self.providers.place(wanted, spec, model, settings, facts)
        self._account(held, group, path)
        kept = {name: each for name, each in settings.items() if each}
        return Deployment(
            group=group,
            path=path,
            origin=self._ledger.origin(path),
            kind="embedding" if mode == "embedding" else "chat",
            name=f"{provider}/{model}",
            identity="|".join(str(spec.get(key)) for key in ("type", "base_url", "api_key")) + f"|{model}",
            target={"provider": provider, "model": model, **kept},
            weight=reader.weight,
            order=reader.order,
            retries=reader.retries,
            retries_at=reader.retries_at,
            id=info.get("id") if isinstance(info.get("id"), str) else None,
        )

    def _account(self, held: dict[str, Any], group: str, path: DocPath) -> None:
        self._ledger.mapped((*path, "model_name"), "chains.*")
        for name in held:
            if name in ("rpm", "tpm"):
                self._ledger.dropped((*path, name), "LiteLLM reads it among `litellm_params`")
            elif name not in ("model_name", "litellm_params", "model_info"):
                self._ledger.unknown((*path, name), ("model_name", "litellm_params", "model_info"))

    def _facts(self, info: dict[str, Any], params: dict[str, Any], path: DocPath) -> dict[str, Any]:
        """`models.….*` of a provider. Prices per token become prices per million."""
        facts: dict[str, Any] = {}
        prices: dict[str, str] = {}
        for block, held in (("model_info", info), ("litellm_params", params)):
            for name, value in held.items():
                if name in _COSTS:
                    self._price(name, value, (*path, block, name), prices)
                elif name.startswith(("input_cost_per_", "output_cost_per_")):
                    self._ledger.dropped((*path, block, name), "prices here are for tokens, input and output")
                elif block == "model_info":
                    self._fact(name, value, (*path, block, name), facts)
        if {"input", "output"} <= set(prices):
            facts["prices"] = prices
        return facts

    def _price(self, name: str, value: Any, path: DocPath, prices: dict[str, str]) -> None:
        price = values.number(value)
        if price is None or price < 0:
            self._ledger.dropped(path, "the value is not a price")
            return
        prices.setdefault(_COSTS[name], show_money(float(f"{price * 1e6:.9g}")))
        why = "for a million tokens; counts where both input and output are there"
        self._ledger.mapped(path, f"providers.*.models.*.prices.{_COSTS[name]}", why)

    def _fact(self, name: str, value: Any, path: DocPath, facts: dict[str, Any]) -> None:
        size, can = values.count(value), values.flag(value)
        if name == "mode":
            to = "steps.*.type: embed" if value == "embedding" else "steps"
            self._ledger.mapped(path, to)
        elif name in _FACTS and size:
            facts.setdefault(_FACTS[name], size)
            self._ledger.mapped(path, f"providers.*.models.*.{_FACTS[name]}")
        elif name in _CAN and can is not None:
            facts[_CAN[name]] = can
            self._ledger.mapped(path, f"providers.*.models.*.{_CAN[name]}")
        elif name in tables.MODEL_INFO:
            self._ledger.dropped(path, tables.MODEL_INFO[name])
        elif name.startswith("supports_") or name.endswith(("_cost", "_cost_per_token")):
            self._ledger.dropped(path, "not among what Wizard knows of a model")
        else:
            self._ledger.unknown(path, [*_FACTS, *_CAN, *_COSTS, *tables.MODEL_INFO, "mode"])


def _mode_of(model: str) -> str:
    """What a model is for by its name, as LiteLLM knows it from its list of models."""
    return next((mode for part, mode in _NAMED if part in model.lower()), "chat")


def _is_named(model: Any) -> bool:
    return isinstance(model, str) and bool(model.strip(" /")) and not model.endswith("/")


class _Reader:
    """The settings of one deployment besides who is asked."""

    def __init__(self, settings: Settings, ledger: Ledger, path: DocPath) -> None:
        self._settings = settings
        self._ledger = ledger
        self._path = path
        self._windows: list[str] = []
        self._policies: dict[str, Any] = {}
        self._timeout: dict[str, str] = {}
        self.sampling: dict[str, Any] = dict(settings.params)
        self.weight: float | None = None
        self.order = 0
        self.retries: int | None = None
        self.retries_at: DocPath | None = None

    def policies(self) -> dict[str, Any]:
        made = dict(self._policies)
        if self._windows:
            made["rate_limit"] = {"windows": self._windows, "max_wait": "0s"}
        if self._timeout:
            made["timeout"] = self._timeout
        return made

    def params(self, params: dict[str, Any]) -> None:
        acts = {
            "weight": self._weight,
            "order": self._order,
            "rpm": self._limit,
            "tpm": self._limit,
            "timeout": self._time,
            "request_timeout": self._time,
            "stream_timeout": self._time,
            "max_parallel_requests": self._parallel,
            "num_retries": self._retries,
            "max_retries": self._retries,
            "cooldown_time": self._cooldown,
        }
        for name, value in params.items():
            path = (*self._path, name)
            if name in acts:
                acts[name](value, path)
            elif name in PARAMETERS:
                sent = "max_tokens" if name == "max_completion_tokens" else name
                self.sampling[sent] = value
                self._ledger.mapped(path, f"chains.*.targets.params.{sent}")
            elif name in tables.DEPLOYMENT:
                self._ledger.dropped(path, tables.DEPLOYMENT[name])

    def _weight(self, value: Any, path: DocPath) -> None:
        found = values.number(value)
        if found is None or found < 0:
            self._ledger.dropped(path, "the value is not a number of at least 0")
        elif self._settings.strategy != "weighted":
            self._ledger.dropped(path, f"strategy {self._settings.strategy} has no weights, nor has LiteLLM's")
        else:
            self.weight = found
            self._ledger.mapped(path, "chains.*.targets.weight")

    def _order(self, value: Any, path: DocPath) -> None:
        found = values.count(value)
        if found is None:
            self._ledger.dropped(path, "the value is not a whole number")
            return
        self.order = found
        if self._settings.ordered:
            self._ledger.mapped(path, "chains.*.targets.priority")
        else:
            why = "it counts here; in LiteLLM only with router_settings.enable_pre_call_checks"
            self._ledger.approximated(path, "chains.*.targets.priority", why)

    def _limit(self, value: Any, path: DocPath) -> None:
        found = values.count(value)
        if not found:
            self._ledger.dropped(path, "the value is not a whole number above 0")
            return
        name = path[-1]
        if self._settings.enforced:
            self._windows.append(f"{found}/minute" if name == "rpm" else f"{found} tokens/minute")
            why = "a window that slides; LiteLLM's begins with each minute of the clock"
            self._ledger.approximated(path, "chains.*.targets.policies.rate_limit", why)
        elif self._settings.strategy == "weighted":
            if self.weight is None or name == "rpm":
                self.weight = self.weight or float(found)
            why = "a weight, as in LiteLLM without enable_pre_call_checks; to keep the limit: rate_limit: {windows: …}"
            self._ledger.approximated(path, "chains.*.targets.weight", why)
        else:
            self._ledger.dropped(path, "no limit in LiteLLM either without router_settings.enable_pre_call_checks")

    def _time(self, value: Any, path: DocPath) -> None:
        found = values.positive(value)
        if found is None:
            self._ledger.dropped(path, "the value is not a number of seconds")
            return
        name = "first_chunk" if path[-1] == "stream_timeout" else "total"
        self._timeout[name] = seconds(found)
        to = f"chains.*.targets.policies.timeout.{name}"
        if name == "total":
            self._ledger.mapped(path, to, "of one attempt, as there")
        else:
            self._ledger.approximated(path, to, "until the first content; between later pieces `idle` counts")

    def _parallel(self, value: Any, path: DocPath) -> None:
        found = values.count(value)
        if not found:
            self._ledger.dropped(path, "the value is not a whole number above 0")
            return
        self._policies["concurrency"] = found
        self._ledger.mapped(path, "chains.*.targets.policies.concurrency")

    def _retries(self, value: Any, path: DocPath) -> None:
        found = values.count(value)
        if found is None:
            self._ledger.dropped(path, "the value is not a whole number")
            return
        self.retries, self.retries_at = found, path

    def _cooldown(self, value: Any, path: DocPath) -> None:
        found = values.number(value)
        if found is None or found < 0:
            self._ledger.dropped(path, "the value is not a number of seconds")
            return
        self._policies["circuit_breaker"] = self._settings.breaker(found)
        self._settings.longest_cooldown = max(self._settings.longest_cooldown, found)
        to = "chains.*.targets.policies.circuit_breaker"
        if found == 0:
            self._ledger.mapped(path, f"{to}: off")
        else:
            why = "one call is let through then; if it fails, twice as long, where LiteLLM sends all of them again"
            self._ledger.approximated(path, f"{to}.reset_timeout", why)
