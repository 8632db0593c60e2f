"""Safety: an answer that is not allowed never reaches the caller.

It stands outside the cache, so a stored answer is judged by today's rules, and outside the contract, so what is refused
is not repaired: it is asked for nobody's benefit. The whole answer is read before it is judged, so nothing of it is
streamed. Two judges may be set: the expression `safety.block_when` over `text` and `json` of the answer, and, from
Python, `wizard.open(…, assess=function)`. A judge that raises has refused. No breaker learns of it: the target did
what it was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import bound_unchanged
from wizard_dsl.core.component import Example, PolicyConfig, PolicyType, Rung, Scope
from wizard_dsl.core.contract import parse_json
from wizard_dsl.core.errors import SafetyBlocked, SpecError, WizardError
from wizard_dsl.core.events import AnswerRefused, StepEnded
from wizard_dsl.core.messages import Completion, Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.template import bind


class SafetyConfig(PolicyConfig, frozen=True):
    """What a file sets of the output check, in its `safety` section or a step's."""

    block_when: Annotated[
        str | None, Meta(description="an expression over `text` and `json` of the answer; true refuses it")
    ] = None


class Safety:
    """Reads and judges."""

    __slots__ = ("_assess", "_emit", "_next", "_path", "_when")

    def __init__(self, config: SafetyConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._emit = context.emit
        self._path = context.path
        self._assess: Callable[[Completion], Sequence[str]] | None = context.assess
        self._when = None if config.block_when is None else _expression(config.block_when, context.path)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises SafetyBlocked, and what comes from below."""
        response = await self._next(request, msgspec.structs.replace(run, commit="end"))
        async with response:
            completion = await response.read()
        findings = self._judge(completion)
        if not findings:
            return response
        self._emit(run, AnswerRefused(path=self._path, target=response.served.target, findings=tuple(findings)))
        raise SafetyBlocked(
            f"the answer was refused: {'; '.join(findings)}", findings=findings, where=run.scope.place or self._path
        )

    def _judge(self, completion: Completion) -> list[str]:
        findings = []
        if self._when is not None:
            findings += _by_rule(self._when, completion)
        if self._assess is not None:
            try:
                findings += [str(each) for each in self._assess(completion)]
            except Exception as error:
                findings.append(f"the assessment failed: {type(error).__name__}")
        return findings


def _by_rule(when: Expression, completion: Completion) -> list[str]:
    try:
        value = parse_json(completion.text)
    except (ValueError, RecursionError):
        value = None
    try:
        return ["block_when is true of it"] if when.evaluate(bind({"text": completion.text, "json": value})) else []
    except WizardError as error:
        return [f"block_when cannot be evaluated for it: {error.message}"]


def _expression(text: str, where: str) -> Expression:
    made = compile_expression(text, where=f"{where}.block_when")
    if isinstance(made, list):
        raise SpecError(f"safety.block_when: {made[0].message}", where=where)
    return made


SAFETY = PolicyType(
    name="safety",
    summary="Refuses answers that are not allowed, whoever gave them and whenever.",
    rung=Rung.SAFETY,
    scope=Scope.CALL,
    config=SafetyConfig,
    build=Safety,
    bound=bound_unchanged,
    buffers=True,
    emits=(AnswerRefused,),
    raises=(SafetyBlocked,),
    outcomes=(
        outcome("passed", "an answer was allowed", told(StepEnded, "step", kind="ok")),
        outcome("refused", "an answer was refused", told(AnswerRefused, "step")),
    ),
    examples=(Example("No answer may hold a link", "safety: {block_when: \"'http' in text\"}"),),
)
