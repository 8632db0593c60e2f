"""What a test says about a value against the value: pure, each miss with what was expected and what was.

`similar` is the ratio of difflib's SequenceMatcher without its heuristic for popular characters: twice the characters
that both texts have in matching blocks, over those of both. It depends on the two texts alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from wizard_dsl.core.regex import regex
from wizard_dsl.core.units import parse_duration, parse_money, parse_ratio, show_duration, show_money
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.testing.testfile import Check, Number, Similar, Sum, Time

_LONGEST: Final = 300  # characters of a value that are shown
_PATH: Final = regex(r"\.?([^.\[\]]+)|\[(-?\d+)\]")
_MILLISECOND: Final = 0.0005
_CENT_OF_A_CENT: Final = 1e-9
#: What is looked for and is not there; no value of a run.
MISSING: Final = object()


class Miss(msgspec.Struct, frozen=True):
    """One thing that is not as it should be. `what` names it, as `text` or `json.topic`; `diff` is set where lines of
    texts are better compared than shown. `path` leads from the assertion to the key that says so."""

    what: str
    expected: str
    actual: str
    diff: str = ""
    path: DocPath = ()


def misses(check: Any, value: Any, what: str) -> list[Miss]:
    """All that is wrong with a value. `check` is a value that has to be equal, or a Check."""
    if isinstance(check, Check):
        return [miss for key, test in _TESTS.items() for miss in _tried(check, key, test, value, what)]
    return _equals(check, value, what)


def _tried(check: Check, key: str, test: Callable[..., list[Miss]], value: Any, what: str) -> list[Miss]:
    asked = getattr(check, key)
    if asked is UNSET:
        return []
    found = [Miss(what, "a value", "nothing")] if value is MISSING else test(asked, value, what)
    return [_below(each, key.rstrip("_")) for each in found]


def _below(miss: Miss, key: str) -> Miss:
    return msgspec.structs.replace(miss, path=(key, *miss.path))


def same(first: Any, second: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, and neither is true."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(each, second[key]) for key, each in first.items())
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def shown(value: Any) -> str:
    """A value as JSON in one line, cut where it is long."""
    if value is MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


# -- what a Check may ask ---------------------------------------------------------------------------


def _equals(wanted: Any, value: Any, what: str) -> list[Miss]:
    if value is not MISSING and same(wanted, value):
        return []
    texts = isinstance(wanted, str) and isinstance(value, str)
    diff = difference(wanted, value) if texts and ("\n" in wanted.strip("\n") or "\n" in value.strip("\n")) else ""
    return [Miss(what, shown(wanted), shown(value), diff)]


def _contains(wanted: Any, value: Any, what: str) -> list[Miss]:
    if isinstance(value, str):
        parts = wanted if isinstance(wanted, list) else [wanted]
        return [
            Miss(what, f"to contain {shown(each)}", shown(value))
            for each in parts
            if not isinstance(each, str) or each not in value
        ]
    if isinstance(value, Mapping):
        if not isinstance(wanted, Mapping):
            return [] if wanted in value else [Miss(what, f"to have the key {shown(wanted)}", shown(value))]
        found = [_subset(each, value.get(key, MISSING), f"{what}.{key}") for key, each in wanted.items()]
        return [miss for each in found for miss in each]
    entries = value if isinstance(value, list) else []
    held = any(not _subset(wanted, each, what) for each in entries)
    return [] if held else [Miss(what, f"to contain {shown(wanted)}", shown(value))]


def _subset(wanted: Any, value: Any, what: str) -> list[Miss]:
    """A mapping is in one that has its keys, anything else has to be equal."""
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return _contains(wanted, value, what)
    return _equals(wanted, value, what)


def _matches(pattern: str, value: Any, what: str) -> list[Miss]:
    held = isinstance(value, str) and re.search(pattern, value) is not None
    return [] if held else [Miss(what, f"to match {pattern}", shown(value))]


def _starts_with(start: str, value: Any, what: str) -> list[Miss]:
    held = isinstance(value, str) and value.startswith(start)
    return [] if held else [Miss(what, f"to start with {shown(start)}", shown(value))]


def _ends_with(end: str, value: Any, what: str) -> list[Miss]:
    held = isinstance(value, str) and value.endswith(end)
    return [] if held else [Miss(what, f"to end with {shown(end)}", shown(value))]


def _one_of(options: list[Any], value: Any, what: str) -> list[Miss]:
    held = any(same(each, value) for each in options)
    return [] if held else [Miss(what, f"one of {', '.join(map(shown, options))}", shown(value))]


def _similar(wanted: str | Similar, value: Any, what: str) -> list[Miss]:
    asked = Similar(to=wanted) if isinstance(wanted, str) else wanted
    if not isinstance(value, str):
        return [Miss(what, f"a text like {shown(asked.to)}", shown(value))]
    from difflib import SequenceMatcher

    ratio = SequenceMatcher(None, asked.to, value, autojunk=False).ratio()
    if ratio >= parse_ratio(asked.at_least):
        return []
    return [Miss(what, f"at least {asked.at_least} like {shown(asked.to)}", f"{ratio:.1%} like it: {shown(value)}")]


def _schema(schema: dict[str, Any], value: Any, what: str) -> list[Miss]:
    """No reference is followed out of the schema: nothing is fetched."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return [Miss(what, "JSON", shown(value))]
    errors = Draft202012Validator(schema, registry=Registry()).iter_errors(value)
    return [
        Miss(
            what + "".join(f"[{part!r}]" for part in each.absolute_path),
            "to fit its schema",
            f"JSON that does not: {each.message}",
        )
        for each in sorted(errors, key=lambda each: list(map(str, each.absolute_path)))
    ]


def _length(wanted: int | Number, value: Any, what: str) -> list[Miss]:
    if not isinstance(value, str | list | Mapping):
        return [Miss(what, "a text, list or mapping", shown(value))]
    return number_misses(wanted, len(value), f"{what}, its length")


def _at_least(least: float, value: Any, what: str) -> list[Miss]:
    return [] if _is_number(value) and value >= least else [Miss(what, f"at least {least:g}", shown(value))]


def _at_most(most: float, value: Any, what: str) -> list[Miss]:
    return [] if _is_number(value) and value <= most else [Miss(what, f"at most {most:g}", shown(value))]


def _at(checks: Mapping[str, Any], value: Any, what: str) -> list[Miss]:
    joined = {path: f"{what}{path}" if path.startswith("[") else f"{what}.{path}" for path in checks}
    return [
        _below(miss, path)
        for path, check in checks.items()
        for miss in misses(check, inside(value, path), joined[path])
    ]


def _not(check: Any, value: Any, what: str) -> list[Miss]:
    if misses(check, value, what):
        return []
    asked = check if not isinstance(check, Check) else msgspec.to_builtins(check)
    return [Miss(what, f"not {shown(asked)}", shown(value))]


_TESTS: Final[dict[str, Callable[..., list[Miss]]]] = {
    "equals": _equals,
    "contains": _contains,
    "matches": _matches,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "one_of": _one_of,
    "similar": _similar,
    "schema": _schema,
    "length": _length,
    "at_least": _at_least,
    "at_most": _at_most,
    "at": _at,
    "not_": _not,
}


def inside(value: Any, path: str) -> Any:
    """What stands at `topic`, `lines[0].text` or `[2]` in a value; MISSING where there is nothing."""
    for name, index in _PATH.findall(path):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return value


def is_path(path: str) -> bool:
    """Whether a text is a path all through."""
    return bool(path) and _PATH.sub("", path) == ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- numbers, times and sums ------------------------------------------------------------------------


def number_misses(wanted: float | Number, value: float, what: str) -> list[Miss]:
    asked = wanted if isinstance(wanted, Number) else Number(equals=wanted)
    return list(_range(asked, value, what, lambda each: each, lambda each: f"{each:g}", 0.0))


def time_misses(wanted: str | Time, value: float, what: str) -> list[Miss]:
    """`value` in seconds."""
    asked = wanted if isinstance(wanted, Time) else Time(equals=wanted)
    return list(_range(asked, value, what, parse_duration, show_duration, _MILLISECOND))


def sum_misses(wanted: str | Sum, value: float | None, what: str) -> list[Miss]:
    """`value` in US dollars, None where it is not known."""
    asked = wanted if isinstance(wanted, Sum) else Sum(equals=wanted)
    if value is None:
        return [Miss(what, "a cost", "unknown: a target has no price; give its model `prices` in the pipeline")]
    return list(_range(asked, value, what, parse_money, show_money, _CENT_OF_A_CENT))


def _range(
    asked: Number | Time | Sum,
    value: float,
    what: str,
    parse: Callable[[Any], float],
    show: Callable[[float], str],
    dust: float,
) -> Iterator[Miss]:
    """The bounds that do not hold; `dust` is what rounding may make of two equal numbers."""
    bounds: tuple[tuple[Any | UnsetType, str, Callable[[float], bool]], ...] = (
        (asked.equals, "", lambda bound: abs(value - bound) <= dust),
        (asked.at_least, "at least ", lambda bound: value >= bound - dust),
        (asked.at_most, "at most ", lambda bound: value <= bound + dust),
    )
    for bound, words, holds in bounds:
        if bound is not UNSET and not holds(parse(bound)):
            yield Miss(what, f"{words}{show(parse(bound))}", show(value))


def difference(wanted: str, value: str, before: str = "expected", after: str = "was") -> str:
    """The lines of two texts that differ, as a unified diff."""
    from difflib import unified_diff

    lines = unified_diff(wanted.splitlines(), value.splitlines(), before, after, lineterm="", n=3)
    text = "\n".join(lines)
    return text or "they differ only in line breaks at their end"
