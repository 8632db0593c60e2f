"""One entry of the table of codes, and its page for `wizard explain`."""

from __future__ import annotations

import textwrap

import msgspec


class Code(msgspec.Struct, frozen=True):
    """`explanation` is one or more paragraphs, parted by empty lines; `bad` and `good` are YAML."""

    code: str
    title: str
    explanation: str
    bad: str
    good: str

    def page(self) -> str:
        """Plain text for a terminal."""
        paragraphs = "\n\n".join(textwrap.fill(each, 100) for each in self._paragraphs())
        bad, good = (textwrap.indent(each.strip("\n"), "    ") for each in (self.bad, self.good))
        return f"{self.code}: {self.title}\n\n{paragraphs}\n\nWrong:\n\n{bad}\n\nRight:\n\n{good}\n"

    def markdown(self) -> str:
        """The same for pages of documentation and code scanning."""
        paragraphs = "\n\n".join(self._paragraphs())
        bad, good = (f"```yaml\n{each.strip()}\n```" for each in (self.bad, self.good))
        return f"# {self.code}: {self.title}\n\n{paragraphs}\n\nWrong:\n\n{bad}\n\nRight:\n\n{good}\n"

    def _paragraphs(self) -> list[str]:
        return [" ".join(each.split()) for each in self.explanation.strip().split("\n\n")]
