"""Where `state` leads: memory, or a server that other processes ask, too."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from wizard_dsl.spec.diagnostics import meant

MEMORY: Final = "memory"
_SCHEMES: Final = ("redis", "rediss", "unix")


class StateHome(msgspec.Struct, frozen=True):
    """What keeps the state, and its URL."""

    kind: Literal["memory", "redis"]
    url: str = ""


MEMORY_STATE: Final = StateHome("memory")


class NoHome(Exception):
    """The text leads nowhere; the sentence says why, and holds nothing of a URL but its scheme."""

    def __init__(self, why: str, suggestion: str | None) -> None:
        super().__init__(why)
        self.suggestion = suggestion


def state_home(text: str) -> StateHome:
    """What `text` names. Raises NoHome."""
    if text == MEMORY:
        return MEMORY_STATE
    scheme, colon, _ = text.partition(":")
    if not colon or scheme not in _SCHEMES:
        what = f"the scheme {scheme!r}" if "://" in text else repr(scheme)
        raise NoHome(f"{what} names no state", _nearest(scheme))
    try:
        parts = urlsplit(text)
        right = parts.port != 0 and (parts.path if scheme == "unix" else parts.hostname)
    except ValueError:
        right = None
    if not right:
        raise NoHome(f"this is no {scheme} URL", "write redis://HOST:PORT/0, or unix:///PATH/OF/THE/SOCKET")
    if find_spec("redis") is None:
        raise NoHome("the package redis is not installed", "pip install 'wizard-dsl[redis]'")
    return StateHome("redis", text)


def _nearest(scheme: str) -> str | None:
    if scheme in ("valkey", "valkeys"):
        return "write redis:// (or rediss:// for TLS); Valkey speaks the same protocol"
    return meant(scheme, (MEMORY, *_SCHEMES))


def passwords(text: str) -> list[str]:
    """What of the text must never be shown: as written, and as it is sent."""
    if "://" not in text:
        return []
    try:
        parts = urlsplit(text)
        found = [parts.password or "", *parse_qs(parts.query).get("password", [])]
    except ValueError:
        return [text]
    return list(dict.fromkeys(way for each in found for way in (each, unquote(each)) if way))
