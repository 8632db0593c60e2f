"""A described program as a Mermaid flowchart.

Ids carry a prefix, for a step may be called `end`, and what parts their parts is in capitals, which names never have.
Labels are quoted, and what could leave the quotes is escaped as Mermaid's own entities.
"""

from __future__ import annotations

from collections.abc import Iterator

from wizard_dsl.cli._drawing import Described, around, chains_of, edges, is_closed, ladder, live, step_notes, title

_ENTITIES = str.maketrans({'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"})


def mermaid(description: Described) -> str:
    """The flowchart: steps as boxes, a `pipeline` step's file and each chain as a frame."""
    lines = ["---", f"title: {_yaml(title(description))}", "---", "flowchart TD", *_program(description, "", "  ")]
    return "".join(f"{line}\n" for line in lines)


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _label(*lines: str) -> str:
    return '"' + "<br/>".join(" ".join(line.split()).translate(_ENTITIES) for line in lines if line) + '"'


def _program(description: Described, prefix: str, indent: str) -> Iterator[str]:
    for step in description["steps"]:
        yield from _step(step, description["streamed"], prefix, indent)
    for before, after, label in edges(description["steps"]):
        arrow = f"-->|{label}|" if label else "-->"
        yield f"{indent}{prefix}step_{before} {arrow} {prefix}step_{after}"
    for name, chain in chains_of(description).items():
        yield from _chain(name, chain, prefix, indent)
    for step in description["steps"]:
        if step["chain"] is not None:
            yield f"{indent}{prefix}step_{step['name']} -.-> {prefix}chain_{step['chain']}"


def _step(step: Described, streamed: str | None, prefix: str, indent: str) -> Iterator[str]:
    notes = [step["type"], *step_notes(step, streamed)]
    node = f"{prefix}step_{step['name']}"
    inner = step["pipeline"]
    if inner is None:
        yield f"{indent}{node}[{_label(step['name'], *notes)}]"
        return
    yield f"{indent}subgraph {node} [{_label(step['name'], *notes, inner['name'])}]"
    yield from _program(inner, f"{node}_IN_", indent + "  ")
    yield f"{indent}end"


def _chain(name: str, chain: Described, prefix: str, indent: str) -> Iterator[str]:
    frame = f"{prefix}chain_{name}"
    head = _label(f"chain {name}", *around(chain), chain["strategy"]["type"])
    yield f"{indent}subgraph {frame} [{head}]"
    for number, target in enumerate(chain["targets"]):
        label = _label(f"{number + 1} {target['name']}", ladder(target["policies"]), *live(target))
        yield f"{indent}  {frame}_T{number}({label})"
        if is_closed(target):
            yield f"{indent}  style {frame}_T{number} stroke:#f00"
    for number in range(1, len(chain["targets"])):
        yield f"{indent}  {frame}_T{number - 1} --> {frame}_T{number}"
    yield f"{indent}end"
