"""A small answer in every protocol, whole and streamed."""

from __future__ import annotations

import msgspec

from wizard_dsl.testing.conformance import Exchange


def _sse(*events: object, names: bool = False) -> bytes:
    parts = []
    for event in events:
        if isinstance(event, bytes):
            parts.append(b"data: " + event + b"\n\n")
            continue
        name = b"event: " + event["type"].encode() + b"\n" if names else b""
        parts.append(name + b"data: " + msgspec.json.encode(event) + b"\n\n")
    return b"".join(parts)


def _chunk(finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHAT = Exchange(
    answer="Good dáy",
    whole=msgspec.json.encode(
        {
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Good dáy"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }
    ),
    streamed=_sse(
        _chunk(role="assistant", content=""), _chunk(content="Good "), _chunk(content="dáy"), _chunk("stop"), b"[DONE]"
    ),
)
_RESPONSE = {
    "id": "r1",
    "model": "m",
    "status": "completed",
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Good dáy"}]}],
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
RESPONSES = Exchange(
    answer="Good dáy",
    whole=msgspec.json.encode(_RESPONSE),
    streamed=_sse(
        {"type": "response.created", "response": {"id": "r1", "status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Good "},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "dáy"},
        {"type": "response.completed", "response": _RESPONSE},
        names=True,
    ),
)
_TEXT = {"type": "text", "text": "Good dáy"}
ANTHROPIC = Exchange(
    answer="Good dáy",
    whole=msgspec.json.encode(
        {
            "model": "m",
            "type": "message",
            "role": "assistant",
            "content": [_TEXT],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 3, "output_tokens": 2},
        }
    ),
    streamed=_sse(
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "dáy"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
        names=True,
    ),
)


def _candidate(text: str, finish: str | None = None) -> dict[str, object]:
    one = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish}
    return {"candidates": [{key: value for key, value in one.items() if value is not None}]}


GEMINI = Exchange(
    answer="Good dáy",
    whole=msgspec.json.encode(_candidate("Good dáy", "STOP")),
    streamed=_sse(_candidate("Good "), _candidate("dáy", "STOP")),
)


def _turn(text: str, **more: object) -> bytes:
    return msgspec.json.encode({"model": "m", "message": {"role": "assistant", "content": text}, **more}) + b"\n"


OLLAMA = Exchange(
    answer="Good dáy",
    whole=_turn("Good dáy", done=True, done_reason="stop"),
    streamed=_turn("Good ", done=False) + _turn("dáy", done=False) + _turn("", done=True, done_reason="stop"),
    streamed_type="application/x-ndjson",
)


def _piece(text: str) -> dict[str, object]:
    return {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}}


COHERE = Exchange(
    answer="Good dáy",
    whole=msgspec.json.encode(
        {"id": "1", "message": {"role": "assistant", "content": [_TEXT]}, "finish_reason": "COMPLETE"}
    ),
    streamed=_sse(
        {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        _piece("Good "),
        _piece("dáy"),
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
        names=True,
    ),
)
#: Type → its exchange; presets, all others, speak the first protocol.
EXCHANGES = {
    "openai_responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "ollama": OLLAMA,
    "cohere": COHERE,
}
