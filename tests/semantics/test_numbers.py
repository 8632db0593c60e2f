"""docs/reference/semantics.md and the tests beside this file name the same promises."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "semantics.md"
#: `- **R12** …` in the page, `test_r12_…` here.
_PROMISE = re.compile(r"^- \*\*([A-Z][0-9]+)\*\* ", re.MULTILINE)
_TEST = re.compile(r"^test_([a-z][0-9]+)_")


def promised() -> list[str]:
    return _PROMISE.findall(PAGE.read_text(encoding="utf-8"))


def written() -> list[str]:
    found = []
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (name := _TEST.match(node.name)):
                found.append(name[1].upper())
    return found


def twice(names: list[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def test_every_promise_has_a_number_of_its_own_and_one_test() -> None:
    page, tests = promised(), written()
    assert twice(page) == [] and twice(tests) == []
    assert sorted({*page} - {*tests}) == [], "promised, and not tested"
    assert sorted({*tests} - {*page}) == [], "tested, and not promised"


def test_numbers_follow_each_other() -> None:
    for letter in dict.fromkeys(name[0] for name in promised()):
        numbers = [int(name[1:]) for name in promised() if name[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1)), letter
