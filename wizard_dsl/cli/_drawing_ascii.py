"""A described program for a terminal, in plain ASCII."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wizard_dsl.cli._drawing import Described, around, chains_of, ladder, levels, live, step_notes, title
from wizard_dsl.cli._output import columns


def ascii_art(description: Described) -> str:
    """The inputs, the steps by level, and each chain as a tree of what wraps what."""
    lines = [title(description)]
    if description["inputs"]:
        lines += ["", "inputs", *_inputs(description["inputs"])]
    lines += ["", *_boxes(description), *_rows(description)]
    for name, chain in chains_of(description).items():
        lines += ["", *_chain(name, chain)]
    for step in description["steps"]:
        if step["pipeline"] is not None:
            inner = ascii_art(step["pipeline"]).splitlines()
            lines += ["", f"step {step['name']} runs", *(f"  | {line}".rstrip() for line in inner)]
    return "".join(f"{line}\n" for line in lines)


def _inputs(inputs: Described) -> list[str]:
    rows = [[name, _type(spec["schema"]), "trusted" if spec["trusted"] else ""] for name, spec in inputs.items()]
    return columns(rows).splitlines()


def _type(schema: Described) -> str:
    kind: Any = schema.get("type", "any")
    return kind if isinstance(kind, str) else " or ".join(map(str, kind))


def _boxes(description: Described) -> list[str]:
    """One row of boxes for each level, an arrow between rows."""
    by_level: dict[int, list[str]] = {}
    for name, level in levels(description["steps"]).items():
        by_level.setdefault(level, []).append(name)
    lines: list[str] = []
    for level in sorted(by_level):
        names = by_level[level]
        border = "  ".join(f"+-{'-' * len(name)}-+" for name in names)
        middle = "  ".join(f"| {name} |" for name in names)
        lines += ["    |", "    v"] if lines else []
        lines += [f"  {border}", f"  {middle}", f"  {border}"]
    return lines


def _rows(description: Described) -> list[str]:
    rows = []
    for step in description["steps"]:
        after = [f"{name} (if it ran)" if how == "ran" else name for name, how in step["needs"].items()]
        words = [f"after {', '.join(after)}"] if after else []
        words += step_notes(step, description["streamed"])
        chain = f"chain {step['chain']}" if step["chain"] is not None else ""
        rows.append([step["name"], step["type"], chain, "; ".join(words)])
    return ["", "steps", *columns(rows).splitlines()]


def _chain(name: str, chain: Described) -> Iterator[str]:
    yield f"chain {name}"
    indent = "  "
    for line in around(chain):
        yield f"  {line}"
    strategy = chain["strategy"]["type"]
    yield f"{indent}{strategy}"
    last = len(chain["targets"]) - 1
    for number, target in enumerate(chain["targets"]):
        yield f"{indent}+- {number + 1}. {_target(target)}"
        bar = "|" if number < last else " "
        yield from (f"{indent}{bar}     {line}" for line in (ladder(target["policies"]), *live(target)))


def _target(target: Described) -> str:
    known = (target["name"], target["name"].split("/")[0])
    extra = [target["type"]] if target["type"] not in known else []
    extra += [target["model"]] if not target["name"].endswith(target["model"]) else []
    return f"{target['name']} ({', '.join(extra)})" if extra else target["name"]
