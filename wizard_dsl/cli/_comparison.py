"""A comparison as text: the answers of each row in columns, then the figures of each chain."""

from __future__ import annotations

import shutil
import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import msgspec

from wizard_dsl.analysis.compare_html import EMPTY, money
from wizard_dsl.cli._output import columns, columns_of, padded
from wizard_dsl.observe.summary import show_time

if TYPE_CHECKING:
    from wizard_dsl.analysis.compare import Comparison, Row, Total
    from wizard_dsl.core.result import Result

#: Columns narrower than this are read with more effort than texts below each other.
_NARROWEST: Final = 30
_GAP: Final = "  "
_INPUT: Final = 100
#: The second column of a wide character, while lines are broken; it stands in no text.
_SECOND: Final = "\ufdd0"


def as_text(comparison: Comparison, width: int | None = None) -> str:
    """`width` is that of the terminal, by default the one we are on."""
    width = shutil.get_terminal_size((100, 24)).columns if width is None else width
    each = (width - len(_GAP) * (len(comparison.chains) - 1)) // len(comparison.chains)
    rows = (_beside(row, each) if each >= _NARROWEST else _below(row, width) for row in comparison.rows)
    table = columns([("chain", "ok", "p50", "p95", "cost", "tokens", "attempts"), *map(_total, comparison.totals)], "")
    agree = f"the same output in {comparison.same} of {len(comparison.rows)} rows\n"
    return "".join(f"{text}\n" for text in rows) + table + agree


def _beside(row: Row, width: int) -> str:
    cells = [
        [*_lines(chain, width), *_lines(_facts(result), width), *_wrapped(result, width)]
        for chain, result in row.results.items()
    ]
    lines = (_GAP.join(padded(part, width) for part in line).rstrip() for line in zip_longest(*cells, fillvalue=""))
    return _head(row) + "".join(f"{line}\n" for line in lines)


def _below(row: Row, width: int) -> str:
    parts = []
    for chain, result in row.results.items():
        text = "".join(f"  {line}\n" for line in _wrapped(result, width - 2))
        parts.append(f"{chain}: {_facts(result)}\n{text}")
    return _head(row) + "".join(parts)


def _head(row: Row) -> str:
    told = ", ".join(
        f"{name}: {value if isinstance(value, str) else _json(value)}" for name, value in row.inputs.items()
    )
    mark = " (the same)" if row.agrees else ""
    return f"row {row.number}{mark}  {textwrap.shorten(told, _INPUT, placeholder=' …')}".rstrip() + "\n"


def _wrapped(result: Result, width: int) -> list[str]:
    """The answer, or why there is none."""
    said = result.text if result.error is None else f"{result.error.kind}: {result.error.message}"
    if result.error is None and not said.strip():
        return [f"({EMPTY})"]
    return [part for line in said.splitlines() for part in _lines(line, max(width, 2))]


def _lines(line: str, width: int) -> list[str]:
    """A line as those it comes to at that many columns of the terminal: what takes two columns counts as two."""
    spread = "".join(char + _SECOND * (columns_of(char) - 1) for char in line)
    return [each.replace(_SECOND, "") for each in textwrap.wrap(spread, width)] or [""]


def _facts(result: Result) -> str:
    parts = [result.served_by or "nobody", show_time(result.elapsed), money(result.cost)]
    if len(result.attempts) > 1:
        parts.append(f"{len(result.attempts)} attempts")
    return " · ".join(parts)


def _total(total: Total) -> tuple[str, ...]:
    return (
        total.chain,
        f"{total.ok}/{total.runs}",
        "–" if total.p50 is None else show_time(total.p50),
        "–" if total.p95 is None else show_time(total.p95),
        money(total.cost).removeprefix("cost "),
        f"{total.usage.input_tokens} + {total.usage.output_tokens}",
        str(total.attempts),
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
