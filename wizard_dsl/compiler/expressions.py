"""Expressions in the settings of policies and strategies, checked where they are written.

A config declares such a field with `core.component.expression_over`; the node that has it compiles it for itself, when
it is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wizard_dsl.core.result import FACTS, ErrorRow, StepRow
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.names import Known
from wizard_dsl.spec.fit import expression_fields

if TYPE_CHECKING:
    from wizard_dsl.compiler.report import Report
    from wizard_dsl.core.component import PolicyConfig
    from wizard_dsl.registry import Registry
    from wizard_dsl.spec.diagnostics import DocPath
    from wizard_dsl.spec.document import Document, PolicyMap


def check_expressions(document: Document, registry: Registry, report: Report) -> None:
    """Report what is wrong with the expressions in every set, provider, chain, target and strategy."""
    for path, policies in _policies(document):
        for kind, raw in policies.items():
            policy = registry.policy(kind)
            if policy is not None and isinstance(raw, dict):
                _check(policy.config, raw, (*path, kind), report)
    for name, entry in document.chains.items():
        config = entry.strategy_config
        raw = {field: getattr(config, field) for field in config.__struct_fields__}
        _check(type(config), raw, ("chains", name, "strategy"), report)


def invariants(document: Document, report: Report) -> dict[str, Expression]:
    """The file's invariants, compiled; what is wrong with them is reported."""
    if not document.file.invariants:
        return {}
    known = Known(
        inputs=frozenset(document.inputs),
        steps=frozenset(document.steps),
        extra=frozenset(FACTS) - {"steps"},
        fields={"error": ErrorRow.__struct_fields__},
        step_fields=StepRow.__struct_fields__,
    )
    found = {}
    for name, text in document.file.invariants.items():
        made = compile_expression(text, known, where=f"invariants.{name}")
        if isinstance(made, Expression):
            found[name] = made
        else:
            report.template(made, ("invariants", name), expression=True)
    return found


def _policies(document: Document) -> Iterator[tuple[DocPath, PolicyMap]]:
    for name, policies in document.policies.items():
        yield ("policies", name), policies
    for name, policies in document.provider_policies.items():
        yield ("providers", name, "policies"), policies
    for name, entry in document.chains.items():
        yield ("chains", name, "policies"), entry.policies
        for index, policies in enumerate(entry.target_policies):
            yield ("chains", name, "targets", index, "policies"), policies


def _check(config: type[PolicyConfig], raw: dict[str, Any], path: DocPath, report: Report) -> None:
    for field, names in expression_fields(config).items():
        text = raw.get(field)
        if isinstance(text, str):
            fields = {name: tuple(known) for name, known in names.items() if known}
            made = compile_expression(text, Known(extra=frozenset(names), fields=fields))
            if isinstance(made, list):
                report.template(made, (*path, field), expression=True)
