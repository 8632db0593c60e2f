"""The node of the chat completions protocol, for `openai_compatible` and its presets.

A preset is data: a base URL, the variable of its key, and `Quirks`, the few places where its requests differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from wizard_dsl.core.component import ModelSpec
from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.messages import Completion, Request
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.providers._chat import ChatReader, read_usage
from wizard_dsl.providers._chat_request import encode_messages, encode_tools, json_format
from wizard_dsl.providers._config import (
    JSON_HEADERS,
    BaseUrl,
    EndpointConfig,
    build_headers,
    idempotency_key,
    join_url,
    secrets_of,
)
from wizard_dsl.providers._json import encode_body
from wizard_dsl.providers._wire import Wire


class ChatConfig(EndpointConfig, frozen=True, kw_only=True):
    """`api_version` is sent as the query's `api-version`, as Azure wants it."""

    api_version: (
        Annotated[
            str, Meta(pattern=r"^[A-Za-z0-9._-]+$", description="sent as the query's api-version, as Azure wants it")
        ]
        | None
    ) = None


class CompatibleConfig(ChatConfig, frozen=True, kw_only=True):
    """The config where no preset knows the base URL."""

    base_url: BaseUrl


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider's requests differ.

    `usage_option`: `stream_options.include_usage` is accepted, and needed for a usage. `renames`: parameters by
    their common name → the provider's. `completion_tokens`: beginnings of model names that take
    `max_completion_tokens` for `max_tokens`. `schema`: `response_format` takes a JSON schema.
    `idempotency`: `Idempotency-Key` is accepted.
    """

    usage_option: bool = True
    renames: Mapping[str, str] = {}
    completion_tokens: tuple[str, ...] = ()
    schema: bool = True
    idempotency: bool = False


class ChatNode:
    """Asks `base_url`/chat/completions, or /embeddings."""

    def __init__(self, config: ChatConfig, model: ModelSpec, context: BuildContext, base_url: str, quirks: Quirks):
        query = f"?api-version={config.api_version}" if config.api_version else ""
        self._url = join_url(base_url, "chat/completions") + query
        self._embeddings = join_url(base_url, "embeddings") + query
        self._headers = build_headers(_auth(config, base_url), config, model.target)
        self._wire = Wire(context, model, secrets_of(config))
        self._model = model.name
        self._target = model.target
        self._quirks = quirks
        self._renames = dict(quirks.renames)
        if model.name.startswith(quirks.completion_tokens or ("\0",)):
            self._renames["max_tokens"] = "max_completion_tokens"

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed."""
        if request.kind == "embed":
            return await self._embed(request, run)
        stream = run.commit == "content"
        body = encode_body(self._body(request, stream))
        headers = self._headers
        if self._quirks.idempotency:
            headers = headers | {"idempotency-key": idempotency_key(run, self._target, body)}
        return await self._wire.ask(self._url, headers, body, ChatReader(), run, stream=stream)

    def _body(self, request: Request, stream: bool) -> dict[str, Any]:
        renames = self._renames
        body = {renames.get(name, name): value for name, value in request.params.items()}
        body["model"] = self._model
        body["messages"] = encode_messages(request.messages)
        if request.tools:
            body["tools"] = encode_tools(request)
        if request.schema is not None and self._quirks.schema:
            body["response_format"] = {"type": "json_schema", "json_schema": json_format(request.schema)}
        body["stream"] = stream
        if stream and self._quirks.usage_option:
            body.setdefault("stream_options", {"include_usage": True})
        return body

    async def _embed(self, request: Request, run: Run) -> Response:
        body = encode_body({**request.params, "model": self._model, "input": request.texts})
        return await self._wire.embed(self._embeddings, self._headers, body, _read_embeddings, len(request.texts), run)


def _read_embeddings(payload: Any) -> Completion:
    rows = sorted(payload["data"], key=lambda row: row.get("index") or 0)
    return Completion(
        embeddings=tuple(tuple(map(float, row["embedding"])) for row in rows),
        finish_reason="stop",
        usage=read_usage(payload.get("usage")),
        model=payload.get("model"),
    )


def _auth(config: ChatConfig, base_url: str) -> dict[str, str]:
    if config.api_key is None:
        return JSON_HEADERS
    if ".azure.com" in base_url:
        return JSON_HEADERS | {"api-key": config.api_key}
    return JSON_HEADERS | {"authorization": f"Bearer {config.api_key}"}


def build_chat(config: Any, model: ModelSpec, context: BuildContext, base_url: str | None, quirks: Quirks) -> ChatNode:
    """The node of one target; `base_url` is the preset's, which the config's own overrides."""
    base = config.base_url or base_url
    if base is None:
        raise SpecError(f"{model.target} has no base_url; set it under its provider", where=model.target)
    return ChatNode(config, model, context, base, quirks)
