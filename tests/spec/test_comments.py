"""Comments that allow warnings: found where they are comments, and nowhere else."""

from __future__ import annotations

import pytest

from wizard_dsl.spec.comments import allows


def lines(text: str) -> list[tuple[int, int]]:
    """(line, line it is about) of each comment."""
    return [(each.line, each.about) for each in allows(text)]


def test_a_comment_has_its_codes_where_they_stand_and_its_reason() -> None:
    (found,) = allows("a: 1  # wizard: allow W110, W120 and acme.rule because it is a test, of a kind\n")
    assert [each.code for each in found.codes] == ["W110", "W120", "acme.rule"]
    assert [each.column for each in found.codes] == [23, 29, 38]
    assert (found.line, found.column, found.reason) == (1, 7, "it is a test, of a kind")


@pytest.mark.parametrize(
    ("comment", "codes", "reason"),
    [
        ("#wizard:allow W110 because x", ["W110"], "x"),
        ("# wizard: allow W110", ["W110"], ""),
        ("# wizard: allow W110 because", ["W110"], ""),
        ("# wizard: allow because of that", [], "of that"),
        ("# wizard: allow", [], ""),
    ],
)
def test_what_is_missing_is_empty(comment: str, codes: list[str], reason: str) -> None:
    (found,) = allows(f"a: 1 {comment}\n")
    assert ([each.code for each in found.codes], found.reason) == (codes, reason)


def test_a_comment_is_about_its_line_or_where_it_has_one_of_its_own_the_next_that_says_something() -> None:
    text = "a: 1 # wizard: allow W1 because x\n# wizard: allow W2 because y\n# more\n\nb: 2\n"
    text += "# wizard: allow W3 because z\n"
    assert lines(text) == [(1, 1), (2, 5), (6, 6)]


@pytest.mark.parametrize(
    "text",
    [
        'a: "x # wizard: allow W1 because y"\n',
        "a: 'x # wizard: allow W1 because y'\n",
        "a: 'x\n  # wizard: allow W1 because y'\n",
        "a: |\n  x # wizard: allow W1 because y\n",
        "a: >-\n\n  # wizard: allow W1 because y\n  x\n",
        "a: x# wizard: allow W1 because y\n",
        "a: 1 # not # wizard: allow W1 because y\n",
        "a: 1 # wizard: allowed W1 because y\n",
        "a: 1\n",
    ],
)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    assert allows(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: |  # wizard: allow W1 because y\n  x\n", [(1, 1)]),
        ("a: |\n  x\n# wizard: allow W1 because y\nb: 1\n", [(3, 4)]),
        ("a:\n  - >\n    x\n\n  # wizard: allow W1 because y\n  - b\n", [(5, 6)]),
        ("a: 'it''s # one' # wizard: allow W1 because y\n", [(1, 1)]),
        ("a: [1,  # wizard: allow W1 because y\n  2]\n", [(1, 1)]),
        ("\ufeffa: 1\r\nb: ü # wizard: allow W1 because y\r\n", [(2, 2)]),
        ("a: 🎉 # wizard: allow W1 because y\n", [(1, 1)]),
    ],
)
def test_one_beside_a_text_or_a_block_is_found(text: str, found: list[tuple[int, int]]) -> None:
    assert lines(text) == found


def test_a_text_that_cannot_be_read_does_not_raise() -> None:
    assert lines("a: 1 # wizard: allow W1 because y\nb: [\n") == [(1, 1)]
    assert lines("# wizard: allow W1 because y\n\t- {\n") == [(1, 2)]


@pytest.mark.parametrize(
    "comment",
    [
        "# wizard: ignore W110 because x",
        "# wizard allow W110 because x",
        "# Wizard: allow W110 because x",
        "# wizard: disable=W110",
        "#wizard:noqa W110",
    ],
)
def test_what_was_meant_to_allow_is_known_for_it(comment: str) -> None:
    (found,) = allows(f"a: 1 {comment}\n")
    assert (found.meant, found.column) == (True, 6)


@pytest.mark.parametrize("comment", ["# wizard: skip this", "# Wizard ignores W110 here", "# wizardry: allow W110"])
def test_what_only_speaks_of_it_is_no_comment_of_that_kind(comment: str) -> None:
    assert allows(f"a: 1 {comment}\n") == []
