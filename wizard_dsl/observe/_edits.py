"""Replacing in a text that lies in pieces: a rule looks at the whole, and the borders of the pieces move along."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Final

#: What a pattern that ignores case takes for a letter of ASCII, and lower case does not make one: the long s and the
#: two Turkish letters i.
_ALIKE: Final = ("\u017f", "\u0130", "\u0131")

#: `text[start:end]` becomes the third.
Edit = tuple[int, int, str]
#: What to replace in a text: edits in order, without overlap.
Rule = Callable[[str], list[Edit]]


def pattern_rule(pattern: re.Pattern[str], new: str | Callable[[str], str | None], needs: Sequence[str] = ()) -> Rule:
    """Replaces what is found: by a template, or by what a function makes of it (None: it stays). A text that has none
    of `needs`, in lower case, is not searched: that takes a hundredth of the time."""
    return partial(_found, pattern, new, tuple(needs))


def may_have(text: str, needs: Sequence[str]) -> bool:
    """Whether a text has any of `needs`, in lower case. One with a letter of `_ALIKE` may."""
    if not needs or (not text.isascii() and any(each in text for each in _ALIKE)):
        return True
    lower = text.lower()
    return any(need in lower for need in needs)


def _found(
    pattern: re.Pattern[str], new: str | Callable[[str], str | None], needs: Sequence[str], text: str
) -> list[Edit]:
    edits: list[Edit] = []
    if not may_have(text, needs):
        return edits
    for match in pattern.finditer(text):
        made = match.expand(new) if isinstance(new, str) else new(match[0])
        if made is not None and made != match[0]:
            edits.append((match.start(), match.end(), made))
    return edits


def edited(text: str, edits: Sequence[Edit], borders: Sequence[int]) -> tuple[str, list[int]]:
    """The text with the edits made, and its borders (ascending): one inside an edit moves to the edit's end."""
    parts: list[str] = []
    moved: list[int] = []
    last = shift = at = 0
    for start, end, new in edits:
        while at < len(borders) and borders[at] <= start:
            moved.append(borders[at] + shift)
            at += 1
        parts += text[last:start], new
        shift += len(new) - (end - start)
        while at < len(borders) and borders[at] <= end:
            moved.append(end + shift)
            at += 1
        last = end
    return "".join([*parts, text[last:]]), [*moved, *(border + shift for border in borders[at:])]


def replace_in(pieces: Sequence[str], rules: Iterable[Rule]) -> list[str]:
    """The pieces of one text after all rules, one after the other. What replaces something stays whole, in the piece
    where that begins."""
    text, borders = "".join(pieces), list(accumulate(map(len, pieces)))
    for rule in rules:
        edits = rule(text)
        if edits:
            text, borders = edited(text, edits, borders)
    return [text[start:end] for start, end in pairwise([0, *borders])]
