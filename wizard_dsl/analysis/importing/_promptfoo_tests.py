"""Tests of promptfoo: their vars as rows of inputs, their assertions as expectations."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any, Final

import msgspec

from wizard_dsl.analysis.importing._promptfoo_asserts import Expectation, asserted, parsed
from wizard_dsl.analysis.importing._promptfoo_prompts import Refused, content, meant
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.spec.diagnostics import DocPath, show_path
from wizard_dsl.spec.source import parse_value

_TEXTS: Final = (".txt", ".md", ".json", ".yaml", ".yml", ".csv")
_TABLES: Final = (".csv", ".json", ".jsonl", ".yaml", ".yml")
_MOST: Final = 200
_DROPPED: Final = {
    "metadata": "about promptfoo's own results and pages",
    "options": "about transforms, graders and the order of runs; none of them is there",
    "provider": "a test runs on every chain; write a test of its own with `chain`",
    "providers": "a test runs on every chain; write a test of its own with `chain`",
    "assertScoringFunction": "code of its own, which is not run",
    "threshold": "there are no scores: every expectation has to hold",
}


class Test(msgspec.Struct, kw_only=True):
    """A test: a row of inputs for each combination of its vars."""

    name: str
    rows: list[dict[str, Any]]
    expectation: Expectation
    origin: str

    def expect(self, step: str | None) -> dict[str, Any]:
        return self.expectation.made(step)


class Cases:
    """Reads `tests` and `defaultTest`."""

    def __init__(self, ledger: Ledger, folder: Path, rename: Callable[[str], str], templates: Any) -> None:
        self._ledger = ledger
        self._folder = folder
        self._rename = rename
        self._templates = templates if isinstance(templates, dict) else {}
        self._default: dict[str, Any] = {}
        self._names: set[str] = set()
        self.notes: list[str] = []

    def read(self, listed: Any, default: Any) -> list[Test]:
        if isinstance(default, dict):
            self._default = default
        elif default is not None:
            self._ledger.dropped(("defaultTest",), "a file of its own: write it into the source and import again")
        found = [each for each in self._listed(listed) if each is not None]
        self._account_for_default()
        used = any(test.expectation.used for test in found)
        if self._templates:
            self._told_templates(used)
        return found

    def _listed(self, listed: Any) -> Iterator[Test | None]:
        if isinstance(listed, str):
            yield from self._of_file(listed, ("tests",))
        for index, each in enumerate(listed if isinstance(listed, list) else ()):
            path: DocPath = ("tests", index)
            if isinstance(each, str):
                yield from self._of_file(each, path)
            elif isinstance(each, dict):
                yield self._test(each, path, len(self._names) + 1)
            else:
                self._ledger.dropped(path, "a test is a mapping, or names a file")

    def _test(self, held: dict[str, Any], path: DocPath, number: int) -> Test:
        rows = self._rows(held.get("vars"), (*path, "vars"))
        expectation = Expectation()
        self._asserts(held.get("assert"), (*path, "assert"), expectation, rows)
        self._asserts(self._default.get("assert"), ("defaultTest", "assert"), expectation, rows)
        described = held.get("description")
        name = self._free(described if isinstance(described, str) and described else f"case {number}")
        for key in held:
            if key == "description":
                self._ledger.mapped((*path, key), "tests", "its name")
            elif key in _DROPPED:
                self._ledger.dropped((*path, key), _DROPPED[key])
            elif key not in ("vars", "assert"):
                self._ledger.unknown((*path, key), ("description", "vars", "assert", *_DROPPED))
        return Test(name=name, rows=rows, expectation=expectation, origin=self._ledger.origin(path))

    def _free(self, wanted: str) -> str:
        name, number = " ".join(wanted.split())[:100], 2
        base = name
        while name in self._names:
            name, number = f"{base} ({number})", number + 1
        self._names.add(name)
        return name

    def _rows(self, given: Any, path: DocPath) -> list[dict[str, Any]]:
        """One for each combination: a list among the vars stands for several values."""
        default = self._default.get("vars")
        together: dict[str, list[Any]] = {}
        for held, at in ((default, ("defaultTest", "vars")), (given, path)):
            for name, value in held.items() if isinstance(held, dict) else ():
                together[self._rename(name)] = self._values(value, (*at, name))
        if given is not None and not isinstance(given, dict):
            self._ledger.dropped(path, "vars in a file of their own: write them into the source and import again")
        number = prod(map(len, together.values()))
        if number > _MOST:
            self.notes.append(f"{show_path(path)}: the first {_MOST} of {number:,} combinations are written")
        combined = islice(product(*together.values()), _MOST)
        return [dict(zip(together, each, strict=True)) for each in combined]

    def _values(self, value: Any, path: DocPath) -> list[Any]:
        listed = value if isinstance(value, list) and value else [value]
        try:
            found = [self._value(each) for each in listed]
        except Refused as refused:
            self._ledger.dropped(path, str(refused))
            return [""]
        name = self._rename(str(path[-1]))
        why = "each value a row" if len(listed) > 1 else None if name == path[-1] else f"called {name}"
        self._ledger.mapped(path, "tests.*.inputs", why)
        return found

    def _value(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("file://"):
            return content(self._folder, value.removeprefix("file://"), _TEXTS)
        return value

    def _asserts(self, listed: Any, path: DocPath, expectation: Expectation, rows: list[dict[str, Any]]) -> None:
        for index, each in enumerate(listed if isinstance(listed, list) else ()):
            at, held = (*path, index), each
            name = each.get("$ref") if isinstance(each, dict) else None
            if isinstance(name, str):
                key = name.rsplit("/", 1)[-1]
                held = self._templates.get(key)
                self._ledger.mapped((*at, "$ref"), "tests.*.expect") if held else None
            asserted(held, at, expectation, self._ledger, self._inline(rows))

    def _inline(self, rows: list[dict[str, Any]]) -> Callable[[str], str | None]:
        """Puts vars into an expected value, where all rows of the test have the same; None where that cannot be."""

        def inline(text: str) -> str | None:
            if text.startswith("file://"):
                try:
                    return content(self._folder, text.removeprefix("file://"), _TEXTS)
                except Refused:
                    return None
            return filled(text, rows, self._rename)

        return inline

    def _of_file(self, name: str, path: DocPath) -> Iterator[Test]:
        """Tests of a file, or of all that are meant with a `*`."""
        try:
            files = meant(self._folder, name.removeprefix("file://"), _TABLES)
            texts = [(file, content(self._folder, file, _TABLES)) for file in files]
            listed = {file: _listed(text, file) for file, text in texts if not file.endswith(".csv")}
        except Refused as refused:
            self._ledger.dropped(path, str(refused))
            return
        for file, text in texts:
            if file not in listed:
                yield from self._of_rows(text, file, path)
            for number, held in enumerate(listed.get(file, ()), 1):
                test = self._test(held, (*path, number), len(self._names) + 1)
                yield msgspec.structs.replace(test, origin=f"{file}, {number}")
        self._ledger.approximated(path, "tests", "its rows; assertions in them that have no counterpart are left out")

    def _of_rows(self, text: str, file: str, path: DocPath) -> Iterator[Test]:
        """Tests of a CSV file: columns are vars, `__expected…` assertions."""
        for number, row in enumerate(csv.DictReader(io.StringIO(text)), 1):
            pairs = {str(key): str(value) for key, value in row.items() if key and value is not None}
            [inputs, *_] = self._rows({key: value for key, value in pairs.items() if not key.startswith("__")}, path)
            expectation = Expectation()
            for key, value in pairs.items():
                if key.startswith("__expected") and value:
                    asserted(parsed(value), path, expectation, None, self._inline([inputs]))
            self._asserts(self._default.get("assert"), ("defaultTest", "assert"), expectation, [inputs])
            title = self._free(pairs.get("__description") or f"{Path(file).stem} row {number}")
            yield Test(name=title, rows=[inputs], expectation=expectation, origin=f"{file}:{number + 1}")

    def _account_for_default(self) -> None:
        for key in self._default:
            if key in _DROPPED:
                self._ledger.dropped(("defaultTest", key), _DROPPED[key])
            elif key not in ("vars", "assert"):
                self._ledger.unknown(("defaultTest", key), ("vars", "assert", *_DROPPED))
        self._ledger.dropped(("defaultTest",), "no test uses it")

    def _told_templates(self, used: bool) -> None:
        to = "tests.*.expect"
        if used:
            self._ledger.mapped(("assertionTemplates",), to, "where tests refer to it")
        self._ledger.dropped(("assertionTemplates",), "no test refers to it")


def _listed(text: str, file: str) -> list[dict[str, Any]]:
    """The tests of a file in JSON, YAML or lines of JSON. Raises Refused."""
    texts = [line for line in text.splitlines() if line.strip()] if file.endswith(".jsonl") else [text]
    read = [parse_value(each, file) for each in texts]
    found = [value for value, _ in read] if file.endswith(".jsonl") else read[0][0]
    if (
        any(wrong for _, wrong in read)
        or not isinstance(found, list)
        or not all(isinstance(each, dict) for each in found)
    ):
        raise Refused(f"the file '{file}' is no list of tests")
    return found


def filled(text: str, rows: list[dict[str, Any]], rename: Callable[[str], str]) -> str | None:
    """`{{ name }}` in a text replaced by the var's value; None where rows differ in it, or it is more than a name."""
    out, rest = "", text
    while "{{" in rest:
        before, _, after = rest.partition("{{")
        inner, closed, rest = after.partition("}}")
        name = inner.strip()
        found = {str(row.get(rename(name), "")) for row in rows} if closed and name.isidentifier() else set()
        if len(found) != 1:
            return None
        out += before + found.pop()
    return None if "{%" in text else out + rest
