"""`retry.when`: predicates that decide nothing, and settings that they leave nothing to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from wizard_dsl.core.errors import TABLE, StepFailed
from wizard_dsl.lint.clashes import repeated
from wizard_dsl.lint.repeats import Place, backoffs, places
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.prompts.expression import compile_expression
from wizard_dsl.prompts.names import Use
from wizard_dsl.prompts.template import bind
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath

#: What a predicate says for a kind, a status, and the number of the attempt that failed.
_Says = Callable[[str, int | None, int], bool]


def w155_predicate_of_retry(subject: Subject) -> Iterator[Diagnostic]:
    """W155: `retry.when` is always true or never, lets fewer attempts through than `max_attempts`, or excludes what
    `retry_on` asks to repeat or `backoff` shapes. What a set says counts for all that use it."""
    judged = [each for place in places(subject, "retry") for each in _judged(place)]
    for at, message, related in idle_for_all((at, wrong) for at, wrong, _ in judged):
        hint = next(text for _, wrong, text in judged if wrong is not None and wrong[1] == message)
        yield subject.warn("W155", message, at, suggestion=hint, related=related)


#: A setting, what is wrong with it (None where it has an effect), and what to do about it.
_Judged = tuple[DocPath, Found | None, str]


def _judged(place: Place) -> Iterator[_Judged]:
    at, read = place.at("when"), _read(place)
    if at is None or read is None:
        yield from _free(place)
        return
    looks_at, says = read
    try:
        found = list(_constant(place, at, looks_at, says))
        if all(wrong is None for _, wrong, _ in found):
            found += _excluded(place, at, looks_at, says)
            found += _unshaped(place, at, looks_at, says)
    except StepFailed:
        found = [(at, None, ""), *_free(place)]  # fails with some values: that is told at run time
    yield from found


def _read(place: Place) -> tuple[set[str], _Says] | None:
    """What the predicate of a place looks at, and what it says; None where there is none."""
    text = place.config.when
    made = [] if text is None else compile_expression(text)
    if isinstance(made, list):
        return None

    @cache
    def says(kind: str, status: int | None, number: int) -> bool:
        error = {"kind": kind, "status": status, "message": "", "retry_after": None}
        return bool(made.evaluate(bind({"error": error, "attempt": number})))

    return {_field(use) for use in made.uses}, says


def attempts(place: Place) -> int:
    """How many attempts a target has at most: `max_attempts`, or fewer where `retry.when` is known to end them."""
    read, most = _read(place), int(place.config.max_attempts)
    try:
        return most if read is None or not read[0] <= {"kind", "attempt"} else _ends(_said(place, read[1]), most)
    except StepFailed:
        return most


def _said(place: Place, says: _Says) -> list[set[bool]]:
    """The answers after each attempt that a repeat may follow; after one, where none may."""
    numbers = range(1, max(2, place.config.max_attempts))
    return [{says(kind, None, number) for kind in _kinds(place)} for number in numbers]


def _ends(said: list[set[bool]], most: int) -> int:
    return next((number for number, answers in enumerate(said, 1) if True not in answers), most)


def _free(place: Place) -> Iterator[_Judged]:
    """What no predicate hinders."""
    on, limit = place.at("retry_on"), place.at("max_attempts")
    yield from [] if limit is None else [(limit, None, "")]
    yield from [] if on is None else [((*on, key), None, "") for key in place.config.retry_on]
    yield from ((path, None, "") for path, _ in backoffs(place))


def _field(use: Use) -> str:
    """What a use looks at: `attempt`, or a field of `error`."""
    if use.name == "error":
        return str(use.path[0]) if use.path else "all"
    return use.name


def _kinds(place: Place) -> list[str]:
    """The kinds of which the predicate may be asked: all where a status is, since it may stand for any of them."""
    asked = {key for key, yes in place.config.retry_on.items() if yes}
    if any(key.isdigit() for key in asked):
        return sorted(TABLE)
    resumed = {"mid_stream"} if place.chain.mid_stream in {"restart", "continue"} else set()
    usual = {kind for kind, row in TABLE.items() if row.retry == "yes"} | {"rate_limited"}
    return sorted(usual | resumed | asked & TABLE.keys())


def _constant(place: Place, at: DocPath, looks_at: set[str], says: _Says) -> Iterator[_Judged]:
    """The predicate, if it says the same at each attempt, and `max_attempts` that it never lets come about."""
    limit, most = place.at("max_attempts"), place.config.max_attempts
    related = [] if limit is None or "attempt" not in looks_at else [(limit, "the attempts")]
    if not looks_at <= {"kind", "attempt"}:
        yield at, None, ""
        yield from [] if limit is None else [(limit, None, "")]
        return
    said = _said(place, says)
    ends = _ends(said, most)
    if True not in said[0]:
        first = " for attempt 1" if any(True in answers for answers in said) else ""
        message = f"retry.when is never true{first}: nothing is repeated"
        yield at, (at, message, related), "write `retry: off`, or max_attempts: 1"
        return
    always = all(False not in answers for answers in said)
    yield at, (at, "retry.when is always true", related) if always else None, "leave it out"
    if limit is not None and ends < most:
        message = f"max_attempts {most} is never reached: retry.when repeats nothing after attempt {ends}"
        yield limit, (limit, message, [(at, "the predicate")]), f"write max_attempts: {ends}, or let `when` admit more"
    elif limit is not None:
        yield limit, None, ""


def _excluded(place: Place, at: DocPath, looks_at: set[str], says: _Says) -> Iterator[_Judged]:
    """What `retry_on` asks for and the predicate refuses at every attempt. Told at the predicate; each chain's own."""
    on = place.at("retry_on")
    numbers = range(1, max(2, place.config.max_attempts))
    for key in sorted(key for key, yes in place.config.retry_on.items() if yes):
        if key.isdigit() and looks_at <= {"kind", "status", "attempt"}:
            answers = {says(kind, int(key), number) for kind in _kinds(place) for number in numbers}
        elif not key.isdigit() and looks_at <= {"kind", "attempt"}:
            answers = {says(key, None, number) for number in numbers}
        else:
            answers = {True}
        message = f"retry.when is never true for {key}, which retry_on asks to repeat"
        related = [] if on is None else [(on, "asked for here")]
        wrong = None if True in answers else (at, message, related)
        yield (*(on or at), key), wrong, f"drop {key} from retry_on, or let `when` admit it"


def _unshaped(place: Place, at: DocPath, looks_at: set[str], says: _Says) -> Iterator[_Judged]:
    """Back-offs of kinds that the predicate refuses. That of a 429 also says for how long its target is blocked; what
    is not repeated anyway is told elsewhere."""
    numbers = range(1, max(2, place.config.max_attempts))
    for path, kind in backoffs(place):
        known = looks_at <= {"kind", "attempt"} and repeated(kind, place.config.retry_on) and kind != "rate_limited"
        if not known or any(says(kind, None, number) for number in numbers):
            yield path, None, ""
            continue
        message = f"retry.backoff.{kind} never acts: retry.when is never true for {kind}"
        yield path, (path, message, [(at, "the predicate")]), "remove it, or let `when` admit it"
