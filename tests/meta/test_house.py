"""The house rules that can be counted: sizes of functions, files and verbs, and how deep they nest.

An exception carries its reason and its size; one that is no longer needed fails, so the lists only shrink.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wizard_dsl"

FUNCTION, FILE, VERB, NESTING = 40, 400, 150, 3

#: file → (lines allowed, why)
LONG_FILES: dict[str, tuple[int, str]] = {
    "wizard_dsl/core/response.py": (550, "observing, limiting and reading share the state of one answer"),
    "wizard_dsl/core/errors.py": (500, "one class a kind, and the tree that shows them all"),
    "wizard_dsl/core/events.py": (500, "one struct an event, and the tree that shows them all"),
}
#: file::function → (lines allowed, why)
LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}
#: file::function → (levels allowed, why)
DEEP_FUNCTIONS: dict[str, tuple[int, str]] = {
    "wizard_dsl/core/response.py::Response.deltas": (
        4,
        "a loop over batches of deltas, inside the try that closes them",
    ),
    "wizard_dsl/cli/_files.py::find": (4, "looks into folders of folders"),
    "wizard_dsl/providers/_instances.py::_Maker._merged": (4, "merges schemas of schemas"),
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def limit_of(path: Path) -> int:
    is_verb = path.parent == PACKAGE / "cli" and not path.stem.startswith("_") and path.stem != "main"
    return VERB if is_verb else FILE


def functions() -> Iterator[tuple[str, Function]]:
    """Every function and method by file::qualified.name; one defined inside another counts for itself as well."""
    for path in sources():
        yield from _inside(ast.parse(path.read_text()), f"{name_of(path)}::")


def _inside(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield f"{prefix}{child.name}", child
            yield from _inside(child, f"{prefix}{child.name}.")
        else:
            inner = f"{prefix}{child.name}." if isinstance(child, ast.ClassDef) else prefix
            yield from _inside(child, inner)


def length(function: Function) -> int:
    """Lines from `def` to the end; decorators do not count."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def depth(node: ast.AST) -> int:
    """How many blocks stand inside each other; an `elif` is no deeper than its `if`. Inner functions begin anew."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*Function.__args__, ast.Lambda, ast.ClassDef)):
            continue
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        own = 1 if isinstance(child, _BLOCKS) and not chained else 0
        deepest = max(deepest, own + depth(child))
    return deepest


def excess(found: dict[str, int], limit: dict[str, int], allowed: dict[str, tuple[int, str]]) -> list[str]:
    """What is too large, and exceptions that are outgrown or no longer needed."""
    wrong = [
        f"{name} has {size}, {limit[name]} are allowed"
        for name, size in found.items()
        if size > limit[name] and name not in allowed
    ]
    for name, (size, why) in allowed.items():
        assert why, f"{name} has no reason"
        if found.get(name, 0) <= limit.get(name, 0):
            wrong.append(f"{name} needs no exception any more")
        elif found[name] > size:
            wrong.append(f"{name} has {found[name]}, its exception says {size}")
    return wrong


def test_files_stay_small() -> None:
    found = {name_of(path): len(path.read_text().splitlines()) for path in sources()}
    assert excess(found, {name_of(path): limit_of(path) for path in sources()}, LONG_FILES) == []


def test_functions_stay_small() -> None:
    found = {name: length(function) for name, function in functions()}
    assert excess(found, dict.fromkeys(found, FUNCTION), LONG_FUNCTIONS) == []


def test_functions_nest_at_most_three_deep() -> None:
    found = {name: depth(function) for name, function in functions()}
    assert excess(found, dict.fromkeys(found, NESTING), DEEP_FUNCTIONS) == []


def test_the_median_function_has_about_eight_lines() -> None:
    assert median(length(function) for _, function in functions()) <= 10


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", "HACK"])
def test_nothing_is_left_for_later(word: str) -> None:
    found = [name_of(path) for path in sources() if word in path.read_text()]
    assert found == []


@pytest.mark.parametrize("name", ["utils.py", "helpers.py", "misc.py", "common.py"])
def test_no_module_is_named_for_what_did_not_fit_elsewhere(name: str) -> None:
    assert list(PACKAGE.rglob(name)) == []


def test_the_counting_counts() -> None:
    """The rules above would notice: an else-if chain is flat, a loop in a loop is not."""
    tree = ast.parse(
        "def f():\n    if a: pass\n    elif b: pass\n    elif c: pass\n"
        "def g():\n    for x in y:\n        while x:\n            if z: pass\n"
    )
    flat, deep = (node for node in tree.body if isinstance(node, Function))
    assert (depth(flat), depth(deep), length(deep)) == (1, 3, 4)
    assert excess({"a": 5}, {"a": 4}, {}) == ["a has 5, 4 are allowed"]
    assert excess({"a": 3}, {"a": 4}, {"a": (9, "old")}) == ["a needs no exception any more"]
    assert excess({"a": 10}, {"a": 4}, {"a": (9, "big")}) == ["a has 10, its exception says 9"]
    assert excess({}, {}, {"gone": (9, "old")}) == ["gone needs no exception any more"]
