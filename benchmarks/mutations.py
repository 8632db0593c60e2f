"""Does `wizard diff` tell every change of behaviour, and is it silent otherwise?

Every edit of one field that alters behaviour (`edits.py`) of every pipeline in `bases.py`, and every rewriting that
alters nothing (`rewritings.py`). What is not told, and what is told for nothing, is listed. An edit that does not
compile is not counted; a field none of whose edits compiles is listed, too.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.bases import Data, bases, beside
from benchmarks.edits import Edit, edits
from benchmarks.harness import Row
from benchmarks.rewritings import rewritings
from wizard_dsl.analysis._diff_compare import differences
from wizard_dsl.analysis._diff_view import View, view_of
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry

#: Edits that change a value and nothing that a run does, with the reason: an unreported one is no miss.
INERT: Final[dict[str, str]] = {
    r"fallback_on = .*'(input|session|spec|cancelled|deadline|stream_buffer)'": "no target is left for one of these",
    r"chains\.writer\.fallback_on = .*'mid_stream'": "a broken stream ends the answer there",
    r"^(?!strategy weighted).*\.weight ": "nobody draws by weight there",
    r"chains\.plain\.(fallback_on|targets\.0\.priority) ": "it has one target",
    r"^steps: \.name taken back": "the file is called so, too",
    r"\.priority = 2$": "the last of two groups stays the last of two",
    r"steps\.(?!each)\w+\.concurrency": "no `for_each` is there",
    r"steps\.(each|last)\.output\.repairs": "nothing is checked there",
    r"steps\.text\.needs = \['first'\]": "its template says so already",
}


class Score(NamedTuple):
    """How many of how many were told, which were not as they should be, fields that no edit reached, and how many
    edits are not counted because a run cannot notice them."""

    told: int
    whole: int
    wrong: list[str]
    unreached: list[str]
    inert: int = 0


def score(pick: Callable[[int], bool] = lambda index: True) -> tuple[Score, Score]:
    """The edits, then the rewritings; `pick` says which of each, by their number."""
    registry = Registry(plugins=False)
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), registry)
        return bench.edits(pick), bench.rewritings(pick)


class _Bench:
    def __init__(self, folder: Path, registry: Registry) -> None:
        self._folder = folder
        self._registry = registry
        for name, text in beside().items():
            (folder / name).write_text(text)

    def edits(self, pick: Callable[[int], bool]) -> Score:
        told, inert, wrong, tried, reached = 0, 0, [], Counter[str](), Counter[str]()
        for index, (base, data, before, edit) in enumerate(self._all()):
            if not pick(index):
                continue
            tried[edit.field] += 1
            after = self._view(json.dumps(edit.of(data)))
            if after is None:
                continue
            reached[edit.field] += 1
            if differences(before, after):
                told += 1
            elif _is_inert(f"{base}: {edit.name}"):
                inert += 1
            else:
                wrong.append(f"{base}: {edit.name}")
        return Score(told, told + len(wrong), wrong, sorted(tried.keys() - reached.keys()), inert)

    def rewritings(self, pick: Callable[[int], bool]) -> Score:
        told, whole, wrong = 0, 0, []
        index = 0
        for base, own in bases(self._registry).items():
            before = self._must(own.data)
            for name, text, project in rewritings(own, self._registry):
                index += 1
                if not pick(index):
                    continue
                after = self._view(text, project)
                if after is None:
                    raise AssertionError(f"{base}: {name} does not compile: {self.why}")
                found = differences(before, after)
                whole += 1
                if found:
                    told += 1
                    wrong.append(f"{base}: {name}: {found[0].sentence}")
        return Score(told, whole, wrong, [])

    def _all(self) -> Iterator[tuple[str, Data, View, Edit]]:
        for name, base in bases(self._registry).items():
            before = self._must(base.data)
            for edit in edits(base.data, self._registry):
                if base.has(edit.path):
                    yield name, base.data, before, edit

    def _must(self, data: Data) -> View:
        made = self._view(json.dumps(data))
        assert made is not None, self.why
        return made

    def _view(self, text: str, project: str = "") -> View | None:
        """The view of a text, None where it does not compile. `project` stands in wizard.yaml beside it."""
        path = self._folder / "rich.yaml"
        path.write_text(text)
        (self._folder / "wizard.yaml").write_text(project or "{}")
        compiled = compile_file(path, self._registry, Sources())
        self.why = [each.message for each in compiled.diagnostics]
        return None if compiled.program is None else view_of(compiled)


def _is_inert(name: str) -> bool:
    return any(re.search(pattern, name) for pattern in INERT)


def main() -> list[Row]:
    changed, neutral = score()
    for title, each in (("not told", changed), ("told for nothing", neutral)):
        print(f"{title}: {len(each.wrong)} of {each.whole}", *each.wrong, sep="\n  ", file=sys.stderr)
    print(f"not counted, for a run cannot notice them: {changed.inert} edits, see INERT", file=sys.stderr)
    print("fields that no edit reached:", ", ".join(changed.unreached) or "none", file=sys.stderr)
    return [
        _row("edits that alter behaviour", changed).aiming(floor=0.95, goal=0.98),
        _row("rewritings that alter nothing", neutral).aiming(floor=0.02, goal=0.01),
    ]


def _row(subject: str, found: Score) -> Row:
    share = found.told / found.whole
    return Row(
        question="told by wizard diff",
        subject=subject,
        ratio=share,
        lowest=share,
        highest=share,
        value=found.told,
        baseline=found.whole,
        unit="edits",
        better="higher" if subject.startswith("edits") else "lower",
    )
