"""What is known of models. Not part of `lint`: the price library is needed, and `validate` is to be quick."""

from __future__ import annotations

from collections.abc import Iterator

from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.compiler.link import Library, known_facts
from wizard_dsl.compiler.program import Program, TargetPlan
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, finding


def w111_unknown_model(compiled: Compiled, library: Library) -> Iterator[Diagnostic]:
    """W111: neither the file nor the provider type nor `library` knows a target's window or price."""
    if compiled.program is None:
        return
    seen: set[tuple[str, str]] = set()
    for path, target in _targets(compiled.program, compiled):
        model = (target.provider, target.model)
        facts = known_facts(target, library)
        if model in seen or facts.context is not None or facts.prices is not None:
            continue
        seen.add(model)
        message = f"nothing is known about the model '{target.model}': its window and its cost go unchecked"
        hint = f"say what you know under providers.{target.provider}.models"
        yield finding("W111", message, compiled.loaded.places.value_at(path), path=path, suggestion=hint)


def _targets(program: Program, compiled: Compiled) -> Iterator[tuple[DocPath, TargetPlan]]:
    document = compiled.loaded.document
    assert document is not None
    for name, chain in program.chains.items():
        enabled = [index for index, spec in enumerate(document.chains[name].targets) if spec.enabled]
        for target in chain.targets:
            yield ("chains", name, "targets", enabled[target.position]), target
