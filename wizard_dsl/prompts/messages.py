"""Prompts: a list of message templates, inline or from a file, compiled once and rendered for each call.

Inline, a prompt is `system` and `user`, or `messages: [{role, content}]`, where content is a template or a list of
`{text: template}` and `{image: template}`. Assistant messages among them are few-shot answers. A system message that
renders to nothing is left out: providers refuse an empty one, and an `{% if %}` around it is how it is switched off.
`params` and `tools` of a prompt hold no templates and pass by this module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any, Literal, get_args

import msgspec
from msgspec.structs import replace

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.core.messages import Image, Message, Part, Text
from wizard_dsl.core.regex import regex
from wizard_dsl.prompts.names import Known, Problem, Use, close
from wizard_dsl.prompts.promptfile import PromptFile, Speaker
from wizard_dsl.prompts.template import MAX_OUTPUT, Scope, Template, compile_template, step_fields, step_refs
from wizard_dsl.prompts.trust import untrusted_in_system

#: Characters of an image's URL; a `data:` URL holds the image itself.
MAX_IMAGE = 20 << 20

_IMAGE = regex(r"https://[^\s/]+.*|data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/]+=*", re.IGNORECASE | re.DOTALL)
_ROLES = get_args(Speaker)


class PartSource(msgspec.Struct, frozen=True):
    """The template of one part; `path` leads to it within the prompt, `first_line` is its line in a prompt file."""

    kind: Literal["text", "image"]
    text: str
    path: tuple[str | int, ...] = ()
    first_line: int = 1


class MessageSource(msgspec.Struct, frozen=True):
    """The templates of one message."""

    role: Speaker
    parts: tuple[PartSource, ...]


class TurnPart(msgspec.Struct, frozen=True):
    """A part of a message, compiled."""

    kind: Literal["text", "image"]
    template: Template
    path: tuple[str | int, ...]

    def render(self, scope: Scope) -> Part:
        """Raises StepFailed for an image that is no URL a provider takes."""
        text = self.template.render(scope)
        if self.kind == "text":
            return Text(text)
        if not _IMAGE.fullmatch(text):
            raise StepFailed(f"{_bad_image(text)}", where=self.template.where)
        return Image(text)


class Turn(msgspec.Struct, frozen=True):
    """One message; `fixed` is it, ready, where nothing in it depends on values: then it is not rendered."""

    role: Speaker
    parts: tuple[TurnPart, ...]
    fixed: Message | None

    def render(self, scope: Scope) -> Message:
        """Raises as the templates of its parts do."""
        if len(self.parts) == 1 and self.parts[0].kind == "text":
            return Message(self.role, (Text(self.parts[0].template.render(scope)),))
        return Message(self.role, tuple([part.render(scope) for part in self.parts]))


class Prompt:
    """A checked prompt, made of `sources`; `uses` are the outside names of all its templates."""

    def __init__(self, turns: tuple[Turn, ...], sources: Sequence[MessageSource]) -> None:
        self.turns = turns
        self._sent = [turn for turn in turns if turn.fixed is None or _is_sent(turn.fixed)]
        self.sources = tuple(sources)
        self.uses: tuple[Use, ...] = tuple(use for part in self._parts() for use in part.template.uses)

    def _parts(self, role: Speaker | None = None) -> list[TurnPart]:
        return [part for turn in self.turns if role in (None, turn.role) for part in turn.parts]

    @property
    def names(self) -> frozenset[str]:
        """The outside names, without `range` and the other globals."""
        return frozenset().union(*(part.template.names for part in self._parts()))

    @property
    def step_refs(self) -> frozenset[str]:
        return step_refs(self.uses)

    @property
    def step_fields(self) -> frozenset[tuple[str, str]]:
        return step_fields(self.uses)

    @property
    def fixed(self) -> tuple[Message, ...]:
        """The messages in which nothing depends on values."""
        return tuple(turn.fixed for turn in self.turns if turn.fixed is not None)

    @property
    def has_images(self) -> bool:
        return any(part.kind == "image" for part in self._parts())

    @property
    def has_system(self) -> bool:
        return bool(self._parts("system"))

    def problems(self, known: Known) -> list[Problem]:
        """Names that are not in scope where this prompt is used, each with the path of its template."""
        return [replace(each, path=part.path) for part in self._parts() for each in part.template.problems(known)]

    def untrusted(self, trusted: Set[str]) -> list[Problem]:
        """What may not stand in the system messages; see trust.py."""
        return [
            replace(each, path=part.path)
            for part in self._parts("system")
            for each in untrusted_in_system(part.template, trusted)
        ]

    def render(self, scope: Scope) -> tuple[Message, ...]:
        """The messages. Raises StepFailed with the place where the values do not fit."""
        made: list[Message] = []
        for turn in self._sent:
            message = turn.fixed
            if message is None:
                message = turn.render(scope)
                if turn.role == "system" and not _is_sent(message):
                    continue
            made.append(message)
        return tuple(made)


def _is_sent(message: Message) -> bool:
    """False of a system message that says nothing."""
    return message.role != "system" or bool(message.text.strip()) or message.has_image


def inline_messages(definition: Mapping[str, Any]) -> tuple[list[MessageSource], list[Problem]]:
    """The messages of a prompt's mapping, and what is wrong with their form. Other keys are not looked at."""
    if "messages" not in definition:
        pairs: list[tuple[Any, Any, tuple[str | int, ...]]] = [
            (role, definition[role], (role,)) for role in ("system", "user") if role in definition
        ]
        sources, problems = _sources(pairs)
    elif "system" in definition or "user" in definition:
        return [], [_shape((), "a prompt has 'messages', or 'system' and 'user', not both")]
    elif not isinstance(definition["messages"], list):
        return [], [_shape(("messages",), "'messages' is a list of mappings with role and content")]
    else:
        sources, problems = _listed(definition["messages"])
    if not sources and not problems:
        problems.append(_shape((), "the prompt has no message: give it 'user', or 'messages'"))
    return sources, problems


def _listed(entries: list[Any]) -> tuple[list[MessageSource], list[Problem]]:
    pairs: list[tuple[Any, Any, tuple[str | int, ...]]] = []
    problems = []
    for index, entry in enumerate(entries):
        if isinstance(entry, Mapping) and "role" in entry and "content" in entry:
            pairs.append((entry["role"], entry["content"], ("messages", index, "content")))
        else:
            problems.append(_shape(("messages", index), "a message is a mapping with role and content"))
    sources, more = _sources(pairs)
    return sources, problems + more


def _sources(
    entries: Sequence[tuple[Any, Any, tuple[str | int, ...]]],
) -> tuple[list[MessageSource], list[Problem]]:
    sources, problems = [], []
    for role, content, path in entries:
        parts = _part_sources(content, path)
        if role not in _ROLES:
            at = (*path[:-1], "role")
            problems.append(_shape(at, f"a role is one of {', '.join(_ROLES)}, not {role!r}", close(str(role), _ROLES)))
        elif isinstance(parts, Problem):
            problems.append(parts)
        else:
            sources.append(MessageSource(role, parts))
    return sources, problems


def _part_sources(content: Any, path: tuple[str | int, ...]) -> tuple[PartSource, ...] | Problem:
    if isinstance(content, str):
        return (PartSource("text", content, path),)
    if not isinstance(content, list) or not content:
        return _shape(path, "the content of a message is text, or a list of {text: …} and {image: …}")
    parts = []
    for index, entry in enumerate(content):
        kind = next(iter(entry), None) if isinstance(entry, Mapping) and len(entry) == 1 else None
        if kind not in ("text", "image") or not isinstance(entry[kind], str):
            return _shape((*path, index), "a part is {text: template} or {image: template}")
        parts.append(PartSource(kind, entry[kind], (*path, index, kind)))
    return tuple(parts)


def _shape(path: tuple[str | int, ...], message: str, suggestion: str | None = None) -> Problem:
    return Problem(line=1, message=message, kind="shape", path=path, suggestion=suggestion)


def file_messages(file: PromptFile) -> list[MessageSource]:
    """The messages of a prompt file; problems in them are at the lines of the file, with an empty path."""
    return [MessageSource(each.role, (PartSource("text", each.text, (), each.first_line),)) for each in file.sections]


def compile_prompt(
    sources: Sequence[MessageSource], known: Known | None = None, *, where: str = ""
) -> Prompt | list[Problem]:
    """The prompt, or the problems of all its templates. Never raises. `known` and `where` as for templates."""
    turns: list[Turn] = []
    problems: list[Problem] = []
    for source in sources:
        parts = []
        for part in source.parts:
            made = _compile_part(part, known, where)
            if isinstance(made, list):
                problems += made
            else:
                parts.append(made)
        turns.append(Turn(source.role, tuple(parts), _fixed(source.role, parts)))
    return problems or Prompt(tuple(turns), sources)


def _compile_part(part: PartSource, known: Known | None, where: str) -> TurnPart | list[Problem]:
    place = _joined(where, part.path)
    limit = MAX_IMAGE if part.kind == "image" else MAX_OUTPUT
    template = compile_template(part.text, known, where=place, limit=limit, first_line=part.first_line)
    if isinstance(template, list):
        return [replace(each, path=part.path) for each in template]
    if part.kind == "image" and template.constant is not None and not _IMAGE.fullmatch(template.constant):
        return [Problem(line=part.first_line, message=_bad_image(template.constant), kind="image", path=part.path)]
    return TurnPart(part.kind, template, part.path)


def _fixed(role: Speaker, parts: Sequence[TurnPart]) -> Message | None:
    if any(part.template.constant is None for part in parts):
        return None
    texts = [(part.kind, part.template.constant or "") for part in parts]
    return Message(role, tuple(Text(text) if kind == "text" else Image(text) for kind, text in texts))


def _joined(where: str, path: tuple[str | int, ...]) -> str:
    for each in path:
        where += f"[{each}]" if isinstance(each, int) else f".{each}" if where else each
    return where


def _bad_image(text: str) -> str:
    return f"an image is an https: URL or a data:image/…;base64, URL, not {text[:40]!r}"
