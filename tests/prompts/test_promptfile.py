from __future__ import annotations

import pytest

from wizard_dsl.prompts.promptfile import PromptFile, parse_prompt_file


def parsed(text: str) -> PromptFile:
    made = parse_prompt_file(text)
    assert isinstance(made, PromptFile), made
    return made


def sections(text: str) -> list[tuple[str, str, int]]:
    return [(each.role, each.text, each.first_line) for each in parsed(text).sections]


def test_front_matter_and_sections_keep_their_lines() -> None:
    made = parsed("---\nparams:\n  max_tokens: 800\n---\n# system\nBe kind.\n\n# user\n\n{{ letter }}\n\nBye\n\n")
    assert (made.front, made.front_line) == ("params:\n  max_tokens: 800", 2)
    assert [(each.role, each.text, each.first_line) for each in made.sections] == [
        ("system", "Be kind.", 6),
        ("user", "{{ letter }}\n\nBye", 10),
    ]


def test_a_file_without_headings_is_a_user_message() -> None:
    assert sections("\n\nHello\nyou\n") == [("user", "Hello\nyou", 3)]
    assert parsed("Hello").front == ""


def test_text_before_the_first_heading_is_a_user_message() -> None:
    assert sections("First\n# assistant\nSecond\n# user\nThird") == [
        ("user", "First", 1),
        ("assistant", "Second", 3),
        ("user", "Third", 5),
    ]


def test_headings_are_whole_lines_in_any_case() -> None:
    assert sections("# SYSTEM  \na\n#\tUser\nb") == [("system", "a", 2), ("user", "b", 4)]
    text = "# user guide\n## user\n #user\n#user\n # user\n# users\n# tool"
    assert sections(text) == [("user", text, 1)]


def test_a_backslash_makes_a_heading_text() -> None:
    assert sections("# user\n\\# system\n\\# other\n\\\\# user") == [("user", "# system\n\\# other\n\\\\# user", 2)]


def test_line_ends_of_windows_and_a_byte_order_mark_are_no_text() -> None:
    made = parsed("\ufeff---\r\na: 1\r\n---\r\n# user\r\nx\r\ny\r\n")
    assert (made.front, made.sections[0].text, made.sections[0].first_line) == ("a: 1", "x\ny", 5)


def test_three_dashes_in_the_text_are_text() -> None:
    assert sections("# user\na\n---\nb") == [("user", "a\n---\nb", 2)]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no message"),
        ("  \n\n", 1, "no message"),
        ("---\na: 1\n---\n", 4, "no message"),
        ("---\na: 1\n# user\nx", 1, "no closing"),
        ("# system\n\n# user\nx", 1, "no text below '# system'"),
        ("# user\nx\n# assistant\n", 3, "no text below"),
    ],
)
def test_a_wrong_form_is_a_problem_with_its_line(text: str, line: int, words: str) -> None:
    made = parse_prompt_file(text)
    assert isinstance(made, list)
    assert (made[0].line, made[0].kind) == (line, "shape")
    assert words in made[0].message
