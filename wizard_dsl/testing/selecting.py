"""`-k`: which tests are meant, as an expression over parts of their names: `outage and not (slow or cached)`.

Words are looked for in `file::name`, large and small letters alike. Words that follow each other are one phrase, and
so is what stands in quotes; `and`, `or`, `not` and parentheses are what they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from wizard_dsl.core.regex import regex

Picks = Callable[[str], bool]

_TOKEN: Final = regex(r"""\s*(?:([()])|"([^"]*)"|'([^']*)'|([^\s()"']+))""")
_WORDS: Final = ("and", "or", "not")


class BadSelection(ValueError):
    """An expression that cannot be read; the message says where."""


def selection(text: str) -> Picks:
    """What picks a test by its id. Raises BadSelection."""
    parser = _Parser(text)
    picks = parser.either()
    if parser.next is not None:
        raise BadSelection(f"'{text}' goes on with '{parser.next[1]}' where it should end")
    return picks


class _Parser:
    """One token at a time; `next` is (kind, text), None at the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [self._token(match) for match in _TOKEN.finditer(text)]
        if _TOKEN.sub("", text).strip():
            raise BadSelection(f"'{text}' has a quote that is not closed")
        self._at = 0

    @staticmethod
    def _token(match: re.Match[str]) -> tuple[str, str]:
        mark, double, single, word = match.groups()
        if mark:
            return mark, mark
        if word in _WORDS:
            return word, word
        return "word", next(each for each in (double, single, word) if each is not None)

    @property
    def next(self) -> tuple[str, str] | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, kind: str) -> bool:
        if self.next is not None and self.next[0] == kind:
            self._at += 1
            return True
        return False

    def either(self) -> Picks:
        options = [self._both()]
        while self._take("or"):
            options.append(self._both())
        return options[0] if len(options) == 1 else lambda name: any(each(name) for each in options)

    def _both(self) -> Picks:
        parts = [self._single()]
        while self._take("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else lambda name: all(each(name) for each in parts)

    def _single(self) -> Picks:
        if self._take("not"):
            inner = self._single()
            return lambda name: not inner(name)
        if self._take("("):
            inner = self.either()
            if not self._take(")"):
                raise BadSelection(f"'{self._text}' has a parenthesis that is not closed")
            return inner
        words = []
        while self.next is not None and self.next[0] == "word":
            words.append(self.next[1])
            self._at += 1
        if not words:
            found = f"'{self.next[1]}'" if self.next is not None else "its end"
            raise BadSelection(f"'{self._text}' has {found} where a part of a name should stand")
        phrase = " ".join(words).lower()
        return lambda name: phrase in name.lower()
