"""A described program as one SVG: no script, no font and no picture from elsewhere.

The steps stand on the left, a row for each level; the chains that they ask on the right, each with its targets in
order; files that steps run below. Widths are those of a font in which all characters are as wide as each other, so the
picture is the same everywhere. An edge that leaves out a row goes around it by the left margin. Dashed lines lead
from a step, beside or below the boxes of its row, to the lane of the chain that it asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from wizard_dsl.cli._drawing import (
    Described,
    around,
    chains_of,
    edges,
    is_closed,
    ladder,
    levels,
    live,
    step_notes,
    title,
)

_CHAR, _LINE, _PAD, _GAP = 7.3, 17, 10, 28
_HEAD = 30
#: Between two lanes, and how many lines beside a step, or below a row, there is room for.
_LANE, _APART = 8, 4
_STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328}"
    ".name{font-weight:bold}.note{fill:#57606a}rect{stroke:#57606a;fill:#fff}.card{fill:#f6f8fa}.target{rx:8px}.closed{fill:#ffebe9}"
    "path{fill:none;stroke:#57606a}.asks{stroke-dasharray:4 3}marker path{fill:#57606a}"
)


class _Box(NamedTuple):
    """A rectangle with lines of text; the first is its name."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    kind: str = ""

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


class _Picture(NamedTuple):
    """Elements, and the room that they take."""

    elements: tuple[str, ...]
    width: float
    height: float


def svg(description: Described) -> str:
    """The document."""
    picture = _program(description)
    size = f'width="{_number(picture.width)}" height="{_number(picture.height)}"'
    view = f'viewBox="0 0 {_number(picture.width)} {_number(picture.height)}"'
    name = escape(_flat(title(description)))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} role="img" aria-label="{name}">',
        f"<title>{name}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8Z"/></marker></defs>',
        f'<rect width="{_number(picture.width)}" height="{_number(picture.height)}" style="stroke:none"/>',
        *picture.elements,
        "</svg>",
    ]
    return "".join(f"{line}\n" for line in lines)


def _program(description: Described) -> _Picture:
    """Edges first, so that boxes stand over them."""
    steps = _steps(description)
    right = max((box.right for box in steps.values()), default=_GAP)
    asked = list(chains_of(description))
    chains = _chains(description, right + 2 * _GAP + _LANE * len(asked))
    boxes = [*steps.values(), *(box for card in chains.values() for box in card)]
    elements = [_text(_GAP, _GAP, title(description), "name")]
    elements += [_edge(steps, before, after, label) for before, after, label in edges(description["steps"])]
    for step in description["steps"]:
        if step["chain"] is not None:
            number = asked.index(step["chain"])
            lane = right + _GAP + _LANE * (len(asked) - number)
            elements.append(_asks(steps, steps[step["name"]], chains[step["chain"]][0], lane, number))
    elements += [line for box in boxes for line in _drawn(box)]
    width = max([box.right for box in boxes] + [_GAP + _width([title(description)])]) + _GAP
    bottom = max((box.bottom for box in boxes), default=_HEAD + _GAP) + _GAP
    return _with_files(description, _Picture(tuple(elements), width, bottom))


def _with_files(description: Described, picture: _Picture) -> _Picture:
    """The files that steps run, each below what is there already."""
    for step in description["steps"]:
        if step["pipeline"] is not None:
            inner = _program(step["pipeline"])
            head = _text(_GAP, picture.height, f"step {step['name']} runs", "note")
            moved = f'<g transform="translate({_GAP} {_number(picture.height)})">'
            elements = (*picture.elements, head, moved, *inner.elements, "</g>")
            height = picture.height + inner.height
            picture = _Picture(elements, max(picture.width, inner.width + _GAP), height)
    return picture


def _steps(description: Described) -> dict[str, _Box]:
    """A box for each step, a row for each level."""
    placed: dict[str, _Box] = {}
    by_level: dict[int, list[Described]] = {}
    depths = levels(description["steps"])
    for step in description["steps"]:
        by_level.setdefault(depths[step["name"]], []).append(step)
    y: float = _HEAD + _GAP
    for level in sorted(by_level):
        x: float = _GAP
        for step in by_level[level]:
            lines = [step["name"], step["type"], *step_notes(step, description["streamed"])]
            box = _box(x, y, lines, "step")
            placed[step["name"]] = box
            x = box.right + _GAP
        y = max(placed[step["name"]].bottom for step in by_level[level]) + 1.5 * _GAP
    return placed


def _chains(description: Described, x: float) -> dict[str, list[_Box]]:
    """For each chain its card and the boxes of its targets, one card below the other."""
    cards: dict[str, list[_Box]] = {}
    y: float = _HEAD + _GAP
    for name, chain in chains_of(description).items():
        lines = [f"chain {name}", *around(chain), chain["strategy"]["type"]]
        head = _box(x, y, lines, "card")
        targets: list[_Box] = []
        below = head.bottom
        for number, target in enumerate(chain["targets"]):
            text = [f"{number + 1} {target['name']}", ladder(target["policies"]), *live(target)]
            targets.append(_box(x + _PAD, below, text, "target closed" if is_closed(target) else "target"))
            below = targets[-1].bottom + _PAD
        width = max(head.width, *(box.width + 2 * _PAD for box in targets)) if targets else head.width
        card = head._replace(width=width, height=below - y)
        cards[name] = [card, *(box._replace(width=width - 2 * _PAD) for box in targets)]
        y = card.bottom + _GAP
    return cards


def _box(x: float, y: float, lines: Sequence[str], kind: str) -> _Box:
    shown = tuple(_flat(line) for line in lines)
    return _Box(x, y, _width(shown) + 2 * _PAD, len(shown) * _LINE + 1.5 * _PAD, shown, kind)


def _width(lines: Sequence[str]) -> float:
    return max(map(len, lines), default=0) * _CHAR


def _flat(line: str) -> str:
    return " ".join(line.split())


def _drawn(box: _Box) -> Iterator[str]:
    place: Mapping[str, float] = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    yield f'<rect class="{box.kind}" {" ".join(f"{key}={_quoted(each)}" for key, each in place.items())}/>'
    for number, line in enumerate(box.lines):
        yield _text(box.x + _PAD, box.y + _LINE * (number + 1), line, "note" if number else "name")


def _text(x: float, y: float, line: str, kind: str) -> str:
    return f'<text class="{kind}" x={_quoted(x)} y={_quoted(y)}>{escape(_flat(line))}</text>'


def _edge(steps: Mapping[str, _Box], begin: str, end: str, label: str) -> str:
    before, after = steps[begin], steps[end]
    x, to = before.x + before.width / 2, after.x + after.width / 2
    floor = max(box.bottom for box in steps.values() if box.y == before.y)
    passed = any(before.y < box.y < after.y for box in steps.values())
    if passed:
        turns = f"V{_number(floor + _GAP / 2)}H{_number(_GAP / 2)}V{_number(after.y - _GAP / 2)}H{_number(to)}"
        route = f"{turns}V{_number(after.y)}"
    else:
        middle = _number((floor + after.y) / 2)
        route = f"V{_number(floor)}C{_number(x)} {middle} {_number(to)} {middle} {_number(to)} {_number(after.y)}"
    path = f'<path marker-end="url(#tip)" d="M{_number(x)} {_number(before.bottom)}{route}"/>'
    return path + (_text(x + 4, before.bottom + _LINE - 4, label, "note") if label else "")


def _asks(steps: Mapping[str, _Box], step: _Box, chain: _Box, lane: float, number: int) -> str:
    """To the lane, below the row where other steps stand in the way, and along it to the chain. Lines to several chains
    keep apart."""
    row = [box for box in steps.values() if box.y == step.y]
    apart = number % _APART * _LANE / 2
    if any(box.x > step.x for box in row):
        floor = max(box.bottom for box in row) + _GAP / 2 + _LANE / 2
        begin = f"M{_number(step.right - _PAD)} {_number(step.bottom)}V{_number(floor + apart)}"
    else:
        begin = f"M{_number(step.right)} {_number(step.y + _LINE + apart)}"
    route = f"H{_number(lane)}V{_number(chain.y + _PAD)}H{_number(chain.x)}"
    return f'<path class="asks" marker-end="url(#tip)" d="{begin}{route}"/>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _quoted(value: float) -> str:
    return f'"{_number(value)}"'
