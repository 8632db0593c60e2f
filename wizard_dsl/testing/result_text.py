"""A result as text that is read in a diff: who answered, what, after which attempts.

    local ok · 3.0 s
    text:
      Dear customer, …
    attempts:
      reply  openai/gpt-4o  503 server    at 0.000 s, took 0.120 s
      reply  local          ok            at 1.120 s, took 1.880 s, after 1.000 s of waiting
    step topic, by openai/gpt-4o-mini
      {"topic": "billing"}
    step reply, by local

What tells one run from another and says nothing of what it did – its id, the hash of the file – is left out, and so is
the text of a step where it is the whole's. Times are virtual where the run was, and then the same on every machine.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from wizard_dsl.core.result import AttemptRow, ItemRow, Result, StepRow
from wizard_dsl.observe.summary import summary


def readable(result: Result) -> str:
    """The result, without a newline at its end."""
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    yield summary(result)
    if result.error is not None:
        yield f"error: {result.error.kind}: {result.error.message}"
    if result.partial and result.text:
        yield "cut short after:"
    elif result.text:
        yield "text:"
    yield from _block(result.text)
    if result.output is not None and not isinstance(result.output, str):
        yield "output:"
        yield from _block(_plain(result.output))
    if result.attempts:
        yield "attempts:"
        yield from _attempts(result.attempts)
    for name, step in result.steps.items():
        yield from _step(name, step, told=result.text)


def _attempts(rows: Sequence[AttemptRow]) -> Iterator[str]:
    cells = [(_place(row), row.target, " ".join(filter(None, (_status(row), row.kind)))) for row in rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(3)]
    for row, cell in zip(rows, cells, strict=True):
        padded = "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True))
        waited = f", after {row.waited:.3f} s of waiting" if row.waited else ""
        hedge = ", a hedge" if row.hedge else ""
        yield f"  {padded}  at {row.started:.3f} s, took {row.elapsed:.3f} s{waited}{hedge}"


def _place(row: AttemptRow) -> str:
    return row.step if row.item is None else f"{row.step}[{row.item}]"


def _status(row: AttemptRow) -> str:
    return str(row.status) if row.status is not None and row.kind != "ok" else ""


def _step(name: str, step: StepRow, told: str) -> Iterator[str]:
    if step.skipped:
        yield f"step {name}: skipped"
        return
    facts = [f"by {step.served_by}"] if step.served_by else []
    facts += [
        word for word, holds in (("cached", step.cached), ("stale", step.stale), ("shared", step.shared)) if holds
    ]
    facts += [f"failed: {step.error.kind}"] if step.error is not None else []
    facts += [f"without {', '.join(step.lost)}"] if step.lost else []
    yield f"step {', '.join([name, *facts])}"
    if step.items is None:
        yield from _block("" if step.text == told else step.text)
    else:
        for index, item in enumerate(step.items):
            yield from _item(index, item)
    for call in step.tool_calls:
        yield f"  calls {call.name}({call.arguments})"


def _item(index: int, item: ItemRow) -> Iterator[str]:
    if item.skipped:
        yield f"  [{index}] skipped"
        return
    yield f"  [{index}]" if item.error is None else f"  [{index}] failed: {item.error.kind}"
    yield from _block(item.text, "    ")


def _block(text: str, indent: str = "  ") -> list[str]:
    return textwrap.indent(text, indent).splitlines() if text else []


def _plain(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
