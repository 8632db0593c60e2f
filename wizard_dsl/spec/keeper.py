"""Where `state` leads: memory, a file that the processes of this machine share, or a server."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from wizard_dsl.spec.diagnostics import meant

MEMORY: Final = "memory"
_SCHEMES: Final = ("redis", "rediss", "unix")
#: What shows that a word is a file. `sqlite:NAME` says so, too.
_FILES: Final = (".db", ".sqlite", ".sqlite3")


class StateHome(msgspec.Struct, frozen=True):
    """What keeps the state, and its URL, or its path, as seen from the project's folder."""

    kind: Literal["memory", "sqlite", "redis"]
    place: str = ""

    def below(self, root: Path) -> StateHome:
        """The same, with the whole path."""
        return StateHome("sqlite", str(root / self.place)) if self.kind == "sqlite" else self


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
    scheme, colon, path = text.partition(":")
    if "://" not in text and text.endswith("/"):
        raise NoHome(f"{text!r} is a folder, and the state is a file", f"write {text}state.db")
    if scheme == "sqlite" and path.strip("/"):
        return StateHome("sqlite", path)
    if "://" not in text and ("/" in text or text.endswith(_FILES)):
        return StateHome("sqlite", text)
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
    return meant(scheme, (MEMORY, "sqlite", *_SCHEMES))


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
