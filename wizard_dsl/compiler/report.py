"""Where the compiler puts its findings: each at its place in the document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Place, Places, Related, finding

if TYPE_CHECKING:
    from wizard_dsl.prompts.names import Problem

#: What kind of problem in a template is which code.
_TEMPLATE_CODES = {"syntax": "E050", "filter": "E050", "test": "E050", "refused": "E050", "shape": "E055"}


class Report:
    """Collects diagnostics about one document."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.found: list[Diagnostic] = []

    def add(
        self,
        code: str,
        message: str,
        path: DocPath,
        *,
        key: bool = False,
        value: str | None = None,
        suggestion: str | None = None,
        related: Sequence[tuple[DocPath, str]] = (),
        elsewhere: Sequence[Related] = (),
    ) -> None:
        """A finding at the value at `path`, or at its key; `related` are other places that have a part in it, by
        their path in this document, `elsewhere` those that may stand in another one."""
        place = self.places.key_at(path) if key else self.places.value_at(path)
        others = [*elsewhere, *(Related(*self.places.value_at(other), text) for other, text in related)]
        self.found.append(finding(code, message, place, path=path, value=value, suggestion=suggestion, related=others))

    def template(self, problems: Iterable[Problem], path: DocPath, *, expression: bool = False) -> None:
        """Problems of a template written at `path`, each at its line inside the text."""
        for problem in problems:
            at = (*path, *problem.path)
            place = self.places.text_at(at, problem.line, problem.column or 1)
            self._problem(problem, place, at, expression)

    def in_file(self, problems: Iterable[Problem], file: str, path: DocPath) -> None:
        """Problems of a prompt file, at its own lines."""
        for problem in problems:
            self._problem(problem, Place(file, problem.line, problem.column or 1), path, False)

    def in_front(self, file: str, line: int, message: str, path: DocPath) -> None:
        """Something wrong in the front matter of a prompt file."""
        self.found.append(finding("E055", message, Place(file, line, 1), path=path))

    def _problem(self, problem: Problem, place: Place, path: DocPath, expression: bool) -> None:
        code = _TEMPLATE_CODES.get(problem.kind, "E051")
        if problem.kind == "untrusted":
            code = "E052"
        elif expression and code == "E050":
            code = "E053"
        hint = problem.suggestion
        if hint is not None and " " not in hint:
            hint = f"did you mean '{hint}'?"
        self.found.append(finding(code, problem.message, place, path=path, suggestion=hint))
