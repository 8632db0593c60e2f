"""What is declared and never used. Only what the pipeline file itself declares: `wizard.yaml` serves others, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath


def w120_unused_provider(subject: Subject) -> Iterator[Diagnostic]:
    """W120: no chain has a target of the provider. A target that is switched off counts as use."""
    used = {target.provider for chain in subject.document.chains.values() for target in chain.targets}
    for name in _unused(subject, "providers", subject.document.providers, used):
        yield subject.warn("W120", f"no chain uses the provider '{name}'", ("providers", name), key=True)


def w121_unused_chain(subject: Subject) -> Iterator[Diagnostic]:
    """W121: no step asks the chain."""
    for name in _unused(subject, "chains", subject.document.chains, subject.compiled.used.chains):
        yield subject.warn("W121", f"no step uses the chain '{name}'", ("chains", name), key=True)


def w122_unused_prompt(subject: Subject) -> Iterator[Diagnostic]:
    """W122: no step names the prompt."""
    for name in _unused(subject, "prompts", subject.document.prompts, subject.compiled.used.prompts):
        yield subject.warn("W122", f"no step uses the prompt '{name}'", ("prompts", name), key=True)


def w123_unused_input(subject: Subject) -> Iterator[Diagnostic]:
    """W123: no template and no expression uses the input."""
    for name in _unused(subject, "inputs", subject.document.inputs, subject.compiled.used.inputs):
        yield subject.warn("W123", f"no template and no expression uses the input '{name}'", ("inputs", name), key=True)


def w124_unused_policy_set(subject: Subject) -> Iterator[Diagnostic]:
    """W124: no chain uses the set; `default` is used by those that name none."""
    used = {chain.use or "default" for chain in subject.document.chains.values()}
    for name in _unused(subject, "policies", subject.document.policies, used):
        hint = f"write policies: {{use: {name}}} in a chain" if name != "default" else None
        yield subject.warn(
            "W124", f"no chain uses the policy set '{name}'", ("policies", name), key=True, suggestion=hint
        )


def w130_idle_weight(subject: Subject) -> Iterator[Diagnostic]:
    """W130: a target has a weight, and the chain's strategy looks at none."""
    for name, chain in subject.program.chains.items():
        if chain.strategy.weighs:
            continue
        for target in chain.targets:
            path: DocPath = ("chains", name, "targets", target.index)
            if target.weight != 1 and subject.own(path):
                message = f"strategy {chain.strategy.name} does not look at the weight of '{target.name}'"
                yield subject.warn("W130", message, (*path, "weight"), suggestion="write strategy: weighted")


def _unused(subject: Subject, section: str, declared: Iterable[str], used: Iterable[str]) -> Iterator[str]:
    known = frozenset(used)
    return (name for name in declared if name not in known and subject.own((section, name)))
