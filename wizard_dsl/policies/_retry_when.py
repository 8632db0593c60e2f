"""`retry.when` as a function of an attempt that failed."""

from __future__ import annotations

from collections.abc import Callable

from wizard_dsl.core.errors import WizardError, root
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.template import bind


def predicate(text: str) -> Callable[[WizardError, int], bool]:
    """`when` as a function of the attempt's error and its number, from 1. Raises StepFailed where the values do not
    fit; the text was compiled before, when the file was checked."""
    compiled = _compiled(text)

    def wanted(error: WizardError, attempt: int) -> bool:
        last = root(error)
        seen = {
            "kind": last.kind,
            "status": getattr(last, "status", None),
            "message": last.message,
            "retry_after": last.retry_after,
        }
        return bool(compiled.evaluate(bind({"error": seen, "attempt": attempt})))

    return wanted


def most_attempts(text: str | None, attempts: int) -> int:
    """How many of so many attempts a predicate leaves: fewer only where it looks at nothing but their number."""
    compiled = None if text is None else _compiled(text)
    if compiled is None or not compiled.names <= {"attempt"}:
        return attempts
    return next((k for k in range(1, attempts) if not _repeats(compiled, k)), attempts)


def _repeats(compiled: Expression, attempt: int) -> bool:
    """What fails with its values repeats nothing."""
    try:
        return bool(compiled.evaluate(bind({"attempt": attempt})))
    except WizardError:
        return False


def _compiled(text: str) -> Expression:
    compiled = compile_expression(text, where="retry.when")
    if isinstance(compiled, list):
        raise ValueError(f"retry.when: {compiled[0].message}")
    return compiled
