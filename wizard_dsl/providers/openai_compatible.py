"""Chat completions at a base URL of your own: any server that speaks OpenAI's protocol.

What is asked for is `base_url`/chat/completions (and /embeddings), so `base_url` usually ends in `/v1`. On Azure it
is the deployment's URL with `api_version`, or `…/openai/v1` without; there the key travels as `api-key`.
Proxies named by HTTP_PROXY and HTTPS_PROXY are used, NO_PROXY is honoured.
"""

from __future__ import annotations

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Example, ModelSpec, ProviderType
from wizard_dsl.core.node import BuildContext
from wizard_dsl.providers._chat_node import ChatNode, CompatibleConfig, Quirks, build_chat


def build(config: CompatibleConfig, model: ModelSpec, context: BuildContext) -> ChatNode:
    """The node of one target."""
    return build_chat(config, model, context, None, Quirks())


def endpoint(config: CompatibleConfig) -> str:
    return config.base_url


OPENAI_COMPATIBLE = ProviderType(
    name="openai_compatible",
    summary="any server that speaks OpenAI's chat completions, at `base_url`",
    config=CompatibleConfig,
    build=build,
    endpoint=endpoint,
    overhead=protocol_tokens,
    examples=(
        Example(
            "A gateway in your own network",
            'type: openai_compatible\nbase_url: http://gateway.internal:8080/v1\napi_key: "${env:GATEWAY_KEY}"',
        ),
        Example(
            "A deployment on Azure",
            "type: openai_compatible\n"
            "base_url: https://example.openai.azure.com/openai/deployments/chat\n"
            'api_version: "2024-10-21"\n'
            'api_key: "${env:AZURE_OPENAI_API_KEY}"',
        ),
    ),
)
