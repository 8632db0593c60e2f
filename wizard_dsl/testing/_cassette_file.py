"""Cassettes on disk: read with every mistake at its line, written whole or not at all.

Each line ends with a checksum of its own, and the header has one over all of them, so a line that was edited by hand
is named. That is no protection against people, who can compute a checksum: it keeps a slip from passing for a
recording.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import Diagnostic, Place, capped, finding, meant
from wizard_dsl.spec.source import read_bytes
from wizard_dsl.testing._cassette_lines import VERSION, Asked, Exchange, ExchangeLine, Failed, Header, Vectors

MAX_BYTES: Final = 256 * 2**20
_SUM: Final = regex(r',\s*"(?:sum|checksum)"\s*:\s*"([0-9a-f]{16})"\s*\}\s*$')
_STEP: Final = regex(r"\.([A-Za-z_]+)")
#: The mappings in a line that have keys of their own.
_PARTS: Final[dict[str, type[msgspec.Struct]]] = {"request": Asked, "failed": Failed, "vectors": Vectors}
UNSIGNED: Final = "0" * 16
_MARKERS: Final = ("<<<<<<<", "=======", ">>>>>>>")
_ACCEPT: Final = "record it again (--record all), or take the edit over: wizard cassette accept {file}"


class Recording(msgspec.Struct, frozen=True):
    """What a file holds: the header, each exchange with its line's number, and those lines as they are written."""

    header: Header
    exchanges: tuple[tuple[int, Exchange], ...]
    lines: tuple[str, ...]


class Read(msgspec.Struct, frozen=True):
    """A file that was read. `recording` is None where something in it is no cassette; checksums that do not fit are
    `edited`, and leave it readable."""

    recording: Recording | None
    wrong: tuple[Diagnostic, ...] = ()
    edited: tuple[Diagnostic, ...] = ()


def read(path: Path) -> Read:
    """Read a cassette. Never raises for what is in it, or for a file that is not there."""
    file = str(path)
    try:
        content = read_bytes(path, MAX_BYTES + 1)
    except IsADirectoryError:
        return _wrong(file, 0, "E002", "this is a directory, not a file", "name a file in it")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _wrong(file, 0, "E001", f"the file cannot be read: {reason}", "check the path and its permissions")
    if len(content) > MAX_BYTES:
        return _wrong(file, 0, "E005", "the cassette is larger than 256 MiB", "record fewer runs in one file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _wrong(file, line, "E090", "this is not UTF-8, so it is no line of a cassette", "record it again")
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return _Reader(file, lines).read() if lines else _wrong(file, 1, "E090", "the cassette is empty", "record it")


def require(path: Path) -> Recording:
    """The recording in a file. Raises SpecError with everything that is wrong in it, edits by hand among them."""
    from wizard_dsl.spec.diagnostics import render_text

    found = read(path)
    if found.recording is None or found.edited:
        wrong = found.wrong or found.edited
        raise SpecError(render_text(wrong), diagnostics=wrong)
    return found.recording


def _wrong(file: str, line: int, code: str, message: str, suggestion: str) -> Read:
    place = Place(file, line, 1 if line else 0)
    return Read(None, (finding(code, message, place, suggestion=suggestion),))


class _Reader:
    """One file, line by line; collects what is wrong."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self._file = file
        self._lines = lines
        self._wrong: list[Diagnostic] = []

    def read(self) -> Read:
        header = self._header(self._lines[0])
        if header is None:
            return Read(None, tuple(self._wrong))
        exchanges = [
            (number, exchange)
            for number, line in enumerate(self._lines[1:], 2)
            if (exchange := self._exchange(number, line)) is not None
        ]
        if self._wrong:
            return Read(None, tuple(capped(self._wrong)))
        recording = Recording(header, tuple(exchanges), tuple(self._lines[1:]))
        return Read(recording, edited=tuple(capped(self._edited())))

    def _header(self, line: str) -> Header | None:
        data = self._json(1, line)
        if data is None:
            return None
        version = data.get("cassette")
        if "cassette" not in data:
            self._tell(1, "E090", "the first line is no header: it has no key 'cassette'", "name a cassette")
            return None
        if version != VERSION or isinstance(version, bool):
            known = f"this version of wizard reads version {VERSION}"
            self._tell(1, "E091", f"the cassette has version {version!r}; {known}", "update wizard, or record it again")
            return None
        header: Header | None = self._converted(1, line, {"checksum": UNSIGNED, **data}, Header)
        return header

    def _exchange(self, number: int, line: str) -> Exchange | None:
        data = self._json(number, line)
        if data is None:
            return None
        if "cassette" in data:
            self._tell(number, "E092", "a second header: two cassettes in one file", "keep one of them")
            return None
        found: ExchangeLine | None = self._converted(number, line, {"sum": UNSIGNED, **data}, ExchangeLine)
        if found is None:
            return None
        ends = sum(each is not None for each in (found.end, found.failed, found.cancelled))
        if ends != 1:
            self._tell(number, "E092", f"an exchange ends in one way, by end, failed or cancelled; this has {ends}")
            return None
        if found.chunks and found.status is None:
            self._tell(number, "E092", "chunks of a body come after a status, and there is none")
            return None
        return found

    def _json(self, number: int, line: str) -> dict[str, Any] | None:
        if line.startswith(_MARKERS):
            self._tell(number, "E092", "a conflict of a merge is left in the file", "keep one side, or record it again")
            return None
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            within = error.msg.startswith("Unterminated string")  # told of where it begins
            cut = within or error.pos >= len(line.rstrip())
            said = "the line is cut off" if cut and line.strip() else f"the line is no JSON: {error.msg.lower()}"
            self._tell(number, "E092" if number > 1 else "E090", said, "record it again", column=error.colno)
            return None
        except RecursionError:
            self._tell(number, "E092", "the line is nested too deeply", "record it again")
            return None
        if not isinstance(data, dict):
            self._tell(number, "E092" if number > 1 else "E090", "the line is no JSON object", "record it again")
            return None
        return data

    def _converted(self, number: int, line: str, data: dict[str, Any], kind: type[Any]) -> Any:
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at ")
            shown = path.strip("`").removeprefix("$").lstrip(".")
            if unknown := re.search(r"unknown field `([^`]+)`", message):
                known = set(_PARTS.get(shown, kind).__struct_fields__) - data.keys()
                said, hint = f"unknown key '{unknown[1]}' in {shown or 'the line'}", meant(unknown[1], known)
            elif missing := re.search(r"required field `([^`]+)`", message):
                said, hint = f"'{missing[1]}' is missing in {shown or 'the line'}", "record it again"
            else:
                said, hint = f"{message[:1].lower()}{message[1:]} at {shown}", None
            column = _column(line, [unknown[1]] if unknown else _STEP.findall(path))
            self._tell(number, "E092", said, hint, column=column)
            return None

    def _edited(self) -> list[Diagnostic]:
        """Lines whose checksums do not fit; the header's is looked at where all others do."""
        advice = _ACCEPT.format(file=self._file)
        found: list[Diagnostic] = []
        sums = []
        for number, line in enumerate(self._lines[1:], 2):
            stated = _SUM.search(line)
            if stated is None or digest(f"{line[: stated.start()]}}}") != stated[1]:
                found.append(self._finding(number, "E093", "the line was edited: its checksum does not fit", advice))
            else:
                sums.append(stated[1])
        head = self._lines[0]
        stated = _SUM.search(head)
        if not found and (stated is None or header_digest(f"{head[: stated.start()]}}}", sums) != stated[1]):
            said = "the header was edited, or lines were removed, added or moved: its checksum does not fit"
            found.append(self._finding(1, "E093", said, advice))
        return found

    def _tell(self, number: int, code: str, message: str, suggestion: str | None = None, column: int = 1) -> None:
        self._wrong.append(self._finding(number, code, message, suggestion, column))

    def _finding(
        self, number: int, code: str, message: str, suggestion: str | None = None, column: int = 1
    ) -> Diagnostic:
        return finding(code, message, Place(self._file, number, column), suggestion=suggestion)


def _column(line: str, names: Sequence[str]) -> int:
    """Where the last of the names stands in a line that holds them one inside the other."""
    at = 0
    for name in names:
        at = max(line.find(f'"{name}"', at), at)
    return at + 1


def digest(text: str) -> str:
    """Sixteen hexadecimal digits for a text."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def header_digest(head: str, sums: Sequence[str]) -> str:
    return digest("\n".join([head, *sums]))


def line_of(exchange: Exchange) -> str:
    """An exchange as a line, with its checksum."""
    text = _encoded(exchange)
    return f'{text[:-1]},"sum":"{digest(text)}"}}'


def write(path: Path, header: Header, lines: Sequence[str]) -> None:
    """Write a cassette in one go: whoever reads sees the old file or the new one. `lines` have their checksums. Raises
    OSError."""
    sums = [found[1] for line in lines if (found := _SUM.search(line)) is not None]
    plain = msgspec.to_builtins(header)
    del plain["checksum"]
    head = _encoded(plain)
    content = "\n".join([f'{head[:-1]},"checksum":"{header_digest(head, sums)}"}}', *lines, ""])
    _replace(path.resolve(), content.encode())


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _replace(path: Path, content: bytes) -> None:
    spare = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with spare.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(OSError):
            spare.chmod(path.stat().st_mode & 0o777)
        spare.replace(path)
    except BaseException as error:
        with suppress(OSError):
            spare.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
