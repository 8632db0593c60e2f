"""What has no end of its own: a stream that only the deadline cuts, a loop of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wizard_dsl.compiler.program import ChainPlan, TargetPlan
from wizard_dsl.core.component import seconds
from wizard_dsl.core.size import Size, mapping_of, of_schema, of_value
from wizard_dsl.lint.subject import IN_PROCESS, Subject
from wizard_dsl.prompts.size import expression_size
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

#: The keys that end a list or a text.
_ENDS: Final = ("maxItems", "maxLength")


def w183_stream_without_end(subject: Subject) -> Iterator[Diagnostic]:
    """W183: the file takes idle and total timeout away, so that nothing but the deadline ends a stream that stalls."""
    seen: set[DocPath] = set()
    for name in sorted(subject.compiled.used.chains):
        plan = subject.program.chains[name]
        for target in plan.targets:
            at = _unbounded_at(subject, plan, target)
            if at is not None and at not in seen:
                seen.add(at)
                message = f"a stream of '{target.name}' that stalls is ended by the deadline alone: there is no timeout"
                hint = "set timeout: {idle: 30s}, or a total"
                yield subject.warn("W183", f"{message} of silence and none in all", at, suggestion=hint)


def _unbounded_at(subject: Subject, plan: ChainPlan, target: TargetPlan) -> DocPath | None:
    """Where the file takes the end of a target's streams away; None where there is one, or one cannot know."""
    if target.type.name in IN_PROCESS:
        return None
    limits = [each.config for each in target.ladder if each.type.name == "timeout"]
    if any(seconds(getattr(each, key)) is not None for each in limits for key in ("idle", "total")):
        return None
    entry = subject.document.chains[plan.name]
    for key in ("total", "idle") if limits else ():
        at = subject.setting(entry, target.index, "timeout", key)
        if at is not None:
            return at
    for path, policies in subject.places_of(entry, target.index):
        if policies.get("timeout") == "off":
            return (*path, "timeout")
    use: DocPath = ("chains", plan.name, "policies", "use")
    return use if not limits and subject.written(use) else None


def w186_loop_without_bound(subject: Subject) -> Iterator[Diagnostic]:
    """W186: `for_each` goes over a list or a text whose schema does not say how long it may be."""
    declared = subject.program.inputs.items()
    inputs = {name: of_schema(spec.schema, f"input '{name}'", ("inputs", name)) for name, spec in declared}
    for step in subject.program.steps:
        if step.for_each is None:
            continue
        names = {**inputs, "steps": mapping_of({each: _view(subject, each) for each in step.for_each.step_refs})}
        count = expression_size(step.for_each, names).count
        if count.bounded or not count.reason.endswith(_ENDS):
            continue
        message = f"for_each of '{step.name}' may go on for ever: {count.reason}"
        related = [(count.at, "the schema")] if subject.written(count.at) else []
        hint = f"add {count.reason.rpartition(' ')[2]}, so that the calls of a run are bounded"
        yield subject.warn("W186", message, ("steps", step.name, "for_each"), suggestion=hint, related=related)


def _view(subject: Subject, name: str) -> Size:
    """A step as others see it, as far as the file says how large its answer is."""
    schema: DocPath = ("steps", name, "output", "schema")
    output = getattr(subject.program.step(name).config, "output", None)
    declared = getattr(output, "schema", None)
    json = of_value(None) if declared is None else of_schema(declared, f"steps.{name}.json", schema)
    return mapping_of({"text": of_value(""), "json": json, "items": of_value([]), "skipped": of_value(False)})


UNBOUNDED_RULES: Final = (w183_stream_without_end, w186_loop_without_bound)
