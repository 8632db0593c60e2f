"""A comparison as one HTML file: the figures of each chain, then the answers of each row in columns.

Words in which an answer differs from that of the first chain are marked.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

import msgspec

from wizard_dsl.analysis._page import document
from wizard_dsl.core.regex import regex
from wizard_dsl.observe.summary import show_time

if TYPE_CHECKING:
    from wizard_dsl.analysis.compare import Comparison, Row, Total
    from wizard_dsl.core.result import Cost, Result

_STYLE: Final = """
main { max-width: 90rem; }
td { white-space: nowrap; }
tbody th, h3, p { overflow-wrap: anywhere; }
tbody th { min-width: 7rem; }
section section { margin-top: 1.5rem; }
.answers { display: grid; gap: 1rem; }
.answers article { border: 1px solid var(--rule); border-radius: 6px; padding: .6rem .8rem; min-width: 0; }
.answers pre { white-space: pre-wrap; overflow-wrap: anywhere; color: var(--ink); }
.answers pre, .answers i { display: block; font: inherit; margin: .4rem 0 0; }
.answers i { color: var(--soft); }
.answers .failed { border: 2px solid var(--bad); }
mark { background: var(--shade); color: inherit; text-decoration: underline; }
@media (max-width: 40rem) { .answers { grid-template-columns: 1fr !important; } }
"""
_WORD: Final = regex(r"\s+|\w+|[^\w\s]")
#: What stands for an answer without a letter.
EMPTY: Final = "an empty answer"
#: Comparing words takes time that grows with their square.
_MOST_WORDS: Final = 4000


def page(comparison: Comparison) -> str:
    """The whole document; the same comparison gives the same bytes."""
    title = f"{comparison.pipeline}: {', '.join(comparison.chains)}"
    count = len(comparison.rows)
    head = (
        f"<h1>{escape(title)}</h1><p>{count} {'row' if count == 1 else 'rows'} through each chain; the same output in "
        f"{comparison.same}. Words that are not in the answer of {escape(comparison.chains[0])} are marked.</p>"
    )
    rows = "".join(_row(row, len(comparison.chains)) for row in comparison.rows)
    return document(title, f"{head}{_totals(comparison.totals)}<section><h2>Answers</h2>{rows}</section>", _STYLE)


def _totals(totals: Sequence[Total]) -> str:
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("chain", "ok", "p50", "p95", "cost", "tokens in", "out", "attempts")
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(each.chain)}</th>{"".join(f"<td>{cell}</td>" for cell in _figures(each))}</tr>'
        for each in totals
    )
    return f"<section><h2>Chains</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>"


def _figures(total: Total) -> list[str]:
    times = ["–" if each is None else show_time(each) for each in (total.p50, total.p95)]
    spent = money(total.cost).removeprefix("cost ")
    usage = [f"{total.usage.input_tokens:,}", f"{total.usage.output_tokens:,}"]
    return [f"{total.ok} of {total.runs}", *times, spent, *usage, str(total.attempts)]


def _row(row: Row, columns: int) -> str:
    inputs = ", ".join(
        f"{name}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in row.inputs.items()
    )
    first = next(iter(row.results.values()))
    cells = "".join(_cell(chain, result, first) for chain, result in row.results.items())
    same = " (the same)" if row.agrees else ""
    return (
        f'<section><h3>Row {row.number}{same}</h3><p dir="auto">{escape(inputs)}</p>'
        f'<div class="answers" style="grid-template-columns: repeat({columns}, 1fr)">{cells}</div></section>'
    )


def _cell(chain: str, result: Result, first: Result) -> str:
    attempts = f" · {len(result.attempts)} attempts" if len(result.attempts) > 1 else ""
    facts = f"{result.served_by or 'nobody'} · {show_time(result.elapsed)} · {money(result.cost)}{attempts}"
    kind = "" if result.error is None else ' class="failed"'
    return f"<article{kind}><h3>{escape(chain)}</h3><p>{escape(facts)}</p>{_said(result, first)}</article>"


def _said(result: Result, first: Result) -> str:
    """The answer, or why there is none; text of any script runs its own way."""
    if result.error is not None:
        return f"<pre>{escape(f'failed: {result.error.kind}: {result.error.message}')}</pre>"
    if not result.text.strip():
        return f"<i>{EMPTY}</i>"
    other = first.text if first.error is None else result.text
    return f'<pre dir="auto">{_marked(result.text, other)}</pre>'


def _marked(text: str, other: str) -> str:
    """`text` with what is not in `other` marked."""
    words, others = _WORD.findall(text), _WORD.findall(other)
    if max(len(words), len(others)) > _MOST_WORDS:
        return escape(text)
    parts = []
    for how, _, _, start, end in difflib.SequenceMatcher(None, others, words, autojunk=False).get_opcodes():
        said = escape("".join(words[start:end]))
        if said:
            parts.append(said if how == "equal" else f"<mark>{said}</mark>")
    return "".join(parts)


def money(cost: Cost) -> str:
    """US dollars, `~` before what is not reported by the provider."""
    if cost.usd is None:
        return "cost unknown"
    return f"{'' if cost.confidence == 'reported' else '~'}${cost.usd:.6f}".rstrip("0").rstrip(".")
