"""The layout of YAML texts: what is moved, and that nothing is lost."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.cli._files import kind_of
from wizard_dsl.cli.fmt import PIPELINE, laid_out
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry
from wizard_dsl.spec import layout
from wizard_dsl.spec.diagnostics import has_errors
from wizard_dsl.spec.layout import NotLaidOut, formatted
from wizard_dsl.spec.source import load_file, load_text

ROOT = Path(__file__).parents[2]
FILES = [
    path
    for folder in ("pipelines", "examples", "tests")
    for path in sorted((ROOT / folder).rglob("*.yaml"))
    if not has_errors(load_file(path).diagnostics)
]
REGISTRY = Registry(plugins=False)


SHIPPED = [path for folder in ("pipelines", "examples") for path in sorted((ROOT / folder).rglob("*.yaml"))]


def laid(text: str, *order: str) -> str:
    made = formatted(load_text(text, ""), order)
    assert formatted(load_text(made, ""), order) == made
    return made


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_we_have_says_the_same_afterwards_and_stays_so(path: Path) -> None:
    made = laid_out(load_file(path), None)
    assert isinstance(made, str)
    assert laid_out(load_text(made, str(path)), None) == made
    assert load_text(made, "").data == load_file(path).data
    assert made.count("#") == path.read_text().removeprefix("\ufeff").count("#")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_we_ship_is_in_our_layout(path: Path) -> None:
    assert laid_out(load_file(path), kind_of(path)) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["pipelines", "examples", "tests/cases/valid"])
def test_the_compiled_programs_stay_what_they_were(folder: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / folder, copy)
    before = _programs(copy)
    assert sum(each is not None for each in before.values()) > 2
    for path in before:
        laid = laid_out(load_file(path), None)
        assert isinstance(laid, str)
        path.write_text(laid)
    assert _programs(copy) == before


def _programs(folder: Path) -> dict[Path, object]:
    """Each file's program, None for what is none by itself."""
    compiled = {path: compile_file(path, REGISTRY, Sources()).program for path in sorted(folder.rglob("*.yaml"))}
    return {path: None if program is None else program.describe() for path, program in compiled.items()}


DOCUMENTED = [
    pytest.param(match[1], id=f"{page.name}-{number}")
    for page in sorted((ROOT / "docs").rglob("*.md"))
    for number, match in enumerate(re.finditer(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
    if not has_errors(load_text(match[1], "").diagnostics)
]


@pytest.mark.parametrize("text", DOCUMENTED)
def test_every_example_in_the_documentation_says_the_same_afterwards_and_stays_so(text: str) -> None:
    assert load_text(laid(text, *PIPELINE), "").data == load_text(text, "").data


def test_indentation_and_spacing_are_the_usual_ones() -> None:
    text = "a:\n    b : {x:  1 ,y: [ 1,2 ]}\n    c:\n    - 1\n    -   d: 2\n        e: 3\n"
    assert laid(text) == "a:\n  b: {x: 1, y: [1, 2]}\n  c:\n    - 1\n    - d: 2\n      e: 3\n"


def test_block_scalars_keep_their_text_and_their_indicators() -> None:
    text = "a:\n    b: |-\n        one\n          two\n\n        three\n    c: >2+\n        x\n\n\nd: 1\n"
    made = laid(text)
    assert made.startswith("a:\n  b: |-\n    one\n      two\n\n    three\n  c: >2+\n")
    assert load_text(made, "").data == load_text(text, "").data


def test_what_goes_over_several_lines_stays_one_text() -> None:
    assert laid('a:\n      "x\n   y \\\n\n z"\n') == 'a:\n  "x\n  y \\\n\n  z"\n'
    assert laid("a: x\n     y\nb: 1\n") == "a: x\n  y\nb: 1\n"


def test_comments_stand_with_what_they_are_about() -> None:
    text = "a:\n    # of b\n    b: 1\n    # ends a\n# of c\nc: 1\n# the end\n"
    assert laid(text) == "a:\n  # of b\n  b: 1\n  # ends a\n# of c\nc: 1\n# the end\n"


def test_comments_in_one_column_keep_it_and_a_lone_one_follows_its_value() -> None:
    assert laid("a: 1      # x\nbb: 2     # y\n") == "a: 1      # x\nbb: 2     # y\n"
    assert laid("a: 1      # x\nbb: 2 # y\n") == "a: 1  # x\nbb: 2  # y\n"
    assert laid("a: |     # x\n   t # none\n") == "a: |  # x\n  t # none\n"


def test_sections_are_put_in_order_with_their_comments_and_the_head_stays() -> None:
    text = "# yaml-language-server: $schema=x\n\n# of b\nb: 1  # one\n\n# of a\na:\n  # inside\n  x: 1\n# foot\n"
    head, foot = "# yaml-language-server: $schema=x\n\n", "# foot\n"
    assert laid(text, "a", "b") == f"{head}# of a\na:\n  # inside\n  x: 1\n\n# of b\nb: 1  # one\n{foot}"


def test_unknown_sections_come_last_in_their_own_order() -> None:
    assert laid("z: 1\ny: 2\na: 3\n", "a") == "a: 3\nz: 1\ny: 2\n"


def test_an_alias_never_comes_before_its_anchor() -> None:
    text = "b: &x {k: 1}\na: *x\n"
    assert laid(text, "a", "b") == text


def test_what_is_too_wide_is_written_as_lines_from_the_outside() -> None:
    inner = ", ".join(f"key{number}: {number}" for number in range(11))
    wide = f"a: {{one: {{{inner}}}, two: [x, y]}} # why\n"
    assert len(wide) > layout.WIDTH
    assert laid(wide) == f"a:  # why\n  one: {{{inner}}}\n  two: [x, y]\n"
    listed = f"a: [{', '.join(['word' * 5] * 8)}]\n"
    assert laid(listed) == "a:\n" + f"  - {'word' * 5}\n" * 8
    text = f'a: "{"long " * 40}"\n'
    assert laid(text) == text


def test_line_breaks_marks_and_ends_are_mended() -> None:
    assert laid("\ufeffa: 1  \r\n\r\n\r\n\r\nb: |\r\n  x\r\n\r\n") == "a: 1\n\nb: |\n  x\n"
    assert laid("\n\na: 1") == "a: 1\n"


@pytest.mark.parametrize("text", ["a: |\n  x", "a: |+\n  x\n\n\n", "a: |+\n\n\nb: 1\n", "{\n  a: 1,\n  b: 2  # c\n}\n"])
def test_line_breaks_that_a_text_counts_stay(text: str) -> None:
    assert laid(text, "b", "a") == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: |\n  x\n     \nb: 1\n", "a: |\n  x\n     \nb: 1\n"),
        ("a: |1\n   \nb: 1\n", "a: |1\n   \nb: 1\n"),
        ("a: |\n x\n ", "a: |\n  x\n"),
        ("a: |+\n x\n\n ", "a: |+\n  x\n\n"),
        ("a: |-\n x", "a: |-\n  x\n"),
        ("a: |+", "a: |+\n"),
        ("a: |+\nb: 1\n", "a: |+\nb: 1\n"),
        ("b: |+\n     \n", "b: |+\n\n"),
        ("b: 1\na: |\n x\n ", "a: |\n  x\nb: 1\n"),
        ('b: "x\n# y"\na: 1\n', 'a: 1\nb: "x\n  # y"\n'),
        ("b: 1\n!!str a: 1\n", "b: 1\n!!str a: 1\n"),
    ],
)
def test_the_ends_of_texts_keep_what_counts_and_lose_what_does_not(text: str, wanted: str) -> None:
    assert laid(text, "a", "b") == wanted
    assert load_text(wanted, "").data == load_text(text, "").data


@pytest.mark.parametrize("inner", ["[{}, [\n  ]]", "{{a: {}, b: {{\n  }}}}", "{{? a : {}}}", "[? a : {}]"])
def test_brackets_that_go_on_or_begin_with_a_mark_stay_as_wide_as_they_are(inner: str) -> None:
    text = f"a: {inner.format('x' * 130)}\n"
    assert laid(text).splitlines()[0] == text.splitlines()[0].replace(" :", ":")


def test_a_comment_that_allows_something_stays_with_its_line() -> None:
    wide = f"c: {{d: [{'x' * 60}, {'y' * 60}]}}"
    allow = "# wizard: allow W136 because of this"
    for text in (f"{wide}  {allow}\n", f"a: 1\n{allow}\n# and why\n{wide}\n"):
        assert laid(text) == text
    assert laid(f"# head\n{allow}\nb: 1\na: 1\n", "a", "b") == f"# head\na: 1\n{allow}\nb: 1\n"


def test_a_text_that_would_say_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "in_order", lambda text, *_: text.replace("1", "2"))
    with pytest.raises(NotLaidOut, match="something else"):
        formatted(load_text("a: 1\n", ""), ())
    monkeypatch.setattr(layout, "in_order", lambda text, *_: text.replace("# why", ""))
    with pytest.raises(NotLaidOut, match="something else"):
        formatted(load_text("a: 1  # why\n", ""), ())


_SCALARS = st.sampled_from(["x", "1", "'it''s'", '"a: {b}"', "~", "why?", "a b", '"{{ x }}"', "null", "|"])


def _lines(value: object, depth: int, step: int) -> list[str]:
    pad = " " * depth
    if isinstance(value, dict):
        found = []
        for key, each in value.items():
            inner = _lines(each, depth + step, step)
            found += [f"{pad}{key}:  # c", *inner] if isinstance(each, (dict, list)) else [f"{pad}{key}: {inner[0]}"]
        return found
    if isinstance(value, list):
        return [f"{pad}- {each}" for each in value]
    return [str(value)] if value != "|" else ["[a,b]"]


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.one_of(
            _SCALARS,
            st.lists(_SCALARS.filter(lambda each: each != "|"), min_size=1, max_size=3),
            st.dictionaries(st.sampled_from("xyz"), _SCALARS, min_size=1),
        ),
        min_size=1,
    ),
    st.integers(1, 6),
    st.permutations("abcd"),
)
def test_any_nesting_in_any_step_and_order_says_the_same(value: dict[str, object], step: int, order: list[str]) -> None:
    text = "\n".join(_lines(value, 0, step)) + "\n"
    made = laid(text, *order)
    assert load_text(made, "").data == load_text(text, "").data
    assert list(load_text(made, "").data) == [key for key in order if key in value]
