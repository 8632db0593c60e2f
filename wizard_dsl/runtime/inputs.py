"""The caller's inputs against their declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.core.regex import regex

if TYPE_CHECKING:
    from wizard_dsl.spec.document import InputSpec

_SURROGATE = regex("[\ud800-\udfff]")
_SIMPLE = frozenset({"type", "minLength", "maxLength", "enum", "description", "title", "examples"})


class Inputs:
    """The declared inputs of a program, ready to check many runs."""

    def __init__(self, declared: Mapping[str, InputSpec]) -> None:
        self._declared = declared
        self._each = [(name, spec, _text(spec.schema)) for name, spec in declared.items()]
        self._validators: dict[str, Any] = {}

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All inputs with defaults filled in. Raises InputInvalid naming the input and what it is for."""
        if not given.keys() <= self._declared.keys():
            raise self._unknown(next(name for name in given if name not in self._declared))
        values = {}
        for name, spec, text in self._each:
            if name in given:
                value = given[name]
                values[name] = value if text is not None and text.fits(value) else self._checked(spec, value)
            elif spec.default is not msgspec.UNSET:
                values[name] = spec.default
            else:
                raise InputInvalid(
                    f"input '{name}' is missing{_purpose(spec)}",
                    where=name,
                    suggestion=f"pass it, as in: -i {name}=…",
                )
        return values

    def _checked(self, spec: InputSpec, value: Any) -> Any:
        """The value as JSON has it, once its schema was asked."""
        value = _as_json(value, spec)
        self._validate(spec, value)
        return value

    def _unknown(self, name: str) -> InputInvalid:
        from difflib import get_close_matches

        near = get_close_matches(name, self._declared, n=1)
        if near:
            hint = f"did you mean '{near[0]}'?"
        else:
            hint = f"inputs here: {', '.join(self._declared)}" if self._declared else "this pipeline takes no inputs"
        return InputInvalid(f"there is no input '{name}'", where=name, suggestion=hint)

    def _validate(self, spec: InputSpec, value: Any) -> None:
        if not spec.schema:
            return
        validator = self._validators.get(spec.name)
        if validator is None:
            from jsonschema import Draft202012Validator

            validator = self._validators[spec.name] = Draft202012Validator(spec.schema)
        errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        if not errors:
            return
        sentences = "; ".join(_sentence(error, value) for error in errors[:5])
        raise InputInvalid(f"input '{spec.name}' is not as declared{_purpose(spec)}: {sentences}", where=spec.name)


def _as_json(value: Any, spec: InputSpec) -> Any:
    """The value, with tuples as lists. Raises InputInvalid for what JSON cannot say: nothing else may go into a prompt,
    a cache key or the result."""
    what = ""
    match value:
        case str():
            if _is_unicode(value):
                return value
            what = "text that is not valid Unicode (a lone surrogate, as bytes in another encoding become)"
        case None | bool() | int():
            return value
        case float():
            if isfinite(value):
                return value
            what = f"{value}, which is no JSON number"
        case list() | tuple():
            return [_as_json(each, spec) for each in value]
        case dict():
            if all(isinstance(key, str) for key in value):
                return {_as_json(key, spec): _as_json(each, spec) for key, each in value.items()}
            what = "a mapping whose keys are not all texts"
        case _:
            what = f"a {type(value).__name__}, which is no JSON value"
    raise InputInvalid(f"input '{spec.name}' is or holds {what}{_purpose(spec)}", where=spec.name)


def _is_unicode(text: str) -> bool:
    return text.isascii() or not _SURROGATE.search(text)


class _Text(msgspec.Struct, frozen=True):
    """What a schema asks of a text, where that is so simple that looking is enough."""

    least: float
    most: float
    among: Sequence[Any] | None

    def fits(self, value: Any) -> bool:
        """False only means: look closer, and ask jsonschema."""
        if type(value) is not str or not self.least <= len(value) <= self.most:
            return False
        if not value.isascii() and not _is_unicode(value):
            return False
        return self.among is None or value in self.among


def _text(schema: Mapping[str, Any]) -> _Text | None:
    if schema.get("type") != "string" or not _SIMPLE.issuperset(schema):
        return None
    return _Text(schema.get("minLength", 0), schema.get("maxLength", inf), schema.get("enum"))


def _purpose(spec: InputSpec) -> str:
    description = spec.schema.get("description")
    return f" ({description})" if description else ""


def _sentence(error: Any, value: Any) -> str:
    """One violation, without repeating a long value."""
    where = "".join(f"[{part!r}]" for part in error.absolute_path)
    if error.validator == "maxLength":
        text = f"it has {len(error.instance):,} characters; at most {error.validator_value:,} are allowed"
    elif error.validator == "type":
        wanted = error.validator_value
        wanted = wanted if isinstance(wanted, str) else " or ".join(wanted)
        text = f"it is {_kind(error.instance)}, not {wanted}"
    elif error.validator == "enum":
        text = f"it is none of {', '.join(map(str, error.validator_value))}"
    else:
        text = error.message if len(error.message) <= 200 else f"it violates {error.validator}"
    return f"{where}: {text}" if where else text


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
