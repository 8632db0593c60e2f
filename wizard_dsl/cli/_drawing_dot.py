"""A described program in the DOT language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from wizard_dsl.cli._drawing import Described, around, chains_of, edges, is_closed, ladder, live, step_notes, title


def dot(description: Described) -> str:
    """The digraph: steps as boxes, a `pipeline` step's file and each chain as a cluster."""
    head = [
        f"digraph {_quoted(description['name'])} {{",
        f"  graph [label={_quoted(title(description))} labelloc=t compound=true]",
        "  node [shape=box]",
    ]
    return "".join(f"{line}\n" for line in [*head, *_program(description, "", "  "), "}"])


def _quoted(*lines: str) -> str:
    """A quoted id or label; backslash and quote are escaped, lines parted by the escape for a line break."""
    escaped = (" ".join(line.split()).replace("\\", "\\\\").replace('"', '\\"') for line in lines if line)
    return '"' + "\\n".join(escaped) + '"'


def _program(description: Described, prefix: str, indent: str) -> Iterator[str]:
    for step in description["steps"]:
        yield from _step(step, description["streamed"], prefix, indent)
    for before, after, label in edges(description["steps"]):
        attributes = f" [label={_quoted(label)}]" if label else ""
        yield f"{indent}{_quoted(f'{prefix}step {before}')} -> {_quoted(f'{prefix}step {after}')}{attributes}"
    for name, chain in chains_of(description).items():
        yield from _chain(name, chain, prefix, indent)
    for step in description["steps"]:
        if step["chain"] is not None:
            cluster = _quoted(f"cluster {prefix}chain {step['chain']}")
            first = _quoted(f"{prefix}chain {step['chain']} 0")
            node = _quoted(f"{prefix}step {step['name']}")
            yield f"{indent}{node} -> {first} [style=dashed lhead={cluster}]"


def _step(step: Described, streamed: str | None, prefix: str, indent: str) -> Iterator[str]:
    node = f"{prefix}step {step['name']}"
    label = _quoted(step["name"], step["type"], *step_notes(step, streamed))
    yield f"{indent}{_quoted(node)} [label={label}]"
    inner = step["pipeline"]
    if inner is None:
        return
    yield f"{indent}subgraph {_quoted(f'cluster {node}')} {{"
    yield f"{indent}  label={_quoted(title(inner))}"
    yield from _program(inner, f"{node} / ", indent + "  ")
    yield f"{indent}}}"
    if inner["steps"]:
        first = f"{node} / step {inner['steps'][0]['name']}"
        lhead = f"[style=dashed lhead={_quoted(f'cluster {node}')}]"
        yield f"{indent}{_quoted(node)} -> {_quoted(first)} {lhead}"


def _chain(name: str, chain: Described, prefix: str, indent: str) -> Iterator[str]:
    frame = f"{prefix}chain {name}"
    label = _quoted(f"chain {name}", *around(chain), chain["strategy"]["type"])
    yield f"{indent}subgraph {_quoted(f'cluster {frame}')} {{"
    yield f"{indent}  label={label}"
    for number, target in enumerate(chain["targets"]):
        node = _quoted(f"{frame} {number}")
        text = _quoted(f"{number + 1} {target['name']}", ladder(target["policies"]), *live(target))
        colour = " color=red" if is_closed(target) else ""
        yield f"{indent}  {node} [label={text} style=rounded{colour}]"
    for number in range(1, len(chain["targets"])):
        yield f"{indent}  {_quoted(f'{frame} {number - 1}')} -> {_quoted(f'{frame} {number}')}"
    yield f"{indent}}}"
