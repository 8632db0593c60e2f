"""The first test of a pipeline, written from what it does: a run in which everybody answers, and one in which somebody
does not.

    text = first_test(compiled, registry, target=Path("triage.test.yaml"), pipeline=Path("triage.yaml"), env={}, …)

The pipeline is run in virtual time with targets that make their answers up: an instance of the schema that is asked
for, else a sentence. What they said becomes their scripts, and what came of it what is expected.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.core.errors import WizardError
from wizard_dsl.providers._instances import instance
from wizard_dsl.runtime.runtime import require, running
from wizard_dsl.spec.layout import formatted
from wizard_dsl.spec.source import load_text
from wizard_dsl.testing import virtual
from wizard_dsl.testing.repro_stand_ins import input_schema
from wizard_dsl.testing.repro_text import flow, scalar, scripts
from wizard_dsl.testing.scripted import Item, Script, Scripted, read_item

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program, TargetPlan
    from wizard_dsl.core.messages import Request
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.core.result import AttemptRow, Result
    from wizard_dsl.core.run import Run
    from wizard_dsl.registry import Registry

_ANSWER: Final = "An answer."
_DOWN: Final = 503
_ALWAYS: Final = 1_000_000
#: Of a value in `expect`: longer ones would tell nobody anything.
_LONGEST: Final = 80
_HEAD: Final = (
    "A beginning, as `wizard new test` wrote it: inputs and answers are made up, and what is expected is what came of",
    "them. Put in what your users ask and what your models say, then go on: `wizard test --coverage` lists what the",
    "policies can do that no test has seen, each with the lines of a test that shows it; with `snapshot: true` a test",
    "keeps messages, output and what the policies did.",
)


class _Played(msgspec.Struct, frozen=True):
    """What came of a run, and what each target did in it. `refused` is why it did not begin."""

    targets: Mapping[str, list[Any]]
    result: Result | None = None
    refused: WizardError | None = None

    @property
    def attempts(self) -> Sequence[AttemptRow]:
        return self.result.attempts if self.result is not None else ()

    @property
    def kind(self) -> str | None:
        """Of its error."""
        if self.result is None:
            return None if self.refused is None else self.refused.kind
        return None if self.result.error is None else self.result.error.kind


class _Improvised(Script):
    """A target that fails `failing` times, then answers whatever fits; `said` are the items that do it again."""

    def __init__(self, name: str, failing: int) -> None:
        super().__init__(name, ())
        self.said: list[Any] = []
        self._failing = failing

    def take(self, request: Request, run: Run) -> Item:
        self.said.append(_DOWN if len(self.said) < self._failing else _answer(request))
        return read_item(self.said[-1])


def _answer(request: Request) -> Any:
    if request.kind == "embed":
        return {}
    if request.schema is None:
        return _ANSWER
    value = instance(request.schema, "answer")
    return {"reply": json.dumps(value) if isinstance(value, str) else value}


def first_test(
    compiled: Compiled, registry: Registry, *, target: Path, pipeline: Path, env: Mapping[str, str], schema: str
) -> str:
    """The text of a test file at `target` that passes as it is. `env` are the variables that `compiled` was made with,
    `schema` is where its editor finds the grammar. Raises SpecError where the file is not valid."""
    program = require(compiled)
    required = [name for name, spec in program.inputs.items() if spec.default is msgspec.UNSET]
    inputs = {name: instance(input_schema(program, name), name) for name in required}
    lines = [f"# yaml-language-server: $schema={schema}", *(f"# {line}" for line in _HEAD)]
    lines += ["version: 1", f"pipeline: {scalar(Path(os.path.relpath(pipeline, target.parent)).as_posix())}"]
    lines += _defaults(program, inputs, env)
    lines += ["", "tests:"]
    for number, (name, played) in enumerate(_cases(compiled, registry, inputs)):
        lines += [*([""] if number else []), *_case(name, played)]
    return formatted(load_text("".join(f"{line}\n" for line in lines), ""), ())


def _cases(compiled: Compiled, registry: Registry, inputs: Mapping[str, Any]) -> Iterator[tuple[str, _Played]]:
    """Tests by name. A target's failure is told by what becomes of it: another one answers, else a repeat does, or
    nobody."""

    def play(failing: str = "", times: int = 0) -> _Played:
        return _play(compiled, registry, inputs, failing, times)

    usual = play()
    yield _title(usual), usual
    asked = list(dict.fromkeys(row.target for row in usual.attempts))
    away = {target: play(target, _ALWAYS) for target in asked}
    left = next((target for target in asked if _others(usual, away[target], target)), None)
    if left is not None:
        yield f"{left} is away, and {_others(usual, away[left], left)} answers", away[left]
    elif asked:
        once = play(asked[0], 1)
        if once.kind is None and len(once.targets[asked[0]]) > 1:
            yield f"a failure of {asked[0]} is repeated", once
        yield f"{asked[0]} is away, and {_end(away[asked[0]])}", away[asked[0]]


def _title(usual: _Played) -> str:
    if usual.refused is not None:
        return "the inputs are refused"
    return "all goes well" if usual.kind is None else "what is answered does not do"


def _end(played: _Played) -> str:
    return "the run goes on without it" if played.kind is None else "so the run fails"


def _others(usual: _Played, away: _Played, target: str) -> str | None:
    """Who answers where `target` is away."""
    if away.kind is not None:
        return None
    steps = {row.step for row in usual.attempts if row.target == target}
    served = (row.target for row in away.attempts if row.step in steps and row.kind == "ok")
    return next((each for each in served if each != target), None)


def _play(
    compiled: Compiled, registry: Registry, inputs: Mapping[str, Any], failing: str = "", times: int = 0
) -> _Played:
    found: dict[str, _Improvised] = {}

    def provide(plan: TargetPlan, context: BuildContext) -> Node:
        script = found.setdefault(plan.name, _Improvised(plan.name, times if plan.name == failing else 0))
        return Scripted(script, context.clock)

    async def run() -> Result:
        async with running(compiled, registry, seed=0, mock=True, provide=provide) as pipeline:
            async with pipeline.start(inputs=inputs) as stream:
                with suppress(WizardError):
                    await stream.finish()
            return stream.result

    result, refused = None, None
    try:
        result = virtual.run(run())
    except WizardError as error:
        refused = error
    return _Played({name: script.said for name, script in found.items() if script.said}, result, refused)


# -- its text -----------------------------------------------------------------------------------------


def _defaults(program: Program, inputs: Mapping[str, Any], env: Mapping[str, str]) -> list[str]:
    lines = [f"  env: {flow(env)}"] if env else []
    lines += ["  inputs:", *(f"    {name}: {flow(value)}" for name, value in inputs.items())] if inputs else []
    rest = [name for name in program.inputs if name not in inputs]
    lines += [f"  # left to their defaults: {', '.join(rest)}"] if rest and lines else []
    return ["defaults:", *lines] if lines else []


def _case(name: str, played: _Played) -> Iterator[str]:
    yield f"  {_key(name)}:"
    if played.targets:
        yield from scripts("    ", {target: _short(said) for target, said in played.targets.items()})
    if played.refused is not None:
        yield f"    # {' '.join(str(played.refused).split())}: put in what it takes"
    yield f"    expect: {flow(dict(_expected(played)))}"


def _key(name: str) -> str:
    """As it is where YAML reads it as that, else in quotes."""
    return name if load_text(f"{name}: 0\n", "").data == {name: 0} else scalar(name)


def _short(said: Sequence[Any]) -> Iterator[Any]:
    """Items that follow each other and are alike as one, where they are many."""
    for item, group in groupby(said):
        count = len(list(group))
        if count < 3:
            yield from [item] * count
        else:
            key = "status" if isinstance(item, int) else "reply"
            yield {**(item if isinstance(item, dict) else {key: item}), "times": count}


def _expected(played: _Played) -> Iterator[tuple[str, Any]]:
    result = played.result
    if played.kind is not None:
        yield "error", played.kind
    elif result is not None and isinstance(result.output, str):
        yield from [("text", result.text)] if 0 < len(result.text) <= _LONGEST else []
    elif result is not None and len(flow(result.output)) <= _LONGEST:
        yield "output", {"equals": result.output}
    if result is not None and result.served_by is not None:
        yield "served_by", result.served_by
    yield "attempts", len(played.attempts)
    if result is not None and result.served_by is None:
        served = {name: {"served_by": step.served_by} for name, step in result.steps.items() if step.served_by}
        yield from [("steps", served)] if served else []
