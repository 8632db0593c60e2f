"""Policy coverage as one HTML file: no network, no script, readable in light and dark, on paper, and by a reader of
screens. What was not seen is said in words, not by colour alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from wizard_dsl.testing.coverage import FileCoverage, Measured, NodeCoverage, Share, total
from wizard_dsl.testing.coverage_report import lines_of, name_of, title_of

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #d5dae1; --good: #1f7a3d; --bad: #b3261e;
  --soft: #f3f5f8; --dim: #59636e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #15181c; --line: #3a4048; --good: #6cc788;
  --bad: #ff8a80; --soft: #1f242a; --dim: #a3acb6; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-bottom: 0.3rem; }
h2, h3, .files { overflow-wrap: anywhere; } svg { max-width: 100%; }
code, h3 { font-family: ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; break-inside: avoid; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; }
td:first-child { width: 7rem; white-space: nowrap; }
td:nth-child(2) { width: 11rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
.seen { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
.files td:first-child, .files td:nth-child(2) { width: auto; font-family: inherit; } a { color: inherit; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.85em; }
tr.gap { background: var(--soft); } .dim { color: var(--dim); }
@media (max-width: 40rem) {
  thead { display: none; } tr { display: grid; grid-template-columns: 7rem 1fr; border-bottom: 1px solid var(--line); }
  td, .files td { border: 0; padding: 0.15rem 0.6rem; } td:nth-child(2) { width: auto; }
  td:nth-child(n + 3), .files td { grid-column: 1 / -1; } td:nth-child(4) { color: var(--dim); padding-bottom: 0.5rem; }
}
@media print { body { margin: 0; max-width: none; } }
"""
#: Names of tests that are shown for an outcome; of more, their number.
_MOST: Final = 3


def as_html(files: Sequence[FileCoverage], base: Path | None = None) -> str:
    """The report. What was not seen stands first within each file; the same tests give the same bytes."""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Policy coverage</title><style>{_STYLE}</style></head>",
        "<body>",
        "<h1>Policy coverage</h1>",
        f"<p>{_bar(total(files))}</p>",
        "<p class='dim'>An outcome is covered if some test made it happen. What a configuration can never do does not "
        "count.</p>",
    ]
    if len(files) > 1:
        parts += _overview(files, base)
    for number, each in enumerate(files):
        parts += _file(each, f"file-{number}", base)
    return "\n".join([*parts, "</body>", "</html>"]) + "\n"


def _overview(files: Sequence[FileCoverage], base: Path | None) -> Iterator[str]:
    yield "<table class='files'><thead><tr><th scope='col'>file</th><th scope='col'>covered</th></tr></thead><tbody>"
    for number, each in enumerate(files):
        name = f"<a href='#file-{number}'>{escape(name_of(each.file, base))}</a>"
        yield f"<tr><td>{name}</td><td>{_bar(each.share)}</td></tr>"
    yield "</tbody></table>"


def _file(file: FileCoverage, anchor: str, base: Path | None) -> Iterator[str]:
    yield f"<section id='{anchor}'><h2>{escape(name_of(file.file, base))}</h2>"
    yield f"<p>{_bar(file.share)}</p>"
    for node in sorted(file.nodes, key=lambda each: not each.missing):
        yield from _node(node)
    yield "</section>"


def _node(node: NodeCoverage) -> Iterator[str]:
    yield f"<h3>{escape(title_of(node))}</h3>"
    yield "<table><thead><tr><th scope='col'>seen</th><th scope='col'>outcome</th><th scope='col'>what happened</th>"
    yield "<th scope='col'>by the tests, or what a test would write</th></tr></thead><tbody>"
    yield from map(_row, node.outcomes)
    yield "</tbody></table>"


def _row(outcome: Measured) -> str:
    mark = "<span class='seen'>✓ seen</span>" if outcome.tests else "<span class='missed'>✗ not seen</span>"
    lines = "" if outcome.tests else "\n".join(lines_of(outcome))
    told = f"<pre>{escape(lines)}</pre>" if lines else escape(_named(outcome.tests))
    cells = (mark, escape(outcome.name), escape(outcome.summary), told)
    kind = "" if outcome.tests else " class='gap'"
    return f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _named(tests: Sequence[str]) -> str:
    more = len(tests) - _MOST
    return "; ".join([*tests[:_MOST], *([f"and {more} more"] if more > 0 else [])])


def _bar(share: Share) -> str:
    """A bar of the share, and the same in words."""
    width = 300
    filled = round(share.ratio * width)
    return (
        f"<svg role='img' aria-label='{share}' width='{width}' height='14' viewBox='0 0 {width} 14'>"
        f"<title>{share}</title>"
        f"<rect width='{width}' height='14' rx='3' fill='var(--line)'/>"
        f"<rect width='{filled}' height='14' rx='3' fill='var(--good)'/></svg> {share}"
    )
