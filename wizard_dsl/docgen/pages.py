"""A page for each policy and strategy. What stands between markers is made from the declaration; the middle is written
by hand, and left alone.

    <!-- generated: head -->       name, summary, place
    <!-- generated: reference -->  keys, errors, events, examples

A page that is missing is begun with empty sections; `faults` names those, and pages that belong to no component.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from wizard_dsl.core.component import PolicyType, Rung, Scope, StrategyType
from wizard_dsl.docgen.keys import place_of
from wizard_dsl.docgen.reference import emitted, example_blocks, outcomes_of, raised, table_of
from wizard_dsl.policies.contract import ContractConfig
from wizard_dsl.registry import Registry
from wizard_dsl.spec import document

SECTIONS: Final = ("What it is for", "Defaults and why", "What happens", "Patterns", "Anti-patterns")
#: Policies that the compiler adds by itself: where a file sets them, and the keys it has there.
_ELSEWHERE: Final[Mapping[str, tuple[str, tuple[type[msgspec.Struct], ...]]]] = MappingProxyType(
    {
        "budget": ("the section `budgets`", (document.BudgetsSpec, document.BudgetLimit)),
        "contract": ("`output` of a step, where it has a `schema`", (ContractConfig,)),
        "on_rate_limit": ("`on_rate_limit` of a chain", (document.RateLimitSpec,)),
        "safety": ("the section `safety`", (document.SafetySpec,)),
    }
)
_OUTCOMES: Final = "What it may do in a run, by which [policy coverage](../how-to/coverage.md) measures tests:"
_OPENED: Final = "<!-- generated: {name} -->"
_CLOSED: Final = "<!-- end -->"


def texts(root: Path, registry: Registry) -> dict[str, str]:
    """Every page by its path below `root`: what is there, its generated regions made anew."""
    made, ladder = {}, _ladder(registry)
    for each in _components(registry):
        name = _path(each)
        path = root / name
        made[name] = _filled(each, path.read_text(encoding="utf-8") if path.is_file() else _begun(), ladder)
    return made


def faults(root: Path, registry: Registry) -> list[str]:
    """What no generator can mend: sections without a text, and pages without a component."""
    names = {_path(each) for each in _components(registry)}
    paths = [*root.glob("docs/policies/*.md"), *root.glob("docs/strategies/*.md")]
    found = sorted(path.relative_to(root).as_posix() for path in paths)
    strays = [f"{name} belongs to no component; remove it" for name in found if name not in names]
    empty = [
        f"{name}: write its section '{section}'"
        for name in found
        if name in names
        for section in SECTIONS
        if not _written((root / name).read_text(encoding="utf-8"), section)
    ]
    return strays + empty


def _components(registry: Registry) -> Iterator[PolicyType | StrategyType]:
    yield from registry.all_policies()
    yield from registry.internal_policies()
    yield from registry.all_strategies()


def _path(each: PolicyType | StrategyType) -> str:
    return f"docs/{'policies' if isinstance(each, PolicyType) else 'strategies'}/{each.name}.md"


def _begun() -> str:
    middle = "\n\n".join(f"## {section}" for section in SECTIONS)
    return "\n\n".join((_region("head", ""), middle, _region("reference", ""))) + "\n"


def _filled(each: PolicyType | StrategyType, text: str, ladder: Sequence[str]) -> str:
    before, middle, after = _parted(text)
    return f"{before}{_region('head', _head(each, ladder))}{middle}{_region('reference', _reference(each))}{after}"


def _parted(text: str) -> tuple[str, str, str]:
    """What is written before, between and behind the regions. A page that has lost one gets it at its end."""
    before, mark, rest = text.partition(_OPENED.format(name="head"))
    if not mark:
        before, rest = "", f"\n{_CLOSED}\n\n{text}"
    middle, mark, last = rest.partition(_CLOSED)[2].partition(_OPENED.format(name="reference"))
    return (before, middle, last.partition(_CLOSED)[2]) if mark else (before, f"{middle.rstrip()}\n\n", "\n")


def _region(name: str, text: str) -> str:
    return f"{_OPENED.format(name=name)}\n{text}\n{_CLOSED}"


def _written(text: str, section: str) -> bool:
    match = re.search(rf"^## {section}\n(.*?)(?=^## |^<!-- generated)", text, re.DOTALL | re.MULTILINE)
    return bool(match and match[1].strip())


def _head(each: PolicyType | StrategyType, ladder: Sequence[str]) -> str:
    facts = []
    if isinstance(each, PolicyType):
        facts.append(f"Set by {_ELSEWHERE[each.name][0]}." if each.name in _ELSEWHERE else f"Place: {place_of(each)}.")
        if each.scalar and each.name not in _ELSEWHERE:
            facts.append(f"A scalar sets `{each.scalar}`.")
        if each.buffers:
            facts.append("It reads the whole answer, so a stream arrives in one piece.")
    lines = [f"# {each.name}", each.summary, " ".join(facts), _neighbours(each, ladder)]
    return "\n\n".join(line for line in lines if line)


def _ladder(registry: Registry) -> list[str]:
    """What has a node in the ladder, from the outside in."""
    types = [*registry.all_policies(), *registry.internal_policies()]
    rungs = [(each.rung, each.name) for each in types if each.scope is not Scope.CHAIN]
    return [name for _, name in sorted([*rungs, (Rung.STRATEGY, "strategy")])]


def _neighbours(each: PolicyType | StrategyType, ladder: Sequence[str]) -> str:
    name = "strategy" if isinstance(each, StrategyType) else each.name
    if name not in ladder:
        return ""
    place = ladder.index(name)
    where = [
        f"{word} `{ladder[at]}`"
        for word, at in (("inside", place - 1), ("outside", place + 1))
        if at in range(len(ladder))
    ]
    return f"In [the ladder](../explanation/ladder.md) it stands {' and '.join(where)}."


def _reference(each: PolicyType | StrategyType) -> str:
    elsewhere = _ELSEWHERE.get(each.name)
    shapes = elsewhere[1] if elsewhere and isinstance(each, PolicyType) else (each.config,)
    parts = ["## Keys", *(table_of(shape) for shape in shapes)]
    if each.raises or each.emits:
        parts.append("## Errors and events")
        parts += [f"{word}: {names}." for word, names in (("Errors", raised(each)), ("Events", emitted(each))) if names]
    if each.outcomes:
        parts += ["## Outcomes", _OUTCOMES, outcomes_of(each.outcomes)]
    blocks = [] if elsewhere else example_blocks(each.examples)
    return "\n\n".join([*parts, *(["## Examples"] if blocks else []), *blocks])
