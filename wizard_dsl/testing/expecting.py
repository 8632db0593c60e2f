"""The keys of `expect` against what a run came to: for each key one function, all in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.core.result import ErrorRow, StepRow
from wizard_dsl.observe.facts import facts, json_of
from wizard_dsl.observe.log import event_name
from wizard_dsl.observe.transcript import render
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.template import bind
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.testing.checking import Miss, misses, number_misses, shown, sum_misses, time_misses
from wizard_dsl.testing.testfile import ErrorCheck, StepExpect

if TYPE_CHECKING:
    from wizard_dsl.testing.cases import Assertion
    from wizard_dsl.testing.playing import Ran

Found = Iterator[tuple[DocPath, Miss]]


def unmet(assertion: Assertion, ran: Ran, source: str | None) -> Found:
    """What of one key does not hold, each with where it is written. `source` names the step that the run's text comes
    from."""
    for path, miss in _KEYS[assertion.key](assertion.wanted, ran, assertion.path, source):
        yield (*path, *miss.path), miss


def unmet_together(assertion: Assertion, ended: Sequence[Ran]) -> Found:
    """What does not hold of how many of several runs ended how. What is not named, did not happen."""
    counted = Counter("ok" if each.result.error is None else each.result.error.kind for each in ended)
    for kind, number in {**assertion.wanted, **dict.fromkeys(sorted(counted.keys() - assertion.wanted), 0)}.items():
        path = (*assertion.path, kind) if kind in assertion.wanted else assertion.path
        for miss in number_misses(number, counted[kind], f"outcomes.{kind}"):
            yield (*path, *miss.path), miss


# -- one function a key -----------------------------------------------------------------------------


def _value(of: Callable[[Ran], Any], key: str, wanted: Any, ran: Ran, path: DocPath, source: str | None) -> Found:
    for miss in misses(wanted, of(ran), key):
        yield path, miss


def _served_by(wanted: str | None, ran: Ran, path: DocPath, source: str | None) -> Found:
    yield from _served("served_by", wanted, ran.result.served_by, path)


def _served(what: str, wanted: str | None, served: str | None, path: DocPath) -> Found:
    held = wanted == served or (wanted is not None and served is not None and fnmatchcase(served, wanted))
    if not held:
        yield path, Miss(what, shown(wanted), shown(served))


def _attempts(wanted: Any, ran: Ran, path: DocPath, source: str | None) -> Found:
    for miss in number_misses(wanted, len(ran.result.attempts), "attempts"):
        yield path, miss


def _elapsed(wanted: Any, ran: Ran, path: DocPath, source: str | None) -> Found:
    for miss in time_misses(wanted, ran.result.elapsed, "elapsed"):
        yield path, miss


def _cost(wanted: Any, ran: Ran, path: DocPath, source: str | None) -> Found:
    for miss in sum_misses(wanted, ran.result.cost.usd, "cost"):
        yield path, miss


def _cache(wanted: str, ran: Ran, path: DocPath, source: str | None) -> Found:
    row = ran.result.steps.get(source or "")
    yield from _cached("cache", wanted, row, path)


def _cached(what: str, wanted: str, row: StepRow | None, path: DocPath) -> Found:
    state = "nothing: the step did not run" if row is None else cache_state(row)
    if state != wanted:
        yield path, Miss(what, wanted, state)


def cache_state(row: StepRow) -> str:
    """Where the answer of a step came from."""
    if row.stale:
        return "stale"
    return "hit" if row.cached else "shared" if row.shared else "miss"


def _error(wanted: Any, ran: Ran, path: DocPath, source: str | None) -> Found:
    yield from _failure("error", wanted, ran.result.error, path)


def _failure(what: str, wanted: Any, error: ErrorRow | None, path: DocPath) -> Found:
    if wanted is None or isinstance(wanted, str):
        kind = None if error is None else error.kind
        if kind != wanted:
            told = "no error" if error is None else f"{error.kind}: {error.message}"
            yield path, Miss(what, "no error" if wanted is None else str(wanted), told)
    elif error is None:
        yield path, Miss(what, shown(msgspec.to_builtins(wanted)), "no error")
    else:
        yield from _error_fields(what, wanted, error, path)


def _error_fields(what: str, wanted: ErrorCheck, error: ErrorRow, path: DocPath) -> Found:
    for field in ("kind", "message", "suggestion", "where"):
        check = getattr(wanted, field)
        found = [] if check is UNSET else misses(check, getattr(error, field), f"{what}.{field}")
        yield from (((*path, field), miss) for miss in found)
    again = wanted.retry_after
    if again is None and error.retry_after is not None:
        yield (*path, "retry_after"), Miss(f"{what}.retry_after", "null", f"{error.retry_after:g} s")
    elif again is not None and again is not UNSET:
        if error.retry_after is None:
            found = [Miss(f"{what}.retry_after", shown(msgspec.to_builtins(again)), "null")]
        else:
            found = time_misses(again, error.retry_after, f"{what}.retry_after")
        yield from (((*path, "retry_after"), miss) for miss in found)


def _steps(wanted: Mapping[str, StepExpect], ran: Ran, path: DocPath, source: str | None) -> Found:
    for name, expect in wanted.items():
        row = ran.result.steps.get(name)
        if row is None:
            yield (*path, name), Miss(f"steps.{name}", "to have begun", "it did not")
        else:
            yield from _step(f"steps.{name}", expect, row, (*path, name))


def _step(what: str, expect: StepExpect, row: StepRow, path: DocPath) -> Found:
    """Each key that is written, of one step."""
    of: dict[str, Callable[[Any, str, DocPath], Found]] = {
        "text": lambda wanted, key, at: _each(misses(wanted, row.text, key), at),
        "json": lambda wanted, key, at: _each(misses(wanted, row.json, key), at),
        "items": lambda wanted, key, at: _each(misses(wanted, msgspec.to_builtins(row.items), key), at),
        "skipped": lambda wanted, key, at: _each(misses(wanted, row.skipped, key), at),
        "finish_reason": lambda wanted, key, at: _each(misses(wanted, row.finish_reason, key), at),
        "tool_calls": lambda wanted, key, at: _each(misses(wanted, calls_of(row), key), at),
        "served_by": lambda wanted, key, at: _served(key, wanted, row.served_by, at),
        "attempts": lambda wanted, key, at: _each(number_misses(wanted, len(row.attempts), key), at),
        "elapsed": lambda wanted, key, at: _each(time_misses(wanted, row.elapsed, key), at),
        "cost": lambda wanted, key, at: _each(sum_misses(wanted, row.cost.usd, key), at),
        "cache": lambda wanted, key, at: _cached(key, wanted, row, at),
        "error": lambda wanted, key, at: _failure(key, wanted, row.error, at),
    }
    for key, test in of.items():
        wanted = getattr(expect, key)
        if wanted is not UNSET:
            yield from test(wanted, f"{what}.{key}", (*path, key))


def calls_of(row: StepRow) -> list[dict[str, Any]]:
    """The functions that a step calls, each with its name and arguments; what is no JSON as the text that it is."""
    return [{"name": call.name, "arguments": read_json(call.arguments)} for call in row.tool_calls]


def read_json(text: str) -> Any:
    """The value of a JSON text, or the text itself where it is none."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _each(found: list[Miss], path: DocPath) -> Found:
    yield from ((path, miss) for miss in found)


def _breakers(wanted: Mapping[str, str], ran: Ran, path: DocPath, source: str | None) -> Found:
    for pattern, state in wanted.items():
        states = {name: each.state for name, each in ran.breakers.items() if fnmatchcase(name, pattern)}
        others = {name: each for name, each in states.items() if each != state}
        if others or not states:
            told = ", ".join(f"{name} is {each}" for name, each in others.items()) or "there is none"
            yield (*path, pattern), Miss(f"breakers[{shown(pattern)}]", state, told)


def _logs(wanted: Mapping[str, Any], ran: Ran, path: DocPath, source: str | None) -> Found:
    counted = Counter(event_name(event) for _, _, event in ran.transcript.events)
    for name, number in wanted.items():
        for miss in number_misses(number, counted[name], f"logs.{name}"):
            yield (*path, name), miss


def _that(wanted: str | list[str], ran: Ran, path: DocPath, source: str | None) -> Found:
    scope = bind({**ran.inputs, **facts(ran.result, ran.breakers)})
    for index, text in enumerate([wanted] if isinstance(wanted, str) else wanted):
        at = path if isinstance(wanted, str) else (*path, index)
        expression = expression_of(text)
        if not isinstance(expression, Expression):
            continue  # told when the file was checked
        try:
            value = expression.evaluate(scope)
        except StepFailed as error:
            yield at, Miss("that", f"{text} to be true", error.message)
            continue
        if not value:
            yield at, Miss("that", f"{text} to be true", f"{shown(value)}{_seen(expression, ran)}")


def _seen(expression: Expression, ran: Ran) -> str:
    """The plain values that an expression names, so that nobody has to guess why it is false."""
    values = facts(ran.result, ran.breakers)
    plain = [name for name in ("served_by", "elapsed", "cost", "text", "json") if name in expression.names]
    told = [f"{name} is {shown(values[name])}" for name in plain]
    if "attempts" in expression.names:
        count = len(values["attempts"])
        told.append("there is one attempt" if count == 1 else f"there are {count} attempts")
    return f"; {', '.join(told)}" if told else ""


@cache
def expression_of(text: str) -> Any:
    """The compiled expression, or its problems; names are checked elsewhere."""
    return compile_expression(text, where="that")


def _transcript(ran: Ran) -> str:
    return render(ran.transcript)


#: What each key of `expect` looks at.
_KEYS: Final[Mapping[str, Callable[..., Found]]] = MappingProxyType(
    {
        "text": partial(_value, lambda ran: ran.result.text, "text"),
        "json": partial(_value, lambda ran: json_of(ran.result), "json"),
        "output": partial(_value, lambda ran: ran.result.output, "output"),
        "transcript": partial(_value, _transcript, "transcript"),
        "served_by": _served_by,
        "attempts": _attempts,
        "elapsed": _elapsed,
        "cost": _cost,
        "cache": _cache,
        "error": _error,
        "steps": _steps,
        "breakers": _breakers,
        "logs": _logs,
        "that": _that,
    }
)
