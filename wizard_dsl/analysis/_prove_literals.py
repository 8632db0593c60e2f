"""What a file compares with: kinds and statuses in its maps and expressions, values of answers and of inputs.

Two outcomes that no policy tells apart and no expression names are one; what is found here keeps them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from jinja2 import nodes

from wizard_dsl.compiler.names import subprograms
from wizard_dsl.core.errors import KINDS
from wizard_dsl.prompts.analysis import uses
from wizard_dsl.prompts.environment import Fault, parse_expression
from wizard_dsl.prompts.expression import Expression
from wizard_dsl.spec.fit import expression_fields

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import ChainPlan, Program

_STATUS: Final = range(300, 600)

#: What is looked at (`steps.topic.json.topic` as a path, or an input's name alone), and a value it is compared with.
Compared = tuple[tuple[str, ...], Any]


class Named(msgspec.Struct, frozen=True):
    """`kinds` and `statuses` that the file names; `compared` are paths with the literals beside them, in order;
    `looked_at` every path that a condition, a loop or an invariant takes something from."""

    kinds: frozenset[str]
    statuses: frozenset[int]
    compared: tuple[Compared, ...]
    looked_at: tuple[tuple[str, ...], ...]
    words: frozenset[str]


def named(program: Program) -> Named:
    """All that a program and the files that it runs compare with."""
    programs = (program, *subprograms(program))
    texts = [text for each in programs for text in _texts(each)]
    trees = [tree for text in texts if not isinstance(tree := parse_expression(text), Fault)]
    literals = [const.value for tree in trees for const in tree.find_all(nodes.Const)]
    keys = {key for each in programs for chain in each.chains.values() for key in _keys(chain)}
    both: tuple[Any, ...] = (*sorted(keys), *literals)
    found = [pair for tree in trees for pair in _compared(tree)]
    return Named(
        kinds=frozenset(each for each in both if isinstance(each, str) and each in KINDS),
        statuses=frozenset(status for each in both if (status := _status(each)) is not None),
        compared=tuple(_once(found)),
        looked_at=tuple(dict.fromkeys(path for tree in trees for path in _paths(tree))),
        words=frozenset(
            name for tree in trees for use in uses(tree) for name in (use.name, *use.path) if isinstance(name, str)
        ),
    )


def _once(found: Iterable[Compared]) -> Iterator[Compared]:
    """Each once; true is no 1."""
    seen = set()
    for path, value in found:
        key = path, type(value), value
        if key not in seen:
            seen.add(key)
            yield path, value


def _texts(program: Program) -> Iterator[str]:
    """The expressions of a program, as they are written."""
    for step in program.steps:
        for made in (step.when, step.for_each):
            if isinstance(made, Expression):
                yield made.source
    for made in program.invariants.values():
        yield made.source
    configs = [config for chain in program.chains.values() for config in _configs(chain)]
    fields = [getattr(config, field) for config in configs for field in expression_fields(_type(config))]
    yield from (text for text in fields if isinstance(text, str))


def _type(config: Any) -> type:
    return type(config)


def _configs(chain: ChainPlan) -> Iterator[Any]:
    policies = [*chain.outer, *chain.shared, *(policy for target in chain.targets for policy in target.ladder)]
    yield from (policy.config for policy in policies)
    yield chain.strategy_config


def _keys(chain: ChainPlan) -> Iterator[str]:
    """The keys of all maps of kinds and statuses, those of plug-ins among them."""
    yield from chain.fallback_on
    for config in _configs(chain):
        for field in config.__struct_fields__:
            value = getattr(config, field)
            if isinstance(value, Mapping):
                yield from (key for key in value if isinstance(key, str))


def _status(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) == len("503"):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _STATUS else None


def _compared(tree: nodes.Node) -> Iterator[Compared]:
    for node in tree.find_all(nodes.Compare):
        literals = [const.value for const in node.find_all(nodes.Const)]
        for path in _paths(node):
            yield from ((path, value) for value in literals)


def _paths(tree: nodes.Node) -> Iterator[tuple[str, ...]]:
    """What an expression takes from outside, up to the first key that is computed."""
    for use in uses(tree):
        known: list[str] = [use.name]
        for key in use.path:
            if not isinstance(key, str):
                break
            known.append(key)
        yield tuple(known)
