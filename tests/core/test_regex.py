"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest

from wizard_dsl.core.regex import _Compiled, _Regex, regex

ROOT = Path(__file__).parents[2]


def test_a_pattern_is_looked_at_when_it_is_first_used() -> None:
    declared = regex("(")
    with pytest.raises(re.error):
        declared.search("")


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("findall", ["a1B22"]),
        ("fullmatch", ["a1"]),
        ("match", ["a1B22"]),
        ("search", ["--B22"]),
        ("split", ["x-a1-B22"]),
        ("sub", [r"\2", "a1B22"]),
        ("subn", [r"\2", "a1B22", 1]),
        ("finditer", ["a1B22"]),
    ],
)
def test_it_does_what_a_compiled_pattern_does_the_first_time_and_later(method: str, arguments: list[Any]) -> None:
    source, flags = "([a-z])([0-9]+)", re.IGNORECASE
    declared = regex(source, flags)

    def told(found: Any) -> Any:
        if method == "finditer":
            found = list(found)
        return [repr(each) for each in found] if isinstance(found, list) else repr(found)

    expected = told(getattr(re.compile(source, flags), method)(*arguments))
    assert [told(getattr(declared, method)(*arguments)) for _ in range(3)] == [expected] * 3


def test_bytes_are_looked_at_by_patterns_of_bytes() -> None:
    assert regex(rb"[0-9]+").findall(b"a1 22") == [b"1", b"22"]


def test_what_a_pattern_does_not_have_is_an_error() -> None:
    with pytest.raises(AttributeError):
        regex("a").nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("used", [False, True], ids=["not-compiled", "compiled"])
def test_a_pattern_can_be_copied_and_pickled(used: bool) -> None:
    declared = regex("([a-z])[0-9]")
    if used:
        assert declared.search("a1")
    pickled = pickle.loads(pickle.dumps(declared))  # noqa: S301 - it is ours
    for twin in (copy.copy(declared), copy.deepcopy(declared), pickled):
        assert twin.findall("a1 b2") == ["a", "b"] and twin.pattern == "([a-z])[0-9]"


def test_no_module_compiles_a_pattern_when_it_is_imported() -> None:
    """It would be paid for by every command that imports the module, whether it uses the pattern or not."""
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sorted((ROOT / "wizard_dsl").rglob("*.py"))
        for call in _calls(ast.parse(path.read_text()))
        if ast.unparse(call.func) == "re.compile"
    ]
    assert found == [], "declare it with wizard_dsl.core.regex"


def _calls(node: ast.AST) -> list[ast.Call]:
    """The calls that are made where a module is imported."""
    inside = [
        call
        for child in ast.iter_child_nodes(node)
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for call in _calls(child)
    ]
    return [node, *inside] if isinstance(node, ast.Call) else inside


def test_every_pattern_that_is_declared_can_be_compiled() -> None:
    declared = {
        id(each): each
        for path in (ROOT / "wizard_dsl").rglob("*.py")
        if "core.regex import regex" in path.read_text()
        for value in vars(import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))).values()
        for each in _patterns(value)
    }
    assert len(declared) > 100
    for each in declared.values():
        re.compile(each.pattern, each.flags)


def _patterns(value: object) -> Iterator[_Regex | _Compiled]:
    """Those that a value of a module is or holds, used or not."""
    if isinstance(value, _Regex | _Compiled):
        yield value
    elif isinstance(value, Mapping):
        yield from _patterns(tuple(value.values()))
    elif type(value) in (tuple, list, set, frozenset):
        for each in cast("Iterable[object]", value):
            yield from _patterns(each)
