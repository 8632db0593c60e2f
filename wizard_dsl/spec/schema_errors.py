"""What a document violates in its JSON Schema: every error at once, each once, at the most specific place.

The validator says *that* a keyword failed; what is reported is what the whole node wants, so that a choice between
types yields one sentence. Only a document that failed comes here, hence the late import of `jsonschema`.

Two errors with one cause are one finding: a missing key that a misspelt one was meant to be, and the keys of a
mapping whose `type` is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.spec.codes import CODES
from wizard_dsl.spec.diagnostics import (
    MAX_FINDINGS,
    Diagnostic,
    DocPath,
    Places,
    capped,
    did_you_mean,
    finding,
    meant,
    ordered,
    show_path,
    show_value,
)
from wizard_dsl.spec.schema_words import (
    Node,
    admits_type,
    choices,
    counted,
    instead,
    is_reference,
    is_zero,
    resolved,
    says_off_wrongly,
    unit_of,
    wants,
)

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_MOST: Final = 10 * MAX_FINDINGS  # errors looked at: a hostile file must not cost seconds
_CODE_OF: Final = {
    "enum": "E025", "const": "E025", "minimum": "E026", "maximum": "E026", "exclusiveMinimum": "E026",
    "exclusiveMaximum": "E026", "multipleOf": "E026", "pattern": "E027", "format": "E027", "minLength": "E028",
    "maxLength": "E028", "type": "E022",
}  # fmt: skip
_SIZES: Final = {
    "minItems": ("at least", "entr"),
    "maxItems": ("at most", "entr"),
    "minProperties": ("at least", "key"),
    "maxProperties": ("at most", "key"),
}


def schema_findings(
    schema: Node, data: Any, places: Places, secret: Callable[[DocPath], bool] = lambda path: False
) -> list[Diagnostic]:
    """Diagnostics of a document; empty if it is valid.

    The value of a path for which `secret` is true is never shown: say so for secret fields, and for whatever was
    resolved from a reference.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry

    ordering = extend(Draft202012Validator, {"additionalProperties": _additional_in_order})  # type: ignore[no-untyped-call]
    validator = ordering(schema, registry=Registry())
    explainer = _Explainer(schema, data, places, secret, validator)
    for error in islice(validator.iter_errors(data), _MOST):
        explainer.explain(error)
    return capped(ordered(explainer.findings()))


def _additional_in_order(validator: Any, allowed: Any, instance: Any, schema: Node) -> Iterator[Any]:
    """The keyword as it is, in document order: the library's own walks a set, and we stop after the first thousand."""
    from jsonschema import ValidationError

    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", ()), schema.get("patternProperties", ())
    extras = [key for key in instance if key not in known and not _matches(key, patterns)]
    if isinstance(allowed, dict):
        for key in extras:
            yield from validator.descend(instance[key], allowed, path=key)
    elif not allowed and extras:
        yield ValidationError("unknown keys")


class _Explainer:
    """Collects what the errors of one document come down to."""

    def __init__(
        self,
        root: Node,
        data: Any,
        places: Places,
        secret: Callable[[DocPath], bool],
        validator: Draft202012Validator,
    ) -> None:
        self.root = root
        self.data = data
        self.places = places
        self.secret = secret
        self.validator = validator
        self.values: dict[DocPath, Diagnostic] = {}  # one for each value
        self.keys: dict[DocPath, Diagnostic] = {}  # one for each key
        self.unknown: set[DocPath] = set()  # the mappings' keys among them that have no schema
        self.missing: dict[DocPath, Diagnostic] = {}
        self.meant: set[DocPath] = set()  # keys that a misspelt one was meant to be

    def findings(self) -> Iterator[Diagnostic]:
        yield from self.values.values()
        for path, each in self.keys.items():
            if path not in self.unknown or (*path[:-1], "type") not in self.values:
                yield each
        yield from (each for path, each in self.missing.items() if path not in self.meant)

    def explain(self, error: Any) -> None:
        path: DocPath = tuple(error.absolute_path)
        keyword = error.validator
        if "propertyNames" in error.absolute_schema_path:
            self._name(path, str(error.instance), error.schema, str(keyword))
        elif keyword in ("anyOf", "oneOf"):
            self._choice(path, error)
        elif keyword in ("additionalProperties", "unevaluatedProperties"):
            self._unknown_keys(path, error)
        elif keyword in ("required", "dependentRequired"):
            self._missing(path, error)
        elif keyword in _SIZES:
            self._size(path, error, str(keyword))
        elif keyword == "uniqueItems":
            self._twice(path, error.instance)
        elif keyword in _CODE_OF:
            self._value(path, error.schema, error.instance, _CODE_OF[str(keyword)])
        else:
            self._other(path, error)

    def _choice(self, path: DocPath, error: Any) -> None:
        """Of a choice between types, what the branch of the value's own type says."""
        branches: dict[int, list[Any]] = {}
        for inner in error.context or ():
            branches.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
        options = [resolved(each, self.root) for each in error.validator_value]
        fitting = [
            inner
            for index, inner in branches.items()
            if not is_reference(options[index])
            and any(admits_type(each, error.instance) for each in choices(options[index], self.root))
        ]
        if not branches:
            self._other(path, error)
        elif isinstance(error.instance, (dict, list)) and fitting:
            for inner_error in min(fitting, key=len):
                self.explain(inner_error)
        else:
            keywords = [str(each.validator) for inner in fitting for each in inner]
            code = next((_CODE_OF[each] for each in keywords if each in _CODE_OF and each != "type"), "E022")
            self._value(path, error.schema, error.instance, code)

    def _value(self, path: DocPath, node: Node, value: Any, code: str) -> None:
        """One finding for a value, in the words of what its node wants."""
        secret = self.secret(path)
        parts = list(choices(resolved(node, self.root), self.root))
        if any(each.get("x-secret") for each in parts):
            self._literal_secret(path, next(each for each in parts if each.get("x-secret")))
            return
        if says_off_wrongly(node, self.root, value):
            code = "E065"
        elif is_zero(node, self.root, value):
            code = "E026"
        elif unit_of(node, self.root) is not None and not isinstance(value, (dict, list, bool)):
            code = "E024"
        elif code == "E027" and not any(admits_type(each, value) for each in parts):
            code = "E022"
        shown = "" if secret else f", not {show_value(value)}"
        wanted = wants(node, self.root) or "another value"
        message = node.get("x-says") or f"{show_path(path)} wants {wanted}{shown}"
        suggestion = None if secret else instead(node, self.root, value)
        if isinstance(value, str) and value.isidentifier() and "use" in self._known(node, {})[0]:
            suggestion = f"write {{use: {'none' if value == 'off' else value}}}"
        self._report_value(path, node.get("x-code", code), message, value, suggestion)

    def _literal_secret(self, path: DocPath, node: Node) -> None:
        message = f"{show_path(path)} takes only a reference, never the secret itself"
        hint = f'write "${{env:{node.get("x-env", "NAME")}}}", and set that variable'
        self._report_value(path, "E034", message, None, hint)

    def _report_value(self, path: DocPath, code: str, message: str, value: Any, suggestion: str | None = None) -> None:
        shown = None if value is None or code == "E034" or self.secret(path) else show_value(value)
        place = self.places.value_at(path)
        each = finding(code, message, place, path=path, value=shown, suggestion=suggestion)
        self.values.setdefault(path, each)

    def _size(self, path: DocPath, error: Any, keyword: str) -> None:
        words, noun = _SIZES[keyword]
        wanted = counted(error.validator_value, noun)
        message = f"{show_path(path)} wants {words} {wanted}, not {len(error.instance)}"
        self._report_value(path, "E028", message, error.instance)

    def _twice(self, path: DocPath, items: list[Any]) -> None:
        index = next((number for number, each in enumerate(items) if each in items[:number]), 0)
        message = f"{show_path((*path, index))} stands in the list twice"
        self._report_value((*path, index), "E028", message, items[index], "remove one of them")

    def _other(self, path: DocPath, error: Any) -> None:
        """`not`, `contains`, several branches of a oneOf: the schema's own sentence, if it has one."""
        node = error.schema if isinstance(error.schema, dict) else {}
        message = node.get("x-says") or f"{show_path(path)} does not go with what else is written here"
        self._report_value(path, node.get("x-code", "E029"), message, error.instance)

    def _unknown_keys(self, path: DocPath, error: Any) -> None:
        known, patterns = self._known(error.schema, error.instance)
        extras = (
            key for key in error.instance if key not in known and not any(re.search(each, key) for each in patterns)
        )
        candidates = [key for key in known if key not in error.instance]
        for key in islice(extras, _MOST):
            near = did_you_mean(key, candidates) if len(self.keys) < MAX_FINDINGS else None
            below = None if near else self._below(key, error.schema, error.instance[key])
            self._unknown_key((*path, key), error.schema, candidates if near else known, below)
            if near:
                self.meant.add((*path, near))

    def _below(self, key: str, node: Node, value: Any) -> str | None:
        """Where a key belongs that the mappings under the known keys have, and the one around them has not."""
        parts = [(name, part) for name, part in node.get("properties", {}).items() if isinstance(part, dict)]
        around = [name for name, part in parts if key in self._known(part, {})[0]]
        if not around or len(around) > 2:
            return None
        shown = value if isinstance(value, str) and value.isidentifier() else "…"
        return "write it as " + " or ".join(f"{name}: {{{key}: {shown}}}" for name in around)

    def _unknown_key(self, path: DocPath, node: Node, known: Iterable[str], below: str | None = None) -> None:
        code = node.get("x-unknown-code", "E021")
        message = f"{CODES[code].title} '{_short(path[-1])}' in {show_path(path[:-1])}"
        self.unknown.add(path)
        hint = below or (meant(str(path[-1]), known) if len(self.keys) < MAX_FINDINGS else None)
        self._report_key(path, code, message, hint)

    def _known(self, node: Node, instance: dict[str, Any]) -> tuple[set[str], set[str]]:
        """The keys and patterns that a node names itself or by the branches that apply to the mapping."""
        names, patterns = set(node.get("properties", ())), set(node.get("patternProperties", ()))
        parts = [*node.get("allOf", ()), *node.get("anyOf", ()), *node.get("oneOf", ())]
        parts += [part for key, part in node.get("dependentSchemas", {}).items() if key in instance]
        if "if" in node:
            holds = self.validator.evolve(schema=node["if"]).is_valid(instance)
            parts += [node["if"], node.get("then" if holds else "else", {})]
        if "$ref" in node:
            parts.append(resolved({"$ref": node["$ref"]}, self.root))
        for part in parts:
            more_names, more_patterns = self._known(part, instance) if isinstance(part, dict) else (set(), set())
            names |= more_names
            patterns |= more_patterns
        return names, patterns

    def _report_key(self, path: DocPath, code: str, message: str, suggestion: str | None) -> None:
        place = self.places.key_at(path)
        self.keys.setdefault(path, finding(code, message, place, path=path, suggestion=suggestion))

    def _name(self, path: DocPath, key: str, node: Node, keyword: str) -> None:
        child = (*path, key)
        where = show_path(path)
        if keyword in ("enum", "const"):
            self._unknown_key(child, {"x-unknown-code": node.get("x-code", "E021")}, node.get("enum", ()))
        elif keyword == "not":
            message = f"'{_short(key)}' is reserved and no name in {where}"
            self._report_key(child, node.get("x-code", "E041"), message, f"call it '{_free(key)}'")
        else:
            code = node.get("x-code", "E040")
            message = f"'{_short(key)}' is not a good name in {where}: {node.get('x-says') or _NAMES}"
            self._report_key(child, code, message, _renamed(key, node))

    def _missing(self, path: DocPath, error: Any) -> None:
        wanted = error.validator_value
        beside = ""
        if error.validator == "dependentRequired":
            beside, wanted = next(
                (f" beside '{key}'", names)
                for key, names in wanted.items()
                if key in error.instance and not all(name in error.instance for name in names)
            )
        for name in wanted:
            if name not in error.instance and not self._misspelt(path, name, error):
                schema = resolved(error.schema, self.root).get("properties", {}).get(name, {})
                hint = wants(schema, self.root)
                message = f"'{name}' is missing in {show_path(path)}{beside}"
                if isinstance(schema, dict) and "const" in schema:
                    hint = f"add '{name}: {hint}'"
                else:
                    hint = f"add '{name}: …', {hint}" if hint else f"add '{name}: …'"
                each = finding("E023", message, self.places.value_at(path), path=path, suggestion=hint)
                self.missing.setdefault((*path, name), each)

    def _misspelt(self, path: DocPath, name: str, error: Any) -> bool:
        """Whether a key that no branch knows was meant to be the missing one; it is told. It may be that only the
        missing key says which keys there are."""
        known, patterns = self._known(error.schema, error.instance)
        strange = (key for key in error.instance if key not in known and not _matches(key, patterns))
        near = next((key for key in islice(strange, _MOST) if name in known and did_you_mean(key, [name])), None)
        if near is not None:
            self._unknown_key((*path, near), error.schema, [name])
        return near is not None


_NAMES: Final = "names begin with a small letter and have small letters, digits and underscores"


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(re.search(each, key) for each in patterns)


def _short(key: str | int) -> str:
    text = str(key)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _free(key: str) -> str:
    return f"{key}_value"


def _renamed(key: str, node: Node) -> str | None:
    guess = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()).strip("_")
    fits = guess and re.search(node.get("pattern", "$^"), guess)
    return f"call it '{guess}'" if fits and len(guess) <= 60 else None
