"""Providers of a pipeline file, collected from deployments that each state theirs in full."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

import msgspec

from wizard_dsl.analysis.importing.names import Names

#: Names of providers elsewhere → types here that ask the same service over its own protocol.
TYPES: Final = {
    "openai": "openai",
    "open-ai": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "google": "gemini",
    "groq": "groq",
    "together": "together",
    "together_ai": "together",
    "together-ai": "together",
    "fireworks": "fireworks",
    "fireworks_ai": "fireworks",
    "fireworks-ai": "fireworks",
    "deepseek": "deepseek",
    "xai": "xai",
    "x-ai": "xai",
    "mistral": "mistral",
    "mistral-ai": "mistral",
    "openrouter": "openrouter",
    "nebius": "nebius",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "zai": "zai",
    "vllm": "vllm",
    "hosted_vllm": "vllm",
}

#: Services that speak OpenAI's protocol at an address of their own.
COMPATIBLE: Final = {
    "perplexity": "https://api.perplexity.ai",
    "perplexity-ai": "https://api.perplexity.ai",
    "cerebras": "https://api.cerebras.ai/v1",
    "nvidia_nim": "https://integrate.api.nvidia.com/v1",
    "deepinfra": "https://api.deepinfra.com/v1/openai",
    "sambanova": "https://api.sambanova.ai/v1",
}

#: The variable that the key of a type is usually in.
VARIABLES: Final = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "together": "TOGETHER_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "xai": "XAI_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "nebius": "NEBIUS_API_KEY",
    "cohere": "COHERE_API_KEY",
    "zai": "ZAI_API_KEY",
}

#: Parameters of a request that go to the model as they are.
PARAMETERS: Final = frozenset(
    (
        "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "presence_penalty",
        "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "n", "user", "reasoning_effort", "verbosity",
        "min_p", "repetition_penalty", "thinking", "dimensions", "encoding_format", "input_type",
        "parallel_tool_calls", "service_tier", "keep_alive", "num_ctx", "extra_body", "safety_settings",
    )
)  # fmt: skip

#: Parts of a request that are no parameters here, and where they stand.
ELSEWHERE: Final = {
    **dict.fromkeys(("tools", "tool_choice", "functions", "function_call"), "tools stand in a prompt, under `tools`"),
    "response_format": "a step declares its schema, under `output`",
    **dict.fromkeys(("stream", "stream_options"), "whoever runs a pipeline chooses to stream"),
}

#: A model of each type, for targets of sources where a request names it.
SAMPLES: Final = {
    "openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash",
    "groq": "llama-3.3-70b-versatile", "mistral": "mistral-small-latest", "cohere": "command-a-03-2025",
    "deepseek": "deepseek-chat", "xai": "grok-4", "ollama": "llama3.2",
}  # fmt: skip

#: Keys that say there is none.
NO_KEYS: Final = frozenset(
    ("", "none", "null", "na", "n/a", "empty", "fake", "fake-key", "dummy", "not-needed", "no-key", "anything")
)


#: Types whose models run on one's own machine.
_FREE: Final = ("ollama", "vllm")


class Slot(msgspec.Struct):
    """One provider in the making: its keys, and what each model is asked with."""

    name: str
    spec: dict[str, Any]
    models: dict[str, dict[str, Any]] = {}
    facts: dict[str, dict[str, Any]] = {}


class Providers:
    """Deployments that ask the same service with the same key share a provider, as long as they do not set the same
    model up differently: a target is a provider and a model, and has one state."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []
        self._alike: dict[str, list[Slot]] = {}
        self._names = Names()

    def place(
        self, wanted: str, spec: dict[str, Any], model: str, settings: dict[str, Any], facts: dict[str, Any]
    ) -> str:
        """The name of the provider that this model is asked at."""
        alike = self._alike.setdefault(json.dumps(spec, sort_keys=True), [])
        for slot in alike:
            if slot.models.get(model, settings) == settings:
                break
        else:
            slot = Slot(self._names.free(wanted, prefix="p"), spec, {}, {})
            self._slots.append(slot)
            alike.append(slot)
        slot.models[model] = settings
        if facts:
            slot.facts.setdefault(model, facts)
        return slot.name

    def unpriced(self) -> str | None:
        """A target whose price nobody knows: at an address of its own, and without a price in the source. What runs on
        one's own machine costs nothing, as the source's tools have it."""
        unknown = None
        for slot in self._slots:
            for model in slot.models:
                if slot.spec["type"] in _FREE:
                    slot.facts.setdefault(model, {}).setdefault("prices", {"input": "$0", "output": "$0"})
                elif slot.spec["type"] == "openai_compatible" and "prices" not in slot.facts.get(model, {}):
                    unknown = unknown or f"{slot.name}/{model}"
        return unknown

    def section(self, used: Collection[str] | None = None) -> dict[str, Any]:
        """The providers, or those of them that are used."""
        return {
            slot.name: {**slot.spec, **({"models": slot.facts} if slot.facts else {})}
            for slot in self._slots
            if used is None or slot.name in used
        }
