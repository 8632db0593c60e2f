"""Prompt files: Markdown, one heading for each message.

    ---
    params: {max_tokens: 800}
    ---
    # system
    You answer letters.

    # user
    {{ letter }}

- A first line `---` opens YAML front matter, the next line `---` closes it. Reading the YAML is the caller's part.
- A line that is exactly `# system`, `# user` or `# assistant`, in any case, begins a message of that role. Text
  before the first heading is a user message, so a file without headings is one.
- A backslash before such a line (`\\# user`) makes it text. All other headings are text anyway.
- Blank lines around a message are left out; those inside it stay.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal, cast

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.prompts.names import Problem

Speaker = Literal["system", "user", "assistant"]

_HEADING = regex(r"#[ \t]+(system|user|assistant)[ \t]*", re.IGNORECASE)
_FENCE = regex(r"---[ \t]*")


class Section(msgspec.Struct, frozen=True):
    """One message of a file; `first_line` is the line of the file (from 1) where its text begins."""

    role: Speaker
    text: str
    first_line: int


class PromptFile(msgspec.Struct, frozen=True):
    """`front` is the YAML between the fences, empty without; it begins at line `front_line`."""

    front: str
    front_line: int
    sections: tuple[Section, ...]


def parse_prompt_file(text: str) -> PromptFile | list[Problem]:
    """The parts of a prompt file, or all that is wrong with its form. Never raises."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    closing = 0
    if _FENCE.fullmatch(lines[0]):
        closing = next((at for at in range(1, len(lines)) if _FENCE.fullmatch(lines[at])), 0)
        if not closing:
            return [_problem(1, "the front matter that begins with '---' here has no closing '---'")]
    body = closing + 1 if closing else 0
    sections, problems = _sections(lines, body)
    if not sections and not problems:
        problems.append(_problem(max(1, min(body + 1, len(lines))), "the file has no message"))
    if problems:
        return problems
    return PromptFile("\n".join(lines[1:closing]), 2, tuple(sections))


def _sections(lines: list[str], start: int) -> tuple[list[Section], list[Problem]]:
    headings = [at for at in range(start, len(lines)) if _HEADING.fullmatch(lines[at])]
    sections: list[Section] = []
    problems: list[Problem] = []
    first = _section("user", lines, start, headings[0] if headings else len(lines))
    if first is not None:
        sections.append(first)
    for at, end in pairwise([*headings, len(lines)]):
        match = _HEADING.fullmatch(lines[at])
        assert match is not None  # it is a heading
        section = _section(cast(Speaker, match[1].lower()), lines, at + 1, end)
        if section is None:
            problems.append(_problem(at + 1, f"there is no text below '{lines[at].strip()}'"))
        else:
            sections.append(section)
    return sections, problems


def _section(role: Speaker, lines: list[str], start: int, end: int) -> Section | None:
    """The lines from `start` to before `end` without the blank ones around them; None if nothing is left."""
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    if start == end:
        return None
    return Section(role, "\n".join(_unescaped(line) for line in lines[start:end]), start + 1)


def _unescaped(line: str) -> str:
    return line[1:] if line.startswith("\\") and _HEADING.fullmatch(line, 1) else line


def _problem(line: int, message: str) -> Problem:
    return Problem(line=line, column=1, message=message, kind="shape")
