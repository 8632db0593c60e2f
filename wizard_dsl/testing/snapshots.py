"""Snapshots of a case: the messages that were sent, the output and what the policies did, as one text to review.

Each is a file of its own, `__snapshots__/triage.test/a-dead-primary.txt` beside `triage.test.yaml`, so that a diff in a
pull request reads like what it is about. The text depends on the test and the pipeline alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.core.messages import Image
from wizard_dsl.core.regex import regex
from wizard_dsl.testing.testfile import TEST_FILE

if TYPE_CHECKING:
    from wizard_dsl.core.messages import Message, Request
    from wizard_dsl.core.result import Result
    from wizard_dsl.testing.cases import Case, Suite
    from wizard_dsl.testing.playing import Asked, Played, Ran

FOLDER: Final = "__snapshots__"
_LONGEST: Final = 80  # characters of a file's name, without its ending
_LONGEST_URL: Final = 60
_KEY: Final = regex(r"(cache hit|cache miss|cached as|stale answer|refresh of|in flight,) ([0-9a-f]{8})\b")


def path_of(case: Case) -> Path:
    """Where the snapshot of a case is kept."""
    return folder_of(case.file) / f"{_plain(case.name)}.txt"


def folder_of(file: Path) -> Path:
    """Where the snapshots of a test file are kept."""
    return file.parent / FOLDER / f"{TEST_FILE.name_of(file)}.test"


def _plain(name: str) -> str:
    """A file's name that can be read; where it says less than the test's name does, a few digits tell them apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].strip("-")
    if re.fullmatch(r"[a-z0-9]+(?: [a-z0-9]+)*", name) and len(name) <= _LONGEST:
        return plain
    digits = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{plain}-{digits}" if plain else digits


def approved(case: Case) -> str | None:
    """The text that was approved; None where there is none yet."""
    path = path_of(case)
    return path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n") if path.is_file() else None


def approve(case: Case, text: str) -> None:
    """Keep a text as the approved one."""
    path = path_of(case)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def obsolete(suites: Iterable[Suite]) -> list[Path]:
    """Snapshots that no test has any more, among those beside these test files: of tests that are gone or have no
    `snapshot: true`, and of test files that are gone."""
    suites = list(suites)
    used = {path_of(case) for suite in suites for case in suite.cases if case.spec.snapshot}
    sure = {folder_of(suite.file) for suite in suites if suite.found.ok}
    beside = {suite.file.parent / FOLDER for suite in suites}
    gone = {each for folder in beside for each in folder.glob("*.test") if not _has_tests(each)}
    return sorted(path for folder in sure | gone for path in folder.glob("*.txt") if path not in used)


def _has_tests(folder: Path) -> bool:
    """Whether the test file of a folder of snapshots is there."""
    stem = folder.name.removesuffix(".test")
    return any((folder.parent.parent / f"{stem}{ending}").is_file() for ending in TEST_FILE.endings)


def remove(paths: Iterable[Path]) -> None:
    """Remove snapshots, and the folders that are empty without them."""
    for path in paths:
        path.unlink()
        for folder in (path.parent, path.parent.parent):
            if not any(folder.iterdir()):
                folder.rmdir()


# -- the text ---------------------------------------------------------------------------------------


def snapshot_of(case: Case, played: Played, story: str) -> str:
    """The text of a sample; `story` is its transcript."""
    parts = [f"# {case.name}", *_messages(played.asked)]
    for which, text in told_once(played.runs, lambda ran: _output(ran.result)):
        parts.append(f"## output{f' of {which}' if which else ''}\n\n{text}")
    parts += [f"## not played to its end\n\n{each}" for each in played.broken]
    parts.append(f"## what happened\n\n{_numbered(story)}")
    return "\n\n".join(parts) + "\n"


def told_once(runs: Sequence[Ran], told: Callable[[Ran], str]) -> Iterator[tuple[str, str]]:
    """What there is to tell of each run, under `run 3`; under `runs 3 to 22` where runs that began at once are alike.
    A run that is alone has no number."""
    numbered = enumerate([(ran.planned, told(ran)) for ran in runs], start=1)
    for (_, text), same in groupby(numbered, key=lambda each: each[1]):
        numbers = [number for number, _ in same]
        one = f"run {numbers[0]}" if len(runs) > 1 else ""
        yield f"runs {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else one, text


def _numbered(story: str) -> str:
    """Keys of the cache by number: they change with every word of a prompt, and would hide what else did."""
    keys: dict[str, int] = {}
    return _KEY.sub(lambda match: f"{match[1]} #{keys.setdefault(match[2], len(keys) + 1)}", story)


def _messages(asked: Iterable[Asked]) -> Iterator[str]:
    """What was asked, in order; the same request to several targets, or again, stands there once."""
    requests: dict[tuple[str, str], list[str]] = {}
    for each in asked:
        targets = requests.setdefault((each.place, _request(each.request)), [])
        if each.target not in targets:
            targets.append(each.target)
    for (place, text), targets in requests.items():
        yield f"## {place} asks {', '.join(targets)}\n\n{text}"


def _request(request: Request) -> str:
    parts = [_message(each) for each in request.messages]
    parts += [f"embed:\n{_indented(each)}" for each in request.texts]
    told: Mapping[str, Any] = {
        "params": request.params,
        "tools": [each.name for each in request.tools],
        "schema": request.schema,
    }
    parts += [f"{name}: {json.dumps(each, ensure_ascii=False)}" for name, each in told.items() if each]
    return "\n".join(parts)


def _message(message: Message) -> str:
    lines = [f"{message.role}:", _indented(message.text)] if message.text else [f"{message.role}:"]
    for part in message.parts:
        if isinstance(part, Image):
            lines.append(f"  image {part.url[:_LONGEST_URL]}{'…' if len(part.url) > _LONGEST_URL else ''}")
    lines += [f"  calls {call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join(lines)


def _output(result: Result) -> str:
    """The output as it would be written, or the error and what came before it."""
    if result.error is not None:
        error = result.error
        told = [f"error {error.kind}: {error.message}", *([error.suggestion] if error.suggestion else [])]
        return "\n".join([*told, *(["so far:", _indented(result.text)] if result.text else [])])
    if isinstance(result.output, Mapping):
        return "\n".join(_named(name, each) for name, each in result.output.items())
    return result.text


def _named(name: str, value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        return f"{name}:\n{_indented(value)}"
    return f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}".rstrip()


def _indented(text: str) -> str:
    """An empty line stays empty: editors and hooks remove blanks at the end of a line."""
    return textwrap.indent(text.rstrip("\n"), "  ")


def first_difference(first: str, second: str) -> str:
    """Where two texts of the same test part: the section, the line and both readings."""
    section = ""
    pairs = zip((*first.splitlines(), ""), (*second.splitlines(), ""), strict=False)
    for number, (one, other) in enumerate(pairs, start=1):
        if one != other:
            return f"line {number}{section}: {one.strip()!r}, and then {other.strip()!r}"
        if one.startswith("## "):
            section = f", in '{one[3:]}'"
    return "their lengths"
