"""Remedies that are certain, as edits of the text: comments and layout stay as they are.

Certain is the spelling of a word of the grammar, a key, a kind or a value of a fixed list, that is one letter from
exactly one word it knows; `version: 1`, of which there is one; and a comment that allows what is no longer found. Names
that people choose are theirs: `reply1` is not a misspelt `reply2`, and what is not used may be needed tomorrow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.comments import Allow, allows
from wizard_dsl.spec.diagnostics import Diagnostic

#: Codes of words that the grammar fixes.
_SPELT: Final = frozenset({"E021", "E025", "E042", "E048", "E060", "E062"})
#: What a wrong edit would make of a file: it cannot be read, or says a thing twice.
_BREAKS: Final = regex(r"E0[01][0-9]")
_MEANT: Final = regex(r"did you mean '([^']+)'\?")
_WORD: Final = regex(r"[A-Za-z][A-Za-z_-]*")
_LINES: Final = regex("\r\n|[\n\r]")
_SHORTEST: Final = 4
_ROUNDS: Final = 5


class Fix(msgspec.Struct, frozen=True):
    """One remedy: the text from `start` to `end`, offsets in the file, becomes `text`; `says` is what it does."""

    code: str
    line: int
    column: int
    start: int
    end: int
    text: str
    says: str


class Mended(msgspec.Struct, frozen=True):
    """A text after its remedies, in the order in which they were made; lines are those of the text before each."""

    text: str
    fixes: tuple[Fix, ...] = ()


def mended(text: str, look: Callable[[str], Sequence[Diagnostic]], vocabulary: Callable[[], frozenset[str]]) -> Mended:
    """The text with all that is certain put right. `look` gives the findings of a text, `vocabulary` the words of the
    grammar. A remedy stays only where its finding is gone and the file can still be read; putting a key right may
    uncover what is wrong below it, so it is looked at again."""
    made: list[Fix] = []
    for _ in range(_ROUNDS):
        found = look(text)
        good = [each for each in _fixes(text, found, vocabulary) if _helps(text, each, found, look)]
        if not good:
            break
        for each in sorted(good, key=lambda fix: -fix.start):
            text = _applied(text, each)
        made += good
    return Mended(text, tuple(made))


def words_of(schema: Any) -> frozenset[str]:
    """Every key and every fixed value that a JSON Schema knows."""
    return frozenset(_words(schema))


def _words(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        properties = node.get("properties")
        yield from properties if isinstance(properties, Mapping) else ()
        listed = node.get("enum")
        values = [*(listed if isinstance(listed, list) else ()), node.get("const")]
        yield from (each for each in values if isinstance(each, str))
    for each in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _words(each)


def _applied(text: str, fix: Fix) -> str:
    return text[: fix.start] + fix.text + text[fix.end :]


def _helps(text: str, fix: Fix, found: Sequence[Diagnostic], look: Callable[[str], Sequence[Diagnostic]]) -> bool:
    after = look(_applied(text, fix))
    broken = {each.code for each in after if _BREAKS.fullmatch(each.code)} - {each.code for each in found}
    spots = {(each.code, each.line, each.column) for each in after}
    return not broken and (fix.code, fix.line, fix.column) not in spots


def _fixes(text: str, found: Sequence[Diagnostic], vocabulary: Callable[[], frozenset[str]]) -> Iterator[Fix]:
    """At most one at each place: all findings of one comment are mended at once."""
    starts = [int(text.startswith("\ufeff")), *(each.end() for each in _LINES.finditer(text))]
    comments = {each.line: each for each in allows(text)}
    unneeded = {(each.line, each.column) for each in found if each.code == "W192"}
    taken: set[int] = set()
    for each in found:
        if not 0 < each.line <= len(starts):
            continue
        at = starts[each.line - 1] + each.column - 1
        fix = None
        if each.code in _SPELT:
            fix = _spelling(each, text, at, vocabulary)
        elif each.code == "E023" and "version: 1" in (each.suggestion or ""):
            fix = _version(each, text)
        elif each.code == "W192" and each.line in comments:
            fix = _without(each, text, starts[each.line - 1], comments[each.line], unneeded)
        if fix is not None and fix.start not in taken:
            taken.add(fix.start)
            yield fix


def _spelling(each: Diagnostic, text: str, at: int, vocabulary: Callable[[], frozenset[str]]) -> Fix | None:
    at += text[at : at + 1] in {'"', "'"}
    word, meant = _WORD.match(text, at), _MEANT.match(each.suggestion or "")
    if word is None or meant is None or len(meant[1]) < _SHORTEST or not is_near(word[0], meant[1]):
        return None
    if text[word.end() : word.end() + 1].isalnum() or [w for w in vocabulary() if is_near(word[0], w)] != [meant[1]]:
        return None
    says = f"'{word[0]}' is now '{meant[1]}'"
    return Fix(each.code, each.line, each.column, word.start(), word.end(), meant[1], says)


def is_near(word: str, other: str) -> bool:
    """Whether one letter more, less, other or two exchanged, or capitals and hyphens, make one of the other."""
    one, two = word.lower().replace("-", "_"), other.lower().replace("-", "_")
    if abs(len(one) - len(two)) > 1:
        return False
    same = next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    rest, left = one[same:], two[same:]
    exchanged = rest[:2] == left[1::-1] and rest[2:] == left[2:]
    return rest[1:] == left[1:] or rest[1:] == left or rest == left[1:] or exchanged


def _version(each: Diagnostic, text: str) -> Fix | None:
    """A line before the first that says something, below the comments at the head."""
    first = re.search(r"^[A-Za-z_\"'][^\r\n]*?:", text, re.MULTILINE)
    if first is None or re.search(r"^(?:---|%|[{\[])", text[: first.start() + 1], re.MULTILINE):
        return None
    ending = _LINES.search(text)
    line = f"version: 1{ending[0] if ending else chr(10)}"
    return Fix(each.code, each.line, each.column, first.start(), first.start(), line, "'version: 1' is added")


def _without(each: Diagnostic, text: str, start: int, comment: Allow, unneeded: Set[tuple[int, int]]) -> Fix:
    """The codes go from their comment, and the comment with the last one; the line, where it has nothing else."""
    others = [code.code for code in comment.codes if (each.line, code.column) not in unneeded]
    gone = [code.code for code in comment.codes if (each.line, code.column) in unneeded]
    begin, end = start + comment.column - 1, start + comment.end - 1
    if others:
        said = f"# wizard: allow {', '.join(others)} because {comment.reason}"
        return Fix(each.code, each.line, each.column, begin, end, said, f"{', '.join(gone)} is allowed no more")
    before = text[start:begin].rstrip(" \t")
    ending = _LINES.match(text, end)
    whole = not before.strip() and ending is not None
    return Fix(
        each.code,
        each.line,
        each.column,
        start if whole else start + len(before),
        ending.end() if whole and ending else end,
        "",
        "the comment that allowed it is gone",
    )
