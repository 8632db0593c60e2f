"""Warnings that a file allows, each with a reason: `# wizard: allow W110 because …` on the line or the line above.

A comment that gives no reason allows nothing, and says so; so does one that names what does not exist or cannot be
allowed, and one that is no longer needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from wizard_dsl.lint.models import MODEL_CODES
from wizard_dsl.lint.rules import RULES
from wizard_dsl.spec.codes import CODES
from wizard_dsl.spec.comments import Allow, AllowedCode, allows
from wizard_dsl.spec.diagnostics import Diagnostic, Place, Related, did_you_mean, finding, ordered
from wizard_dsl.spec.source import MAX_BYTES, read_bytes

#: Codes of what `validate` tells of a pipeline: one that is allowed and not found is not needed.
RULE_CODES: Final = frozenset(rule.__name__.partition("_")[0].upper() for rule in RULES)
#: Those that `check` tells, too.
CHECKED_CODES: Final = RULE_CODES | MODEL_CODES
#: File, line and code.
_Spot = tuple[str, int, str]
#: What is said about these comments themselves.
_OURS: Final = frozenset({"W190", "W191", "W192"})


def with_allowed(
    found: Iterable[Diagnostic],
    looked_at: Collection[str],
    told: Collection[str],
    *,
    texts: Mapping[str, str] | None = None,
) -> list[Diagnostic]:
    """The findings in order, those that their file allows with its reason in `allowed`, and what is wrong with the
    comments. `looked_at` are the pipelines that were linted, whose comments are needed or not; `told` are the codes
    that were looked for; `texts` stand for the content of files."""
    every = list(found)
    files = dict.fromkeys([*looked_at, *(each.file for each in every if each.line)])
    comments = {file: allows((texts or {}).get(file) or _text(file)) for file in files}
    wrong = {each.file for each in every if each.severity == "error"}
    needed: set[_Spot] = set()
    made = [_judged(each, comments.get(each.file, []), needed) for each in every]
    spots = frozenset((each.file, each.line, each.code) for each in every)
    for file in (each for each in comments if comments[each]):
        unneeded = frozenset(told) if file in looked_at and file not in wrong else frozenset[str]()
        judge = _Comments(file, needed, spots, unneeded, frozenset({*CODES, *told}))
        made += [each for comment in comments[file] for each in judge.about(comment)]
    return ordered(made)


def not_allowed(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The findings that no comment allows; nothing is said about the comments."""
    judged = with_allowed(found, (), ())
    return [each for each in judged if each.allowed is None and each.code not in _OURS]


def _text(file: str) -> str:
    """What stands in a file; nothing where it cannot be read, which the loader tells."""
    try:
        return read_bytes(Path(file), MAX_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _judged(each: Diagnostic, comments: list[Allow], needed: set[_Spot]) -> Diagnostic:
    if each.severity == "error":
        return each
    for comment in comments:
        if (
            comment.about == each.line
            and comment.reason
            and not comment.meant
            and each.code in {code.code for code in comment.codes}
        ):
            needed.add((each.file, comment.line, each.code))
            return msgspec.structs.replace(each, allowed=comment.reason)
    return each


class _Comments(msgspec.Struct, frozen=True):
    """What is wrong with the comments of one file: `found` are the findings of all, `needed` those that are allowed,
    `told` the codes that would have been found, `known` those that exist."""

    file: str
    needed: set[_Spot]
    found: frozenset[_Spot]
    told: frozenset[str]
    known: frozenset[str]

    def about(self, comment: Allow) -> Iterator[Diagnostic]:
        if comment.codes and comment.reason and not comment.meant:
            for each in comment.codes:
                yield from self._code(comment, each)
            return
        missing = "gives no reason" if comment.codes else "names no code"
        if comment.meant:
            missing = "is in other words than those that are read"
        place = Place(self.file, comment.line, comment.column)
        hint = "write `# wizard: allow CODE because …`"
        yield finding("W190", f"the comment {missing}, so it allows nothing", place, suggestion=hint)

    def _code(self, comment: Allow, each: AllowedCode) -> Iterator[Diagnostic]:
        code, at = each.code, Place(self.file, comment.line, each.column)
        if code not in self.known:
            message = f"there is no code '{code[:60]}'"
            yield finding("W191", message, at, value=code[:60], suggestion=self._meant(comment, code))
        elif code.startswith("E") or code in _OURS:
            what = "an error" if code.startswith("E") else "what is said about these comments"
            yield finding("W191", f"{code} cannot be allowed: it is {what}", at, value=code, suggestion="mend it")
        elif code in self.told and (self.file, comment.line, code) not in self.needed:
            other = Related(self.file, comment.about, 1, "the line it is about")
            yield finding(
                "W192",
                f"{code} is allowed here, and is not found",
                at,
                value=code,
                suggestion="remove it from the comment",
                related=[other] if comment.about != comment.line else [],
            )

    def _meant(self, comment: Allow, code: str) -> str | None:
        """What is found on the line, else a plug-in's code that is spelt alike."""
        here = sorted({code for file, line, code in self.found if (file, line) == (self.file, comment.about)})
        if here:
            return f"found on that line: {', '.join(here)}"
        near = did_you_mean(code, (each for each in self.known if "." in each))
        return f"did you mean '{near}'?" if near is not None else None
