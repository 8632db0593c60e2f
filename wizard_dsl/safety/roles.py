"""Role markers: the tokens with which chat templates say who speaks.

A server that puts messages into a template and then tokenizes the whole (llama.cpp, vLLM, Ollama, many a proxy) may
read a marker inside a user's text as the end of the user's turn. Written `< |im_start|>` it is only text. Words such as
"System:" are no markers: no template gives them a meaning that text cannot have.
"""

from __future__ import annotations

from typing import Final

from wizard_dsl.core.regex import regex

#: The markers of ChatML, Llama 2 to 4, Gemma, Phi, Mistral, Command, DeepSeek and Granite templates.
_MARKER: Final = regex(
    r"<(?=\|[A-Za-z][A-Za-z0-9_]{0,40}\|>)"
    r"|<(?=｜[^｜<>]{1,40}｜>)"
    r"|<(?=/?(?:start_of_turn|end_of_turn|start_of_role|end_of_role|bos|eos|s)>)"
    r"|<(?=</?SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])"
)
_LONGEST: Final = 48


def find_role(text: str) -> tuple[int, str] | None:
    """The first role marker: its place, counted from 1, and its text."""
    found = _MARKER.search(text) if "<" in text or "[" in text else None
    if found is None:
        return None
    rest = text[found.start() : found.start() + _LONGEST]
    end = max(rest.find(">"), rest.find("]"))
    return found.start() + 1, rest[: end + 1] if end > 0 else rest


def escape_roles(text: str) -> str:
    """`text` with a space after the first character of each marker, so that it is none any more."""
    return _MARKER.sub(r"\g<0> ", text)
