"""A diagnostic is a finding with a stable code and a place. Loaders return them as values; renderers only turn
them into text and never print.

Lines and columns count from 1, columns in characters. Line 0 means that the finding is about a file as a whole, or
about a variable or a flag, whose name then stands in `file`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from wizard_dsl.core.regex import regex

DocPath = tuple[str | int, ...]
Severity = Literal["error", "warning"]

MAX_FINDINGS: Final = 100  # of one kind of check in one file; more help nobody and cost time
_USERINFO: Final = regex(r"(?<=://)[^/@\s]+(?=@)")
_QUERY: Final = regex(r"(://[^\s?]*\?)\S+")
_PLAIN_KEY: Final = regex(r"[A-Za-z_][A-Za-z0-9_-]*")


class Place(NamedTuple):
    """Where something is written; line 0 for a file as a whole."""

    file: str
    line: int
    column: int


class Related(NamedTuple):
    """Another place that has a part in the finding, such as the first of two equal keys."""

    file: str
    line: int
    column: int
    message: str


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `value` is short and printable, and None where it could be a secret. `allowed` is the reason that
    the file gives for a warning it allows: it is no finding then, and only JSON and SARIF show it."""

    code: str
    severity: Severity
    message: str
    file: str
    line: int
    column: int
    path: DocPath = ()
    value: str | None = None
    suggestion: str | None = None
    related: tuple[Related, ...] = ()
    allowed: str | None = None


class Places(Protocol):
    """What knows the places of a document: one file (`Source`) or several layers (`Merged`)."""

    def value_at(self, path: DocPath) -> Place: ...
    def key_at(self, path: DocPath) -> Place: ...
    def text_at(self, path: DocPath, line: int, column: int) -> Place: ...


def finding(
    code: str,
    message: str,
    place: Place,
    *,
    path: DocPath = (),
    value: str | None = None,
    suggestion: str | None = None,
    related: Sequence[Related] = (),
) -> Diagnostic:
    """A diagnostic at a place; the letter of its code says how severe it is."""
    return Diagnostic(
        code=code,
        severity="warning" if code.startswith("W") else "error",
        message=message,
        file=place.file,
        line=place.line,
        column=place.column,
        path=path,
        value=value,
        suggestion=suggestion,
        related=tuple(related),
    )


def has_errors(found: Iterable[Diagnostic]) -> bool:
    return any(each.severity == "error" for each in found)


def capped(found: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The first hundred, and one at the place of the next, which says that there are more."""
    if len(found) <= MAX_FINDINGS:
        return list(found)
    following = found[MAX_FINDINGS]
    rest = finding(
        "E018",
        "more findings of this kind, from here on, are not shown",
        Place(following.file, following.line, following.column),
        suggestion="mend the first ones and run again",
    )
    return [*found[:MAX_FINDINGS], rest]


def ordered(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By file, line and column, each once."""
    unique = {(each.file, each.line, each.column, each.code, each.message): each for each in found}
    return [unique[key] for key in sorted(unique)]


def counted(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """In order, without those that the file allows."""
    return [each for each in ordered(found) if each.allowed is None]


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate nearest to a misspelt name, or None where none is near."""
    if len(name) > 80:
        return None
    by_shape = {_shape(each): each for each in sorted(candidates, reverse=True)}
    longer = [each for each in by_shape if len(name) > 2 and each.startswith(_shape(name))]
    from difflib import get_close_matches

    near = get_close_matches(_shape(name), by_shape, n=1, cutoff=0.6) or (longer if len(longer) == 1 else [])
    return by_shape[near[0]] if near and by_shape[near[0]] != name else None


def _shape(name: str) -> str:
    return name.lower().replace("-", "_")


def meant(name: str, candidates: Iterable[str]) -> str | None:
    """The suggestion itself: the nearest name, else the few there are."""
    names = sorted(candidates)
    near = did_you_mean(name, names)
    if near is not None:
        return f"did you mean '{near}'?"
    return f"known here: {', '.join(names)}" if 0 < len(names) <= 16 else None


def show_path(path: DocPath) -> str:
    """`chains.writer.targets[1]`; a key that is no plain name is quoted; the document itself is `the file`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            out += f".{part}" if out else part
        else:
            out += f"[{json.dumps(part)}]"
    return out or "the file"


def without_user(text: str) -> str:
    """A text with user and password of every URL in it hidden."""
    return _USERINFO.sub("***", text)


def show_value(value: Any) -> str:
    """A value in at most 60 characters; a list or mapping by its kind alone, for it may hold secrets, as a
    URL's user and query may."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(_QUERY.sub(r"\1***", without_user(value))[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:56]}…'"


def sentence(each: Diagnostic) -> str:
    """Message and suggestion in one line."""
    return f"{each.message}; {each.suggestion}" if each.suggestion else each.message


def render_text(found: Iterable[Diagnostic]) -> str:
    """One line for each finding, other places indented below; ends in a newline unless there is nothing."""
    lines = []
    for each in counted(found):
        lines.append(f"{position(each)} {each.severity}[{each.code}] {sentence(each)}")
        lines += [f"    {position(other)} {other.message}" for other in each.related]
    return "".join(f"{_printable(line)}\n" for line in lines)


def position(each: Diagnostic | Related) -> str:
    """`file:line:column`, or `file:` for what is about a file as a whole."""
    return f"{each.file}:{each.line}:{each.column}" if each.line else f"{each.file}:"


def _printable(text: str) -> str:
    """Control characters as escapes: what a file contains must not steer the terminal that shows it."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def render_json(found: Iterable[Diagnostic]) -> str:
    """A JSON list of objects in the order of the text, allowed warnings among them; keys never disappear."""
    rows = []
    for each in ordered(found):
        row = msgspec.structs.asdict(each)
        row["path"] = list(each.path)
        row["related"] = [other._asdict() for other in each.related]
        rows.append(row)
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def render_github(found: Iterable[Diagnostic]) -> str:
    """Workflow commands, which GitHub shows as annotations of the pull request."""
    lines = []
    for each in counted(found):
        spot = f",line={each.line},col={each.column}" if each.line else ""
        also = "".join(f"\n{position(other)} {other.message}" for other in each.related)
        text = _escape_data(sentence(each) + also)
        lines.append(
            f"::{each.severity} file={_escape_property(each.file)}{spot},title={_escape_property(each.code)}::{text}\n"
        )
    return "".join(lines)


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


def render_sarif(found: Iterable[Diagnostic]) -> str:
    """SARIF 2.1.0, with the explanation of each code as the help of its rule."""
    results = ordered(found)
    codes = sorted({each.code for each in results})
    driver = {"name": "wizard", "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, codes.index(each.code)) for each in results],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(code: str) -> dict[str, Any]:
    from wizard_dsl.spec.codes import CODES

    entry = CODES.get(code)
    rule: dict[str, Any] = {
        "id": code,
        "defaultConfiguration": {"level": "error" if code.startswith("E") else "warning"},
    }
    if entry is not None:
        rule["shortDescription"] = {"text": entry.title}
        rule["fullDescription"] = {"text": entry.explanation}
        rule["help"] = {"text": entry.page(), "markdown": entry.markdown()}
    return rule


def _result(each: Diagnostic, rule_index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": each.code,
        "ruleIndex": rule_index,
        "level": each.severity,
        "message": {"text": sentence(each)},
        "locations": [_location(each.file, each.line, each.column)],
    }
    if each.related:
        result["relatedLocations"] = [
            {**_location(other.file, other.line, other.column), "message": {"text": other.message}}
            for other in each.related
        ]
    if each.allowed is not None:
        result["suppressions"] = [{"kind": "inSource", "status": "accepted", "justification": each.allowed}]
    return result


def _location(file: str, line: int, column: int) -> dict[str, Any]:
    path = PurePath(file)
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="surrogateescape")
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if line:
        physical["region"] = {"startLine": line, "startColumn": column}
    return {"physicalLocation": physical}
