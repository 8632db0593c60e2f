"""References to the environment and to files: `${env:NAME}`, `${env:NAME:-default}`, `${file:path}`; `$${` is a
literal `${`.

They are resolved in scalars after parsing, so what a variable holds can never become structure, and never in keys.
One string may hold several. As in a shell, a default stands in for a variable that is unset or empty; a default is
taken verbatim. A file's text loses one line break at its end, as mounted secrets have one.

A path is relative to the file that holds the reference and stays inside the project root, symbolic links followed.
Absolute paths are admitted below /run/secrets, /var/run/secrets (where container platforms mount secrets) and what
the caller allows besides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Places, did_you_mean, finding, show_path
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.scalars import Scalar, core_scalar, is_finite
from wizard_dsl.spec.source import read_bytes

MAX_FILE_BYTES: Final = 1024 * 1024
SECRET_FOLDERS: Final = (Path("/run/secrets"), Path("/var/run/secrets"))
_SCHEMES: Final = ("env", "file")
_OPENING: Final = regex(r"\$\$\{|\$\{")
_NAME: Final = regex(r"[A-Za-z_][A-Za-z0-9_]*")


class Reference(msgspec.Struct, frozen=True):
    """One reference; `start` and `end` are offsets in the scalar, `whole` says that it is all of it."""

    scheme: Literal["env", "file"]
    name: str
    default: str | None
    start: int
    end: int
    whole: bool

    def __str__(self) -> str:
        default = "" if self.default is None else ":-…"
        return f"${{{self.scheme}:{self.name}{default}}}"


class Malformed(msgspec.Struct, frozen=True):
    """A `${` that begins no reference, and why."""

    start: int
    reason: str
    suggestion: str


class Missing(msgspec.Struct, frozen=True):
    """A reference that stands for nothing here: its code is E031, E032 or E033."""

    reference: Reference
    code: str
    reason: str
    suggestion: str


class Refused(Exception):
    """Raised by a reader of files. `code` is E032 (cannot be read) or E033 (leaves the project)."""

    def __init__(self, code: str, reason: str, suggestion: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.suggestion = suggestion


ReadFile = Callable[[str], str]
Piece = str | Reference | Malformed


class Resolved(msgspec.Struct, frozen=True):
    """What `resolve_tree` found. `missing` is empty where nothing was to be resolved; `refs` holds every reference."""

    data: Any
    refs: dict[DocPath, list[Reference]]
    missing: list[tuple[DocPath, Missing]]
    malformed: list[tuple[DocPath, Malformed]]


def has_reference(value: object) -> bool:
    """Whether a value is a text with at least one well-formed reference."""
    return isinstance(value, str) and bool(find_references(value))


def find_references(text: str) -> list[Reference]:
    return [piece for piece in pieces(text) if isinstance(piece, Reference)]


def pieces(text: str) -> list[Piece]:
    """Literal text, references and what is malformed, in order; escapes are undone."""
    out: list[Piece] = []
    position = 0
    while match := _OPENING.search(text, position):
        out.append(text[position : match.start()])
        if match[0] == "$${":
            out.append("${")
            position = match.end()
            continue
        piece = _reference(text, match.start())
        out.append(piece)
        position = piece.end if isinstance(piece, Reference) else match.end()
    out.append(text[position:])
    return [piece for piece in out if piece != ""]


def _reference(text: str, start: int) -> Reference | Malformed:
    end = text.find("}", start)
    if end < 0:
        return Malformed(start, "a reference is opened with ${ and not closed", "close it with }, or write $${")
    body = text[start + 2 : end]
    if "${" in body:
        return Malformed(start, "references do not nest", "give the inner value a variable of its own")
    scheme, colon, rest = body.partition(":")
    if not colon or scheme not in _SCHEMES:
        return Malformed(start, f"{_shown(body)} is no reference", _scheme_hint(scheme, colon, rest))
    whole = start == 0 and end + 1 == len(text)
    if scheme == "file":
        if not rest.strip() or rest != rest.strip():
            return Malformed(start, f"{_shown(body)} names no file", "write ${file:path}, without spaces around")
        return Reference("file", rest, None, start, end + 1, whole)
    name, mark, default = rest.partition(":-")
    if not _NAME.fullmatch(name):
        hint = "write ${env:NAME} or ${env:NAME:-default}; names have letters, digits and underscores"
        return Malformed(start, f"{_shown(body)} names no variable", hint)
    return Reference("env", name, default if mark else None, start, end + 1, whole)


def _shown(body: str) -> str:
    """Only what cannot be a secret typed by mistake: at most the scheme and a name."""
    head = re.match(r"[A-Za-z0-9_]{0,32}(?::[A-Za-z0-9_]{0,32})?", body)
    short = head[0] if head else ""
    return f"${{{short}{'' if short == body else '…'}}}"


def _scheme_hint(scheme: str, colon: str, rest: str) -> str:
    if not colon and _NAME.fullmatch(scheme):
        return f"write ${{env:{scheme}}}, or $${{{scheme}}} for the text itself"
    near = did_you_mean(scheme, _SCHEMES) if colon else None
    if near:
        return f"did you mean '{near}:'?"
    if rest.startswith("-") and _NAME.fullmatch(scheme):
        return f"write ${{env:{scheme}:-default}}"
    return "write ${env:NAME} or ${file:path}, or $${ for the text itself"


def resolve(text: str, env: Mapping[str, str], read_file: ReadFile) -> str | list[Missing]:
    """The text with its references replaced, or every reference that stands for nothing.

    What is malformed stays as it is written: it is reported by `resolve_tree`, once.
    """
    out, missing = [], []
    for piece in pieces(text):
        value = _value(piece, text, env, read_file)
        if isinstance(value, Missing):
            missing.append(value)
        else:
            out.append(value)
    return missing or "".join(out)


def _value(piece: Piece, text: str, env: Mapping[str, str], read_file: ReadFile) -> str | Missing:
    if isinstance(piece, str):
        return piece
    if isinstance(piece, Malformed):
        return text[piece.start : piece.start + 2]
    if piece.scheme == "env":
        return _variable(piece, env)
    try:
        return read_file(piece.name)
    except Refused as refused:
        return Missing(piece, refused.code, refused.reason, refused.suggestion)


def _variable(reference: Reference, env: Mapping[str, str]) -> str | Missing:
    value = env.get(reference.name)
    if reference.default is not None:
        return value or reference.default
    if value is not None:
        return value
    near = did_you_mean(reference.name, env)
    hint = f"did you mean '{near}'?" if near else f"set {reference.name}"
    return Missing(reference, "E031", f"the variable {reference.name} is not set", hint)


def typed(text: str) -> Scalar:
    """A resolved text as a YAML 1.2 core scalar: for a field whose schema wants no string."""
    value = core_scalar(text.strip())
    return value if is_finite(value) else text


def resolve_tree(
    data: Any,
    env: Mapping[str, str] | None,
    read_file: Callable[[DocPath, str], str],
    skip: Callable[[DocPath], bool],
    *,
    files: bool = False,
) -> Resolved:
    """Resolve every string that `skip` does not keep out; `skip` of a list or mapping keeps all below it out.

    `env=None` (validate) only lists: strings with references stay as they are written, and nothing is read; with
    `files`, what refers to files alone becomes what they say, where they can be read and it is no secret.
    `data` is not changed; what has no reference is shared with it.
    """
    result = Resolved(None, {}, [], [])

    def visit(value: Any, path: DocPath) -> Any:
        if isinstance(value, str):
            return text(value, path) if "${" in value and not skip(path) else value
        if not isinstance(value, (dict, list)) or skip(path):
            return value
        if isinstance(value, dict):
            return {key: visit(each, (*path, key)) for key, each in value.items()}
        return [visit(each, (*path, index)) for index, each in enumerate(value)]

    def text(value: str, path: DocPath) -> str:
        found = pieces(value)
        result.malformed.extend((path, piece) for piece in found if isinstance(piece, Malformed))
        references = [piece for piece in found if isinstance(piece, Reference)]
        if references:
            result.refs[path] = references
        if env is None and references:
            return _said(value, path, references, read_file) if files else value
        outcome = resolve(value, env or {}, lambda name: read_file(path, name))
        if isinstance(outcome, str):
            return outcome
        result.missing.extend((path, each) for each in outcome)
        return value

    return msgspec.structs.replace(result, data=visit(data, ()))


def _said(value: str, path: DocPath, references: Sequence[Reference], read_file: Callable[[DocPath, str], str]) -> str:
    """What the files say to which alone `value` refers; `value` where one cannot be read, or it may be a key."""
    if is_secret(path) or any(each.scheme == "env" for each in references):
        return value
    outcome = resolve(value, {}, lambda name: read_file(path, name))
    return outcome if isinstance(outcome, str) else value


def reference_findings(resolved: Resolved, raw: Any, places: Places) -> list[Diagnostic]:
    """Diagnostics of what is malformed or missing, each where it begins. `raw` is the data before resolving."""
    found = []
    for path, malformed in resolved.malformed:
        place = places.text_at(path, *_spot(str(value_in(raw, path)), malformed.start))
        message = f"{malformed.reason}, in {show_path(path)}"
        found.append(finding("E030", message, place, path=path, suggestion=malformed.suggestion))
    for path, missing in resolved.missing:
        place = places.text_at(path, *_spot(str(value_in(raw, path)), missing.reference.start))
        message = f"{missing.reason}, which {show_path(path)} refers to"
        found.append(finding(missing.code, message, place, path=path, suggestion=_hint(path, missing)))
    return found


def is_secret(path: DocPath) -> bool:
    """Whether what stands there may be a key."""
    return path[0] == "providers" and path[2:3] in (("api_key",), ("headers",))


def _hint(path: DocPath, missing: Missing) -> str:
    """A default would do, too, but for a secret, whose default would be written in the file."""
    name = missing.reference.name
    if missing.suggestion != f"set {name}" or is_secret(path):
        return missing.suggestion
    return f"{missing.suggestion}, or write ${{env:{name}:-default}}"


def _spot(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset].split("\n")
    return len(before), len(before[-1]) + 1


def read_inside(holder: Path, root: Path, name: str, allowed: Sequence[Path] = ()) -> str:
    """The text of `${file:name}` as written in the file `holder`, less one line break at its end.

    Raises Refused.
    """
    path = inside(holder, root, name, allowed)
    try:
        content = read_bytes(path, MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused("E032", f"the file {name} cannot be read ({reason})", "check the path and its rights") from error
    if len(content) > MAX_FILE_BYTES:
        raise Refused("E032", f"the file {name} is larger than 1 MiB", "refer to a file with one value")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused("E032", f"the file {name} is not UTF-8", "save the file as UTF-8") from error
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def inside(holder: Path, root: Path, name: str, allowed: Sequence[Path] = ()) -> Path:
    """The absolute path of a name written in `holder`, if it stays where it may. Raises Refused with E033.

    A secret mount is a folder of links, so an absolute name is judged as written *or* as resolved.
    """
    try:
        written = holder.absolute().parent / name
        path = written.resolve()
        base = root.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise Refused("E033", f"{name!r} is no path", "write a path relative to the file") from error
    if path.is_relative_to(base):
        return path
    folders = (*SECRET_FOLDERS, *allowed)
    plain = Path(name).is_absolute() and ".." not in Path(name).parts
    if plain and any(written.is_relative_to(folder) or path.is_relative_to(folder) for folder in folders):
        return path
    hint = "move the file into the project, or mount it under /run/secrets"
    raise Refused("E033", f"the path {name} leaves the project {root}", hint)
