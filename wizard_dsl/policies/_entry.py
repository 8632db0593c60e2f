"""What a cache stores under which key, as JSON: a whole answer, or, for seconds, an error that says no to the request.

An error is stored as what it says, never as what came with it: no body, no headers, no partial, no attempts.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from wizard_dsl.core import errors
from wizard_dsl.core.errors import TABLE, AllFallbacksFailed, AttemptFailed, MaxRetriesExceeded, WizardError
from wizard_dsl.core.messages import Completion, Usage
from wizard_dsl.core.response import Response, Served

if TYPE_CHECKING:
    from wizard_dsl.core.messages import Request
    from wizard_dsl.core.run import Run

VERSION: Literal[1] = 1
_ENCODER = msgspec.json.Encoder(order="deterministic")
#: What belongs to one run, or is not ours to keep.
_LEFT_OUT = frozenset({"partial", "attempt", "result", "transcript", "headers", "body", "last"})
_CLASSES: dict[str, type[WizardError]] = {
    name: each for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, WizardError)
}


class Refusal(msgspec.Struct, frozen=True):
    """An error: its class, its simple fields, and the errors it was made of."""

    type: str
    kind: str
    facts: dict[str, str | int | float | bool | tuple[str, ...] | None]
    inner: tuple[Refusal, ...] = ()

    @classmethod
    def of(cls, error: WizardError) -> Refusal | None:
        """None where it is, or holds, an error of a class that is not ours."""
        if type(error) is not _CLASSES.get(type(error).__name__):
            return None
        inner = [cls.of(each) for each in _inner(error)]
        whole = tuple(each for each in inner if each is not None)
        if len(whole) < len(inner):
            return None
        facts = {name: value for name, value in vars(error).items() if name not in _LEFT_OUT and _is_simple(value)}
        return cls(type(error).__name__, error.kind, facts, whole)

    def error(self) -> WizardError:
        """The error again, for another run. Raises LookupError, TypeError or ValueError where `of` did not make it."""
        kind = _CLASSES[self.type]
        inner = [each.error() for each in self.inner]
        if kind is AllFallbacksFailed:
            made: WizardError = AllFallbacksFailed(inner, inner[-1])
        elif kind is MaxRetriesExceeded:
            made = MaxRetriesExceeded(inner[0], attempts=int(str(self.facts["attempts"])))
        else:
            made = Exception.__new__(kind, self.facts["message"])
            WizardError.__init__(made, str(self.facts["message"]))
            if isinstance(made, AttemptFailed):
                made.headers, made.body = {}, ""
        vars(made).update(self.facts)
        return made


def _inner(error: WizardError) -> tuple[Any, ...]:
    if isinstance(error, MaxRetriesExceeded):
        return (error.last,)
    return error.exceptions if isinstance(error, AllFallbacksFailed) else ()


def _is_simple(value: object) -> bool:
    if isinstance(value, tuple):
        return all(type(each) is str for each in value)
    return value is None or isinstance(value, (str, int, float))


class Entry(msgspec.Struct, frozen=True):
    """What is stored: an answer whose usage is zero, and `usage`, what it took; or a `refusal`. Times are seconds since
    the Unix epoch. An entry of another `version` is a miss."""

    version: Literal[1]
    expires: float
    stored: float
    target: str
    position: int = 0
    losses: tuple[str, ...] = ()
    usage: Usage | None = None
    completion: Completion | None = None
    refusal: Refusal | None = None

    def used(self, age: float) -> float:
        """How much of its time is over where it is `age` seconds old, at most 1."""
        life = self.expires - self.stored
        return age / life if age < life else 1.0

    def age(self, now: float) -> float:
        """Seconds since it was stored; clocks of several machines differ."""
        age = now - self.stored
        return age if age > 0.0 else 0.0

    def response(self, age: float, *, stale: bool = False) -> Response:
        """The answer that is stored, `age` seconds old."""
        assert self.completion is not None
        served = Served(
            target=self.target,
            position=self.position,
            cached=True,
            losses=self.losses,
            saved=self.usage,
            stale=stale,
            age=age,
        )
        return Response.complete(self.completion, served)

    def shared(self) -> Response:
        """The answer for one who followed the flight that got it."""
        assert self.completion is not None
        served = Served(target=self.target, position=self.position, losses=self.losses, shared=True)
        return Response.complete(msgspec.structs.replace(self.completion, usage=self.usage or Usage()), served)


class _Model(msgspec.Struct, frozen=True):
    model: str | None = None


class _Kind(msgspec.Struct, frozen=True):
    kind: str = ""


class Label(msgspec.Struct, frozen=True):
    """What an entry says of itself, read without its content."""

    version: Literal[1] = VERSION
    expires: float = 0.0
    stored: float = 0.0
    target: str = ""
    usage: Usage | None = None
    completion: _Model | None = None
    refusal: _Kind | None = None

    def is_of(self, model: str) -> bool:
        """Whether `model` is its target, the model that the target names, or the one that the provider names."""
        answered = None if self.completion is None else self.completion.model
        return model in (self.target, self.target.partition("/")[2], answered)


def cache_key(request: Request, run: Run, asked: tuple[str, str], scope: str) -> str:
    """SHA-256, in hex, of canonical JSON of what can change the answer: all of the request, what is `asked` of whom
    (the chain's fingerprint, the key version), and whose answer it is.

    A run without a session, or without an API key, shares with others that have none. Whether an empty answer
    counts is part of it, since it decides what is an answer, and so is a repeat index other than 0. Raises TypeError or
    ValueError where a parameter has no JSON form.
    """
    owner = None
    if scope != "shared":
        owner = (scope, run.scope.session if scope == "session" else run.scope.principal)
    parts: tuple[object, ...] = (asked, owner, run.allow_empty, request)
    if run.scope.repeat:
        parts = (*parts, run.scope.repeat)
    return sha256(_ENCODER.encode(parts)).hexdigest()


@cache
def _decoder(kind: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def encode(entry: Entry) -> bytes:
    return _ENCODER.encode(entry)


def decode(value: bytes) -> Entry | None:
    """The entry; None where it cannot be read, or holds nothing."""
    try:
        entry: Entry = _decoder(Entry).decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if entry.refusal is not None:
        return entry if _is_sound(entry.refusal) else None
    return entry if entry.completion is not None else None


def _is_sound(refusal: Refusal) -> bool:
    """Whether it is an error that may be remembered: what others left on the disk is not believed."""
    try:
        error = refusal.error()
    except (LookupError, TypeError, ValueError):
        return False
    row = TABLE.get(error.kind)
    return row is not None and row.negative and isinstance(error.marks, tuple)


def label(value: bytes) -> Label:
    """Of an entry that cannot be read, a label that expired long ago."""
    try:
        found: Label = _decoder(Label).decode(value)
        return found
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Label()
