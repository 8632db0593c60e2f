"""How figures stand to earlier ones: `python -m benchmarks NAME --compare old.json`, a file or a folder of results."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.harness import Row, show


class Document(msgspec.Struct):
    """A file of results, as `harness.write` writes it."""

    question: str
    machine: dict[str, str]
    rows: list[Row]


def earlier(path: Path) -> list[Row]:
    """The rows of one file, or of all files in a folder. Raises ValueError where it is none."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    rows: list[Row] = []
    for file in files:
        try:
            rows += msgspec.json.decode(file.read_bytes(), type=Document).rows
        except (OSError, msgspec.MsgspecError) as error:
            raise ValueError(f"{file}: {error}") from error
    if not rows:
        raise ValueError(f"{path}: no results there")
    return rows


def verdict(old: Row, new: Row) -> str:
    """`better` or `worse` where the spreads are apart, else `within the spread`."""
    if old.lowest <= new.highest and new.lowest <= old.highest:
        return "within the spread"
    return "better" if (new.lowest > old.highest) == (new.better == "higher") else "worse"


def comparison(old: list[Row], new: list[Row]) -> str:
    """A Markdown table of all rows that both have; those that one lacks are named below."""
    before = {(each.question, each.subject): each for each in old}
    after = {(each.question, each.subject): each for each in new}
    lines = ["| question | what | before | after | after / before | |", "| --- | --- | --- | --- | --- | --- |"]
    for key in [key for key in after if key in before]:
        lines.append(f"| {' | '.join(_cells(before[key], after[key]))} |")
    lines += [f"- new: {', '.join(key)}" for key in after if key not in before]
    return "\n".join(lines)


def _cells(old: Row, new: Row) -> list[str]:
    was, now = (each.value if each.ratio is None else each.ratio for each in (old, new))
    change = f"{now / was:.3f}" if was else ""
    return [new.question, new.subject, _main(old), _main(new), change, verdict(old, new)]


def _main(row: Row) -> str:
    if row.ratio is None:
        return f"{show(row.value, row.unit)} ({show(row.lowest, row.unit)} to {show(row.highest, row.unit)})"
    return f"{row.ratio:.3g} x ({row.lowest:.3g}-{row.highest:.3g})"
