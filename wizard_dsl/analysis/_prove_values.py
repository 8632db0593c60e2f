"""Answers and inputs that a file tells apart: instances of their schemas, with the values it compares with in place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from wizard_dsl.analysis._prove_literals import Named
from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.providers._instances import instance
from wizard_dsl.runtime.inputs import Inputs

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program, StepPlan
    from wizard_dsl.spec.document import InputSpec

#: What a target says where nothing asks for anything else: two words, so that it can break between them.
ANSWER: Final = "an answer"
#: What an image of the prompt is, where an input that may be any text says so.
_PICTURE: Final = "https://example.com/picture.png"
#: Values of a schema's `enum` that are tried.
_MOST: Final = 8
_MISSING: Final = object()


def answers(step: StepPlan, known: Named) -> list[Any]:
    """What the step can be answered with as far as conditions, loops and invariants can tell, the plain one first."""
    schema = _schema(step)
    own = [path[2:] for path in known.looked_at if path[:2] == ("steps", step.name)]
    said = [(path[2:], value) for path, value in known.compared if path[:2] == ("steps", step.name)]
    if schema is None:
        words = [value for path, value in said if path[:1] == ("text",) and isinstance(value, str) and value.strip()]
        return _distinct([ANSWER, *words])
    plain = instance(schema, step.name)
    places = [(path[1:], value) for path, value in said if path[:1] == ("json",)]
    places += [
        (path[1:], value) for path in own if path[:1] == ("json",) for value in _possible(_below(schema, path[1:]))
    ]
    tried = [_with(plain, path, value) for path, value in places]
    fit = [plain, *(each for each in tried if each is not _MISSING and _fits(schema, each))]
    return [_as_json(each) for each in _distinct(fit)]


def plain_answer(step: StepPlan) -> Any:
    """What the step is answered with where nothing asks for anything else."""
    schema = _schema(step)
    return ANSWER if schema is None else _as_json(instance(schema, step.name))


def _as_json(value: Any) -> Any:
    """A value as a script says it so that JSON comes: a text has to be in quotes, everything else is written anyway."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else value


def _schema(step: StepPlan) -> Any:
    output = getattr(step.config, "output", None)
    return None if output is None else output.schema


def input_sets(
    program: Program, known: Named, given: Mapping[str, Any], *, longest: bool = False
) -> list[dict[str, Any]]:
    """The inputs to run with, first the plain ones: those that are given, and instances of what has no default; then,
    one by one, each value that something compares with. With `longest`, lists that are looped over are as long as they
    may be, also those that have a default."""
    base = dict(given)
    looped = {path[0] for step in program.steps if step.for_each is not None for path in _names(step.for_each)}
    for name, spec in program.inputs.items():
        if longest and name in looped and spec.schema.get("maxItems"):
            base[name] = instance({**spec.schema, "minItems": spec.schema["maxItems"]}, name)
        elif name not in base and spec.default is UNSET:
            base[name] = _input(spec, looped)
    inputs = Inputs(program.inputs)
    for name in _pictures(program) & (base.keys() - given.keys()):
        shown = {**base, name: _PICTURE}
        base = shown if _accepted(inputs, shown) else base
    inputs.check(base)
    found = [base]
    for path, value in known.compared:
        if len(path) == 1 and path[0] in program.inputs and path[0] not in given:
            changed = {**base, path[0]: value}
            if _accepted(inputs, changed):
                found.append(changed)
    for path in known.looked_at:
        if len(path) == 1 and path[0] in program.inputs and path[0] not in given:
            values = _possible(program.inputs[path[0]].schema)
            found += [changed for value in values if _accepted(inputs, changed := {**base, path[0]: value})]
    full = [inputs.check(each) for each in found]
    return [each for index, each in enumerate(found) if full[index] not in full[:index]]


def other_inputs(program: Program, base: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Inputs that differ from `base` where the schemas allow it: those of a run before, which no cache may mix up."""
    changed = dict(base)
    for name in base:
        spec = program.inputs[name]
        changed[name] = instance(spec.schema, f"{name}/{number}")
    return changed if _accepted(Inputs(program.inputs), changed) else dict(base)


def _pictures(program: Program) -> set[str]:
    """The names that the images of its prompts are made of."""
    prompts = [step.prompt for step in program.steps if step.prompt is not None]
    parts = [part for prompt in prompts for turn in prompt.turns for part in turn.parts if part.kind == "image"]
    return {use.name for part in parts for use in part.template.uses}


def _names(expression: Any) -> Iterator[tuple[str, ...]]:
    yield from ((use.name,) for use in expression.uses)


def _input(spec: InputSpec, looped: Iterable[str]) -> Any:
    """An instance; of a list that is looped over, one with two items where it may have them."""
    schema = spec.schema
    if spec.name in looped and schema.get("type") == "array" and schema.get("maxItems", 2) >= 2:
        schema = {**schema, "minItems": max(2, schema.get("minItems", 0))}
    return instance(schema, spec.name)


def _accepted(inputs: Inputs, values: Mapping[str, Any]) -> bool:
    try:
        inputs.check(values)
    except InputInvalid:
        return False
    return True


def _possible(schema: Any) -> Sequence[Any]:
    """The values of a schema where they are few: what a condition may look at without comparing."""
    if not isinstance(schema, Mapping):
        return ()
    if schema.get("enum"):
        return tuple(schema["enum"][:_MOST])
    return (True, False) if schema.get("type") == "boolean" else ()


def _below(schema: Any, path: Sequence[str]) -> Any:
    for key in path:
        schema = schema.get("properties", {}).get(key) if isinstance(schema, Mapping) else None
    return schema


def _with(plain: Any, path: Sequence[str], value: Any) -> Any:
    """`plain` with another value at a path of keys."""
    if not path:
        return value
    if not isinstance(plain, Mapping):
        return _MISSING
    inner = _with(plain.get(path[0], {}), path[1:], value)
    return _MISSING if inner is _MISSING else {**plain, path[0]: inner}


def _fits(schema: Any, value: Any) -> bool:
    """No reference is followed out of the schema: nothing is fetched."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return bool(Draft202012Validator(schema, registry=Registry()).is_valid(value))


def _distinct(values: Iterable[Any]) -> list[Any]:
    seen: dict[str, Any] = {}
    for value in values:
        seen.setdefault(json.dumps(value, sort_keys=True), value)
    return list(seen.values())
