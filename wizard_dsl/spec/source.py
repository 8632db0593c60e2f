"""YAML text → plain data and the position of every key and value.

Whatever a file holds, the answer is a `Source` with diagnostics: nothing is raised and nothing is printed. Files are
UTF-8 of at most 2 MiB; `reader.py` has the other limits.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Place, capped, finding
from wizard_dsl.spec.reader import Position, Reader
from wizard_dsl.spec.scalars import position_in

MAX_BYTES: Final = 2 * 1024 * 1024
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)  # there is none where opening a pipe does not wait
_FORBIDDEN: Final = regex("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


class Source(msgspec.Struct, frozen=True):
    """One document read. `data` is {} where it could not be read; treat it as frozen, layers share parts of it.

    `positions` and `key_positions` map paths to (line, column) from 1. Below an alias they are those of the
    anchor's content.
    """

    file: str
    data: dict[str, Any]
    positions: dict[DocPath, Position]
    key_positions: dict[DocPath, Position]
    diagnostics: tuple[Diagnostic, ...]
    text: str
    scalars: dict[DocPath, tuple[int, int, str]]

    def value_at(self, path: DocPath) -> Place:
        """Where the value is written, else what is nearest above it."""
        while path not in self.positions and path:
            path = path[:-1]
        return Place(self.file, *self.positions.get(path, (1, 1)))

    def key_at(self, path: DocPath) -> Place:
        """Where the key is written; a list's entry has none, then where the value is."""
        spot = self.key_positions.get(path)
        return Place(self.file, *spot) if spot else self.value_at(path)

    def text_at(self, path: DocPath, line: int, column: int) -> Place:
        """Where a line and column inside the text of a scalar (both from 1) are written."""
        spot = self.scalars.get(path)
        if spot is None:
            return self.value_at(path)
        text: Any = self.data
        for part in path:
            text = text[part]
        place = position_in(_lines(self.text), spot[:2], spot[2], text, (line, column))
        return Place(self.file, *place)


def load_file(path: Path, name: str | None = None) -> Source:
    """Read a file. `name` is how diagnostics call it, by default the path as given."""
    shown = name or str(path)
    try:
        content = read_bytes(path, MAX_BYTES + 1)
    except IsADirectoryError:
        return _failed(shown, "E002", "this is a directory, not a file", "name a file in it, such as pipeline.yaml")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _failed(shown, "E001", f"the file cannot be read: {reason}", "check the path and its permissions")
    return load_bytes(content, shown)


def read_bytes(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of a file. Raises OSError, or ValueError for a path that is none.

    A pipe that nobody writes to is empty: opening one as files are opened would wait for a writer for ever.
    """
    with open(path, "rb", opener=_without_waiting) as stream:
        if _NONBLOCK:
            os.set_blocking(stream.fileno(), True)
        return stream.read(limit)


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | _NONBLOCK)


def load_bytes(content: bytes, name: str) -> Source:
    """Read UTF-8 bytes, with or without a byte order mark."""
    if len(content) > MAX_BYTES:
        return _failed(name, "E005", "the file is larger than 2 MiB", "move data out of the file, into inputs")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _failed(name, "E003", "the file is UTF-16, not UTF-8", "save the file as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        return _failed(name, "E003", message, "save the file as UTF-8", _end_of(before))
    return load_text(text, name)


def load_text(text: str, name: str) -> Source:
    """Read text; a leading byte order mark is ignored."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        return _failed(name, "E005", "the file is larger than 2 MiB", "move data out of the file, into inputs")
    bad = _FORBIDDEN.search(text)
    if bad:
        message = f"character U+{ord(bad[0]):04X} may not stand in YAML"
        hint = "remove it (NUL: is the file UTF-16?); in double quotes it can be an escape, such as \\x1b"
        return _failed(name, "E004", message, hint, _end_of(text[: bad.start()]))
    reader = Reader(text, name)
    data = reader.document()
    return Source(
        name,
        data if isinstance(data, dict) else {},
        reader.positions,
        reader.keys,
        tuple(capped(reader.found)),
        text,
        reader.scalars,
    )


def parse_value(text: str, name: str) -> tuple[Any, tuple[Diagnostic, ...]]:
    """One value in YAML, as a variable or flag holds it: `30s`, `3`, `[a, b]`, `{ttl: 1h}`.

    Findings are about `name` as a whole.
    """
    if _FORBIDDEN.search(text):
        return None, (finding("E004", "a control character may not stand in a value", Place(name, 0, 0)),)
    reader = Reader(text, name)
    value = reader.value()
    return value, tuple(msgspec.structs.replace(each, line=0, column=0, related=()) for each in reader.found)


def _failed(name: str, code: str, message: str, suggestion: str, spot: Position = (0, 0)) -> Source:
    found = finding(code, message, Place(name, *spot), suggestion=suggestion)
    return Source(name, {}, {}, {}, (found,), "", {})


def _lines(text: str) -> list[str]:
    return re.split("\r\n|[\n\r]", text)


def _end_of(before: str) -> Position:
    lines = _lines(before)
    return len(lines), len(lines[-1]) + 1
