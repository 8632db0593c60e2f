"""What the reports share: one file without script and network, and its style: colours that keep their contrast in
light, dark and print, and differ without colour."""

from __future__ import annotations

from html import escape
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #57606a; --rule: #d8dee4; --shade: #f3d9c2;
  --one: #0b5cad; --two: #b3261e; --three: #2f6f3a; --good: #5b9bd5; --bad: #b3261e; --gate: #6e1f14; --half: #b07a00; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e6edf3; --soft: #9ba6b2; --rule: #343c46;
  --shade: #4a3524; --one: #79b8ff; --two: #ff8d85; --three: #7ee08f; --good: #3f7fc0; --bad: #e5534b;
  --gate: #f28b7d; --half: #e3b341; } }
@media print { :root { --paper: #fff; --ink: #000; --soft: #333; --rule: #bbb; --shade: #ddd; --one: #003b7a;
  --two: #8a0f08; --three: #14521f; --good: #9ac; --bad: #333; --gate: #000; --half: #777; }
  figure, tr { break-inside: avoid; } details > *:not(summary) { display: block; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: .95rem; margin: 0; }
p { margin: .2rem 0; color: var(--soft); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { text-align: right; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid var(--rule); font-weight: normal; }
th:first-child { text-align: left; }
thead th { color: var(--soft); }
ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1.2rem; }
figcaption { display: flex; flex-wrap: wrap; gap: 0 1.5rem; align-items: baseline; font-size: .85rem; }
figcaption li { display: flex; align-items: center; gap: .4rem; color: var(--soft); }
figure { margin: 1.1rem 0 0; }
figure > svg { width: 100%; height: auto; display: block; }
.verdicts { display: block; }
.verdicts li { display: flex; align-items: baseline; margin-bottom: .2rem; }
.verdicts b { flex: none; min-width: 4.5rem; padding: 0 .5rem; margin-right: .6rem; text-align: center;
  border: 2px solid currentColor; border-radius: 4px; }
.verdicts .met b { color: var(--three); }
.verdicts .missed b { color: var(--paper); background: var(--two); border-color: var(--two); }
.key { width: 28px; height: 10px; display: inline-block; }
i.key.good { background: var(--good); } i.key.bad { background: var(--bad); }
i.key.fault { background: var(--shade); border: 1px solid var(--soft); box-sizing: border-box; }
i.key.shut { border: 1px solid var(--soft); box-sizing: border-box; }
i.key.half { background: repeating-linear-gradient(45deg, var(--half) 0 3px, var(--paper) 3px 6px); }
i.key.open { background: var(--gate); }
text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.tick { text-anchor: end; } .time { text-anchor: middle; } .name { fill: var(--ink); }
.grid { stroke: var(--rule); stroke-width: 1; fill: none; }
.shade { fill: var(--shade); opacity: .55; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.band { opacity: .22; stroke: none; }
path.band.s0 { fill: var(--one); }
.line.s0, .line.s3 { stroke: var(--one); } .line.s1, .line.s4 { stroke: var(--three); }
.line.s2, .line.s5 { stroke: var(--two); }
.line.s1 { stroke-dasharray: 9 3; } .line.s2 { stroke-width: 3; }
.line.s3, .line.s4, .line.s5 { stroke-width: 1.4; stroke-dasharray: 2 3; }
.tip { fill: transparent; } .tip:hover { fill: var(--ink); fill-opacity: .08; }
rect.good { fill: var(--good); } rect.bad { fill: var(--bad); }
rect.fault { fill: var(--shade); stroke: var(--soft); }
rect.shut { fill: none; stroke: var(--soft); pointer-events: all; }
rect.half { fill: var(--half); stroke: var(--ink); stroke-dasharray: 2 2; }
rect.open { fill: var(--gate); }
section { overflow-x: auto; }
@media (max-width: 40rem) { text { font-size: 16px; }
  figure { overflow-x: auto; } figure > svg { min-width: 34rem; padding-left: .5rem; overflow: visible; } }
"""


def document(title: str, body: str, style: str = "") -> str:
    """A whole page: `title` is text, `body` HTML, `style` what is laid over the common one."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )
