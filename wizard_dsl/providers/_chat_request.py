"""Requests of the chat completions protocol, which several providers and the embedded model share."""

from __future__ import annotations

from typing import Any

import msgspec

from wizard_dsl.core.errors import InvalidRequest
from wizard_dsl.core.messages import Image, Message, Request, Text, ToolCall


def encode_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    return [encode_message(each) for each in messages]


def encode_message(message: Message) -> dict[str, Any]:
    """One turn; text alone stays a string, which every server takes."""
    body: dict[str, Any] = {"role": message.role, "content": encode_parts(message)}
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["content"] = body["content"] or None
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return body


def encode_parts(message: Message) -> str | list[dict[str, Any]]:
    if not message.has_image:
        return message.text
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Image):
            parts.append({"type": "image_url", "image_url": {"url": part.url}})
        elif isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
    return parts


def encode_tools(request: Request) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters or {"type": "object", "properties": {}},
            },
        }
        for tool in request.tools
    ]


def arguments_of(call: ToolCall) -> Any:
    """The arguments of a call in the history, for protocols that want the object itself. Raises InvalidRequest."""
    try:
        return msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the arguments of the call {call.name!r} are no JSON: {error}", sent=False) from error


def json_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The `json_schema` response format; `strict` only where the schema fulfils what strict mode demands."""
    return {"name": "answer", "schema": schema, "strict": is_closed(schema)}


def is_closed(schema: Any) -> bool:
    """Whether each object in the schema forbids further keys and requires all of its own."""
    if isinstance(schema, list):
        return all(map(is_closed, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        names = set(properties) if isinstance(properties, dict) else set()
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != names:
            return False
    return all(is_closed(value) for key, value in schema.items() if key not in ("enum", "const", "default", "examples"))
