"""What was put in to try something, and stayed."""

from __future__ import annotations

from collections.abc import Iterator

from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath


def w185_mock_among_real_targets(subject: Subject) -> Iterator[Diagnostic]:
    """W185: steps may be answered by a mock in a file that also asks real models. A file of mocks alone is a trial."""
    asked = [subject.program.chains[name] for name in sorted(subject.compiled.used.chains)]
    real = [(plan.name, each) for plan in asked for each in plan.targets if each.type.name != "mock"]
    for plan in asked if real else ():
        for target in (each for each in plan.targets if each.type.name == "mock"):
            chain, other = real[0]
            at: DocPath = ("chains", plan.name, "targets", target.index)
            beside: DocPath = ("chains", chain, "targets", other.index)
            message = f"'{target.name}' is a mock: what it makes up is served as an answer"
            hint = "remove it, or keep it in an overlay for trials, or use `--mock`"
            yield subject.warn("W185", message, at, suggestion=hint, related=[(beside, "a real target")])
