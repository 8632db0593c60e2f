"""The fold of a whole program: its steps, what they hand to each other, and the files they run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any, Protocol

import msgspec

from wizard_dsl.analysis._plan_call import CallFold
from wizard_dsl.analysis._plan_repeats import Firsts, budget_of, repeats, spared
from wizard_dsl.compiler.facts import Library
from wizard_dsl.compiler.program import ChainPlan, Program, StepPlan
from wizard_dsl.core import units
from wizard_dsl.core.bound import NOTHING, Bound, Figure, Path, total, unbounded
from wizard_dsl.core.size import Size, boundless, list_of, mapping_of, number_of, of_schema, of_value, text_of
from wizard_dsl.core.step_bound import Asked, Made, StepFacts
from wizard_dsl.policies.budget import periods
from wizard_dsl.prompts.size import expression_size, prompt_size, template_size
from wizard_dsl.spec.document import InputSpec
from wizard_dsl.steps.generate import GENERATE

#: What is left out of a fold, to see what it contributes: a step, and a kind of policy or a target of its chain.
Left = tuple[str, str]
#: A role marker of three bytes, `<s>`, gets a space when it is escaped.
_ESCAPED_ROLES = 4 / 3


class StepFold(msgspec.Struct, frozen=True):
    """One step: `once` is one execution, `whole` all of them; `targets` is the share of each target, by name. `firsts`
    is known where a retry budget limits the repeats; `ends` says that no run gets past it."""

    executions: Figure
    once: Bound
    whole: Bound
    targets: Mapping[str, Bound]
    view: Size
    firsts: Firsts | None = None
    ends: bool = False


class Call(Protocol):
    """One call of a chain: its bound, the share of each target, and the bytes of an answer."""

    def bound(self, asked: Asked) -> Bound: ...
    def targets(self, asked: Asked) -> dict[str, Bound]: ...
    def answer(self, asked: Asked) -> Figure: ...


class Fold:
    """One program under the deadline of what runs it."""

    def __init__(
        self, program: Program, library: Library, *, deadline: float = math.inf, left_out: Collection[Left] = ()
    ) -> None:
        self._program = program
        self._library = library
        self._deadline = min(deadline, program.deadline)
        self._left_out = left_out

    def steps(self, inputs: Mapping[str, Size] | None = None) -> dict[str, StepFold]:
        """The steps in the order of the program. `inputs` are the sizes of what the caller gives, where they are
        known: what is not among them has its default."""
        names = self._inputs(inputs)
        found: dict[str, StepFold] = {}
        for step in self._program.steps:
            seen = {**names, "steps": mapping_of({name: each.view for name, each in found.items()})}
            made = self._step(step, seen)
            found[step.name] = _never(made) if any(found[need].ends for need in step.needs) else made
        allowed = self._allowed(found)
        return {step.name: _spared(found[step.name], allowed.get(step.chain or "")) for step in self._program.steps}

    def _inputs(self, given: Mapping[str, Size] | None) -> dict[str, Size]:
        """What the names of the inputs mean to the steps."""
        inputs, found = self._program.inputs, dict[str, Size]()
        for name, spec in inputs.items():
            known = None if given is None else given.get(name)
            if known is None and given is not None and spec.default is not msgspec.UNSET:
                known = of_value(spec.default)
            found[name] = self._input(spec, known)
        return found

    def _input(self, spec: InputSpec, given: Size | None) -> Size:
        """The value of an input as the prompts see it."""
        at: Path = ("inputs", spec.name)
        size = of_schema(spec.schema, f"input '{spec.name}'", at)
        if given is not None:
            size = size.within(given)
        elif spec.default is not msgspec.UNSET:
            size = size.or_else(of_value(spec.default))
        return size if spec.trusted or self._program.guard.roles != "escape" else size.grown(_ESCAPED_ROLES)

    # -- the whole ----------------------------------------------------------------------------------

    def whole(self, steps: Mapping[str, StepFold]) -> Bound:
        """Sums, the longest path, and all that may be in flight at once; not yet limited by the deadline and the
        budgets of the run."""
        whole = NOTHING
        for step in self._program.steps:
            whole = whole.after(steps[step.name].whole)
        return msgspec.structs.replace(
            whole, attempts=self._attempts(steps), latency=self._latest(steps), in_flight=self._in_flight(steps)
        )

    def _latest(self, steps: Mapping[str, StepFold]) -> Figure:
        """The end of the longest path."""
        ends, latest = dict[str, Figure](), Figure(0)
        for step in self._program.steps:
            begin = Figure(0)
            for need in step.needs:
                begin = begin.largest(ends[need])
            ends[step.name] = begin + steps[step.name].whole.latency
            latest = latest.largest(ends[step.name])
        return latest

    def _attempts(self, steps: Mapping[str, StepFold]) -> Figure:
        """Their sum; what the retry budget of a chain allows is shared by the steps that ask it."""
        allowed, program = self._allowed(steps), self._program
        found = total(steps[step.name].whole.attempts for step in program.steps if step.chain not in allowed)
        for name, most in allowed.items():
            own = [steps[step.name] for step in program.steps if step.chain == name]
            firsts = total(each.firsts.whole for each in own if each.firsts is not None)
            found = found + total(each.whole.attempts for each in own).smallest(firsts + most)
        return found

    def _allowed(self, steps: Mapping[str, StepFold]) -> dict[str, Figure]:
        """Repeats that the retry budgets leave the chains of the steps, by name."""
        latency, program = self._latest(steps), self._program
        names = dict.fromkeys(step.chain for step in program.steps if steps[step.name].firsts is not None)
        return {name: repeats(program, program.chains[name], latency, self._deadline) for name in names if name}

    def limited(self, whole: Bound) -> Bound:
        """Under the deadline of the run and the budgets that stop it. A day's budget is there anew on each day that the
        run touches, and it may begin just before midnight."""
        latency = whole.latency.smallest(Figure(self._deadline, "the deadline", ("deadline",)))
        cost = whole.cost
        for limit in self._program.budgets:
            if limit.then == "stop" and limit.scope != "session":
                most = units.parse_money(limit.limit) * periods(limit.scope, latency.value)
                cost = cost.smallest(Figure(most, f"budgets.{limit.scope}", ("budgets", limit.scope)))
        return msgspec.structs.replace(whole, latency=latency, cost=cost)

    def _in_flight(self, steps: Mapping[str, StepFold]) -> Figure:
        """Steps on one path are never at once: of each path of a cover, the widest."""
        paths: list[list[str]] = []
        before: dict[str, set[str]] = {}
        for step in self._program.steps:
            before[step.name] = set(step.needs).union(*(before[need] for need in step.needs))
            path = next((each for each in paths if each[-1] in before[step.name]), None)
            if path is None:
                paths.append([step.name])
            else:
                path.append(step.name)
        found = Figure(0)
        for path in paths:
            widest = Figure(0)
            for name in path:
                widest = widest.largest(steps[name].whole.in_flight)
            found = found + widest
        return found

    def made(self, steps: Mapping[str, StepFold], inputs: Mapping[str, Size] | None = None) -> Made:
        """A run, and its output, as a step of another file; `inputs` as of `steps`."""
        names = {"steps": mapping_of({name: each.view for name, each in steps.items()}), **self._inputs(inputs)}
        output, bound = self._program.output, self.limited(self.whole(steps))
        passes = self._program.passes
        json = of_value(None) if passes is None else steps[passes].view.fields["json"]
        if output is None:
            assert passes is not None
            return Made(bound, steps[passes].view.fields["text"], json)
        if isinstance(output, Mapping):
            parts = {name: template_size(each, names, ("output", name)) for name, each in output.items()}
            whole = mapping_of(parts)
            return Made(bound, _printed(parts.get("text", whole)), whole)
        value = template_size(output, names, ("output",))
        return Made(bound, _printed(value), value.or_else(json))

    # -- a step -------------------------------------------------------------------------------------

    def _step(self, step: StepPlan, names: Mapping[str, Size]) -> StepFold:
        executions, at = Figure(1), ("steps", step.name)
        if step.for_each is not None:
            values = expression_size(step.for_each, names, (*at, "for_each"))
            item = values.item or boundless(f"an item of steps.{step.name} may be anything", at)
            names = {**names, "item": item, "index": number_of()}
            executions = values.count
        call = self.call(step)
        made, asked = self._made(step, names, call)
        often = Figure(1) if (step.name, "for_each") in self._left_out else executions
        shares = {} if call is None or asked is None else call.targets(asked)
        self.note(step, call, executions)
        return StepFold(
            executions,
            made.bound,
            _repeated(made.bound, often, step.concurrency),
            {name: _repeated(share, often, step.concurrency) for name, share in shares.items()},
            _view(step, made, executions, self._served(step)),
            self._firsts(step, names, call, often),
            _ends(step, call, asked),
        )

    def _firsts(self, step: StepPlan, names: Mapping[str, Size], call: Call | None, often: Figure) -> Firsts | None:
        """What is left of a step without repeats, where its chain has a budget for them."""
        if not isinstance(call, CallFold) or budget_of(call.chain) is None:
            return None
        bare = call.without("retry")
        made, asked = self._made(step, names, bare)
        shares = {} if asked is None else bare.targets(asked)
        once = made.bound.attempts
        targets = {name: share.attempts.product(often) for name, share in shares.items()}
        return Firsts(once, once.product(often), targets)

    def call(self, step: StepPlan) -> Call | None:
        """How the chain of a step is asked."""
        if step.chain is None:
            return None
        chain = self._program.chains[step.chain]
        kept = tuple(each for each in chain.targets if (step.name, each.name) not in self._left_out)
        return CallFold(
            msgspec.structs.replace(chain, targets=kept),
            step.own(),
            self._library,
            deadline=self._deadline,
            streams=self._program.streamed == step.name,
            shared=self._program.state != "memory",
            left_out=[what for name, what in self._left_out if name == step.name],
        )

    def _made(self, step: StepPlan, names: Mapping[str, Size], call: Call | None) -> tuple[Made, Asked | None]:
        """One execution, and what its chain is asked."""
        seen: list[Asked] = []

        def ask(asked: Asked) -> Made:
            assert call is not None, f"a step of type {step.type.name} asks no chain"
            full = asked.with_request(params={**step.params, **asked.request.params})
            seen.append(full)
            return Made(call.bound(full), text_of(call.answer(full)))

        at: Path = ("steps", step.name)
        if step.type.bound is None:
            return _unknown(step, at), None
        facts = StepFacts(
            at=at,
            prompt=self._prompt(step, names),
            templates=_templates(step, names),
            ask=ask,
            run=lambda inputs: self._other(step, inputs),
        )
        made = step.type.bound(step.config, facts)
        return made, seen[0] if len(seen) == 1 else None

    def note(self, step: StepPlan, call: Call | None, executions: Figure) -> None:
        """A step was folded."""

    def inner(self, program: Program) -> Fold:
        """The fold of a file that a step runs."""
        return Fold(program, self._library, deadline=self._deadline)

    def _prompt(self, step: StepPlan, names: Mapping[str, Size]) -> Asked | None:
        if step.prompt is None:
            return None
        return prompt_size(step.prompt, names, ("steps", step.name, "prompt")).with_request(tools=tuple(step.tools))

    def _other(self, step: StepPlan, inputs: Mapping[str, Size]) -> Made:
        """A run of the file that a step names. What is unbounded in it is told at the step."""
        program: Program = step.subprogram
        fold = self.inner(program)
        made = fold.made(fold.steps(inputs), inputs)
        return msgspec.structs.replace(made, bound=_from_file(made.bound, program.file, ("steps", step.name, "file")))

    def _served(self, step: StepPlan) -> Size:
        """The name of who answered."""
        if step.type.bound is None:
            return boundless(f"the step type {step.type.name} declares no bound", ("steps", step.name))
        chains = _all_chains(step.subprogram) if step.subprogram is not None else []
        chains += [] if step.chain is None else [self._program.chains[step.chain]]
        names = [target.name for chain in chains for target in chain.targets]
        if not names:
            return of_value(None)
        return of_value(max(names, key=len)).or_else(of_value(None))


def _ends(step: StepPlan, call: Call | None, asked: Asked | None) -> bool:
    """Whether the step fails, and its run with it, whatever the values: it asks once, and nobody may be asked."""
    if step.type is not GENERATE or step.on_error != "fail" or step.when is not None or step.for_each is not None:
        return False
    return isinstance(call, CallFold) and asked is not None and call.is_refused(asked)


def _never(step: StepFold) -> StepFold:
    """A step that waits for one that no run gets past."""
    targets = dict.fromkeys(step.targets, NOTHING)
    firsts = step.firsts and Firsts(Figure(0), Figure(0), dict.fromkeys(step.firsts.targets, Figure(0)))
    return StepFold(Figure(0), NOTHING, NOTHING, targets, step.view, firsts, ends=True)


def _spared(step: StepFold, most: Figure | None) -> StepFold:
    """With as many repeats as the retry budget of its chain allows in a run."""
    firsts = step.firsts
    if firsts is None or most is None:
        return step
    targets = {name: spared(share, firsts.targets[name], most) for name, share in step.targets.items()}
    once, whole = spared(step.once, firsts.once, most), spared(step.whole, firsts.whole, most)
    return msgspec.structs.replace(step, once=once, whole=whole, targets=targets)


def _all_chains(program: Program) -> list[ChainPlan]:
    """The chains of a file, and of those that it runs."""
    inner = [step.subprogram for step in program.steps if step.subprogram is not None]
    return [*program.chains.values(), *(chain for each in inner for chain in _all_chains(each))]


def _from_file(bound: Bound, file: str, at: Path) -> Bound:
    changes = {}
    for name in Bound.__struct_fields__:
        figure: Figure = getattr(bound, name)
        if figure.reason:
            changes[name] = Figure(figure.value, f"{PurePath(file).name}: {figure.reason}", at)
    return msgspec.structs.replace(bound, **changes)


def _unknown(step: StepPlan, at: Path) -> Made:
    reason = f"the step type {step.type.name} declares no bound"
    open_ = unbounded(reason, at)
    bound = Bound(attempts=open_, latency=open_, cost=open_, tokens=open_, in_flight=open_)
    return Made(bound, boundless(reason, at), boundless(reason, at))


def _repeated(bound: Bound, often: Figure, at_once: int) -> Bound:
    """So many executions, `at_once` of them at the same time."""
    if often.value == 1:
        return bound
    rounds = often if not often.bounded else Figure(math.ceil(often.value / at_once))
    return Bound(
        attempts=bound.attempts.product(often),
        latency=bound.latency.product(rounds),
        cost=bound.cost.product(often),
        tokens=bound.tokens.product(often),
        in_flight=bound.in_flight.product(often.smallest(Figure(at_once))),
    )


def _templates(step: StepPlan, names: Mapping[str, Size]) -> dict[str, Any]:
    """The sizes of a step's templates, shaped as they are."""
    made: dict[str, Any] = {}
    for key, value in step.templates.items():
        at: Path = ("steps", step.name, key)
        if isinstance(value, list):
            made[key] = [template_size(each, names, (*at, index)) for index, each in enumerate(value)]
        elif isinstance(value, Mapping):
            made[key] = {name: template_size(each, names, (*at, name)) for name, each in value.items()}
        else:
            made[key] = template_size(value, names, at)
    return made


def _printed(size: Size) -> Size:
    """A value as text."""
    return text_of(size.text)


def _view(step: StepPlan, made: Made, executions: Figure, served: Size) -> Size:
    """What templates see of a step. One that may fail or be skipped has no answer, or what `on_error` gives."""
    text, json = _printed(made.text).or_else(of_value("")), made.json.or_else(of_value(None))
    if isinstance(step.on_error, Mapping):
        default = of_value(step.on_error["default"])
        text, json = text.or_else(_printed(default)), json.or_else(default)
    truth = of_value(False)
    error = boundless(f"the error of an item of steps.{step.name} may say anything", ("steps", step.name))
    item = mapping_of({"text": text, "json": json, "skipped": truth, "error": error})
    items = list_of(item, executions if step.for_each is not None else Figure(0))
    if step.for_each is not None:
        text, json = text_of((text.text + Figure(1)).product(executions)), of_value(None)
    usage = mapping_of({"input_tokens": number_of(), "output_tokens": number_of()})
    return mapping_of(
        {"text": text, "json": json, "items": items, "usage": usage, "served_by": served, "skipped": truth}
    )
