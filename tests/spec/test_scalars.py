"""A place inside the text of a scalar is found in the file, whatever the style."""

from __future__ import annotations

import pytest

from wizard_dsl.spec.scalars import core_scalar
from wizard_dsl.spec.source import load_text

TEXT = """\
literal: |
  one
    two {{ x }}

  three
folded: &q >-
  folded words
  here bad

  para
double: "esc \\n bad \\u00e9 more\\
   joined X"
single: 'it''s
  bad'
plain: some
  words bad
alias: *q
items:
  - |2-
      keep
     x
  - key: |2
       deep
nested:
  below: &z
    |

    lead
tagged: !!str "a b"
"""
LINES = TEXT.split("\n")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        (("literal",), "{{ x"), (("literal",), "three"), (("folded",), "bad"), (("folded",), "para"),
        (("double",), "bad"), (("double",), "more"), (("double",), "X"), (("single",), "it"), (("single",), "bad"),
        (("plain",), "bad"), (("alias",), "bad"), (("items", 0), "keep"), (("items", 0), "x"),
        (("items", 1, "key"), "deep"), (("nested", "below"), "lead"), (("tagged",), "b"),
    ],
)  # fmt: skip
def test_a_word_is_found_where_it_is_written(path: tuple[str | int, ...], word: str) -> None:
    source = load_text(TEXT, "a.yaml")
    assert not source.diagnostics
    value = source.data
    for part in path:
        value = value[part]  # type: ignore[index]
    before = str(value)[: str(value).index(word)].split("\n")
    place = source.text_at(path, len(before), len(before[-1]) + 1)
    assert LINES[place.line - 1][place.column - 1 :].startswith(word)


def test_an_escape_counts_as_the_character_it_stands_for() -> None:
    source = load_text('a: "\\u00e9\\n\\"x"', "a.yaml")
    assert source.text_at(("a",), 1, 1).column == 5
    assert source.text_at(("a",), 2, 1).column == 13
    assert source.text_at(("a",), 2, 2).column == 15


def test_a_place_past_the_end_stays_in_the_scalar() -> None:
    source = load_text("a: 'one two'\nb: 3\n", "a.yaml")
    assert source.text_at(("a",), 9, 9)[1:] == (1, 12)
    assert source.text_at(("b",), 1, 1)[1:] == (2, 4)


@pytest.mark.parametrize("text", ["0o8", "0b1", "1e", "+", ".", "-", "1.2.3", "TrUe", "nUll", "٣", "0x"])
def test_what_only_looks_like_a_number_is_a_text(text: str) -> None:
    assert core_scalar(text) == text


@pytest.mark.parametrize(("text", "value"), [("+3", 3), ("-0", 0), ("1.", 1.0), (".5e1", 5.0), ("0xfF", 255)])
def test_a_number_is_its_value(text: str, value: float) -> None:
    assert core_scalar(text) == value
    assert type(core_scalar(text)) is type(value)
