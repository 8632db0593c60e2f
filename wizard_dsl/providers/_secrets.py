"""Keys stay out of what providers say: some repeat the key they refuse, whole, in pieces, or in another spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"
_SHORTEST = 4  # characters; shorter values are no secrets, and would tear words apart
_WORD = 8  # characters; a shorter secret is hidden only where it stands alone
_PIECE = 12  # characters of a key's beginning or end that give too much of it away


def spellings(values: Iterable[str | None]) -> tuple[str, ...]:
    """What `hide` has to look for, longest first: the values, the credentials in `Bearer …`, both also as they
    are written in a URL and in JSON with escaped slashes."""
    found = set()
    for value in filter(None, values):
        for text in (value, value.partition(" ")[2].strip()):
            if len(text) >= _SHORTEST:
                found |= {text, quote(text, safe=""), text.replace("/", "\\/")}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """`text` without the secrets, as `spellings` made them, and without long pieces of them, which are left where a
    text was cut or a provider shows the ends."""
    for secret in secrets:
        if len(secret) >= _WORD:
            text = text.replace(secret, HIDDEN)
        elif secret in text:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", HIDDEN, text)
    for secret in reversed(secrets):
        if len(secret) >= 2 * _PIECE and " " not in secret:
            text = _without_ends(text, secret)
    return text


def _without_ends(text: str, secret: str) -> str:
    beginning, end = secret[:_PIECE], secret[-_PIECE:]
    while (start := text.find(beginning)) >= 0:
        stop = start + _PIECE
        while text[stop : stop + 1] == secret[stop - start : stop - start + 1] != "":
            stop += 1
        text = text[:start] + HIDDEN + text[stop:]
    while (start := text.find(end)) >= 0:
        stop, before = start + _PIECE, len(secret) - _PIECE
        while start > 0 and before > 0 and text[start - 1] == secret[before - 1]:
            start, before = start - 1, before - 1
        text = text[:start] + HIDDEN + text[stop:]
    return text
