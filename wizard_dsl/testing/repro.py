"""From incident to test: a recorded run as a test file that plays it again, offline and in virtual time.

    made = reproduce(stored, compiled, folder=Path("tests"), inputs={"ticket": "…"})
    made.text           # the file
    made.passes         # whether it passes as it stands

The attempts of the run become scripts of its targets, its options those of the test, and its outcome what is expected.
Where content was not recorded, inputs and replies are placeholders that satisfy their schemas, and are called so. The
file is played before it is handed out: what comes out differently here, because placeholders took another way, or a
breaker was open when the run began, is expected as it comes out, and told.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from wizard_dsl.core import events as e
from wizard_dsl.core.units import show_duration
from wizard_dsl.observe.history_record import Asking
from wizard_dsl.observe.redact import redact
from wizard_dsl.observe.story_scene import attempts_ended
from wizard_dsl.runtime.inputs import Inputs
from wizard_dsl.spec.source import parse_value
from wizard_dsl.testing.against import hold_against
from wizard_dsl.testing.cases import Programs, suite_of
from wizard_dsl.testing.expecting import calls_of
from wizard_dsl.testing.repro_items import answer_of, item_of
from wizard_dsl.testing.repro_stand_ins import embeds, idle_limit, input_for, plan_of, stand_in
from wizard_dsl.testing.repro_text import Draft
from wizard_dsl.testing.trying import Outcome, try_case

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.core.result import Result
    from wizard_dsl.observe.history_record import Stored
    from wizard_dsl.registry import Registry

#: How often what came out differently is taken over before the file is handed out as it is.
_ROUNDS: Final = 5
_NOT_AS_DECLARED: Final = "this is not as declared"
#: What a target does that the run never asked: nothing that anybody would build on.
_AWAY: Final[dict[str, Any]] = {"refuse": True, "times": "forever"}


class Reproduction(msgspec.Struct, frozen=True):
    """A test file. `notes` say what is not as it was; `passes`: it was played, and passed."""

    text: str
    notes: tuple[str, ...]
    passes: bool


def reproduce(
    stored: Stored,
    compiled: Compiled,
    registry: Registry,
    *,
    target: Path,
    pipeline: Path,
    inputs: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Reproduction:
    """The test of a recorded run, to be written to `target`. `compiled` is the file as it is today, `inputs` go over
    those that were recorded, `env` are the variables that the file refers to. Nothing is written. Raises InputInvalid
    for inputs that the file does not take."""
    assert compiled.program is not None
    draft = _draft(stored, compiled.program, target, pipeline, {**(stored.inputs or {}), **(inputs or {})})
    Inputs(compiled.program.inputs).check({**draft.inputs, **(inputs or {})})
    draft.env = dict(env or {})
    notes = _notes(stored, compiled.program, draft)
    draft.head += notes
    outcome = _settle(draft, target, Programs(registry))
    found = tuple([*notes, *draft.differs])
    return Reproduction(draft.render(), found, outcome is not None and outcome.passed)


def _draft(stored: Stored, program: Program, target: Path, pipeline: Path, known: Mapping[str, Any]) -> Draft:
    result = stored.result
    when = f"{datetime.fromtimestamp(stored.began, UTC):%Y-%m-%d %H:%M:%S}Z"
    how = "answered" if result.error is None else f"failed with {result.error.kind}"
    draft = Draft(
        head=[f"Run {stored.id} of {when}, which {how}, as `wizard repro` wrote it."],
        pipeline=os.path.relpath(pipeline, target.parent),
        name=f"run {stored.id}",
        options=dict(_options(stored, pipeline, target)),
        expect=dict(_expected(stored)),
    )
    for name, spec in program.inputs.items():
        if name in known:
            draft.inputs[name] = known[name]
        elif spec.default is msgspec.UNSET:
            draft.inputs[name] = input_for(stored, program, name)
            draft.made_up.add(name)
    _script(draft, stored, program)
    return draft


def _options(stored: Stored, pipeline: Path, target: Path) -> Iterator[tuple[str, Any]]:
    options = stored.options
    root = Path(str(pipeline).removesuffix(stored.file)) if not os.path.isabs(stored.file) else Path("/")
    if options.chain:
        yield "chain", options.chain
    if options.overlays:
        yield "overlay", [os.path.relpath(root / each, target.parent) for each in options.overlays]
    if options.sets:
        yield "set", {path: _parsed(value) for path, _, value in (each.partition("=") for each in options.sets)}
    if options.deadline is not None:
        given = options.deadline
        yield "deadline", given if isinstance(given, str) else show_duration(given)
    yield "seed", options.seed
    if options.streamed:
        yield "stream", True
    if stored.kind == "cancelled":
        yield "cancel_after", show_duration(round(stored.result.elapsed, 6))


def _parsed(text: str) -> Any:
    value, problems = parse_value(text, "set")
    return text if problems else value


def _expected(stored: Stored) -> Iterator[tuple[str, Any]]:
    result = stored.result
    yield "served_by", result.served_by
    yield "attempts", len(result.attempts)
    yield "error", None if result.error is None else result.error.kind
    yield "elapsed", {"at_most": _above(result.elapsed)}
    if stored.content == "full" and result.error is None:
        yield from _said(result)


def _said(result: Result) -> Iterator[tuple[str, Any]]:
    """What a run made, and which functions its steps call."""
    if isinstance(result.output, str):
        yield "text", result.text
    else:
        yield "output", {"equals": result.output}
    called = _called(result)
    if called:
        yield "steps", called


def _called(result: Result) -> dict[str, Any]:
    return {name: {"tool_calls": calls_of(step)} for name, step in result.steps.items() if step.tool_calls}


def _above(seconds: float) -> str:
    """A little more than it took, for a replay has no overhead but rounds its times."""
    return show_duration(math.ceil(seconds * 10 + 0.5) / 10)


# -- scripts ------------------------------------------------------------------------------------------


def _script(draft: Draft, stored: Stored, program: Program) -> None:
    """Each target's attempts, in the order in which they began; what the cache answered was once answered by it."""
    ends = _ends(stored)
    for each in _order(stored):
        if isinstance(each, str):
            _add_cached(draft, stored, program, each)
        else:
            _add_attempt(draft, stored, program, each, ends)
    if draft.targets and not stored.result.attempts:
        age = max(step.age or 0.0 for step in stored.result.steps.values() if step.cached)
        draft.runs = [{}, {"after": show_duration(round(age, 3))}]


def _order(stored: Stored) -> Iterator[int | str]:
    """The numbers of attempts, and between them the names of steps that the cache answered."""
    cached = {name for name, step in stored.result.steps.items() if step.cached and step.served_by is not None}
    number = 0
    for _, place, name, _ in stored.events:
        if name == e.AttemptStarted.name and number < len(stored.result.attempts):
            yield number
            number += 1
        elif name == e.CacheHit.name and place in cached:
            cached.remove(place)
            yield place


def _add_attempt(draft: Draft, stored: Stored, program: Program, number: int, ends: _Ends) -> None:
    row, asking = stored.result.attempts[number], stored.attempts[number]
    reply: Any = asking.reply
    made_up = reply is None or embeds(plan_of(program, row.step))
    if row.kind == "ok" and made_up:
        asking, reply = stand_in(stored, program, row.step, row, asking)
        reply = _NOT_AS_DECLARED if number in ends.refused else reply
    cut = ends.cut.get(number, "")
    item = item_of(row, asking, reply, cut, idle_limit(program, row) if cut == "idle" else 0.0)
    draft.add(row.target, item, made_up and (row.kind == "ok" or row.first_chunk is not None))


def _add_cached(draft: Draft, stored: Stored, program: Program, name: str) -> None:
    step = stored.result.steps[name]
    kept = Asking(reply=step.text or None, finish_reason=step.finish_reason, tool_calls=tuple(step.tool_calls))
    known = bool(step.text or step.tool_calls)
    asking, reply = (kept, kept.reply) if known else stand_in(stored, program, name, None, kept)
    draft.add(str(step.served_by), answer_of(asking, reply), not known)


class _Ends(NamedTuple):
    """What events tell of attempts beyond their rows: whose answers were not as declared, and which phase of `timeout`
    cut which."""

    refused: set[int]
    cut: dict[int, str]


def _ends(stored: Stored) -> _Ends:
    """A finding about an answer concerns the last attempt that ended before it."""
    transcript = stored.transcript()
    ended = attempts_ended(transcript)
    found = _Ends(set(), {})
    last: dict[tuple[str, str], int] = {}
    for position, (_, place, event) in enumerate(transcript.events):
        if isinstance(event, e.AttemptEnded) and position in ended:
            last[place, event.target] = ended[position]
            found.cut[ended[position]] = event.cut
        elif isinstance(event, e.ContractFailed) and (place, event.target) in last:
            found.refused.add(last[place, event.target])
    return found


# -- what is not as it was ----------------------------------------------------------------------------


def _notes(stored: Stored, program: Program, draft: Draft) -> list[str]:
    return list(_told(stored, program, draft))


def _told(stored: Stored, program: Program, draft: Draft) -> Iterator[str]:
    if draft.replies and stored.content != "none":
        yield "Vectors, and what broke off before anything of it came, are not recorded: see the placeholders."
    elif draft.made_up or draft.replies:
        yield (
            f"What was asked and answered was not recorded (`history.content: {stored.content}`): "
            "what is marked as placeholder stands for it."
        )
    if stored.inputs is None and any(name not in draft.inputs for name in program.inputs):
        yield "Inputs that are not named here were not recorded, and take their defaults."
    if stored.result.pipeline.hash != program.hash:
        yield f"{stored.file} has changed since: it was {stored.result.pipeline.hash}, and is {program.hash}."
    if stored.options.number:
        yield (
            f"It was run {stored.options.number} of its process, and this is a first one: chance draws other delays, "
            "and what earlier runs had left behind is not there."
        )
    opened = [held.get("target") for _, _, name, held in stored.events if name == e.BreakerChanged.name]
    for _, _, name, held in stored.events:
        if name == e.TargetSkipped.name and held.get("reason") == "circuit_open" and held.get("target") not in opened:
            yield f"The breaker of {held.get('target')} was open when the run began; here it begins closed."
    if any(step.cached for step in stored.result.steps.values()) and stored.result.attempts:
        yield "Some steps were answered by the cache; here it begins empty."


# -- playing it ---------------------------------------------------------------------------------------


def _settle(draft: Draft, target: Path, programs: Programs) -> Outcome | None:
    """Play the file, and take over what comes out differently. None where the file is not a valid one."""
    outcome: Outcome | None = None
    for _ in range(_ROUNDS):
        suite = suite_of(target, programs, text=draft.render())
        hold_against(suite)
        if not suite.found.ok:
            draft.differs += [f"{each.code} {each.message}" for each in suite.found.diagnostics]
            return None
        outcome = try_case(suite, suite.cases[0], lambda case, played: played.runs[-1].result if played.runs else None)
        if outcome.passed or not _taken_over(draft, outcome):
            return outcome
    return outcome


def _taken_over(draft: Draft, outcome: Outcome) -> bool:
    """Whether there was something to take over."""
    result: Result | None = outcome.seen[0]
    changed = False
    for failure in outcome.failures:
        key = failure.what.partition(".")[0]
        if key in draft.expect and result is not None and failure.expected:
            changed = _accepted(draft, key, result) or changed
        elif not draft.spare:
            changed = True
            _loosen(draft)
    return changed


def _accepted(draft: Draft, key: str, result: Result) -> bool:
    """Expect what came out."""
    came: Any = {
        "served_by": result.served_by,
        "attempts": len(result.attempts),
        "error": None if result.error is None else result.error.kind,
        "elapsed": {"at_most": _above(result.elapsed)},
        "text": result.text,
        "output": {"equals": result.output},
        "steps": _called(result),
    }.get(key, msgspec.UNSET)
    before = draft.expect[key]
    if came is msgspec.UNSET or came == before:
        return False
    draft.expect[key] = came
    if not came and key == "steps":
        del draft.expect[key]
    draft.differs.append(f"{key} was {_shown(before)} in the recorded run")
    return True


def _loosen(draft: Draft) -> None:
    """Calls come out otherwise: scripts need not be used up, and who is asked beyond them is away."""
    draft.spare = {**{name: [*items, _AWAY] for name, items in draft.targets.items()}, "*": [_AWAY]}
    draft.targets = {}
    draft.differs.append("the calls come out otherwise than in the recorded run: see the scripts above")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {each}" for key, each in value.items())
    return redact("null" if value is None else " ".join(str(value).split())[:200])
