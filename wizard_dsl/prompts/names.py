"""What a template or an expression may name, and what is wrong with the names that it uses.

Nothing here knows jinja2: a text of names alone is checked without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

Kind = Literal["syntax", "undefined", "step", "field", "filter", "test", "refused", "untrusted", "image", "shape"]

STEP_FIELDS = ("text", "json", "items", "usage", "served_by", "skipped")
ITEM_FIELDS = ("text", "json", "skipped", "error")
#: What every template may name besides.
GLOBALS: Final = frozenset({"dict", "joiner", "namespace", "range"})
_LOOP_NAMES = frozenset({"item", "index"})


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong in a template. `line` and `column` count from 1 within its text (for a prompt file: within
    the file); `column` is None where only the line is known. `path` leads from the prompt to the template
    (`("messages", 1, "content")`), `name` is the word at fault, `suggestion` what was probably meant."""

    line: int
    message: str
    kind: Kind
    column: int | None = None
    name: str = ""
    suggestion: str | None = None
    path: tuple[str | int, ...] = ()


class Known(msgspec.Struct, frozen=True):
    """What a template may name: inputs, steps, and `item` and `index` inside `for_each` (`loop`).

    `extra` are further names of this place, such as `text` and `json` in `safety.command`; `fields` the fields of
    those of them of which they are known, such as `error` in `retry.when`; `step_fields` what a step has here.
    """

    inputs: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    loop: bool = False
    extra: frozenset[str] = frozenset()
    fields: Mapping[str, tuple[str, ...]] = {}
    step_fields: tuple[str, ...] = STEP_FIELDS

    @property
    def names(self) -> frozenset[str]:
        return self.inputs | self.extra | {"steps"} | (_LOOP_NAMES if self.loop else frozenset())


class Use(msgspec.Struct, frozen=True):
    """One use of an outside name; in `path` a key is a string, an index a number, a computed one None.

    `maybe` marks a name that the template binds itself in one branch of an `if` only: where that was not taken,
    the outside value is seen.
    """

    name: str
    line: int
    path: tuple[str | int | None, ...] = ()
    maybe: bool = False


class Placer:
    """Puts columns to problems; the source is cut into words only when there is a problem to place."""

    def __init__(self, source: str, *, state: str | None = None) -> None:
        self.source = source
        self._source = re.sub(r"\r\n|\r", "\n", source)
        self._state = state
        self._words: dict[tuple[int, str], int] | None = None

    def column(self, line: int, name: str) -> int | None:
        """The first place of the word `name` on that line; None where it does not stand there as a word."""
        if self._words is None:
            self._words = self._cut()
        return self._words.get((line, name))

    def _cut(self) -> dict[tuple[int, str], int]:
        """The first column of every word in a tag, by line and word; text outside tags has no words."""
        from wizard_dsl.prompts.environment import ENVIRONMENT

        starts = [0, *(match.end() for match in re.finditer("\n", self._source))]
        found: dict[tuple[int, str], int] = {}
        position = 0
        for line, token, value in ENVIRONMENT.lexer.tokeniter(self._source, None, state=self._state):
            at = max(position, self._source.find(value, position))
            position = at + len(value)
            if token == "name":
                found.setdefault((line, value), at - starts[line - 1] + 1)
            elif token == "string":
                found.setdefault((line, value[1:-1]), at - starts[line - 1] + 2)
        return found


def name_problems(found: Sequence[Use], known: Known, place: Placer) -> list[Problem]:
    """Names that are not in scope, and steps and fields that do not exist."""
    problems: list[Problem] = []
    names = known.names
    for use in found:
        if use.name == "steps":
            problems += _step_problems(use, known, place)
        elif not use.maybe and use.name not in names and use.name not in GLOBALS:
            problems.append(_undefined(use, names, place))
        elif use.path and use.name in known.fields:
            problems += _field_problems(use, use.name, use.path[0], known.fields[use.name], place)
    return problems


def _undefined(use: Use, names: frozenset[str], place: Placer) -> Problem:
    if use.name in _LOOP_NAMES:
        text, guess = f"{use.name!r} exists only inside a step with for_each", None
    else:
        text, guess = f"{use.name!r} is not defined", close(use.name, names | set(GLOBALS))
    column = place.column(use.line, use.name)
    return Problem(line=use.line, column=column, message=text, kind="undefined", name=use.name, suggestion=guess)


def _step_problems(use: Use, known: Known, place: Placer) -> Iterator[Problem]:
    step = use.path[0] if use.path else None
    if not isinstance(step, str):
        text = "'steps' needs the name of a step behind it, as in steps.NAME.text, so that the order of steps is known"
        yield Problem(line=use.line, column=place.column(use.line, "steps"), message=text, kind="step", name="steps")
    elif step not in known.steps:
        column = place.column(use.line, step) or place.column(use.line, "steps")
        text = f"there is no step {step!r}"
        guess = close(step, known.steps)
        yield Problem(line=use.line, column=column, message=text, kind="step", name=step, suggestion=guess)
    elif len(use.path) > 1:
        yield from _field_problems(use, f"steps.{step}", use.path[1], known.step_fields, place)
        if len(use.path) > 3 and use.path[1] == "items" and not isinstance(use.path[2], str):
            yield from _field_problems(use, f"an item of steps.{step}", use.path[3], ITEM_FIELDS, place)


def _field_problems(
    use: Use, owner: str, field: str | int | None, fields: tuple[str, ...], place: Placer
) -> Iterator[Problem]:
    if field in fields:
        return
    text = f"{owner} has {', '.join(fields)}"
    text += f", not {field!r}" if field is not None else "; name the field instead of computing it"
    name = "" if field is None else str(field)
    column = place.column(use.line, name) or place.column(use.line, use.name)
    yield Problem(line=use.line, column=column, message=text, kind="field", name=name, suggestion=close(name, fields))


def close(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be."""
    from difflib import get_close_matches

    found = get_close_matches(name, sorted(candidates), n=1, cutoff=0.6)
    return found[0] if found else None
