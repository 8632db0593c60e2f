"""What the run store keeps of a run, and its way into JSON and back.

What the policies did is kept whole: attempts, waits, events, by name and type. Inputs, messages and replies are kept as
the file's `history.content` allows: without them, texts that may quote them are left out too; `redacted`, personal data
that has a shape is replaced. Keys are taken out of everything, whatever is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from wizard_dsl.core.errors import KINDS
from wizard_dsl.core.events import EVENTS, Event
from wizard_dsl.core.record import Content, Exchange, Record
from wizard_dsl.core.result import AttemptRow, Cost, ErrorRow, ItemRow, Result, StepRow, ToolCallRow, UsageRow
from wizard_dsl.core.run import Attempt, Transcript
from wizard_dsl.observe.personal import redact_personal
from wizard_dsl.observe.redact import redact

#: Of what is written; a run that says more was recorded by a later version.
FORMAT: Final = 1

#: Kinds whose messages may quote an input or an answer.
_QUOTING: Final = frozenset({"input", "contract", "content_filter", "malformed_response"})
_UNQUOTED: Final = "(its words are not stored; `history.content: full` keeps them)"
_BY_NAME: Final[dict[str, type[Event]]] = {each.name: each for each in EVENTS}

#: What of a record may hold what people wrote; the rest are names, numbers and paths.
_WRITTEN: Final = ("inputs", "result", "attempts")

#: One entry of a transcript: seconds since the run began, the place that speaks, the event's name, what it holds.
Entry = tuple[float, str, str, dict[str, Any]]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a repeat needs besides the file. Paths are relative to the project where they lie in it; `number` counts
    the runs of the process that had this `seed`."""

    overlays: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    chain: str | None = None
    deadline: float | str | None = None
    seed: int = 0
    number: int = 0
    mock: bool = False
    streamed: bool = False


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt beyond its row in the result. `retry_after`, in seconds, and `should_retry` are what the provider
    said; what follows is empty where content is not kept. Vectors are not kept here."""

    retry_after: float | None = None
    should_retry: bool | None = None
    messages: list[dict[str, Any]] | None = None
    reply: str | None = None
    finish_reason: str | None = None
    tool_calls: tuple[ToolCallRow, ...] = ()


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded run. `file` is relative to the project where it lies in it; `began` is seconds since the epoch;
    `breakers` are the figures of the circuit breakers after it, by name."""

    format: int = FORMAT
    file: str
    began: float
    content: Content = "none"
    options: Options = Options()
    inputs: dict[str, Any] | None = None
    result: Result
    attempts: tuple[Asking, ...] = ()
    events: tuple[Entry, ...] = ()
    breakers: dict[str, dict[str, Any]] = {}

    @property
    def id(self) -> str:
        return self.result.run_id

    @property
    def kind(self) -> str:
        """`ok`, or the kind of the error."""
        return "ok" if self.result.error is None else self.result.error.kind

    def transcript(self) -> Transcript:
        """What the policies did, as it was during the run."""
        transcript = Transcript(0.0)
        transcript.events = [(at, place, _event(name, held)) for at, place, name, held in self.events]
        for number, row in enumerate(self.result.attempts):
            held = {name: getattr(row, name) for name in _ATTEMPT}
            asking = self.attempts[number] if number < len(self.attempts) else Asking()
            held |= {"retry_after": asking.retry_after, "should_retry": asking.should_retry}
            transcript.attempts.append(Attempt(**held, number=number))
        return transcript


_ATTEMPT: Final = (
    "target", "step", "item", "kind", "status", "started", "elapsed", "first_chunk", "cost", "confidence", "waited",
    "hedge", "retry_of", "message",
)  # fmt: skip


def encode(record: Record, began: float) -> tuple[Stored, bytes]:
    """What is kept of a run, and as JSON; `began` is when it began by the user's clock."""
    setup, asked = record.setup, record.asked
    kept = setup.content != "none"
    stored = Stored(
        file=_inside(setup.file, setup.root),
        began=began,
        content=setup.content,
        options=Options(
            overlays=tuple(_inside(each, setup.root) for each in setup.overlays),
            sets=setup.sets,
            chain=setup.chain,
            deadline=asked.deadline,
            seed=setup.seed,
            number=record.number,
            mock=setup.mock,
            streamed=asked.streamed,
        ),
        inputs=dict(asked.inputs) if kept else None,
        result=record.result if kept else without_content(record.result),
        attempts=_askings(record.transcript),
        events=tuple((at, place, event.name, _held(event)) for at, place, event in record.transcript.events),
        breakers={name: msgspec.to_builtins(each) for name, each in record.breakers.items()},
    )
    plain = _Censor(setup.secrets, personal=False).tree(msgspec.to_builtins(stored, enc_hook=repr))
    if setup.content != "full":
        censor = _Censor(setup.secrets, personal=True)
        plain = {key: censor.tree(value) if key in _WRITTEN else value for key, value in plain.items()}
    return stored, msgspec.json.encode(plain)


_STRUCTS: Final[tuple[type[msgspec.Struct], ...]] = (
    Stored, Options, Asking, Result, StepRow, AttemptRow, ErrorRow, ItemRow, Cost, UsageRow, ToolCallRow,
    *EVENTS,
)  # fmt: skip
#: The words that every record says: names of fields and events, kinds, confidences.
_GRAMMAR: Final[frozenset[str]] = frozenset({
    *(field for struct in _STRUCTS for field in struct.__struct_fields__),
    *(each.name for each in EVENTS), *KINDS, "ok", "reported", "estimated", "unknown",
})  # fmt: skip


class _Censor:
    """Takes keys, and personal data where asked, out of plain data. A record says most of its words many times, so
    each is looked at once, and those of its own grammar not at all, unless a secret is part of one."""

    def __init__(self, secrets: tuple[str, ...], *, personal: bool) -> None:
        self._secrets = secrets
        self._personal = personal
        self._known = {word: word for word in _GRAMMAR if not any(secret in word for secret in secrets)}

    def tree(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self._text(key): self.tree(each) for key, each in value.items()}
        return [self.tree(each) for each in value] if isinstance(value, list | tuple) else value

    def _text(self, text: str) -> str:
        if text not in self._known:
            plain = text.encode("utf-8", "backslashreplace").decode()
            self._known[text] = redact_personal(plain) if self._personal else redact(plain, self._secrets)
        return self._known[text]


def decode(text: str | bytes) -> Stored:
    """Raises ValueError for what is no recorded run, or one of a later format."""
    plain = msgspec.json.decode(text)
    if isinstance(plain, Mapping) and plain.get("format") != FORMAT:
        raise ValueError(f"it has format {plain.get('format')}, and this version of wizard reads format {FORMAT}")
    return msgspec.convert(plain, Stored)


def without_content(result: Result) -> Result:
    """The result without what was asked and answered, and without what may quote it."""
    replace = msgspec.structs.replace
    return replace(
        result,
        text="",
        output=None,
        error=_unquoted(result.error),
        attempts=[replace(row, message=_plain(row.kind, row.message)) for row in result.attempts],
        steps={name: _bare(step) for name, step in result.steps.items()},
    )


def _bare(step: StepRow) -> StepRow:
    replace = msgspec.structs.replace
    items = None if step.items is None else [ItemRow("", None, it.skipped, _unquoted(it.error)) for it in step.items]
    return replace(
        step,
        text="",
        json=None,
        tool_calls=[],
        items=items,
        error=_unquoted(step.error),
        attempts=[replace(row, message=_plain(row.kind, row.message)) for row in step.attempts],
    )


def _unquoted(error: ErrorRow | None) -> ErrorRow | None:
    if error is None:
        return None
    return msgspec.structs.replace(error, message=_plain(error.kind, error.message) or "")


def _plain(kind: str, message: str | None) -> str | None:
    return _UNQUOTED if message and kind in _QUOTING else message


def _askings(transcript: Transcript) -> tuple[Asking, ...]:
    exchanges = {each.attempt: each for each in transcript.exchanges or ()}
    return tuple(_asking(row, exchanges.get(row.number)) for row in transcript.attempts)


def _asking(row: Attempt, exchange: Exchange | None) -> Asking:
    if exchange is None:
        return Asking(retry_after=row.retry_after, should_retry=row.should_retry)
    request, answer = exchange.request, exchange.answer
    messages = [{"role": each.role, "content": each.text} for each in request.messages]
    return Asking(
        retry_after=row.retry_after,
        should_retry=row.should_retry,
        messages=messages or [{"role": "user", "content": text} for text in request.texts],
        reply=None if answer is None else answer.text,
        finish_reason=None if answer is None else answer.finish_reason,
        tool_calls=() if answer is None else tuple(ToolCallRow(*msgspec.structs.astuple(c)) for c in answer.tool_calls),
    )


def _held(event: Event) -> dict[str, Any]:
    return msgspec.structs.asdict(event)


def _event(name: str, held: dict[str, Any]) -> Event:
    """The event as it was; one of a plug-in, or of a later version, by its name and fields alone."""
    known = _BY_NAME.get(name)
    if known is not None:
        try:
            return msgspec.convert(held, known)
        except msgspec.ValidationError:
            pass
    fields = [(field, Any) for field in held if field != "path"]
    made: Any = msgspec.defstruct(
        "Recorded", fields, bases=(Event,), namespace={"name": name}, frozen=True, kw_only=True
    )
    event: Event = made(**held)
    return event


def _inside(path: str, root: str) -> str:
    """Relative to the project where it lies in it: the same project may lie elsewhere tomorrow."""
    relative = os.path.relpath(path, root)
    return path if relative.startswith("..") else relative
