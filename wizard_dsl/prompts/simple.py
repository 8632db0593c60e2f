"""The tree of a text whose only tags are names: `Dear {{ name }}, {{ steps.topic.text }}`.

Most templates are no more than that, and jinja2's lexer and parser take ten times as long to say so.
"""

from __future__ import annotations

import re
from typing import Final

from jinja2 import nodes

from wizard_dsl.core.regex import regex

_TAG: Final = regex(r"\{[{%#]")
_NAME: Final = regex(r"\{\{[ \t]*([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)[ \t]*\}\}", re.ASCII)
#: Keys behind a name; how deep an expression may be is for the parser's tree to tell.
_MOST_KEYS: Final = 20
#: Words that are no names where an expression begins.
_WORDS: Final = frozenset(
    {"true", "True", "false", "False", "none", "None", "not", "and", "or", "in", "is", "if", "else", "for"}
)


def of_names(source: str) -> nodes.Template | None:
    """The tree that jinja2's parser makes of a text; None where it holds anything besides text and names."""
    text = re.sub("\r\n?", "\n", source).removesuffix("\n")
    parts: list[nodes.Expr] = []
    at, line = 0, 1
    while (begin := _TAG.search(text, at)) is not None:
        name = _NAME.match(text, begin.start())
        if name is None or name[1] in _WORDS or name[2].count(".") > _MOST_KEYS:
            return None
        if begin.start() > at:
            parts.append(nodes.TemplateData(text[at : begin.start()], lineno=line))
            line += text.count("\n", at, begin.start())
        parts.append(_path(name, line))
        at = name.end()
    if at < len(text):
        parts.append(nodes.TemplateData(text[at:], lineno=line))
    body: list[nodes.Node] = [nodes.Output(parts, lineno=1)] if parts else []
    return nodes.Template(body, lineno=1)


def _path(match: re.Match[str], line: int) -> nodes.Expr:
    made: nodes.Expr = nodes.Name(match[1], "load", lineno=line)
    for key in match[2].split(".")[1:]:
        made = nodes.Getattr(made, key, "load", lineno=line)
    return made
