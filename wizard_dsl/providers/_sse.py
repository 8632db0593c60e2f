"""Server-sent events, split on bytes.

Raw U+2028, U+2029 and U+0085 occur inside JSON strings and UTF-8 sequences are cut between reads, so text methods
such as `splitlines` never see a stream: borders are found in the bytes, whole events are decoded later. LF, CRLF
and CR end a line; a CRLF may be cut between two reads.
"""

from __future__ import annotations

from typing import Protocol

from wizard_dsl.providers._errors import Unreadable

#: A single event larger than this is refused, so that a stream without borders cannot fill the memory.
EVENT_LIMIT = 32 * 2**20
_BOM = b"\xef\xbb\xbf"

#: The event's name (b"" where it has none) and its data lines joined by LF.
Event = tuple[bytes, bytes]


class Splitter(Protocol):
    """Bytes to events, whatever the borders of the reads."""

    def feed(self, data: bytes) -> list[Event]: ...

    def close(self) -> list[Event]: ...


class SseSplitter:
    """`feed` returns the events that became whole; `close` the last one, which may lack its blank line."""

    __slots__ = ("_begun", "_cut_crlf", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._cut_crlf = False

    def feed(self, data: bytes) -> list[Event]:
        """Raises Unreadable past EVENT_LIMIT."""
        if self._cut_crlf and data:
            self._cut_crlf = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._cut_crlf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self._begun:
            data = self._begin(data)
        if self._rest:
            searched = len(self._rest) - 1
            data = self._rest + data
            if data.find(b"\n\n", searched) < 0:
                return self._keep(data)
        blocks = data.split(b"\n\n")
        self._keep(blocks.pop())
        return [event for block in blocks if (event := parse(block)) is not None]

    def _begin(self, data: bytes) -> bytes:
        """Skip a byte order mark, which may come in pieces."""
        data = self._rest + data
        self._rest = b""
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._rest = data
            return b""
        self._begun = True
        return data.removeprefix(_BOM)

    def _keep(self, rest: bytes) -> list[Event]:
        if len(rest) > EVENT_LIMIT:
            raise Unreadable(f"an event is larger than {EVENT_LIMIT} bytes")
        self._rest = rest
        return []

    def close(self) -> list[Event]:
        """What the end of the body leaves; it may be an event cut short."""
        event = parse(self._rest)
        self._rest = b""
        return [event] if event is not None else []


def parse(block: bytes) -> Event | None:
    """One event from its lines, which end in LF; None where it has no data (comments, blank lines, ids)."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return b"", block[6:]
    name, data = b"", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return (name, b"\n".join(data)) if data else None
