"""Whether what a test compares with can be read: regular expressions, paths, schemas, ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET

from wizard_dsl.core.units import parse_duration, parse_money
from wizard_dsl.spec.diagnostics import DocPath, show_value
from wizard_dsl.testing.checking import is_path
from wizard_dsl.testing.testfile import Check, Number, Sum, Time

_PARSERS: Final[Mapping[type, Any]] = {Number: float, Time: parse_duration, Sum: parse_money, Check: float}


class Tell(Protocol):
    def __call__(
        self, code: str, message: str, path: DocPath, *, key: bool = False, suggestion: str | None = None
    ) -> None: ...


def readable(wanted: Any, path: DocPath, tell: Tell) -> None:
    """Tell what in an assertion, or below it, can never be compared with."""
    if isinstance(wanted, Check):
        _check(wanted, path, tell)
    if isinstance(wanted, Number | Time | Sum | Check):
        _range(wanted, path, tell)
    if isinstance(wanted, msgspec.Struct):
        for field, name in zip(wanted.__struct_fields__, wanted.__struct_encode_fields__, strict=True):
            inner = getattr(wanted, field)
            if isinstance(inner, msgspec.Struct):
                readable(inner, (*path, name), tell)
    elif isinstance(wanted, Mapping):
        for name, inner in wanted.items():
            readable(inner, (*path, name), tell)


def _check(check: Check, path: DocPath, tell: Tell) -> None:
    if isinstance(check.matches, str):
        try:
            re.compile(check.matches)
        except re.error as error:
            tell("E084", f"{show_value(check.matches)} is no regular expression: {error}", (*path, "matches"))
    if isinstance(check.schema, dict):
        _schema(check.schema, (*path, "schema"), tell)
    for name, inner in check.at.items() if isinstance(check.at, dict) else ():
        at = (*path, "at", name)
        if not is_path(name):
            hint = "write names with dots between them and numbers in brackets, as in lines[0].text"
            tell("E084", f"{show_value(name)} is no path", at, key=True, suggestion=hint)
        readable(inner, at, tell)


def _schema(schema: dict[str, Any], path: DocPath, tell: Tell) -> None:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        tell("E049", f"this is no JSON Schema: {error.message}", (*path, *error.absolute_path))


def _range(asked: Number | Time | Sum | Check, path: DocPath, tell: Tell) -> None:
    if asked.at_least is UNSET or asked.at_most is UNSET:
        return
    parse = _PARSERS[type(asked)]
    if parse(asked.at_least) > parse(asked.at_most):
        message = f"nothing is at least {asked.at_least} and at most {asked.at_most}"
        tell("E085", message, (*path, "at_least"), suggestion="exchange the two")
