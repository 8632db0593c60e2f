"""Whether what a test compares with can be read: regular expressions, paths, schemas, ranges; and its scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from wizard_dsl.core.units import parse_duration, parse_money, parse_ratio
from wizard_dsl.spec.checks import schema_problems
from wizard_dsl.spec.diagnostics import DocPath, show_value
from wizard_dsl.testing.checking import is_path
from wizard_dsl.testing.scripted import Item
from wizard_dsl.testing.testfile import Check, Number, Similar, Sum, Time

if TYPE_CHECKING:
    from wizard_dsl.compiler.report import Report

_PARSERS: Final[Mapping[type, Any]] = {Number: float, Time: parse_duration, Sum: parse_money, Check: float}


def readable(wanted: Any, path: DocPath, report: Report) -> None:
    """Report what in an assertion, or below it, nothing can be compared with."""
    if isinstance(wanted, Check):
        _check(wanted, path, report)
    if isinstance(wanted, Number | Time | Sum | Check):
        _range(wanted, path, report)
    if isinstance(wanted, Similar):
        share(wanted.at_least, (*path, "at_least"), report)
    if isinstance(wanted, msgspec.Struct):
        for field, name in zip(wanted.__struct_fields__, wanted.__struct_encode_fields__, strict=True):
            inner = getattr(wanted, field)
            if isinstance(inner, msgspec.Struct):
                readable(inner, (*path, name), report)
    elif isinstance(wanted, Mapping):
        for name, inner in wanted.items():
            readable(inner, (*path, name), report)


def _check(check: Check, path: DocPath, report: Report) -> None:
    if isinstance(check.matches, str):
        try:
            re.compile(check.matches)
        except re.error as error:
            report.add("E084", f"{show_value(check.matches)} is no regular expression: {error}", (*path, "matches"))
    if isinstance(check.schema, dict):
        found = schema_problems(check.schema, (*path, "schema"), report.places)
        report.found.extend(found)
    for name, inner in check.at.items() if isinstance(check.at, dict) else ():
        at = (*path, "at", name)
        if not is_path(name):
            hint = "write names with dots between them and numbers in brackets, as in lines[0].text"
            report.add("E084", f"{show_value(name)} is no path", at, key=True, suggestion=hint)
        readable(inner, at, report)


def _range(asked: Number | Time | Sum | Check, path: DocPath, report: Report) -> None:
    if asked.at_least is UNSET or asked.at_most is UNSET:
        return
    parse = _PARSERS[type(asked)]
    if parse(asked.at_least) > parse(asked.at_most):
        message = f"nothing is at least {asked.at_least} and at most {asked.at_most}"
        report.add("E085", message, (*path, "at_least"), suggestion="exchange the two")


def share(asked: str, path: DocPath, report: Report) -> None:
    """Report a share that is more than all there is."""
    if parse_ratio(asked) > 1:
        report.add("E096", "a share is at most 100%", path, value=asked)


def playable(items: Sequence[Any], path: DocPath, report: Report) -> None:
    """Report items of a script that cannot be played: an error inside an answer is JSON."""
    for index, item in enumerate(items):
        if not isinstance(item, Item) or not item.body or item.status >= 300:
            continue
        try:
            msgspec.json.decode(item.body)
        except msgspec.DecodeError as error:
            hint = (
                "an answer with status 200 and a `body` is an error inside it, as JSON; what the model says is `reply`"
            )
            report.add("E084", f"this body is no JSON: {error}", (*path, index, "body"), suggestion=hint)
