"""The corners: each script prints what the documentation shows, and its file has no findings."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.testing import virtual

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "corners"
PAGE = (ROOT / "docs" / "explanation" / "corners.md").read_text(encoding="utf-8")
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_corner_prints_what_its_page_shows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.search(rf"^\$ \S+ examples/corners/{name}\.py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert shown is not None, f"docs/explanation/corners.md does not show {name}.py"
    virtual.run(runpy.run_path(str(FOLDER / f"{name}.py"))["main"]())
    assert capsys.readouterr().out == shown[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_corner_has_no_findings_and_is_shown_as_it_is(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    compiled = compile_file(path, Registry(plugins=False), Sources())
    assert [*compiled.diagnostics, *lint(compiled)] == []
    assert f"```yaml\n{path.read_text().strip()}\n```" in PAGE


def test_every_corner_is_named_in_the_readme() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert NAMES and all(f"examples/corners/{name}.py" in readme for name in NAMES)
