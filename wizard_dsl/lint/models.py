"""What is known of models. Not part of `lint`: the price library is needed, and `validate` is to be quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.compiler.facts import Library, known_facts
from wizard_dsl.compiler.program import Program, TargetPlan
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, finding

#: What these rules tell.
MODEL_CODES: Final = frozenset({"W111", "W131", "W187"})
#: The strategy that is an order by price.
CHEAPEST = "cheapest"


def w111_unknown_model(compiled: Compiled, library: Library) -> Iterator[Diagnostic]:
    """W111: neither the file nor the provider type nor `library` knows a target's window or price."""
    if compiled.program is None:
        return
    seen: set[tuple[str, str]] = set()
    for path, target in _targets(compiled.program):
        model = (target.provider, target.model)
        facts = known_facts(target, library)
        if model in seen or facts.context is not None or facts.prices is not None:
            continue
        seen.add(model)
        message = f"nothing is known about the model '{target.model}': its window and its cost go unchecked"
        hint = f"say what you know under providers.{target.provider}.models"
        yield finding("W111", message, compiled.loaded.places.value_at(path), path=path, suggestion=hint)


def _targets(program: Program) -> Iterator[tuple[DocPath, TargetPlan]]:
    for name, chain in program.chains.items():
        for target in sorted(chain.targets, key=lambda target: target.index):
            yield ("chains", name, "targets", target.index), target


def w131_unknown_price(compiled: Compiled, library: Library) -> Iterator[Diagnostic]:
    """W131: a cheapest chain has a target whose price neither the file nor `library` knows: it is tried last."""
    if compiled.program is None:
        return
    for path, target in _targets(compiled.program):
        strategy = compiled.program.chains[str(path[1])].strategy
        if strategy.name != CHEAPEST or known_facts(target, library).prices is not None:
            continue
        message = f"the price of '{target.name}' is not known, so this cheapest chain tries it last"
        hint = f"say what it costs under providers.{target.provider}.models"
        yield finding("W131", message, compiled.loaded.places.value_at(path), path=path, suggestion=hint)


def w187_deprecated_model(compiled: Compiled, deprecated: Callable[[str, str], bool]) -> Iterator[Diagnostic]:
    """W187: the price library says that the provider gives a target's model up."""
    if compiled.program is None:
        return
    for path, target in _targets(compiled.program):
        if target.type.prices is not None and deprecated(target.type.prices, target.model):
            message = f"'{target.model}' is deprecated: its provider will give it up"
            place = compiled.loaded.places.value_at(path)
            yield finding("W187", message, place, path=path, suggestion="use one of its successors")
