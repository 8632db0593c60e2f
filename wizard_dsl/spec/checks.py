"""What no JSON Schema can say: files that are not there, schemas that are none, keys and plug-ins that are missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from wizard_dsl.spec import grammar
from wizard_dsl.spec.convert_policies import Uninstalled
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Places, capped, finding, meant, show_path, show_value
from wizard_dsl.spec.document import Document
from wizard_dsl.spec.interpolate import Refused, has_reference
from wizard_dsl.spec.keeper import NoHome, state_home
from wizard_dsl.spec.layers import Merged
from wizard_dsl.spec.schema_links import broken_links

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry
    from wizard_dsl.spec.document import InputSpec

_WORDS: Final = {
    "policies": "policy",
    "providers": "provider type",
    "strategies": "strategy",
    "steps": "step type",
    "stores": "store",
}


def plugins(missing: Iterable[Uninstalled], registry: Registry, places: Merged) -> list[Diagnostic]:
    """Dotted names that no installed package stands for, or only one that does not load."""
    found = []
    for each in missing:
        word = _WORDS[each.group]
        problem = next((one for one in registry.problems if (one.group, one.name) == (each.group, each.name)), None)
        if problem is not None:
            message = f"the {word} {each.name} of the package {problem.distribution} does not load: {problem.reason}"
            hint = f"reinstall or mend {problem.distribution}"
        else:
            message = f"no installed package has the {word} {each.name}"
            hint = meant(each.name, registry.plugin_names(each.group)) or "install the package that has it"
        place = places.key_at(each.path) if each.group == "policies" else places.value_at(each.path)
        found.append(finding("E047", message, place, path=each.path, suggestion=hint))
    return found


def literal_keys(data: Mapping[str, Any], registry: Registry, places: Merged) -> list[Diagnostic]:
    """Keys written into providers of an unknown type, whose schema nobody can look at: a secret waits for nothing."""
    providers = data.get("providers")
    found = []
    for name, raw in providers.items() if isinstance(providers, dict) else ():
        key = raw.get("api_key") if isinstance(raw, dict) else None
        if (
            not isinstance(key, str)
            or re.search(grammar.SECRET_PATTERN, key)
            or registry.provider(str(raw.get("type"))) is not None
        ):
            continue
        path: DocPath = ("providers", name, "api_key")
        message = f"{show_path(path)} takes only a reference, never the secret itself"
        hint = 'write "${env:NAME}", and set that variable'
        found.append(finding("E034", message, places.value_at(path), path=path, suggestion=hint))
    return found


def keys(document: Document, keyless: Mapping[str, str], places: Merged) -> list[Diagnostic]:
    """Providers that a target needs and that have no key."""
    found = []
    for provider, variable in keyless.items():
        if provider in _used(document):
            path: DocPath = ("providers", provider)
            message = f"the variable {variable} is not set, and {show_path(path)} has no api_key"
            hint = f'set {variable}, or write api_key: "${{env:NAME}}"'
            found.append(finding("E031", message, places.key_at(path), path=path, suggestion=hint))
    return found


def mocked(document: Document, keyless: Mapping[str, str], places: Merged) -> list[Diagnostic]:
    """Providers that a mock stands in for, because WIZARD_ENV=development and they have no key."""
    found = []
    for provider, variable in keyless.items():
        if provider in _used(document):
            path: DocPath = ("providers", provider)
            message = f"a mock answers for {show_path(path)}: WIZARD_ENV is development and {variable} is not set"
            found.append(finding("W102", message, places.key_at(path), path=path))
    return found


def _used(document: Document) -> set[str]:
    return {target.provider for chain in document.chains.values() for target in chain.targets if target.enabled}


# -- the state ----------------------------------------------------------------------------------------


def state(document: Document, places: Merged, root: Path) -> list[Diagnostic]:
    """A `state` that leads nowhere or out of the project, or holds a password. Where the environment says it, it may
    be anywhere."""
    path: DocPath = ("state",)
    if re.search(grammar.LITERAL_PASSWORD_PATTERN, str(places.data.get("state"))):
        message = f"{show_path(path)}: the URL holds a password, which only a reference may bring in"
        hint = 'write redis://:${env:NAME}@HOST:PORT/0, or "${env:WIZARD_STATE:-memory}"'
        return [finding("E034", message, places.value_at(path), path=path, suggestion=hint)]
    if has_reference(document.file.state):
        return []
    try:
        home = state_home(document.file.state)
        inside = home.kind != "sqlite" or (root / home.place).resolve().is_relative_to(root.resolve())
        if not inside and not has_reference(places.data.get("state")):
            message = f"the path {home.place} leaves the project"
            hint = 'move the file into the project, or write "${env:WIZARD_STATE:-memory}"'
            return [finding("E033", message, places.value_at(path), path=path, suggestion=hint)]
    except NoHome as no:
        return [finding("E076", f"state: {no}", places.value_at(path), path=path, suggestion=no.suggestion)]
    return []


# -- files ------------------------------------------------------------------------------------------


def prompt_files(
    document: Document, places: Merged, read: Callable[[DocPath, str], tuple[str, str]]
) -> tuple[dict[DocPath, tuple[str, str]], list[Diagnostic]]:
    """(name, text) of each prompt file by the path of its prompt, and those that cannot be read. `read` has both of a
    file that is named at a path, or raises Refused."""
    files: dict[DocPath, tuple[str, str]] = {}
    found: list[Diagnostic] = []
    for path, name in _named_files(document):
        try:
            files[path] = read((*path, "file"), name)
        except Refused as refused:
            code = "E035" if refused.code == "E032" else refused.code
            message = f"the path {name} leaves the project" if code == "E033" else refused.reason
            at = (*path, "file")
            found.append(finding(code, message, places.value_at(at), path=at, suggestion=refused.suggestion))
    return files, found


def _named_files(document: Document) -> Iterator[tuple[DocPath, str]]:
    for name, prompt in document.prompts.items():
        if prompt.file is not None and not has_reference(prompt.file):
            yield ("prompts", name), prompt.file
    for name, step in document.steps.items():
        inline = getattr(step.config, "prompt", None)
        file = inline.get("file") if isinstance(inline, dict) else None
        if isinstance(file, str) and not has_reference(file):
            yield ("steps", name, "prompt"), file


# -- schemas in a document ----------------------------------------------------------------------------


def schemas(document: Document, places: Merged) -> list[Diagnostic]:
    """JSON Schemas of inputs and outputs that are none, and defaults that do not fit."""
    found: list[Diagnostic] = []
    for name, spec in document.inputs.items():
        found += schema_problems(spec.schema, ("inputs", name), places) or _default(spec, ("inputs", name), places)
    for name, step in document.steps.items():
        output = getattr(step.config, "output", None)
        schema = getattr(output, "schema", None)
        if isinstance(schema, dict):
            found += schema_problems(schema, ("steps", name, "output", "schema"), places)
    return found


def schema_problems(schema: dict[str, Any], path: DocPath, places: Places) -> list[Diagnostic]:
    """What keeps the mapping at `path` from being a JSON Schema that can be used."""
    if _is_plain(schema):
        return []
    from jsonschema import Draft202012Validator

    found = {}
    for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
        at = (*path, *error.absolute_path)
        hint = _word(error)
        why = f"{show_value(error.instance)} is no type of JSON" if hint else error.message[:200]
        message = f"{show_path(at)} is no JSON Schema of draft 2020-12: {why}"
        found[at] = finding("E049", message, places.value_at(at), path=at, suggestion=hint)
    return list(found.values()) or capped([*_patterns(schema, path, places), *_links(schema, path, places)])


_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")
#: What other languages call the types.
_OTHER_NAMES: Final = {
    "text": "string", "str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array",
    "dict": "object", "map": "object",
}  # fmt: skip


def _word(error: Any) -> str | None:
    """The type that was meant."""
    if list(error.absolute_path)[-1:] != ["type"] or not isinstance(error.instance, str):
        return None
    known = _OTHER_NAMES.get(error.instance)
    return f"did you mean '{known}'?" if known else meant(error.instance, _TYPES)


def _patterns(schema: Any, path: DocPath, places: Places) -> list[Diagnostic]:
    """Regular expressions that are none; the metaschema does not look into them."""
    found = []
    for key, value in schema.items() if isinstance(schema, dict) else ():
        at = (*path, key)
        if key == "pattern" and isinstance(value, str):
            try:
                re.compile(value)
            except re.error as error:
                message = f"{show_path(at)} is no regular expression: {error}"
                found.append(finding("E049", message, places.value_at(at), path=at))
        else:
            found += _patterns(value, at, places)
    return found


def _links(schema: Any, path: DocPath, places: Places) -> Iterator[Diagnostic]:
    """References that cannot be followed."""
    for below, why in broken_links(schema) if isinstance(schema, dict) else ():
        at = (*path, *below)
        hint = "put what it names under `$defs`, and write #/$defs/name"
        yield finding("E049", f"{show_path(at)}: {why}", places.value_at(at), path=at, suggestion=hint)


_COUNTS: Final = frozenset({"minLength", "maxLength", "minItems", "maxItems"})


def _is_plain(schema: Any) -> bool:
    """Whether a schema is right at first sight, so that no library need be imported to say so."""
    if not isinstance(schema, dict):
        return isinstance(schema, bool)
    for key, value in schema.items():
        if key == "type":
            right = isinstance(value, str) and value in _TYPES
        elif key in ("description", "title"):
            right = isinstance(value, str)
        elif key in _COUNTS:
            right = type(value) is int and value >= 0
        elif key == "enum":
            right = isinstance(value, list)
        elif key in ("items", "additionalProperties"):
            right = _is_plain(value)
        elif key == "properties":
            right = isinstance(value, dict) and all(map(_is_plain, value.values()))
        elif key == "required":
            right = isinstance(value, list) and all(isinstance(each, str) for each in value) and _unique(value)
        else:
            right = False
        if not right:
            return False
    return True


def _unique(names: list[str]) -> bool:
    return len(set(names)) == len(names)


def _default(spec: InputSpec, path: DocPath, places: Merged) -> list[Diagnostic]:
    value = spec.default
    if value is UNSET or has_reference(value) or _fits(spec.schema, value):
        return []
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(spec.schema).iter_errors(value))
    if error is None:
        return []
    at = (*path, "default")
    message = f"the default of the input '{spec.name}' does not fit its schema: {error.message[:200]}"
    return [finding("E049", message, places.value_at(at), path=at)]


def _fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether a default fits at first sight."""
    if not schema.keys() <= {"type", "enum", "description", "title"}:
        return False
    kinds = {"string": str, "integer": int, "boolean": bool}
    kind = schema.get("type")
    return isinstance(kind, str) and value in schema.get("enum", [value]) and type(value) is kinds.get(kind)
