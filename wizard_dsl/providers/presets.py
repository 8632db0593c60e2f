"""Providers that speak chat completions, as data: base URL, the variable of the key, and what their requests do
differently. `base_url` in a file overrides a preset's, for a proxy or another region."""

from __future__ import annotations

from functools import partial

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Example, ModelSpec, ProviderType
from wizard_dsl.core.node import BuildContext
from wizard_dsl.providers._chat_node import ChatConfig, ChatNode, Quirks, build_chat

_PLAIN = Quirks()


def _preset(
    name: str,
    title: str,
    base_url: str,
    key_variable: str | None,
    model: str,
    *,
    prices: str | None = None,
    quirks: Quirks = _PLAIN,
) -> ProviderType:
    key = f'\napi_key: "${{env:{key_variable}}}"' if key_variable else ""
    return ProviderType(
        name=name,
        summary=f"{title}, over chat completions",
        config=ChatConfig,
        build=partial(_build, base_url, quirks),
        endpoint=partial(_endpoint, base_url),
        overhead=protocol_tokens,
        key_variable=key_variable,
        prices=prices,
        examples=(Example(f"A model of {title}", f"type: {name}\nmodel: {model}{key}"),),
    )


def _build(base_url: str, quirks: Quirks, config: ChatConfig, model: ModelSpec, context: BuildContext) -> ChatNode:
    return build_chat(config, model, context, base_url, quirks)


def _endpoint(base_url: str, config: ChatConfig) -> str:
    return config.base_url or base_url


OPENAI = _preset(
    "openai",
    "OpenAI",
    "https://api.openai.com/v1",
    "OPENAI_API_KEY",
    "gpt-4o-mini",
    prices="openai",
    quirks=Quirks(completion_tokens=("o1", "o3", "o4", "gpt-5"), idempotency=True),
)
GROQ = _preset(
    "groq", "Groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", "llama-3.3-70b-versatile", prices="groq"
)
TOGETHER = _preset(
    "together",
    "Together AI",
    "https://api.together.xyz/v1",
    "TOGETHER_API_KEY",
    "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    prices="together",
)
FIREWORKS = _preset(
    "fireworks",
    "Fireworks AI",
    "https://api.fireworks.ai/inference/v1",
    "FIREWORKS_API_KEY",
    "accounts/fireworks/models/deepseek-v3",
    prices="fireworks",
)
DEEPSEEK = _preset(
    "deepseek",
    "DeepSeek",
    "https://api.deepseek.com",
    "DEEPSEEK_API_KEY",
    "deepseek-chat",
    prices="deepseek",
    quirks=Quirks(schema=False),
)
XAI = _preset("xai", "xAI", "https://api.x.ai/v1", "XAI_API_KEY", "grok-4", prices="x-ai")
MISTRAL = _preset(
    "mistral",
    "Mistral AI",
    "https://api.mistral.ai/v1",
    "MISTRAL_API_KEY",
    "mistral-small-latest",
    prices="mistral",
    quirks=Quirks(usage_option=False, renames={"seed": "random_seed"}),
)
NEBIUS = _preset(
    "nebius",
    "Nebius AI Studio",
    "https://api.studio.nebius.com/v1",
    "NEBIUS_API_KEY",
    "Qwen/Qwen3-32B",
)
OPENROUTER = _preset(
    "openrouter",
    "OpenRouter",
    "https://openrouter.ai/api/v1",
    "OPENROUTER_API_KEY",
    "openai/gpt-4o-mini",
    prices="openrouter",
)
ZAI = _preset(
    "zai",
    "Z.ai",
    "https://api.z.ai/api/paas/v4",
    "ZAI_API_KEY",
    "glm-4.6",
    prices="zai",
    quirks=Quirks(schema=False),
)
VLLM = _preset("vllm", "a vLLM server", "http://localhost:8000/v1", None, "Qwen/Qwen3-8B")

PRESETS = (OPENAI, GROQ, TOGETHER, FIREWORKS, DEEPSEEK, XAI, MISTRAL, NEBIUS, OPENROUTER, ZAI, VLLM)
