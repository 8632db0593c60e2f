"""What stands in a reproduced test for what was not recorded: instances of the schemas, as many as there were.

As far as the run tells how long its loops were and why its answers ended, stand-ins lead the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.core.component import seconds
from wizard_dsl.core.regex import regex
from wizard_dsl.core.result import ToolCallRow
from wizard_dsl.policies.timeout import TimeoutConfig
from wizard_dsl.providers._instances import instance

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program, StepPlan
    from wizard_dsl.core.result import AttemptRow
    from wizard_dsl.observe.history_record import Asking, Stored

_REPLY: Final = "placeholder"
#: In two pieces, of which the first comes when the stream's first content came, and the second at its end.
_STREAMED: Final = "a placeholder"
_ONE_NAME: Final = regex(r"\{\{\s*(\w+)\s*\}\}")


def plan_of(program: Program, step: str) -> StepPlan | None:
    """The step of that name; `outer/inner` is one of the file that `outer` runs."""
    name, _, inner = step.partition("/")
    plan = next((each for each in program.steps if each.name == name.partition("[")[0]), None)
    if inner and plan is not None and plan.subprogram is not None:
        return plan_of(plan.subprogram, inner)
    return plan


def embeds(plan: StepPlan | None) -> bool:
    """Whether the answers of a step are vectors."""
    return plan is not None and plan.type.name == "embed"


def idle_limit(program: Program, row: AttemptRow) -> float:
    """For how long the target of an attempt may say nothing, in seconds; 0 where there is no such limit now."""
    plan = plan_of(program, row.step)
    chain = program.chains.get(plan.chain or "") if plan is not None else None
    ladders = [each.ladder for each in chain.targets if each.name == row.target] if chain is not None else []
    limits = [each.config.idle for ladder in ladders for each in ladder if isinstance(each.config, TimeoutConfig)]
    return (seconds(limits[0]) or 0.0) if limits else 0.0


def input_for(stored: Stored, program: Program, name: str) -> Any:
    """What stands for an input that was not recorded."""
    return instance(_sized(input_schema(program, name), _lengths(stored, program), name), name)


def input_schema(program: Program, name: str) -> Mapping[str, Any]:
    """What an input has to be; one that is an image of a prompt is a link."""
    schema = program.inputs[name].schema
    if schema.get("type") == "string" and not {"enum", "const", "format", "pattern"} & schema.keys():
        return {**schema, "format": "uri"} if name in _images(program) else schema
    return schema


def stand_in(stored: Stored, program: Program, step: str, row: AttemptRow | None, asking: Asking) -> tuple[Asking, Any]:
    """What stands for an answer: None for vectors, a call of the step's first tool where it ended with one, what
    satisfies the step's schema, else words. `row` is None where the answer came from the cache."""
    plan = plan_of(program, step)
    if plan is None or embeds(plan):
        return asking, _REPLY if plan is None else None
    ended = asking.finish_reason if row is None else _ended(stored, row)
    streamed = row is not None and row.first_chunk is not None
    if ended == "tool_calls" and plan.tools:
        tool = plan.tools[0]
        arguments = json.dumps(instance({"type": "object", **tool.parameters}, plan.name))
        return msgspec.structs.replace(asking, tool_calls=(ToolCallRow("", tool.name, arguments),)), ""
    output = getattr(plan.config, "output", None)
    asking = msgspec.structs.replace(asking, finish_reason=ended)
    if output is None or output.schema is None:
        return asking, _STREAMED if streamed else _REPLY
    reply = instance(_sized(output.schema, _lengths(stored, program), f"steps.{step}.json"), plan.name)
    return asking, json.dumps(reply, ensure_ascii=False) if streamed or isinstance(reply, str) else reply


def _ended(stored: Stored, row: AttemptRow) -> str | None:
    """Why the answer of an attempt ended, where its step tells."""
    step = stored.result.steps.get(row.step)
    if step is None or row.item is not None:
        return None
    served = [each for each in step.attempts if each.kind == "ok"]
    return step.finish_reason if served[-1:] == [row] else None


def _lengths(stored: Stored, program: Program) -> dict[str, int]:
    """How long the lists were that loops went over, by the name in the file: `questions`, `steps.plan.json.parts`."""
    found = {}
    for plan in program.steps:
        row = stored.result.steps.get(plan.name)
        if plan.for_each is not None and row is not None and row.items is not None:
            found[plan.for_each.source.strip()] = len(row.items)
    return found


def _sized(schema: Mapping[str, Any], lengths: Mapping[str, int], name: str) -> Mapping[str, Any]:
    """The schema of what `name` stands for, with the lists in it as long as they were."""
    for path, length in lengths.items():
        if path == name or path.startswith(f"{name}."):
            schema = _long(schema, path[len(name) + 1 :].split(".") if path != name else (), length)
    return schema


def _long(schema: Mapping[str, Any], path: Sequence[str], length: int) -> Mapping[str, Any]:
    if not path:
        return {**schema, "minItems": length, "maxItems": length}
    properties = schema.get("properties", {})
    if path[0] not in properties:
        return schema
    inner = {**properties, path[0]: _long(properties[path[0]], path[1:], length)}
    return {**schema, "properties": inner, "required": [*schema.get("required", ()), path[0]]}


def _images(program: Program) -> set[str]:
    """The inputs that are an image of a prompt, and nothing beside."""
    prompts = [step.prompt for step in program.steps if step.prompt is not None]
    sources = [
        part.template.source
        for prompt in prompts
        for turn in prompt.turns
        for part in turn.parts
        if part.kind == "image"
    ]
    return {match[1] for match in map(_ONE_NAME.fullmatch, sources) if match is not None}
