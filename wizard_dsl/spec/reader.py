"""YAML events → plain data, with positions and limits.

The parser's events are read one by one and built into data at once, by a descent that counts as it goes: composing
first would crash libyaml on 200,000 nested brackets, and would expand an alias bomb before anyone could count.
Limits: 64 levels, 100,000 values with aliases expanded.

Keys are names: text, or a whole number taken as its text (`503: true`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from wizard_dsl.spec.diagnostics import (
    MAX_FINDINGS,
    Diagnostic,
    DocPath,
    Place,
    Related,
    finding,
    show_path,
    show_value,
)
from wizard_dsl.spec.scalars import core_scalar, is_finite

MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000

Position = tuple[int, int]
#: The C one where there is one. The one in Python differs: it does not take `{a: why?}` for a text.
LOADER: Final = getattr(yaml, "CLoader", yaml.Loader)
_STR_TAGS: Final = ("!", "tag:yaml.org,2002:str")
_HINTS: Final = (
    ("mapping values are not allowed", "quote a value that contains ': ', or mend the indentation"),
    ("cannot start any token", "quote a value that starts with @, ` or %, and indent with spaces, not tabs"),
    ("could not find expected ':'", "a key needs ': ' after it; a long text belongs in a block scalar (`|`)"),
    ("did not find expected key", "check the indentation, and quotes that end too early"),
    ("did not find expected ',' or", "check that each bracket and brace is closed; quote values such as {{ … }}"),
    ("unexpected end of stream", "a quote is opened and never closed"),
    ("undefined tag handle", "custom tags are not supported; quote the value"),
    ("unknown escape character", "in double quotes write \\\\ for a backslash, or use single quotes"),
)


class _Stop(Exception):
    """The rest of the text cannot be read."""


#: What libyaml says where its own limit, far above ours, was passed.
_PARSERS_DEPTH: Final = "maximum nesting depth"


class Reader:
    """A recursive descent over the parser's events; the recursion is as deep as the limit allows."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.parser = LOADER(text)
        self._next: Callable[[], Event] = self.parser.get_event
        self.positions: dict[DocPath, Position] = {}
        self.keys: dict[DocPath, Position] = {}
        self.scalars: dict[DocPath, tuple[int, int, str]] = {}
        self.found: list[Diagnostic] = []
        self.anchors: dict[str, tuple[DocPath, Any]] = {}
        self.open_anchors: dict[str, Position] = {}
        self.nodes = 0

    def document(self) -> Any:
        """The mapping of the only document, or None with a diagnostic."""
        value = self.value()
        if value is None and not self.found:
            self._report("E020", "the file is empty", (1, 1), suggestion="write at least `version: 1`")
        elif value is not None and not isinstance(value, dict):
            message = f"the file wants a mapping of sections, not {show_value(value)}"
            self._report("E022", message, self.positions[()], suggestion="begin with `version: 1`")
        return value

    def value(self) -> Any:
        try:
            return self._only_document()
        except _Stop:
            return None
        except yaml.YAMLError as error:
            self._syntax_error(error)
            return None
        finally:
            self.parser.dispose()

    def _only_document(self) -> Any:
        self._next()
        if self.parser.check_event(yaml.StreamEndEvent):
            return None
        self._next()
        value = self._node(self._next(), ())
        while isinstance(event := self._next(), DocumentEndEvent):
            pass
        if isinstance(event, yaml.DocumentStartEvent):
            hint = "keep one document in a file; remove the line with ---"
            self._report("E013", "a second document begins here", _at(event), suggestion=hint)
        return value

    def _node(self, event: Any, path: DocPath) -> Any:
        self._count(event, path)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        self.positions[path] = _at(event)
        if event.anchor is not None:
            self.open_anchors[event.anchor] = _at(event)
        value = self._content(event, path)
        if event.anchor is not None:
            self.open_anchors.pop(event.anchor, None)
            self.anchors[event.anchor] = (path, value)
        return value

    def _content(self, event: NodeEvent, path: DocPath) -> Any:
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        self._check_tag(event, path, ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"))
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        return self._sequence(path)

    def _count(self, event: Event, path: DocPath) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            hint = "move data out of the file, into inputs"
            self._fatal("E007", f"the file has more than {MAX_NODES:,} values", _at(event), hint)
        if len(path) >= MAX_DEPTH and not isinstance(event, ScalarEvent):
            self._fatal("E006", f"nested more than {MAX_DEPTH} levels deep", _at(event), "check for unclosed brackets")

    def _sequence(self, path: DocPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: DocPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event, path)
            if key is None or key in result:
                if key is not None:
                    self._duplicate(key, event, path)
                self._skip(self._next())
                continue
            child = (*path, key)
            self.keys[child] = _at(event)
            result[key] = self._node(self._next(), child)
        return result

    def _key(self, event: Any, path: DocPath) -> str | None:
        """The key as text; None after a report, for a key that is no name."""
        if not isinstance(event, ScalarEvent):
            self._skip(event)
            self._bad_key(event, path, "a list, a mapping or an alias")
            return None
        self._count(event, path)
        self._check_tag(event, path, _STR_TAGS)
        if not event.implicit[0] or event.tag in _STR_TAGS:
            return str(event.value)
        if event.value == "<<":
            hint = "repeat the keys, or give the policies a name and write `use: NAME`"
            self._report("E015", "merge keys (<<) are not part of YAML 1.2", _at(event), path, suggestion=hint)
            return None
        value = core_scalar(event.value)
        if isinstance(value, str) or type(value) is int:
            return str(event.value)
        self._bad_key(event, path, f"'{event.value[:40]}'" if event.value else "nothing")
        return None

    def _bad_key(self, event: Event, path: DocPath, what: str) -> None:
        line, column = _at(event)
        braces = isinstance(event, MappingStartEvent) and self.positions[path] == (line, column - 1)
        hint = "put a text that begins with {{ in quotes" if braces else "put it in quotes"
        message = f"a key in {show_path(path)} is {what}, not a name"
        self._report("E016", message, (line, column), path, suggestion=hint)

    def _duplicate(self, key: str, event: Event, path: DocPath) -> None:
        first = Related(self.name, *self.keys[(*path, key)], "first written here")
        message = f"key '{key}' stands twice in {show_path(path)}"
        self._report("E012", message, _at(event), (*path, key), suggestion="remove one of them", related=(first,))

    def _skip(self, event: Event) -> None:
        """Read a node and forget it. Limits still hold: the depth is counted here, too."""
        depth = 0
        while True:
            self._count(event, ("",) * depth)
            if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                depth += 1
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                depth -= 1
            if depth == 0:
                return
            event = self._next()

    def _scalar(self, event: ScalarEvent, path: DocPath) -> Any:
        self._check_tag(event, path, _STR_TAGS)
        line, column = _at(event)
        if not event.implicit[0] or event.tag in _STR_TAGS:
            self.scalars[path] = (line, column, event.style or "")
            return event.value
        value = core_scalar(event.value)
        if isinstance(value, str):
            self.scalars[path] = (line, column, "")
        elif not is_finite(value):
            self._report("E017", f"{event.value[:40]} is no finite number", (line, column), path)
            return 0.0
        return value

    def _check_tag(self, event: Any, path: DocPath, allowed: Sequence[str]) -> None:
        if event.tag is not None and event.tag not in allowed:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            self._report("E014", f"the tag {shown} is not supported", _at(event), path, suggestion="remove it")

    def _alias(self, event: AliasEvent, path: DocPath) -> Any:
        self.positions[path] = _at(event)
        name = event.anchor
        if name in self.open_anchors:
            around = Related(self.name, *self.open_anchors[name], "the anchor is here")
            message = f"the alias *{name} stands inside the value it repeats"
            self._report("E010", message, _at(event), path, suggestion="repeat an inner part", related=(around,))
            return None
        if name not in self.anchors:
            hint = f"put &{name} before a value further up, or quote the text"
            self._report("E011", f"the alias *{name} has no anchor before it", _at(event), path, suggestion=hint)
            return None
        origin, value = self.anchors[name]
        return self._repeat(value, origin, path, event)

    def _repeat(self, value: Any, origin: DocPath, path: DocPath, event: AliasEvent) -> Any:
        """A copy of an anchor's value below another path, counted against the limits; it keeps its positions."""
        if len(path) > MAX_DEPTH:
            self._fatal("E006", f"an alias nests more than {MAX_DEPTH} levels deep", _at(event), "repeat less of it")
        if origin in self.scalars:
            self.scalars[path] = self.scalars[origin]
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        copies = []
        for key, each in pairs:
            self._count_alias(event)
            inner, outer = (*origin, key), (*path, key)
            self.positions[outer] = self.positions[inner]
            if inner in self.keys:
                self.keys[outer] = self.keys[inner]
            copies.append((key, self._repeat(each, inner, outer, event)))
        if isinstance(value, dict):
            return dict(copies)
        return [copy for _, copy in copies] if isinstance(value, list) else value

    def _count_alias(self, event: AliasEvent) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            message = f"with its aliases expanded the file has more than {MAX_NODES:,} values"
            self._fatal("E009", message, _at(event), "repeat fewer or smaller values")

    def _syntax_error(self, error: yaml.YAMLError) -> None:
        problem = str(getattr(error, "problem", None) or "the text is not YAML")
        mark = getattr(error, "problem_mark", None)
        if _PARSERS_DEPTH in problem:  # newer libyaml gives up by itself, before its events reach our limit
            self.found.clear()
            self._report(
                "E006",
                f"nested more than {MAX_DEPTH} levels deep",
                (1, 1) if mark is None else _spot(mark),
                suggestion="check for unclosed brackets",
            )
            return
        start = getattr(error, "context_mark", None)
        spot = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        context = getattr(error, "context", None)
        related: tuple[Related, ...] = ()
        if start and context and (start.line + 1, start.column + 1) != spot:
            related = (Related(self.name, start.line + 1, start.column + 1, f"{context} that begins here"),)
        hint = next((text for part, text in _HINTS if part in problem), None)
        self._report("E008", f"not valid YAML: {problem}", spot, suggestion=hint, related=related)

    def _fatal(self, code: str, message: str, spot: Position, suggestion: str) -> None:
        self.found.clear()  # a file past a limit is refused as a whole: one error, not a flood
        self._report(code, message, spot, suggestion=suggestion)
        raise _Stop

    def _report(
        self,
        code: str,
        message: str,
        spot: Position,
        path: DocPath = (),
        *,
        suggestion: str | None = None,
        related: tuple[Related, ...] = (),
    ) -> None:
        place = Place(self.name, *spot)
        self.found.append(finding(code, message, place, path=path, suggestion=suggestion, related=related))
        if len(self.found) > 10 * MAX_FINDINGS:
            raise _Stop


def _at(event: Any) -> Position:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


def _spot(mark: Any) -> Position:
    return mark.line + 1, mark.column + 1
