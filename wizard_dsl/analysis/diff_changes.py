"""One change of behaviour, as a value: what changed, from what to what, for whom, and where that is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

Section = Literal["bounds", "errors", "serves", "cache", "prompts", "limits", "state", "diagnostics", "behaviour"]

#: The order in which changes are told, each with its heading.
SECTIONS: Final[dict[Section, str]] = {
    "bounds": "bounds",
    "errors": "what becomes of errors",
    "serves": "who may serve",
    "cache": "cache",
    "prompts": "prompts",
    "limits": "limits",
    "state": "state",
    "diagnostics": "diagnostics",
    "behaviour": "everything else",
}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`what` changed `before` → `after` for `subjects` (chains with their targets, steps; empty: the whole file).

    Without `before` and `after`, `what` is a sentence. `path` is the place in the document, `file` and `line` where it
    is written on the new side, or, for what is gone, what it stood in; line 0 is a file as a whole. `detail` are lines
    to show below it, such as those of a prompt that changed. `cause` is what moved a figure: `from reply.retry`.
    """

    section: Section
    what: str
    before: str | None = None
    after: str | None = None
    subjects: tuple[str, ...] = ()
    path: str = ""
    file: str = ""
    line: int = 0
    detail: tuple[str, ...] = ()
    cause: str = ""

    @property
    def sentence(self) -> str:
        """`retry.max_attempts on writer: 3 → 9`, or `writer: target local is gone`."""
        if self.before is None and self.after is None:
            return ": ".join(filter(None, (listed(self.subjects), self.what)))
        on = f" on {listed(self.subjects)}" if self.subjects else ""
        moved = "another value" if self.before == self.after else f"{self.before} → {self.after}"
        return ", ".join(filter(None, (f"{self.what}{on}: {moved}", self.cause)))

    @property
    def place(self) -> str:
        """`triage.yaml:14`."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def to_json(self) -> dict[str, Any]:
        """Plain data; keys never disappear."""
        made = msgspec.structs.asdict(self)
        return {**made, "subjects": list(self.subjects), "detail": list(self.detail), "sentence": self.sentence}


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    known = list(words)
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}" if known else ""


def in_order(changes: Iterable[Change]) -> list[Change]:
    """By section, otherwise in the order given."""
    order = list(SECTIONS)
    return sorted(changes, key=lambda each: order.index(each.section))
