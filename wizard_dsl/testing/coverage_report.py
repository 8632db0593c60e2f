"""Policy coverage as text, and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from wizard_dsl.testing.coverage import FileCoverage, Measured, NodeCoverage, total
from wizard_dsl.testing.coverage_hints import as_lines, hint

#: What stands before the lines of a hint.
_TRY: Final = ("try", "   ", "   ", "   ")


def as_text(files: Sequence[FileCoverage], base: Path | None = None) -> str:
    """What nobody has seen yet, by file and node; then the sum. Files below `base` are named relative to it."""
    lines = ["policy coverage"]
    for each in files:
        lines.append(f"  {name_of(each.file, base)}: {each.share}")
        for node in each.nodes:
            lines += _missing(node)
    if len(files) != 1:
        lines.append(f"  in all: {total(files)}")
    return "\n".join(lines) + "\n"


def _missing(node: NodeCoverage) -> Iterator[str]:
    if not node.missing:
        return
    yield f"    {title_of(node)}"
    width = max(len(each.name) for each in node.missing)
    for each in node.missing:
        yield f"      not seen: {each.name.ljust(width)}  {each.summary}"
        yield from (f"        {word} {line}" for word, line in zip(_TRY, lines_of(each), strict=False))


def lines_of(outcome: Measured) -> list[str]:
    """What a test would write to see it; nothing where that depends on the file."""
    keys = hint(outcome.kind)
    return [] if keys is None else as_lines(keys)


def title_of(node: NodeCoverage) -> str:
    """The path, with the target it is about."""
    return f"{node.path} ({node.target})" if node.target and ".targets[" in node.path else node.path


def name_of(file: str, base: Path | None) -> str:
    """The file as a person below `base` names it."""
    path = Path(file)
    return path.relative_to(base).as_posix() if base is not None and path.is_relative_to(base) else file


def as_data(files: Sequence[FileCoverage], base: Path | None = None) -> dict[str, Any]:
    """Plain data for `--format json`: `share` is from 0 to 1."""
    share = total(files)
    return {
        "covered": share.covered,
        "possible": share.possible,
        "share": round(share.ratio, 6),
        "files": [
            {
                "file": name_of(each.file, base),
                "covered": each.share.covered,
                "possible": each.share.possible,
                "share": round(each.share.ratio, 6),
                "nodes": [_node(node) for node in each.nodes],
            }
            for each in files
        ],
    }


def _node(node: NodeCoverage) -> dict[str, Any]:
    return {
        "path": node.path,
        "target": node.target or None,
        "outcomes": [
            {
                "name": each.name,
                "summary": each.summary,
                "covered": bool(each.tests),
                "tests": list(each.tests),
                "hint": None if each.tests else "\n".join(lines_of(each)) or None,
            }
            for each in node.outcomes
        ],
    }
