"""Newline-delimited JSON, split on bytes: one event a line, blank lines skipped."""

from __future__ import annotations

from wizard_dsl.providers._errors import Unreadable
from wizard_dsl.providers._sse import EVENT_LIMIT, Event


class NdjsonSplitter:
    """`feed` returns the lines that became whole; `close` the last one, which may lack its line end."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Raises Unreadable where a line grows past EVENT_LIMIT."""
        if b"\n" not in data:
            self._keep(self._rest + data)
            return []
        lines = (self._rest + data).split(b"\n")
        self._keep(lines.pop())
        return [(b"", line) for line in lines if line.strip()]

    def _keep(self, rest: bytes) -> None:
        if len(rest) > EVENT_LIMIT:
            raise Unreadable(f"a line is longer than {EVENT_LIMIT} bytes")
        self._rest = rest

    def close(self) -> list[Event]:
        """What the end of the body leaves; it may be a line cut short."""
        rest, self._rest = self._rest, b""
        return [(b"", rest)] if rest.strip() else []
