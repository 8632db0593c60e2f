"""From decoded events, or a whole body, to deltas: what each protocol brings, and what holds for all of them."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import msgspec

from wizard_dsl.core.messages import Delta
from wizard_dsl.providers._errors import Unreadable
from wizard_dsl.providers._json import mend
from wizard_dsl.providers._sse import Splitter

#: What decoding raises where JSON has not the shape that a protocol promises.
ODD = (msgspec.MsgspecError, AttributeError, TypeError, LookupError, ValueError, ArithmeticError, RecursionError)


class Reader(Protocol):
    """One answer of one protocol. Raises ErrorInside, Unreadable, or what decoding raises.

    `done`: the terminal marker was seen. `final`: nothing may follow. `splitter` makes the events of a stream;
    `lines` says that a whole body looks like the first event of a stream.
    """

    splitter: ClassVar[type[Splitter]]
    lines: ClassVar[bool]
    done: bool
    final: bool

    def event(self, name: bytes, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one event."""

    def whole(self, body: bytes) -> list[Delta]:
        """The deltas of a unary body."""


def drain(reader: Reader, body: bytes) -> list[Delta]:
    """A whole body of events."""
    out: list[Delta] = []
    splitter = reader.splitter()
    for name, data in (*splitter.feed(body), *splitter.close()):
        read_event(reader, name, data, out)
    return out


def read_event(reader: Reader, name: bytes, data: bytes, out: list[Delta]) -> None:
    """One event, also where a character was cut into two escapes and only one of them is in it."""
    start = len(out)
    try:
        reader.event(name, data, out)
    except msgspec.DecodeError:
        whole = mend(data)
        if whole == data:
            raise
        reader.event(name, whole, out)
    _check(out, start)


def read_whole(reader: Reader, body: bytes) -> list[Delta]:
    """A whole body, with the same tolerance."""
    try:
        out = reader.whole(body)
    except msgspec.DecodeError:
        whole = mend(body)
        if whole == body:
            raise
        out = reader.whole(whole)
    _check(out, 0)
    return out


def _check(out: list[Delta], start: int) -> None:
    """Readers look at untyped JSON: a number where a text belongs must fail here, not where texts are joined."""
    for place in range(start, len(out)):
        delta = out[place]
        tool = delta.tool
        if (
            type(delta.text) is not str
            or type(delta.reasoning) is not str
            or (delta.model is not None and type(delta.model) is not str)
            or (tool is not None and not type(tool.id) is type(tool.name) is type(tool.arguments) is str)
        ):
            del out[place:]
            raise Unreadable("something that is no text stands where a text belongs")


def count(values: Any, *names: str) -> int:
    """The tokens under the first of `names` that holds any, else 0: a usage that cannot be read costs no answer."""
    for name in names:
        value = values.get(name) if isinstance(values, dict) else None
        if isinstance(value, int | float) and 0 < value < 1e12:
            return int(value)
    return 0
