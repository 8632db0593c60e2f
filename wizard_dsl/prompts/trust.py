"""Who may speak in a system message: the author of the file, and inputs that are declared `trusted`.

The rule is the simplest sound one: *any* use of a name that is not trusted, be it in a test or behind a filter, is
an error. Text that steers only an `{% if %}` still chooses what the system message says. A step's answer is never
trusted, for a model wrote it after reading who knows what; its `skipped`, `usage` and `served_by` are ours and are.
`index` is a number we count; `item` is trusted where the expression of `for_each` uses trusted names only.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from wizard_dsl.prompts.expression import Expression
from wizard_dsl.prompts.names import GLOBALS, Problem, Use
from wizard_dsl.prompts.template import Template

_OUR_FIELDS = frozenset({"served_by", "skipped", "usage"})


def untrusted_in_system(template: Template, trusted: Set[str]) -> list[Problem]:
    """Every use of an untrusted name in a template of a system message.

    `trusted` holds the names of trusted inputs, and `item` where `item_is_trusted`.
    """
    found = [
        Problem(
            line=use.line,
            column=template.column(use.line, use.name),
            message=_sentence(use),
            kind="untrusted",
            name=use.name,
            suggestion="move it to a user message"
            + (
                ""
                if use.name in ("steps", "item")
                else ", or declare the input `trusted: true` if no outsider can write it"
            ),
        )
        for use in _untrusted(template.uses, trusted)
    ]
    return template.placed(found)


def item_is_trusted(for_each: Expression, trusted: Set[str]) -> bool:
    """Whether `item` may stand in a system message: its list is made of trusted inputs and constants."""
    return not any(_untrusted(for_each.uses, trusted))


def _untrusted(found: Iterable[Use], trusted: Set[str]) -> Iterable[Use]:
    for use in found:
        ours = use.name == "steps" and len(use.path) > 1 and use.path[1] in _OUR_FIELDS
        if not ours and use.name not in trusted and use.name != "index" and use.name not in GLOBALS:
            yield use


def _sentence(use: Use) -> str:
    if use.name == "steps":
        step = use.path[0] if use.path and use.path[0] is not None else "NAME"
        return f"the output of steps.{step} cannot stand in a system message: a model wrote it, from untrusted text"
    if use.name == "item":
        return "'item' cannot stand in a system message: the list of for_each uses something untrusted"
    return f"the untrusted input {use.name!r} cannot stand in a system message"
