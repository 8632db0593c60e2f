"""Steps: templates and expressions compiled, edges inferred, names looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.compiler import graph
from wizard_dsl.compiler.program import ChainPlan, Program, StepPlan
from wizard_dsl.compiler.prompts import CompiledPrompt, compile_spec
from wizard_dsl.core.errors import WizardError
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.names import Known
from wizard_dsl.prompts.template import Template, bind, compile_template
from wizard_dsl.prompts.trust import item_is_trusted
from wizard_dsl.spec.diagnostics import DocPath, meant
from wizard_dsl.spec.document import PromptSpec

if TYPE_CHECKING:
    from wizard_dsl.compiler.report import Report
    from wizard_dsl.spec.document import Document, StepEntry

_LOOP = frozenset({"item", "index"})
#: What an expression about an answer sees.
_ANSWER = Known(extra=frozenset({"text", "json"}))

#: Compiles the file a `pipeline` step names: (file as written, path of the step's key) → its program.
LoadOther = Callable[[str, DocPath], Program | None]


class StepPlanner:
    """Makes the plans of a document's steps, in order, and reports what cannot work."""

    def __init__(
        self,
        document: Document,
        chains: Mapping[str, ChainPlan],
        files: Mapping[DocPath, tuple[str, str]],
        report: Report,
        load_other: LoadOther,
        chain: str | None,
    ) -> None:
        self._document = document
        self._chains = chains
        self._files = files
        self._report = report
        self._load_other = load_other
        self._override = chain
        self._prompts: dict[DocPath, CompiledPrompt | None] = {}
        self._names = frozenset(document.inputs)
        self._trusted = frozenset(name for name, spec in document.inputs.items() if spec.trusted)
        self._told: set[DocPath] = set()
        self.used_prompts: set[str] = set()
        self.used_names: set[str] = set()

    def plan(self) -> tuple[StepPlan, ...]:
        """The steps in an order that respects their edges; those of a cycle are reported and left out."""
        plans = {name: self._step(entry) for name, entry in self._document.steps.items()}
        for name, spec in self._document.prompts.items():
            self._prompt(("prompts", name), spec)
        needs = {name: list(plan.needs) for name, plan in plans.items()}
        order = graph.topological(needs)
        if order is None:
            for cycle in graph.cycles(needs):
                self._cycle(cycle)
            return ()
        self._unreachable(plans, order)
        return tuple(plans[name] for name in order)

    # -- one step -----------------------------------------------------------------------------------

    def _step(self, entry: StepEntry) -> StepPlan:
        path: DocPath = ("steps", entry.name)
        for_each = self._expression(entry.common.for_each, (*path, "for_each"), loop=False)
        loop = entry.common.for_each is not None
        when = self._expression(entry.common.when, (*path, "when"), loop=loop)
        templates = self._templates(entry, path, loop)
        prompt = self._prompt_of(entry, path)
        if prompt is not None:
            trusted = self._trusted
            if for_each is not None and item_is_trusted(for_each, trusted):
                trusted |= {"item"}
            prompt.check(self._known(loop), trusted, self._report)
            self.used_names |= prompt.prompt.names
        refs = self._refs(when, for_each, prompt, templates)
        chain = self._chain(entry, path)
        return StepPlan(
            name=entry.name,
            type=entry.type,
            config=entry.config,
            chain=chain,
            needs=self._needs(entry, path, refs),
            templates=templates,
            prompt=None if prompt is None else prompt.prompt,
            when=when,
            when_each=loop and when is not None and bool(when.names & _LOOP),
            for_each=for_each,
            concurrency=entry.common.concurrency,
            on_error=self._on_error(entry, path),
            params={**(prompt.params if prompt else {}), **getattr(entry.config, "params", {})},
            sticky=self._chains[chain].sticky if chain is not None and chain in self._chains else None,
            tools=prompt.tools if prompt else (),
            subprogram=self._other(entry, path),
            block_when=self._block_when(entry, path),
        )

    def _block_when(self, entry: StepEntry, path: DocPath) -> str | None:
        """The step's own expression, else the file's; checked where it stands."""
        own = getattr(entry.config, "safety", None)
        if own is None:
            return None
        found: tuple[tuple[str | None, DocPath], ...] = (
            (own.block_when, (*path, "safety", "block_when")),
            (self._document.file.safety.block_when, ("safety", "block_when")),
        )
        text, at = next(((text, at) for text, at in found if text is not None), (None, path))
        if text is None:
            return None
        made = compile_expression(text, _ANSWER, where=".".join(map(str, at)))
        if not isinstance(made, list):
            return text
        if at not in self._told:
            self._told.add(at)
            self._report.template(made, at, expression=True)
        return None

    def _known(self, loop: bool) -> Known:
        return Known(inputs=self._names, steps=frozenset(self._document.steps), loop=loop)

    def _expression(self, text: str | None, path: DocPath, *, loop: bool) -> Expression | None:
        if text is None:
            return None
        made = compile_expression(text, self._known(loop), where=".".join(map(str, path)))
        if isinstance(made, list):
            self._report.template(made, path, expression=True)
            return None
        self.used_names |= made.names
        return made

    def _templates(self, entry: StepEntry, path: DocPath, loop: bool) -> dict[str, Any]:
        """The fields of a step that its type declares as templates: texts, lists or mappings of texts."""
        made: dict[str, Any] = {}
        for field in entry.type.templates:
            value = getattr(entry.config, field)
            at = (*path, field)
            if isinstance(value, str):
                made[field] = self._template(value, at, loop)
            elif isinstance(value, list):
                made[field] = [self._template(text, (*at, index), loop) for index, text in enumerate(value)]
            else:
                made[field] = {name: self._template(text, (*at, name), loop) for name, text in value.items()}
        return made

    def _template(self, text: str, path: DocPath, loop: bool) -> Template | None:
        made = compile_template(text, self._known(loop), where=".".join(map(str, path)))
        if isinstance(made, list):
            self._report.template(made, path)
            return None
        self.used_names |= made.names
        return made

    def output(self) -> Any:
        """The compiled `output`: None, a template, or a mapping of them."""
        output = self._document.file.output
        if output is None:
            return None
        if isinstance(output, str):
            return self._template(output, ("output",), False)
        return {name: self._template(text, ("output", name), False) for name, text in output.items()}

    # -- what a step refers to ----------------------------------------------------------------------

    def _prompt_of(self, entry: StepEntry, path: DocPath) -> CompiledPrompt | None:
        asked = getattr(entry.config, "prompt", None)
        at = (*path, "prompt")
        if isinstance(asked, str):
            spec = self._document.prompts.get(asked)
            if spec is None:
                hint = meant(asked, self._document.prompts)
                if hint is None:
                    hint = 'write the text in place, as in prompt: {user: "…"}'
                self._report.add("E043", f"there is no prompt '{asked[:60]}'", at, suggestion=hint)
                return None
            self.used_prompts.add(asked)
            return self._prompt(("prompts", asked), spec)
        return None if asked is None else self._prompt(at, msgspec.convert(asked, PromptSpec))

    def _prompt(self, path: DocPath, spec: PromptSpec) -> CompiledPrompt | None:
        if path not in self._prompts:
            self._prompts[path] = compile_spec(spec, path, self._files, self._report)
        return self._prompts[path]

    def _chain(self, entry: StepEntry, path: DocPath) -> str | None:
        if not entry.type.calls:
            return None
        name: str = self._override if self._override is not None else getattr(entry.config, "chain", "default")
        if name not in self._document.chains:
            written = "chain" in self._document.file.steps[entry.name]
            at = (*path, "chain") if written else path
            hint = (
                meant(name, self._document.chains)
                or f"add it under `chains`, as in chains: {{{name}: {{targets: […]}}}}"
            )
            self._report.add("E043", f"there is no chain '{name}'", at, suggestion=hint)
        return name

    def _refs(
        self, when: Expression | None, each: Expression | None, prompt: CompiledPrompt | None, made: Mapping[str, Any]
    ) -> frozenset[str]:
        found: set[str] = set()
        for use in (when, each, prompt.prompt if prompt else None, *_flat(made)):
            if use is not None:
                found |= use.step_refs
        return frozenset(found & self._document.steps.keys())

    def _needs(self, entry: StepEntry, path: DocPath, refs: frozenset[str]) -> dict[str, Any]:
        stated = entry.common.needs
        how: dict[str, Any] = dict(stated) if isinstance(stated, dict) else dict.fromkeys(stated, "done")
        for name in list(how):
            if name not in self._document.steps:
                at = (*path, "needs", name) if isinstance(stated, dict) else (*path, "needs", stated.index(name))
                hint = meant(name, self._document.steps)
                self._report.add(
                    "E043", f"there is no step '{name}'", at, key=isinstance(stated, dict), suggestion=hint
                )
                del how[name]
        order = list(self._document.steps)
        inferred = sorted(refs - how.keys(), key=order.index)
        return {**how, **dict.fromkeys(inferred, "done")}

    def _on_error(self, entry: StepEntry, path: DocPath) -> Any:
        wanted = entry.common.on_error
        fits = wanted in ("fail", "skip") if isinstance(wanted, str) else set(wanted) == {"default"}
        if not fits:
            self._report.add(
                "E068", "on_error is fail, skip, or {default: value}", (*path, "on_error"), value=str(wanted)[:60]
            )
        return wanted

    def _other(self, entry: StepEntry, path: DocPath) -> Program | None:
        file = getattr(entry.config, "file", None)
        if entry.type.name != "pipeline" or file is None:
            return None
        other = self._load_other(file, (*path, "file"))
        if other is not None:
            self._check_inputs(entry, path, other, file)
        return other

    def _check_inputs(self, entry: StepEntry, path: DocPath, other: Program, file: str) -> None:
        given: Mapping[str, str] = getattr(entry.config, "inputs", {})
        for name in given:
            if name not in other.inputs:
                self._report.add(
                    "E043",
                    f"{file} has no input '{name}'",
                    (*path, "inputs", name),
                    key=True,
                    suggestion=meant(name, other.inputs),
                )
        for name, spec in other.inputs.items():
            if name not in given and spec.default is msgspec.UNSET:
                self._report.add("E069", f"{file} needs the input '{name}'", path)

    # -- the graph ----------------------------------------------------------------------------------

    def _cycle(self, names: list[str]) -> None:
        trail = " → ".join([*names, names[0]])
        related = [(("steps", name), f"'{name}' is part of it") for name in names[1:]]
        self._report.add("E044", f"steps wait for each other: {trail}", ("steps", names[0]), key=True, related=related)

    def _unreachable(self, plans: Mapping[str, StepPlan], order: list[str]) -> None:
        """A condition without names that is false, and what runs only if that step ran."""
        never: dict[str, str] = {}
        for name in order:
            plan = plans[name]
            blocked = next((need for need, how in plan.needs.items() if how == "ran" and need in never), None)
            if plan.when is not None and _always_false(plan.when):
                never[name] = "its condition is always false"
                at: DocPath = ("steps", name, "when")
            elif blocked is not None:
                never[name] = f"it needs '{blocked}', which never runs"
                at = ("steps", name)
            else:
                continue
            self._report.add("E045", f"step '{name}' can never run: {never[name]}", at)


def _flat(made: Mapping[str, Any]) -> Iterator[Template | None]:
    for value in made.values():
        if isinstance(value, list):
            yield from value
        elif isinstance(value, Mapping):
            yield from value.values()
        else:
            yield value


def _always_false(condition: Expression) -> bool:
    if condition.uses:
        return False
    try:
        return not condition.evaluate(bind({}))
    except WizardError:
        return False
