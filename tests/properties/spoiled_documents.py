"""Valid documents, and ways to spoil them: material for the property that schema and conversion agree."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

SMALL: dict[str, Any] = {
    "version": 1,
    "inputs": {"question": {"type": "string"}},
    "providers": {"local": {"type": "mock"}},
    "chains": {"default": {"targets": ["local"]}},
    "steps": {"answer": {"prompt": {"user": "{{ question }}"}}},
}
LARGE: dict[str, Any] = {
    "version": 1,
    "name": "triage",
    "description": "Sorts tickets, $${ and all.",
    "inputs": {
        "ticket": {"type": "string", "maxLength": 80},
        "language": {"type": "string", "enum": ["en", "de"], "default": "en", "trusted": True},
    },
    "providers": {
        "openai": {
            "type": "openai",
            "api_key": "${env:OPENAI_API_KEY}",
            "base_url": "https://example.invalid/v1",
            "headers": {"X-Team": "support", "Authorization": "Bearer ${env:TOKEN}"},
            "pool": {"size": 10, "keep_alive": "10s"},
            "models": {"gpt-4o": {"context": 128000, "tools": True, "prices": {"input": "$2.50", "output": "$10"}}},
            "policies": {"rate_limit": {"rate": "10/s", "burst": 20}, "concurrency": 8},
        },
        "claude": {"type": "anthropic", "api_key": "${env:KEY}", "model": "claude-sonnet-4-5"},
        "local": {"type": "mock", "reply": [{"match": "a", "reply": "b"}], "error_rate": "5%", "chunk": 3},
        "foreign": {"type": "acme.provider", "anything": [1]},
    },
    "policies": {
        "default": {
            "cache": "1h",
            "retry": {"max_attempts": 3, "jitter": "full", "retry_on": {"server": False, "503": True}},
            "circuit_breaker": 5,
            "timeout": {"connect": "5s", "total": "off"},
            "stack": ["retry", "timeout"],
        },
        "careful": {"retry": "off", "retry_budget": "10%", "acme.redact": {"words": ["a"]}},
    },
    "chains": {
        "cheap": {"targets": ["openai/gpt-4o-mini", "local"], "strategy": "sequential"},
        "writer": {
            "strategy": {"type": "sequential"},
            "on_rate_limit": {"wait_up_to": "2s", "then": "fallback"},
            "fallback_on": {"auth": True, "404": True},
            "allow_loss": ["tools", "images"],
            "policies": {"use": "careful", "deadline": "45s"},
            "targets": [
                "openai/gpt-4o",
                {"provider": "claude", "params": {"max_tokens": 800}, "policies": {"retry": {"max_attempts": 2}}},
            ],
        },
    },
    "prompts": {
        "classify": {"system": "Sort.", "user": "{{ ticket }}", "params": {"temperature": 0}},
        "chat": {
            "messages": [
                {"role": "user", "content": [{"text": "{{ ticket }}"}, {"image": "https://example.invalid/a.png"}]},
                {"role": "assistant", "content": "Yes."},
            ],
            "tools": [{"name": "look_up", "parameters": {"type": "object"}}],
        },
    },
    "steps": {
        "topic": {
            "prompt": "classify",
            "chain": "cheap",
            "output": {"schema": {"type": "object", "required": ["topic"]}, "repairs": 1},
        },
        "parts": {"type": "render", "template": "x", "for_each": "[1, 2]", "concurrency": 2, "needs": ["topic"]},
        "vector": {"type": "embed", "texts": ["{{ ticket }}"], "chain": "cheap", "needs": {"topic": "ran"}},
        "reply": {"prompt": {"user": "{{ ticket }}"}, "chain": "writer", "when": "true", "on_error": {"default": ""}},
    },
    "output": {"text": "{{ steps.reply.text }}"},
    "deadline": "90s",
    "observe": {"log": {"level": "INFO"}},
}

VALUES = st.sampled_from(
    [
        None, True, False, 0, 1, 3, 2.0, 2.5, -1, 11, 10**6, "", "off", "none", "x", "Bad Name", "30s", "0s", "10%",
        "10/s", "$0.05", "1h", "3", "local", "openai/gpt-4o", "retry", "acme.thing", "openai", "mock", "generate",
        "sequential", "${env:A}", "${env:A:-3}", "${file:secret}", "a ${env:A} b", "$${env:A}", "${A}", "${env:}",
        "sk-literal", "Bearer abc", "https://example.invalid", "full", "lru", "fail", "a/b/c", "/", "a\n", "{{ x }}",
        [], [1], ["local"], ["retry", "retry"], {}, {"a": 1}, {"type": "mock"}, {"type": "render", "template": "x"},
        {"max_attempts": 2}, {"provider": "local"}, {"user": "x"}, {"default": None}, {"503": True}, {"503": 1},
    ]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "x", "Bad", "type", "policies", "retry", "cache", "deadline", "acme.thing", "use", "stack", "api_key",
        "headers", "text", "steps", "model", "prompt", "503", "server", "X-Api-Key", "default", "trusted", "pool",
        "on_rate_limit", "template", "params", "max_attempts", "then", "wait_up_to", "concurrency", "timeout",
    ]
)  # fmt: skip


def paths(value: Any, path: Path = ()) -> list[Path]:
    """Every path of a document but the root."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, each in pairs for found in ((*path, key), *paths(each, (*path, key)))]


def changed(value: Any, path: Path, new: Any, *, delete: bool = False) -> Any:
    """A copy with `new` at `path`, or without it."""
    part, rest = path[0], path[1:]
    if isinstance(value, dict):
        if not rest and delete:
            return {key: each for key, each in value.items() if key != part}
        return {**value, part: changed(value[part], rest, new, delete=delete) if rest else new}
    if not rest and delete:
        return [*value[:part], *value[part + 1 :]]
    below = changed(value[part], rest, new, delete=delete) if rest else new
    return [*value[:part], below, *value[part + 1 :]]


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document with up to three changes, which may or may not make it wrong."""
    document: Any = draw(st.sampled_from([SMALL, LARGE]))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(document)))
        how = draw(st.sampled_from(["set", "delete", "add", "move"]))
        if how == "set":
            document = changed(document, path, draw(VALUES))
        elif how == "delete":
            document = changed(document, path, None, delete=True)
        elif how == "move":
            document = changed(document, path, at(document, draw(st.sampled_from(paths(document)))))
        elif isinstance(at(document, path), dict):
            document = changed(document, (*path, draw(KEYS)), draw(VALUES))
    return document


def at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value
