"""The parts of a text whose only tags are names: `Dear {{ name }}, {{ steps.topic.text }}`.

Most templates are no more than that, and jinja2's lexer and parser take ten times as long to say so.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from wizard_dsl.core.regex import regex

_TAG: Final = regex(r"\{[{%#]")
_NAME: Final = regex(r"\{\{[ \t]*([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)[ \t]*\}\}", re.ASCII)
#: Keys behind a name; how deep an expression may be is for the parser's tree to tell.
_MOST_KEYS: Final = 20
#: Words that are no names where an expression begins.
_WORDS: Final = frozenset(
    {"true", "True", "false", "False", "none", "None", "not", "and", "or", "in", "is", "if", "else", "for"}
)


class Named(msgspec.Struct, frozen=True):
    """A name in a text, and the keys behind it."""

    name: str
    keys: tuple[str, ...] = ()


#: What a template is made of, in the order of its text: texts, none of them empty, and names.
Parts = tuple[str | Named, ...]


def parts_of(source: str) -> Parts | None:
    """The parts of a text, without the one line break at its end; None where it holds anything besides text and
    names."""
    text = re.sub("\r\n?", "\n", source).removesuffix("\n")
    parts: list[str | Named] = []
    at = 0
    while (begin := _TAG.search(text, at)) is not None:
        name = _NAME.match(text, begin.start())
        if name is None or name[1] in _WORDS or name[2].count(".") > _MOST_KEYS:
            return None
        if begin.start() > at:
            parts.append(text[at : begin.start()])
        parts.append(Named(name[1], tuple(name[2].split(".")[1:])))
        at = name.end()
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)
