"""Every example in the README and the docs is run: YAML is compiled, commands are parsed, Python is executed."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import shlex
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

import wizard_dsl
from wizard_dsl.cli.main import make_group
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.allow import RULE_CODES, with_allowed
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import counted, render_text
from wizard_dsl.spec.load import shown
from wizard_dsl.testing.trying import collect, try_case

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "support" / "README.md",
    ROOT / "examples" / "corners" / "README.md",
    ROOT / "examples" / "outage" / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if GENERATED not in page.parents),
    GENERATED / "testing.md",  # written by hand
]


#: A file with a grammar of its own says its name in its first line, and so does the pipeline that it is about.
OWN_GRAMMAR = re.compile(r"# (\S+\.[a-z]+\.yaml)$", re.MULTILINE)
TESTS = re.compile(r"^```yaml\n# \S+\.test\.yaml$", re.MULTILINE)
NAMED = re.compile(r"# (\S+\.yaml)$", re.MULTILINE)


def _by_hand(text: str) -> str:
    """What no declaration made, on the same lines: examples of declarations are fragments, and have their own test."""
    made = re.compile(r"<!-- generated: .*?<!-- end -->", re.DOTALL)
    return made.sub(lambda match: "\n" * match[0].count("\n"), text)


def blocks(language: str) -> Iterator[Any]:
    for page in PAGES:
        text = _by_hand(page.read_text(encoding="utf-8"))
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(match[1], id=f"{page.name}:{line}")


def commands() -> Iterator[Any]:
    for parameter in blocks("console"):
        for line in parameter.values[0].splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0].rsplit("/", 1)[-1] == "wizard":
                yield pytest.param(words[1:], id=f"{parameter.id} {' '.join(words[1:3])}")


def make_targets() -> Iterator[Any]:
    for parameter in blocks("console"):
        yield from re.findall(r"^\$ make ([a-z-]+)", parameter.values[0], re.MULTILINE)


def files() -> Iterator[Any]:
    """Every whole file, with the code of the warning that its first line says it gets."""
    for parameter in blocks("yaml"):
        if OWN_GRAMMAR.match(parameter.values[0]):
            continue
        code = re.match(r"# (W[0-9]{3})$", parameter.values[0].partition("\n")[0])
        yield pytest.param(parameter.values[0], {code[1]} if code else set(), id=parameter.id)


@pytest.mark.parametrize(("text", "codes"), list(files()))
def test_yaml_in_the_documentation_compiles_and_gets_the_warning_it_names_or_none(
    text: str, codes: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(text)
    compiled = compile_file(path, Registry(plugins=False), Sources())
    assert compiled.program is not None, compiled.diagnostics
    found = with_allowed([*compiled.diagnostics, *lint(compiled)], [shown(path)], RULE_CODES)
    assert {each.code for each in counted(found)} == codes


@pytest.mark.parametrize("page", [page for page in PAGES if TESTS.search(page.read_text())], ids=lambda it: it.name)
def test_test_files_in_the_documentation_pass(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for match in re.finditer(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        named = NAMED.match(match[1])
        if named is not None:
            (tmp_path / named[1]).write_text(match[1])
    suites = [collect(path.name) for path in sorted(tmp_path.glob("*.test.yaml"))]
    assert "".join(render_text(suite.found.diagnostics) for suite in suites) == ""
    outcomes = [try_case(suite, case, snapshots="make") for suite in suites for case in suite.cases]
    assert outcomes
    assert [each for each in outcomes if not each.passed] == []


@pytest.mark.parametrize("words", list(commands()))
def test_commands_in_the_documentation_are_ones(words: list[str]) -> None:
    if words == ["--version"]:
        return
    group = make_group()
    context = click.Context(group)
    _, command, rest = group.resolve_command(context, words)
    assert command is not None
    command.make_context(words[0], rest, parent=context, resilient_parsing=False)


def test_make_targets_in_the_documentation_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(make_targets())
    assert {"run", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("source", list(blocks("python")))
def test_python_in_the_documentation_runs_on_mocks(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    mocked = SimpleNamespace(
        run=partial(wizard_dsl.run, mock=True, seed=7),
        open=partial(wizard_dsl.open, mock=True, seed=7),
        History=wizard_dsl.History,
    )
    source = source.replace("import wizard_dsl as wizard", "")
    code = compile(source, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        made = eval(code, {"wizard": mocked})
        if inspect.iscoroutine(made):
            asyncio.run(made)
    assert printed.getvalue().strip()


def test_the_readme_names_both_commands_and_three_more_on_its_first_screen() -> None:
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    assert "make run" in screen
    assert "make test" in screen
    assert screen.count(".venv/bin/wizard") == 3


def test_error_messages_in_the_documentation_are_what_is_printed(tmp_path: Path) -> None:
    """The line of the README, from its own example with the typo made."""
    text = (ROOT / "README.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    told = re.search(r"^(file\.yaml:\d+:\d+ error.*)$", text, re.MULTILINE)
    assert example is not None
    assert told is not None
    path = tmp_path / "file.yaml"
    path.write_text(textwrap.dedent(example[1]).replace("retry: 2", "retry: {max_attempt: 2}"))
    compiled = compile_file(path, Registry(plugins=False), Sources())
    assert render_text(compiled.diagnostics).replace(f"{path.parent}/", "").strip() == told[1]
