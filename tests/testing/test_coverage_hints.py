"""What the report says a test would write does make the outcome happen, whichever target it is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from wizard_dsl.testing.coverage import Observer, Possible, possible
from wizard_dsl.testing.coverage_hints import _HINTS, as_lines, hint
from wizard_dsl.testing.trying import collect, try_case

LIMITED = {"rate_limit": {"rate": "10/s", "burst": 5}, "concurrency": 3, "deadline": "5m"}


def document(strategy: Any, **policies: Any) -> dict[str, Any]:
    names = ("one", "two", "three")
    return {
        "version": 1,
        "inputs": {"question": {"type": "string", "default": "Why?"}},
        "providers": {name: {"type": "mock", "model": f"{name}-1"} for name in names},
        "chains": {"default": {"strategy": strategy, "targets": list(names), "policies": policies}},
        "steps": {"answer": {"prompt": {"user": "{{ question }}"}}},
    }


def single(strategy: Any, **policies: Any) -> dict[str, Any]:
    made = document(strategy, **policies)
    made["chains"]["default"]["targets"] = ["one"]
    return made


NUMBER = {"n": {"type": "integer"}}
WITH_SCHEMA = single("sequential")
WITH_SCHEMA["steps"]["answer"]["output"] = {"schema": {"type": "object", "required": ["n"], "properties": NUMBER}}
TWO_STEPS = document("sequential")
TWO_STEPS["steps"] = {
    "first": {**TWO_STEPS["steps"]["answer"], "output": {"schema": {"type": "string"}}},
    "second": {
        "prompt": {"user": "{{ steps.first.text }}"},
        "output": {"schema": {"enum": [1, None]}},
        "on_error": "skip",
    },
}
FORGIVING = single("sequential")
FORGIVING["steps"]["answer"]["on_error"] = "skip"
FILES = {
    "three": document("sequential"),
    "probing": document("sequential", circuit_breaker={"probe": True}),
    "resuming": {**document("sequential")},
    "limited": single("sequential", **LIMITED),
    "cached": single("sequential", cache={"negative": "10s"}),
    "one": single("sequential"),
    "hedged": document({"type": "hedged", "after": "2s"}),
    "parallel": document("parallel"),
    "schema": WITH_SCHEMA,
    "two steps": TWO_STEPS,
    "forgiving": FORGIVING,
}
FILES["resuming"]["chains"]["default"]["on_mid_stream_error"] = "restart"


def hinted(folder: Path, name: str) -> list[Possible]:
    """What may come of a file, as far as there is a hint how to make it happen."""
    (folder / "it.yaml").write_text(json.dumps(FILES[name]))
    probe = {"version": 1, "pipeline": "it.yaml", "tests": {"x": {"targets": {"*": ["x"]}}}}
    (folder / "probe.test.yaml").write_text(json.dumps(probe))
    suite = collect(folder / "probe.test.yaml")
    program = suite.compiled(suite.cases[0]).program
    assert program is not None
    return [each for each in possible(program) if hint(each) is not None]


def missed(folder: Path, name: str) -> list[Possible]:
    """Those whose hint does not reach what it is for."""
    wanted = hinted(folder, name)
    tests = {f"{each.path} {each.name}": yaml.safe_load("\n".join(as_lines(hint(each) or {}))) for each in wanted}
    (folder / "it.test.yaml").write_text(json.dumps({"version": 1, "pipeline": "it.yaml", "tests": tests}))
    suite = collect(folder / "it.test.yaml")
    assert not suite.found.diagnostics, suite.found.diagnostics
    observer, reached = Observer(), set()
    for case in suite.cases:
        for seen in try_case(suite, case, observer).seen:
            reached |= {case.name} & {f"{path} {kind}" for path, kind in seen.exercised}
    return [each for each in wanted if f"{each.path} {each.name}" not in reached]


@pytest.mark.parametrize("name", FILES)
def test_a_hint_reaches_what_it_is_for(name: str, tmp_path: Path) -> None:
    left = missed(tmp_path, name)
    assert [f"{each.path} {each.name}: {hint(each)}" for each in left] == []


def test_every_hint_is_tried(tmp_path: Path) -> None:
    tried: set[str] = set()
    for name in FILES:
        (tmp_path / name).mkdir()
        for each in hinted(tmp_path / name, name):
            tried |= {f"{each.component}.{each.name}", f"{'strategy' if each.strategy else each.component}.{each.name}"}
    assert {f"{component}.{name}" for component, own in _HINTS.items() for name in own} <= tried


def test_what_stands_twice_in_a_hint_is_written_twice() -> None:
    item = {"status": 503, "times": "forever"}
    assert as_lines({"targets": {"a": [item], "b": [item]}}) == [
        "targets: {a: [{status: 503, times: forever}], b: [{status: 503, times: forever}]}"
    ]
