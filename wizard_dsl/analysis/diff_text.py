"""A diff as text for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from wizard_dsl.analysis.diff import Diff, Outline, PipelineDiff
from wizard_dsl.analysis.diff_changes import SECTIONS, Change, Section


def as_text(diff: Diff) -> str:
    """One paragraph for each pipeline that differs, and a last line that counts them."""
    shown = [each for each in diff.pipelines if each.state != "same"]
    parts = ["".join(f"{line}\n" for line in _pipeline(each, diff)) for each in shown]
    last = [summary(diff), *map(apart, diff.overlays)]
    return "\n".join([*parts, "".join(f"{line}\n" for line in last)])


def apart(overlay: str) -> str:
    """What is said of an overlay that differs, and lies over nothing."""
    return f"{overlay} differs, too: --overlay {overlay} shows what it does"


def summary(diff: Diff) -> str:
    """`2 of 5 pipelines change in behaviour`."""
    count = len(diff.pipelines)
    noun = "pipeline" if count == 1 else "pipelines"
    broken = sum(each.state == "broken" for each in diff.pipelines)
    differ = sum(each.state not in {"same", "broken"} for each in diff.pipelines)
    if count == 0:
        return "there is no pipeline to compare"
    alike = sum(each.state == "same" and bool(each.broken) for each in diff.pipelines)
    unable = f"{broken} of {count} {noun} cannot be compared" if broken else ""
    if differ == 0:
        known = f"no change in behaviour in {count} {noun}"
        return unable or (f"{known}; neither side of {alike} can be compiled" if alike else known)
    changed = f"{differ} of {count} {noun} {'changes' if differ == 1 else 'change'} in behaviour"
    return f"{changed}, {unable}" if unable else changed


def heading(each: PipelineDiff, diff: Diff) -> str:
    """What became of a pipeline, in a few words."""
    name = each.name if each.was is None else f"{each.was} → {each.name}"
    match each.state:
        case "added":
            return f"{name}: a new pipeline; {diff.old} does not have it"
        case "removed":
            return f"{name}: is gone; {diff.new} does not have it"
        case "broken":
            return f"{name}: broken in {' and in '.join(each.broken)}"
    return name


def _pipeline(each: PipelineDiff, diff: Diff) -> Iterator[str]:
    yield heading(each, diff)
    yield from (f"  {line}" for line in _versions(each))
    for section, changes in _by_section(each.changes):
        yield f"  {section}"
        for change in changes:
            place = f"  {change.place}" if change.place else ""
            yield f"    {change.sentence}{place}"
            yield from (f"      {line}" for line in change.detail)
    for label, outline in each.outlines.items():
        yield f"  {label} has"
        yield from (f"    {line}" for line in _outline(outline))


def _versions(each: PipelineDiff) -> Iterator[str]:
    if each.versions is not None:
        yield f"the format version changes: {each.versions[0]} → {each.versions[1]}"


def _outline(outline: Outline) -> Iterator[str]:
    yield from (f"step {line}" for line in outline.steps)
    yield from (f"chain {line}" for line in outline.chains)


def _by_section(changes: Sequence[Change]) -> Iterator[tuple[str, list[Change]]]:
    for section, some in groupby(changes, lambda each: each.section):
        yield SECTIONS[section], list(some)


def as_markdown(diff: Diff) -> str:
    """The same, with headings and lists."""
    lines = [f"### Behaviour: {code(diff.old)} → {code(diff.new)}", "", f"{summary(diff)}.", ""]
    for each in diff.pipelines:
        if each.state != "same":
            lines += markdown_of(each, diff)
    lines += [line for name in diff.overlays for line in (escaped(apart(name)), "")]
    return "\n".join(lines).rstrip("\n") + "\n"


def markdown_of(each: PipelineDiff, diff: Diff, *, skip: Sequence[Section] = ()) -> Iterator[str]:
    """One pipeline under a heading of its own, without some sections."""
    name, _, rest = heading(each, diff).partition(": ")
    yield f"#### {code(name)}{f': {escaped(rest)}' if rest else ''}"
    yield ""
    yield from (f"{escaped(line)}\n" for line in _versions(each))
    for section, changes in _by_section([change for change in each.changes if change.section not in skip]):
        yield f"**{section}**"
        yield ""
        for change in changes:
            place = f" ({code(change.place)})" if change.place else ""
            yield f"- {escaped(change.sentence)}{place}"
            if change.detail:
                fence = "`" * max(3, 1 + max(map(_ticks, change.detail)))
                yield from ("", f"  {fence}diff", *(f"  {line}" for line in change.detail), f"  {fence}")
        yield ""
    for label, outline in each.outlines.items():
        yield f"{code(label)} has"
        yield ""
        yield from (f"- {escaped(line)}" for line in _outline(outline))
        yield ""


def _ticks(line: str) -> int:
    """The longest run of backticks."""
    return max((len(run) for run in "".join(c if c == "`" else " " for c in line).split()), default=0)


def code(text: str) -> str:
    """Text as code in one line, whatever backticks and line breaks it has."""
    line = " ".join(text.split("\n"))
    fence = "`" * (_ticks(line) + 1)
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def escaped(text: str) -> str:
    """Text from a file as text: none of it is Markdown, a mention or HTML."""
    made = "".join(f"\\{char}" if char in "\\`*_[]<>|#~$" else char for char in text)
    return made.replace("@", "@\u200b").replace("\n", " ")
