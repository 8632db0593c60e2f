"""YAML text → data and positions; every kind of wrong file is one error with a place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wizard_dsl.spec.diagnostics import Place, render_text
from wizard_dsl.spec.source import Source, load_bytes, load_file, load_text, parse_value


def read(text: str) -> Source:
    return load_text(text, "a.yaml")


def codes(source: Source) -> list[tuple[str, int, int]]:
    return [(each.code, each.line, each.column) for each in source.diagnostics]


def test_scalars_are_those_of_yaml_1_2() -> None:
    words = "a: yes, b: off, e: ~, f: , h: 2024-01-01, i: True, l: 1_000, m: 12:30"
    numbers = "c: 0o17, d: 1e3, g: 010, j: 0x1F, k: -.5"
    assert read(f"{{{words}, {numbers}}}").data == {
        "a": "yes", "b": "off", "c": 15, "d": 1000.0, "e": None, "f": None, "g": 10, "h": "2024-01-01", "i": True,
        "j": 31, "k": -0.5, "l": "1_000", "m": "12:30",
    }  # fmt: skip


def test_a_quoted_or_str_tagged_scalar_is_a_text() -> None:
    assert read("{a: '1', b: \"true\", c: !!str 3, d: ! 4}").data == {"a": "1", "b": "true", "c": "3", "d": "4"}


def test_keys_and_values_have_positions() -> None:
    source = read("version: 1\nsteps:\n  a:\n    - {x: 1, é😀: 2}\n")
    assert source.key_at(("steps", "a")) == Place("a.yaml", 3, 3)
    assert source.value_at(("steps", "a", 0, "é😀")) == Place("a.yaml", 4, 18)
    assert source.key_at(("steps", "a", 0, "é😀")) == Place("a.yaml", 4, 14)
    assert source.value_at(("steps", "a", 0, "x", "deeper", 7)) == Place("a.yaml", 4, 11)
    assert source.key_at(("steps", "a", 0)) == Place("a.yaml", 4, 7)
    assert source.value_at(("nowhere",)) == Place("a.yaml", 1, 1)


def test_a_whole_number_as_key_is_its_text() -> None:
    source = read("{503: true, 0x10: 1}")
    assert source.data == {"503": True, "0x10": 1}
    assert not source.diagnostics


@pytest.mark.parametrize("key", ["true", "~", "1.5", "[a]", "{a: b}", "? [[x]]\n"])
def test_any_other_key_is_no_name(key: str) -> None:
    source = read(f"{key} : 1\nb: 2\n" if not key.startswith("?") else f"{key}: 1\nb: 2\n")
    assert [each.code for each in source.diagnostics] == ["E016"]
    assert source.data == {"b": 2}


def test_a_duplicate_key_shows_the_first_one() -> None:
    source = read("a: 1\nb: {c: 1, c: {d: 2}}\n'a': 2\n")
    assert codes(source) == [("E012", 2, 11), ("E012", 3, 1)]
    assert source.diagnostics[1].related[0][:3] == ("a.yaml", 1, 1)
    assert source.data == {"a": 1, "b": {"c": 1}}


def test_503_and_its_text_are_the_same_key() -> None:
    assert codes(read("503: a\n'503': b\n")) == [("E012", 2, 1)]


def test_a_second_document_is_one_error() -> None:
    assert codes(read("a: 1\n---\nb: 2\n---\nc: 3\n")) == [("E013", 2, 1)]
    assert codes(read("---\na: 1\n...\n")) == []


@pytest.mark.parametrize(
    "text", ["a: !include x", "a: !!python/object:os.system {}", "a: !!binary eA==", "!x {a: 1}", "{!y a: 1}"]
)
def test_a_tag_is_one_error(text: str) -> None:
    assert [each.code for each in read(text).diagnostics] == ["E014"]


def test_a_merge_key_is_one_error_that_says_what_to_do_instead() -> None:
    source = read("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n")
    assert codes(source) == [("E015", 3, 3)]
    assert "use: NAME" in render_text(source.diagnostics)
    assert source.data["b"] == {"y": 2}
    assert read("'<<': 1").data == {"<<": 1}


def test_an_alias_repeats_its_anchor_at_the_positions_of_the_anchor() -> None:
    source = read("a: &x\n  p: [1, q]\nb: *x\n")
    assert source.data == {"a": {"p": [1, "q"]}, "b": {"p": [1, "q"]}}
    assert source.data["b"] is not source.data["a"]
    assert source.value_at(("b",)) == Place("a.yaml", 3, 4)
    assert source.value_at(("b", "p", 1)) == Place("a.yaml", 2, 10)
    assert source.key_at(("b", "p")) == Place("a.yaml", 2, 3)
    assert source.text_at(("b", "p", 1), 1, 1) == Place("a.yaml", 2, 10)


def test_a_recursive_alias_and_an_unknown_one_are_told_apart() -> None:
    assert codes(read("a: &x {b: *x}")) == [("E010", 1, 11)]
    assert codes(read("a: *x")) == [("E011", 1, 4)]


@pytest.mark.parametrize("number", [".inf", "-.INF", ".nan", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    assert codes(read(f"a: {number}")) == [("E017", 1, 4)]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "~", "\ufeff"])
def test_an_empty_file_is_one_error(text: str) -> None:
    assert codes(read(text)) == [("E020", 1, 1)]


@pytest.mark.parametrize("text", ["[a, b]", "word", "- a\n- b\n", "3"])
def test_a_file_without_a_mapping_is_one_error(text: str) -> None:
    source = read(text)
    assert codes(source) == [("E022", 1, 1)]
    assert source.data == {}


@pytest.mark.parametrize(
    ("text", "line", "column", "hint"),
    [
        ("a: b: c\n", 1, 5, "quote a value"),
        ("a:\n\tb: 1\n", 2, 1, "tabs"),
        ("a: [1, 2\nb: 3\n", 2, 2, "closed"),
        ('a: "open\nb: 1\n', 3, 1, "never closed"),
        ("a: `x`\n", 1, 4, "starts with"),
        ('a: "\\d"\n', 1, 5, "backslash"),
        ("a: 1\n  b: 2\n", 2, 4, "quote a value"),
    ],
)
def test_a_syntax_error_has_its_place_and_a_hint(text: str, line: int, column: int, hint: str) -> None:
    source = read(text)
    assert codes(source) == [("E008", line, column)]
    assert hint in str(source.diagnostics[0].suggestion)


def test_a_template_without_quotes_is_told_to_take_them() -> None:
    (found,) = read("a:\n  b: {{ question }}\n").diagnostics
    assert (found.code, found.line, found.column) == ("E016", 2, 7)
    assert found.suggestion == "put a text that begins with {{ in quotes"


def test_a_bracket_never_closed_shows_where_it_was_opened() -> None:
    (found,) = read("a: [1, 2\nb: 3\n").diagnostics
    assert found.related[0][:3] == ("a.yaml", 1, 4)


HOSTILE = {
    "two megabytes of brackets": ("[" * 2_000_000, "E006"),
    "two megabytes of braces": ("{" * 2_000_000, "E006"),
    "200,000 nested brackets": ("[" * 200_000 + "]" * 200_000, "E006"),
    "brackets in a key": ("? " * 200_000, "E006"),
    "dashes": ("- " * 200_000, "E006"),
    "a list with a million entries": (f"a: [{'1,' * 900_000}]", "E007"),
    "an alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "E009",
    ),
    "aliases nested in each other": (
        "a: &a0 [x]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}]\n" for n in range(100)),
        "E006",
    ),
    "three megabytes": ("a" * 3_000_000, "E005"),
    "an endless quote": ('a: "' + "\n" * 2_000_000, "E008"),
    "NUL": ("a: \0", "E004"),
    "escape": ("a: \x1b[31m", "E004"),
    "a line separator": ("a: x\u2028y", "E004"),
    "a lone surrogate": ("a: \ud800", "E004"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_one_error(name: str) -> None:
    text, code = HOSTILE[name]
    assert [each.code for each in read(text).diagnostics] == [code]


def test_64_levels_are_admitted_and_65_are_not() -> None:
    assert codes(read("a: " + "[" * 63 + "]" * 63)) == []
    assert codes(read("a: " + "[" * 64 + "]" * 64)) == [("E006", 1, 67)]


def test_a_flood_of_findings_is_cut_and_says_so() -> None:
    found = read("a: 1\n" * 50_000).diagnostics
    assert len(found) == 101
    assert found[-1].code == "E018"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\nb: caf\xe9\n", ("E003", 2, 7)),
        ("a: b\n".encode("utf-16"), ("E003", 0, 0)),
        ("a: b\n".encode("utf-16-le"), ("E004", 1, 2)),
        (b"a: \x00", ("E004", 1, 4)),
        (b"\xef\xbb\xbf\xff", ("E003", 1, 1)),
        (b"x" * (2 * 1024 * 1024 + 1), ("E005", 0, 0)),
    ],
)
def test_bytes_that_are_not_utf_8_text_are_one_error(content: bytes, expected: tuple[str, int, int]) -> None:
    assert codes(load_bytes(content, "a.yaml")) == [expected]


def test_a_byte_order_mark_is_ignored() -> None:
    source = load_bytes(b"\xef\xbb\xbfa: 1\n", "a.yaml")
    assert (source.data, codes(source)) == ({"a": 1}, [])
    assert source.key_at(("a",)) == Place("a.yaml", 1, 1)


def test_a_file_is_read_under_the_name_it_is_called_by(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\na: 2\n")
    assert load_file(tmp_path / "a.yaml", "pipelines/a.yaml").diagnostics[0].file == "pipelines/a.yaml"


def test_a_missing_file_a_directory_and_an_odd_path_are_one_error_each(tmp_path: Path) -> None:
    assert codes(load_file(tmp_path / "none.yaml")) == [("E001", 0, 0)]
    assert codes(load_file(tmp_path)) == [("E002", 0, 0)]
    assert codes(load_file(tmp_path / "a\0b")) == [("E001", 0, 0)]
    assert codes(load_file(tmp_path / "x" / "y.yaml")) == [("E001", 0, 0)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")
    path.chmod(0)
    assert codes(load_file(path)) == [("E001", 0, 0)]


def test_a_device_without_end_is_too_large() -> None:
    assert codes(load_file(Path("/dev/zero"))) == [("E005", 0, 0)]


def test_a_value_of_a_flag_is_any_yaml() -> None:
    assert parse_value("30s", "--set a") == ("30s", ())
    assert parse_value("[a, {b: 1}]", "--set a") == (["a", {"b": 1}], ())
    assert parse_value("", "--set a") == (None, ())
    value, found = parse_value("[a", "--set a")
    assert (value, found[0].code, found[0].file, found[0].line) == (None, "E008", "--set a", 0)
    assert parse_value("a\0", "--set a")[1][0].code == "E004"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_that_nobody_writes_to_is_empty_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    assert codes(load_file(path)) == [("E020", 1, 1)]


def test_a_pipe_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"version: 1\n")
    os.close(writer)
    try:
        assert load_file(Path(f"/dev/fd/{reader}")).data == {"version": 1}
    finally:
        os.close(reader)
