"""Contract: the answer satisfies the schema that the request declares, or is repaired, or is nobody's answer.

The whole answer is read before it is judged, so nothing of it is streamed. A violation is shown to the target that
made it, with the validator's sentences, up to `repairs` times; each repair has the target's attempts anew. A
target that does not get it right is done with, and the strategy goes on with those not yet tried.

What counts as the answer's JSON: the text, alone or in one Markdown fence, white space around it ignored. An answer
that calls tools the request offered is passed on unchecked. The step's `output` configures this policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts, Figure
from wizard_dsl.core.component import Example, PolicyConfig, PolicyType, Rung, Scope
from wizard_dsl.core.contract import parse_json
from wizard_dsl.core.errors import ContractViolated, SpecError, WizardError
from wizard_dsl.core.events import ContractFailed, ContractRepaired, StepEnded
from wizard_dsl.core.messages import Completion, Message, Request, message
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Failure, Run

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

#: At most so many violations are named, each in at most so many characters: a repair's prompt must stay small.
_MOST = 10
_LONGEST = 200
#: Bytes that a repair adds to the prompt at most besides the answer: its sentences, each of a place and what is wrong
#: there, those around them, and two messages.
_COMPLAINT = _MOST * 2 * (4 * _LONGEST + 8) + 1024
#: What is said around the sentences of a repair.
_REFUSED = "This answer does not satisfy the JSON schema that was asked for:"
_WISH = "Answer again with the corrected JSON and nothing else."
#: Bytes that a repair has at least: these, and one sentence in its line, which names a place and what is wrong there.
_LEAST = len(_REFUSED) + len(_WISH) + len("\n- $: ?\n")
#: Compiled validators kept; a pipeline has as many schemas as it has steps.
_KEPT = 64

_CUT = {
    "length": "the answer was cut off at max_tokens (finish reason: length)",
    "content_filter": "the answer was cut off by the provider's content filter",
}


class ContractConfig(PolicyConfig, frozen=True):
    """The keys of a step's `output` that concern the check."""

    repairs: Annotated[int, Meta(ge=0, le=5, description="how often a violation is shown to the model")] = 1


class Violation(msgspec.Struct, frozen=True):
    """One place that is not as declared. `sentence` may quote the answer; `where` never does."""

    where: str
    sentence: str


class Contract:
    """Reads, judges and repairs."""

    __slots__ = ("_emit", "_next", "_path", "_repairs", "_validators")

    def __init__(self, config: ContractConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._emit = context.emit
        self._path = context.path
        self._repairs = config.repairs
        self._validators: dict[int, tuple[dict[str, Any], Draft202012Validator]] = {}

    async def call(self, request: Request, run: Run) -> Response:
        """Raises ContractViolated, or through the strategy AllFallbacksFailed; SpecError for a broken schema."""
        if request.schema is None:
            return await self._next(request, run)
        validator = self._validator(request.schema)
        run = msgspec.structs.replace(run, commit="end")
        while True:
            response = await self._next(request, run)
            violated = await self._judge(validator, request, response, run, 0)
            if violated is None:
                return response
            served = response.served
            outcome = await self._repair(validator, request, run, response, violated)
            if isinstance(outcome, Response):
                return outcome
            run = msgspec.structs.replace(run, failures=(*served.failures, outcome))

    async def _repair(
        self,
        validator: Draft202012Validator,
        request: Request,
        run: Run,
        response: Response,
        violated: ContractViolated,
    ) -> Response | Failure:
        """Show the violations to the target that answered; its last failure where that does not help."""
        served = response.served
        again = msgspec.structs.replace(run, only=served.position, used=0, failures=served.failures)
        for count in range(1, self._repairs + 1):
            try:
                response = await self._next(repair_request(request, violated), again)
                repeated = await self._judge(validator, request, response, run, count)
            except WizardError as error:
                called = error.attempt is not None
                return Failure(served.position, served.target, error if called else violated)
            if repeated is None:
                self._emit(run, ContractRepaired(path=self._path, target=response.served.target, repairs=count))
                response.served.failures = served.failures
                return response
            violated = repeated
        return Failure(served.position, served.target, violated)

    async def _judge(
        self, validator: Draft202012Validator, request: Request, response: Response, run: Run, repairs: int
    ) -> ContractViolated | None:
        async with response:
            completion = await response.read()
        if completion.tool_calls and request.tools:
            return None
        violations = find_violations(validator, completion)
        if not violations:
            return None
        target = response.served.target
        self._emit(
            run,
            ContractFailed(
                path=self._path, target=target, violations=tuple(each.where for each in violations), repair=repairs
            ),
        )
        return _violated(violations, completion, target)

    def _validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        known = self._validators.get(id(schema))
        if known is not None and known[0] is schema:
            return known[1]
        if len(self._validators) >= _KEPT:
            self._validators.clear()
        validator = compile_schema(schema, self._path)
        self._validators[id(schema)] = schema, validator
        return validator


def compile_schema(schema: dict[str, Any], where: str) -> Draft202012Validator:
    """A validator that never leaves the process. Raises SpecError for a schema that is none."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    wrong = _wrong_with(msgspec.json.encode(schema))
    if wrong:
        raise SpecError(f"the output schema is not a JSON Schema: {wrong}", where=where) from None
    return Draft202012Validator(schema, registry=Registry())


@lru_cache(maxsize=_KEPT)
def _wrong_with(schema: bytes) -> str:
    """What keeps a text from being a JSON Schema; looked at once, however many runtimes are made of a file."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(msgspec.json.decode(schema))
    except SchemaError as error:
        return str(error.message)
    return ""


def find_violations(validator: Draft202012Validator, completion: Completion) -> list[Violation]:
    """Where an answer is not as declared; at most ten places. Raises SpecError for a reference to nowhere."""
    from referencing.exceptions import Unresolvable

    try:
        value = parse_json(completion.text)
    except RecursionError:
        return [Violation("$: json", "the answer is not JSON that can be read: it is nested too deeply")]
    except ValueError as error:
        cut = _CUT.get(completion.finish_reason or "")
        return [Violation("$: json", f"{error}; {cut}" if cut else str(error))]
    try:
        found = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])
    except Unresolvable as error:
        raise SpecError(f"the output schema refers to what is not in it: {error}") from None
    except RecursionError:
        return [Violation("$: json", "the answer is nested too deeply to be checked")]
    return [Violation(f"{error.json_path}: {error.validator}", _sentence(error)) for error in found[:_MOST]]


def _sentence(error: ValidationError) -> str:
    text = error.message if len(error.message) <= _LONGEST else f"{error.message[: _LONGEST - 1]}…"
    where = error.json_path if len(error.json_path) <= _LONGEST else f"{error.json_path[: _LONGEST - 1]}…"
    return f"{where}: {text}"


def _violated(violations: Iterable[Violation], completion: Completion, target: str) -> ContractViolated:
    sentences = [each.sentence for each in violations]
    error = ContractViolated(
        f"the answer does not satisfy its schema: {'; '.join(sentences)}", violations=sentences, where=target
    )
    error.partial = completion
    return error


def repair_request(request: Request, violated: ContractViolated) -> Request:
    """The request again, with the answer that was refused and why."""
    refused = violated.partial.text if violated.partial is not None else ""
    answer: tuple[Message, ...] = (message("assistant", refused),) if refused.strip() else ()
    faults = "\n".join(f"- {sentence}" for sentence in violated.violations)
    wish = message("user", f"{_REFUSED}\n{faults}\n{_WISH}")
    return msgspec.structs.replace(request, messages=(*request.messages, *answer, wish))


def bound(config: ContractConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """Whoever answers may be asked 1 + repairs times; a repair also holds the earlier answer, and what is wrong. A
    target without room for the words around that is not asked for one."""
    again = facts.again(facts.answer + Figure(_COMPLAINT), _LEAST) or inner
    return inner.after(again.repeated(config.repairs))


CONTRACT = PolicyType(
    name="contract",
    summary="Checks the whole answer against its JSON schema, and has violations repaired.",
    rung=Rung.CONTRACT,
    scope=Scope.CALL,
    config=ContractConfig,
    build=Contract,
    bound=bound,
    scalar="repairs",
    buffers=True,
    emits=(ContractFailed, ContractRepaired),
    raises=(ContractViolated, SpecError),
    outcomes=(
        outcome("kept", "an answer was as declared", told(StepEnded, "step", kind="ok")),
        outcome(
            "repaired",
            "an answer was as declared after a repair",
            told(ContractRepaired, "step"),
            possible=lambda site: site.config.repairs > 0,
        ),
        outcome(
            "broken",
            "no repair helped: the target was given up",
            told(ContractFailed, "step", when=lambda event, site: event.repair == site.config.repairs),
        ),
    ),
    examples=(Example("A violation is shown to the model twice", "contract: {repairs: 2}"),),
)
