"""A review as text, and as one comment in Markdown. The comment begins with a mark by which it is found again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from wizard_dsl.analysis._diff_bounds import Worst
from wizard_dsl.analysis.diff import PipelineDiff
from wizard_dsl.analysis.diff_text import apart, code, escaped, markdown_of, summary
from wizard_dsl.analysis.diff_text import as_text as text_of_diff
from wizard_dsl.analysis.review import Broken, Review, Untested

#: The first line of the comment.
MARKER: Final = "<!-- wizard review -->"
#: GitHub takes comments of 65,536 characters.
_LONGEST: Final = 60_000
_MOST: Final = 20
_WIDEST: Final = 300
_CUT: Final = "\n\n… the comment is cut here; `wizard review` prints all of it.\n\n"


def as_text(review: Review) -> str:
    """The difference, then what broke and what is untested."""
    lines = [text_of_diff(review.diff).rstrip("\n"), ""]
    for each in review.diff.pipelines:
        rows = [row for row in each.worst if row.before != row.after or row.before is not None]
        if rows:
            lines.append(f"worst case of a run of {each.name}")
            lines += [f"  {row.figure}: {_moved(row)}" for row in rows]
    lines += [f"tests: {tests(review)}", *(f"  {line}" for each in review.broken for line in _broken(each))]
    for untested in review.untested:
        lines.append(f"policy coverage of {untested.pipeline}: {untested.share}")
        lines += [f"  not seen: {node}.{name}  {meaning}" for node, name, meaning in untested.outcomes]
    lines += [f"{name} has no test" for name in review.bare]
    return "\n".join(lines) + "\n"


def tests(review: Review) -> str:
    """`12 run, 1 broken`."""
    if not review.tests and not review.broken:
        return "none is about what changed"
    return f"{review.tests} run, {len(review.broken) or 'none'} broken"


def _moved(row: Worst) -> str:
    """One figure: `12 → 36`, or the only side that has it."""
    if row.before == row.after or row.before is None:
        return str(row.after)
    return f"{row.before} → {row.after}" if row.after is not None else f"{row.before} → none"


def _broken(each: Broken) -> Iterator[str]:
    yield f"{each.file}:{each.line} {each.test}"
    yield from (f"  {line}" for why in each.why for line in why.splitlines())


def as_markdown(review: Review) -> str:
    """One comment; the longest parts can be folded out. Where it is too long, first what no test has seen is cut, then
    the changes; that tests break is always said."""
    diff = review.diff
    title = f"## Wizard: {summary(diff)}{_breaks(review)}"
    front = _joined([MARKER, title, "", f"{code(diff.old)} → {code(diff.new)}", ""])
    changes = _joined(line for each in diff.pipelines if each.state != "same" for line in _pipeline(each, review))
    tests = _joined([*_overlays(diff.overlays), *_tests(review)])
    untested = _joined(line for each in review.untested for line in _untested(each))
    room = _LONGEST - len(front) - len(tests)
    changes = _cut(changes, room)
    return front + changes + tests + _cut(untested, room - len(changes)).rstrip("\n") + "\n"


def _breaks(review: Review) -> str:
    """What a reviewer has to know first."""
    count = len(review.broken)
    return f", {count} {'test breaks' if count == 1 else 'tests break'}" if count else ""


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _cut(text: str, room: int) -> str:
    """At the end of a line, outside of what is folded. A block of code ends with the list that it stands in."""
    if len(text) <= room:
        return text
    kept = text[: max(room, 0)].rpartition("\n")[0]
    opened = kept.count("<details>") - kept.count("</details>")
    return kept + "\n</details>" * opened + _CUT


def _pipeline(each: PipelineDiff, review: Review) -> Iterator[str]:
    head, *rest = markdown_of(each, review.diff, skip=("bounds",))
    yield head
    yield ""
    yield from _worst(each)
    yield from rest[1:]


def _worst(each: PipelineDiff) -> Iterator[str]:
    """The worst case as a table, with what moved it; in a line where nothing did."""
    if not each.worst:
        return
    if all(row.before == row.after for row in each.worst):
        figures = (f"{row.figure.removeprefix('worst-case ')} {escaped(row.after or '–')}" for row in each.worst)
        yield f"The worst case of a run stays: {', '.join(figures)}."
        yield ""
        return
    causes = {change.what: change for change in each.changes if change.section == "bounds"}
    yield "| | before | after | because of |"
    yield "| --- | --- | --- | --- |"
    for row in each.worst:
        change = causes.get(row.figure)
        because = ""
        if change is not None:
            because = escaped(change.cause.removeprefix("from ").removeprefix("as "))
            because += f" ({code(change.place)})".replace("|", "\\|") if change.place else ""
        after = f"**{escaped(row.after or '–')}**" if row.before != row.after else escaped(row.after or "–")
        yield f"| {row.figure} | {escaped(row.before or '–')} | {after} | {because} |"
    yield ""


def _overlays(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield escaped(apart(name))
        yield ""


def _tests(review: Review) -> Iterator[str]:
    yield f"**tests**: {tests(review)}"
    yield ""
    for each in review.broken[:_MOST]:
        yield f"- {code(f'{each.file}:{each.line}')} {escaped(each.test)}"
        yield from (f"  - {escaped(why.splitlines()[0][:_WIDEST] if why else '')}" for why in each.why[:3])
    if len(review.broken) > _MOST:
        yield f"- … {len(review.broken) - _MOST} more"
    if review.broken:
        yield ""
    if review.bare:
        yield f"No test is about {', '.join(map(code, review.bare))}."
        yield ""


def _untested(each: Untested) -> Iterator[str]:
    yield f"**policy coverage** of {code(each.pipeline)}: {each.share}"
    yield ""
    if each.outcomes:
        yield "<details><summary>what no test has seen</summary>"
        yield ""
        yield from _rows(each.outcomes)
        yield ""
        yield "</details>"
        yield ""


def _rows(outcomes: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    for node, name, meaning in outcomes:
        yield f"- {code(f'{node}.{name}')} {escaped(meaning)}"
