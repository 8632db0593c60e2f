"""Bodies without secrets: JSON, streams of it, and other text, whole or in the pieces in which they came.

A stream brings a text in pieces that each stand in a JSON document of their own, so a secret may be nowhere in the
body and in the answer all the same. The texts at one place of all documents are therefore judged as one, and so are
the pieces of one text. Only literals that change are written anew; every other byte stays.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.observe._edits import Edit, edited
from wizard_dsl.observe.redact import HIDDEN, names_secret

if TYPE_CHECKING:
    from wizard_dsl.observe.redact import Redaction

_LITERAL: Final = regex(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_LINE: Final = regex(r"[^\r\n]+")
_DATA: Final = regex(r"data: ?")
_ESCAPE_BEGUN: Final = regex(r"(?<!\\)(?:\\\\)*(\\u[0-9A-Fa-f]{0,3})$")
_PLACES: Final = ("index", "output_index", "content_index", "summary_index")
_TAILS: Final = ("", ":null", "null")

Place = tuple[Any, ...]


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, in order, equal names too."""


class _Document(msgspec.Struct, frozen=True):
    """JSON on one or more lines of a body: each line's text and where it begins there. `end`: where the body stops,
    which may be inside a literal."""

    value: Any
    text: str
    offsets: tuple[tuple[int, int], ...]
    end: int

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """A stretch of one line of the text, in the body."""
        at, there = self.offsets[bisect_right(self.offsets, start, key=lambda line: line[0]) - 1]
        return there + start - at, min(there + stop - at, self.end)


class _Leaf(msgspec.Struct, frozen=True):
    """A text in a document: what it says, where its literal's content stands in the body, and its place."""

    value: str
    start: int
    stop: int
    place: Place
    secret: bool


def redact_body(pieces: Sequence[str], redaction: Redaction) -> list[str]:
    """The pieces of a body without secrets and personal data, as many as before. Together they are the same however
    the body was split; what replaces something stays whole, in the piece where that begins."""
    body = "".join(pieces)
    borders = list(accumulate(map(len, pieces)))
    documents = list(_documents(body))
    edits = [*_in_documents(documents, redaction), *_outside(body, documents, redaction)]
    body, borders = edited(body, sorted(edits), borders)
    return redaction.values([body[start:stop] for start, stop in pairwise([0, *borders])])


def redact_json(value: Any, redaction: Redaction) -> Any:
    """Plain data, redacted as its JSON would be. A text that is no Unicode keeps its halves as escapes."""
    (text,) = redact_body([json.dumps(value)], redaction)
    return json.loads(text)


def _documents(body: str) -> Iterator[_Document]:
    """All JSON of a body: the body itself, the data of its events, or its lines."""
    start = len(body) - len(body.lstrip("\ufeff \t\r\n"))
    whole = _document(body, [(start, body[start:].rstrip())])
    if whole is None and body[start : start + 1] in ("{", "["):
        whole = _cut(body, [(start, body[start:])])
    if whole is not None:
        yield whole
        return
    event: list[tuple[int, str]] = []
    last = 0
    for match in _LINE.finditer(body):
        data = _DATA.match(match[0])
        line = (match.start() + (data.end() if data else 0), match[0][data.end() if data else 0 :])
        if data is None or event == [] or body[last : match.start()] not in ("\n", "\r\n", "\r"):
            yield from _event(body, event)
            event = []
        event.append(line)
        last = match.end()
    yield from _event(body, event)


def _event(body: str, lines: list[tuple[int, str]]) -> Iterator[_Document]:
    """An event's data is JSON on one line, or on all of its lines together; the last one may break off."""
    alone = [_document(body, [line]) for line in lines]
    together = _document(body, lines) if len(lines) > 1 and None in alone else None
    if together is not None:
        yield together
        return
    if lines and alone[-1] is None and lines[-1][0] + len(lines[-1][1]) == len(body):
        cut = _cut(body, lines) if len(lines) > 1 else None
        if cut is not None:
            yield cut
            return
        alone[-1] = _cut(body, lines[-1:])
    yield from (each for each in alone if each is not None)


def _document(body: str, lines: list[tuple[int, str]]) -> _Document | None:
    """None where the lines are no JSON, or none that holds a text."""
    text = "\n".join(line for _, line in lines)
    value = _parsed(text)
    return _Document(value, text, _offsets(lines), len(body)) if isinstance(value, (list, str)) else None


def _offsets(lines: list[tuple[int, str]]) -> tuple[tuple[int, int], ...]:
    """Where each line begins in their text, and in the body."""
    begins = accumulate((len(line) + 1 for _, line in lines[:-1]), initial=0)
    return tuple((at, there) for at, (there, _) in zip(begins, lines, strict=True))


def _cut(body: str, lines: list[tuple[int, str]]) -> _Document | None:
    """JSON on lines that break off where the body ends, closed as it might have gone on."""
    text = "\n".join(line for _, line in lines)
    quoted, escaped, open_ = False, False, []
    for char in text:
        if quoted:
            quoted, escaped = escaped or char != '"', not escaped and char == "\\"
        elif char == '"':
            quoted = True
        elif char in "{[":
            open_.append("}" if char == "{" else "]")
        elif char in "}]" and open_:
            open_.pop()
    head = _without_escape(text, escaped) if quoted else text.rstrip().rstrip(",")
    for tail in _TAILS:
        made = "".join([head, '"' if quoted else "", tail, *reversed(open_)])
        value = _parsed(made)
        if isinstance(value, (list, str)):
            return _Document(value, made, _offsets(lines), len(body) - len(text) + len(head))
    return None


def _without_escape(text: str, escaped: bool) -> str:
    """A literal that breaks off, without the escape that it breaks off in."""
    begun = _ESCAPE_BEGUN.search(text)
    return text[:-1] if escaped else text[: begun.start(1)] if begun else text


def _parsed(text: str) -> Any:
    """Lists and pairs; None where it is no JSON."""
    try:
        return json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None


def _leaves(document: _Document) -> Iterator[_Leaf]:
    """Every text of a document, names among them, in the order in which the literals stand in it."""
    literals = _LITERAL.finditer(document.text)
    root = document.value
    kind = next((each for key, each in root if key == "type"), "") if isinstance(root, _Pairs) else ""
    for (value, place, secret), literal in zip(_walk(root, (str(kind),)), literals, strict=False):
        yield _Leaf(value, *document.span(literal.start() + 1, literal.end() - 1), place, secret)


def _walk(value: Any, place: Place, secret: bool = False) -> Iterator[tuple[str, Place, bool]]:
    if isinstance(value, str):
        yield value, place, secret
    elif isinstance(value, _Pairs):
        numbers = tuple(each for key, each in value if key in _PLACES and isinstance(each, int))
        for key, each in value:
            yield key, (*place, *numbers, key, None), False
            yield from _walk(each, (*place, *numbers, key), names_secret(key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _walk(each, (*place, number), secret)


def _in_documents(documents: list[_Document], redaction: Redaction) -> Iterator[Edit]:
    groups: dict[Place, list[_Leaf]] = {}
    for document in documents:
        for leaf in _leaves(document):
            groups.setdefault(leaf.place, []).append(leaf)
    for leaves in groups.values():
        for leaf, new in zip(leaves, _redacted(leaves, redaction), strict=True):
            if new != leaf.value:
                yield leaf.start, leaf.stop, _written(new)


def _redacted(leaves: list[_Leaf], redaction: Redaction) -> list[str]:
    """The texts of one place. What is said again in each document, such as an id, is judged by itself first."""
    values = [leaf.value for leaf in leaves]
    repeated = len(set(values)) == 1
    if leaves[0].secret:
        return [HIDDEN if value and (repeated or number == 0) else "" for number, value in enumerate(values)]
    if repeated and (alone := redaction.text(values[0])) != values[0]:
        return [alone] * len(values)
    return redaction.pieces(values)


def _written(text: str) -> str:
    """The content of a literal; half a surrogate pair, which is no text, as an escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(text)[1:-1]
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _outside(body: str, documents: list[_Document], redaction: Redaction) -> Iterator[Edit]:
    """What stands between the documents: other text, comments, names of events."""
    taken = sorted(stretch for each in documents for stretch in _stretches(each))
    at = 0
    for start, stop in [*taken, (len(body), len(body))]:
        rest = body[at:start]
        new = redaction.text(rest) if rest.strip() else rest
        if new != rest:
            yield at, start, new
        at = stop


def _stretches(document: _Document) -> list[tuple[int, int]]:
    """Where a document stands in the body."""
    if len(document.offsets) == 1:
        start = document.offsets[0][1]
        return [(start, min(start + len(document.text), document.end))]
    lines = zip(document.offsets, document.text.split("\n"), strict=False)  # a last one that is empty may be gone
    return [(there, min(there + len(line), document.end)) for (_, there), line in lines]
