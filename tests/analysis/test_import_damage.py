"""Configurations with whatever people and programs put into them: an import is refused with a reason, or accounts for
every setting, and what it writes compiles and holds no key."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from import_kit import IMPORTS, REGISTRY, artefact, read_foreign_text

from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.litellm import import_litellm
from wizard_dsl.analysis.importing.portkey import import_portkey
from wizard_dsl.analysis.importing.promptfoo import import_promptfoo
from wizard_dsl.analysis.importing.reading import leaves
from wizard_dsl.cli.fmt import laid_out
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.clock import machine_time
from wizard_dsl.core.errors import SpecError
from wizard_dsl.spec.diagnostics import has_errors, render_text, show_path
from wizard_dsl.spec.source import load_text
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.trying import collect

KEY = "sk-abcdefghijklmnop1234"
ODD: list[Any] = [
    None, True, False, 0, -1, 3.5, 1e9, 10**30, "", " ", "x", "*", "a/b/c", "0s", "-", "true", "1e400", "a: b", "#c",
    "'", '"', "a\nb", "ö\u2028", "\x07", "os.environ/X", "${env:Y}", "{{ a }}", "{% if", "file://x.txt", KEY, [], {},
    [1], ["a", ["b"]], {"a": {"b": 1}}, {"model": 3},
]  # fmt: skip
NAMES = [
    "foo",
    "weight",
    "order",
    "rpm",
    "retry",
    "name",
    "cache",
    "model",
    "type",
    "vars",
    "assert",
    "label",
    "a b",
    "1",
]
FILES = sorted(path for path in IMPORTS.glob("*/*") if path.suffix in (".yaml", ".json"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from places(each, (*path, key))


def damaged(data: Any, chance: random.Random) -> Any:
    """A copy with a few values replaced, added and removed."""
    data = copy.deepcopy(data)
    for _ in range(chance.randint(1, 4)):
        path = chance.choice([each for each in places(data) if each] or [("x",)])
        inner = data
        for key in path[:-1]:
            inner = inner[key]
        what, value = chance.random(), copy.deepcopy(chance.choice(ODD))
        if what < 0.6:
            inner[path[-1]] = value
        elif isinstance(inner, dict) and what < 0.8:
            inner[chance.choice(NAMES)] = value
        elif isinstance(inner, list):
            inner.insert(0, value)
        else:
            inner.pop(path[-1], None)
    return data


def imported(kind: str, text: str) -> Imported:
    source = read_foreign_text(text, "config")
    if kind == "promptfoo":
        return import_promptfoo(source, IMPORTS / "promptfoo", "imported")
    return import_litellm(source) if kind == "litellm" else import_portkey(source)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_damage_is_refused_or_accounted_for(path: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8").replace("\t", " "))
    chance = random.Random(path.stem)
    for _ in range(12):
        text = json.dumps(damaged(data, chance))
        try:
            made = imported(path.parent.name, text)
        except SpecError:
            continue
        expected = [show_path(each) for each in leaves(read_foreign_text(text, "config").data)]
        assert [each.setting for each in made.findings] == expected, text
        assert KEY not in artefact(made), text
        for written in (made.pipeline, made.routing.documented if made.routing else made.pipeline):
            found = compile_file("imported.yaml", REGISTRY, Sources(text=written)).diagnostics
            assert not has_errors(found), render_text(found) + text
            assert laid_out(load_text(written, "imported.yaml"), "pipeline") == written
        for each in made.files[1:]:
            fits(made, each.text, tmp_path)


def fits(made: Imported, tests: str, folder: Path) -> None:
    assert laid_out(load_text(tests, "imported.test.yaml"), "test") == tests
    (folder / "imported.yaml").write_text(made.pipeline, encoding="utf-8")
    (folder / "imported.test.yaml").write_text(tests, encoding="utf-8")
    found = collect(folder / "imported.test.yaml", Programs(REGISTRY, wall=machine_time())).found.diagnostics
    wrong = [
        each for each in found if each.severity == "error" and each.code != "E035"
    ]  # the cassette is not there yet
    assert not wrong, render_text(wrong)
