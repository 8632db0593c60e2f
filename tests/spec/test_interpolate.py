"""References: `${env:…}` and `${file:…}` in scalars, verbatim, and never further than the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.interpolate import (
    Missing,
    Refused,
    Resolved,
    find_references,
    has_reference,
    pieces,
    read_inside,
    reference_findings,
    resolve,
    resolve_tree,
    typed,
)
from wizard_dsl.spec.source import load_text

ENV = {"KEY": "k", "EMPTY": "", "NESTED": "${env:KEY} {{ x }}"}


def no_file(name: str) -> str:
    raise Refused("E032", f"the file {name} cannot be read", "check it")


def of_tree(data: Any, env: dict[str, str] | None = None, skip: DocPath = ("none",)) -> Resolved:
    return resolve_tree(data, env, lambda path, name: no_file(name), lambda path: path == skip)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${env:KEY}", "k"),
        ("a ${env:KEY} b ${env:KEY}", "a k b k"),
        ("${env:NONE:-d}", "d"),
        ("${env:EMPTY:-d}", "d"),
        ("${env:EMPTY}", ""),
        ("${env:NONE:-}", ""),
        ("${env:NONE:-http://x:8000/v1}", "http://x:8000/v1"),
        ("${env:KEY:-d}", "k"),
        ("$${env:KEY}", "${env:KEY}"),
        ("$$${env:KEY}", "$${env:KEY}"),
        ("$5 and $HOME and {x}", "$5 and $HOME and {x}"),
        ("${env:NESTED}", "${env:KEY} {{ x }}"),
        ("", ""),
    ],
)
def test_references_are_replaced_once_and_verbatim(text: str, expected: str) -> None:
    assert resolve(text, ENV, no_file) == expected


def test_every_missing_reference_of_a_text_is_named() -> None:
    outcome = resolve("${env:KEX} ${file:a} ${env:KEY} ${env:ZZZZ}", ENV, no_file)
    assert isinstance(outcome, list)
    assert [(each.code, each.reference.name) for each in outcome] == [("E031", "KEX"), ("E032", "a"), ("E031", "ZZZZ")]
    assert outcome[0].suggestion == "did you mean 'KEY'?"
    assert "set ZZZZ" in outcome[2].suggestion


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("${KEY}", "${env:KEY}"),
        ("${KEY:-d}", "${env:KEY:-default}"),
        ("${evn:KEY}", "did you mean 'env:'?"),
        ("${vault:KEY}", "${env:NAME}"),
        ("${env:}", "${env:NAME}"),
        ("${env:A B}", "${env:NAME}"),
        ("${env:KEY", "close it"),
        ("${env:A:-${env:KEY}}", "variable of its own"),
        ("${file:}", "${file:path}"),
        ("${file: a}", "without spaces"),
        ("${}", "$${"),
    ],
)
def test_a_malformed_reference_is_one_finding_with_a_hint(text: str, hint: str) -> None:
    source = load_text(f"a:\n  b: 'x {text}'\n", "a.yaml")
    resolved = of_tree(source.data)
    first, *rest = reference_findings(resolved, source.data, source)
    assert [each.code for each in rest] == []
    assert (first.code, first.line, first.column) == ("E030", 2, 9)
    assert hint in str(first.suggestion)


def test_a_secret_typed_into_the_braces_is_not_shown() -> None:
    source = load_text('a: "${sk-live-0123456789}"', "a.yaml")
    (found,) = reference_findings(of_tree(source.data), source.data, source)
    assert "live" not in f"{found}"


def test_a_reference_knows_whether_it_is_the_whole_scalar() -> None:
    (whole,) = find_references("${env:A:-b}")
    assert (whole.whole, whole.default, whole.start, whole.end) == (True, "b", 0, 11)
    assert [each.whole for each in find_references("${env:A}${env:B}")] == [False, False]
    assert str(whole) == "${env:A:-…}"
    assert find_references("$${env:A}") == []


def test_has_reference_is_about_texts_with_a_good_one() -> None:
    assert has_reference("x ${file:a}")
    assert not any(has_reference(each) for each in ("$${env:A}", "${A}", 3, None, ["${env:A}"]))


def test_the_pieces_of_a_text_join_to_it() -> None:
    assert pieces("a$${b") == ["a", "${", "b"]
    assert pieces("") == []


def test_a_tree_is_resolved_except_where_it_is_skipped() -> None:
    data = {"a": ["${env:KEY}", 3], "prompts": {"p": {"user": "${env:KEY}"}}, "${env:KEY}": "$${x}"}
    resolved = of_tree(data, ENV, ("prompts", "p"))
    assert resolved.data == {"a": ["k", 3], "prompts": {"p": {"user": "${env:KEY}"}}, "${env:KEY}": "${x}"}
    assert list(resolved.refs) == [("a", 0)]
    assert (resolved.missing, resolved.malformed) == ([], [])
    assert data["a"] == ["${env:KEY}", 3]


def test_without_an_environment_references_are_listed_and_stay() -> None:
    data = {"a": "${env:KEY} ${file:x}", "b": "$${c}"}
    resolved = of_tree(data)
    assert resolved.data == {"a": "${env:KEY} ${file:x}", "b": "${c}"}
    assert [each.name for each in resolved.refs[("a",)]] == ["KEY", "x"]
    assert resolved.missing == []


def test_a_missing_variable_is_found_at_its_line_in_a_block_scalar() -> None:
    source = load_text("a:\n  b: |\n    one\n    two ${env:NONE}\n", "a.yaml")
    (found,) = reference_findings(of_tree(source.data, ENV), source.data, source)
    assert (found.code, found.line, found.column, found.path) == ("E031", 4, 9, ("a", "b"))
    assert found.message == "the variable NONE is not set, which a.b refers to"


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), (" 0.5\n", 0.5), ("true", True), ("yes", "yes"), ("", None), (".inf", ".inf")]
)
def test_a_resolved_text_can_be_typed(text: str, value: object) -> None:
    assert typed(text) == value


def test_a_file_loses_one_line_break_at_its_end(tmp_path: Path) -> None:
    for content, expected in (
        (b"s\n", "s"),
        (b"s\r\n", "s"),
        (b"s\n\n", "s\n"),
        (b"s ", "s "),
        (b"\xef\xbb\xbfs", "s"),
    ):
        (tmp_path / "key").write_bytes(content)
        assert read_inside(tmp_path / "p.yaml", tmp_path, "key") == expected


def refused(holder: Path, root: Path, name: str, *allowed: Path) -> str:
    with pytest.raises(Refused) as caught:
        read_inside(holder, root, name, allowed)
    return caught.value.code


def test_a_path_stays_in_the_project(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "sub").mkdir(parents=True)
    (root / "key").write_text("in")
    (tmp_path / "key").write_text("out")
    (root / "link").symlink_to(tmp_path / "key")
    holder = root / "sub" / "p.yaml"
    assert read_inside(holder, root, "../key") == "in"
    assert read_inside(holder, root, str(root / "key")) == "in"
    for name in ("../../key", "../link", str(tmp_path / "key"), "/etc/hostname", "a\0b"):
        assert refused(holder, root, name) == "E033"
    assert refused(holder, root, "../none") == "E032"
    assert refused(holder, root, ".") == "E032"


def test_a_mounted_secret_may_be_named_by_its_absolute_path(tmp_path: Path) -> None:
    root, mount = tmp_path / "project", tmp_path / "mount"
    (mount / "data").mkdir(parents=True)
    root.mkdir()
    (mount / "data" / "key").write_text("s\n")
    (mount / "key").symlink_to(Path("data") / "key")
    holder = root / "p.yaml"
    assert read_inside(holder, root, str(mount / "key"), [mount]) == "s"
    assert refused(holder, root, str(mount / "key")) == "E033"
    assert refused(holder, root, "../mount/key", mount) == "E033"
    assert refused(holder, root, str(mount / ".." / "project2"), mount) == "E033"
    assert refused(holder, root, "/run/secrets/none") == "E032"


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff")
    (tmp_path / "b").write_bytes(b"x" * (1024 * 1024 + 1))
    assert refused(tmp_path / "p.yaml", tmp_path, "a") == "E032"
    assert refused(tmp_path / "p.yaml", tmp_path, "b") == "E032"


def test_a_file_that_is_missing_is_a_finding_not_an_error() -> None:
    resolved = of_tree({"a": "${file:x}"}, {})
    ((path, missing),) = resolved.missing
    assert isinstance(missing, Missing)
    assert (path, missing.code) == (("a",), "E032")
