"""From the format of one version to that of the next, in the text itself, so that comments and layout stay.

`STEPS[n]` turns a text of version n into one of version n + 1. There is one published version, 1; what says no
version, or says it as a text (`"1"`) or with a point (`1.0`), counts as version 0. When version 2 comes, its function
is appended, LATEST follows, and each file takes all the steps from where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml
from yaml import tokens as kinds

from wizard_dsl.spec.diagnostics import Diagnostic, finding, show_value
from wizard_dsl.spec.reader import LOADER
from wizard_dsl.spec.source import Source, load_text

#: Takes what was read of a text; gives the text of the next version.
Step = Callable[[Source], str]


def _say_version(source: Source) -> str:
    """Version 0 → 1: `version: 1` is written first, below the comments at the head, or as the number that it is."""
    text = source.text
    if "version" in source.data:
        start, end = _value_of_version(text)
        return f"{text[:start]}{' 1' if start == end else '1'}{text[end:]}"
    tokens = (each for each in yaml.scan(text, Loader=LOADER) if isinstance(each, _BEGINS))
    begin = next(tokens)
    at = begin.end_mark.index if isinstance(begin, kinds.FlowMappingStartToken) else begin.start_mark.index
    line_break = "\r\n" if "\r\n" in text else "\n"
    added = "version: 1, " if isinstance(begin, kinds.FlowMappingStartToken) else f"version: 1{line_break}"
    return text[:at] + added + " " * (begin.start_mark.column if added.endswith("\n") else 0) + text[at:]


_BEGINS: Final = (kinds.FlowMappingStartToken, kinds.BlockMappingStartToken)
STEPS: Final[tuple[Step, ...]] = (_say_version,)
LATEST: Final = len(STEPS)


def version_of(said: Any) -> int | None:
    """The version that a document says; 0 where it says none, or 1 in another spelling. None for what is no version."""
    if said is None or said == "1" or (said == 1 and type(said) is not int):
        return 0 if said is not True else None
    return said if type(said) is int and said > 0 else None


def refusal(source: Source) -> Diagnostic | None:
    """What is wrong with the version of a document that cannot be migrated."""
    version = version_of(source.data.get("version"))
    if version is not None and version <= LATEST:
        return None
    path = ("version",)
    message, hint = wrong(source.data.get("version"))
    return finding("E025", message, source.value_at(path), path=path, suggestion=hint)


def wrong(said: Any) -> tuple[str, str]:
    """What is wrong with a version that is not LATEST, and what to do."""
    version = version_of(said)
    if version is None or version <= LATEST:
        hint = f"write `version: {LATEST}`" if version is None else "`wizard migrate` writes it as it has to be"
        return f"version wants {LATEST}, not {show_value(said)}", hint
    message = f"the file is of version {version}, and this wizard knows none above {LATEST}"
    return message, "upgrade it: pip install --upgrade wizard-dsl"


def migrated(source: Source) -> str:
    """The text in the latest version; the same text where it is that already. `refusal` must have found nothing."""
    version = version_of(source.data.get("version"))
    assert version is not None
    for step in STEPS[version:]:
        source = load_text(step(source), source.file)
    return source.text


def _value_of_version(text: str) -> tuple[int, int]:
    """Where the value of the outermost `version` begins, with its tag, and ends; both behind the colon for nothing."""
    tokens = yaml.scan(text, Loader=LOADER)
    depth, at_key, found = 0, False, False
    for token in tokens:
        if found and isinstance(token, kinds.ValueToken):
            return _scalar_behind(token.end_mark.index, tokens)
        found = found or (at_key and isinstance(token, kinds.ScalarToken) and token.value == "version")
        at_key = depth == 1 and isinstance(token, kinds.KeyToken)
        depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
    raise AssertionError("a version that was read is written")


def _scalar_behind(colon: int, tokens: Iterator[Any]) -> tuple[int, int]:
    begin = None
    for token in tokens:
        begin = token.start_mark.index if begin is None else begin
        if isinstance(token, kinds.ScalarToken):
            return begin, token.end_mark.index
        if not isinstance(token, (kinds.AnchorToken, kinds.TagToken)):
            break
    return colon, colon


_OPENS: Final = (*_BEGINS, kinds.BlockSequenceStartToken, kinds.FlowSequenceStartToken)
_CLOSES: Final = (kinds.BlockEndToken, kinds.FlowMappingEndToken, kinds.FlowSequenceEndToken)
