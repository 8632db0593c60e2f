"""What the JSON Schema says about a document that did not convert.

Each file is judged by itself, by the schema of its kind: that is what editors and CI see. Only where all files are
right is the merged document judged, with the values of variables, flags and references in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from wizard_dsl.spec import grammar
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Places, did_you_mean, finding, show_path, show_value
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.interpolate import has_reference
from wizard_dsl.spec.layers import Layer
from wizard_dsl.spec.structs import Failure

if TYPE_CHECKING:
    from wizard_dsl.registry import Group, Registry

#: What the published schema refuses is reported under these codes, and nothing else is.
SCHEMA_CODES: Final = frozenset(
    {"E020", "E021", "E022", "E023", "E024", "E025", "E026", "E027", "E028", "E029", "E030"}
    | {"E034", "E040", "E041", "E042", "E048", "E060", "E061", "E062", "E065"}
)
_KINDS: Final[Mapping[str, tuple[Group, str]]] = MappingProxyType(
    {"E042": ("providers", "provider type"), "E048": ("steps", "step type"), "E062": ("strategies", "strategy")}
)


def of_layers(layers: Iterable[Layer], registry: Registry, kind: str) -> list[Diagnostic]:
    """The findings of each file by itself. `kind` is that of the file asked for, the layer `pipeline`."""
    found: list[Diagnostic] = []
    for layer in layers:
        if layer.source is None or not layer.source.data:
            continue
        name = kind if layer.name == "pipeline" else "overlay" if layer.name == "overlay" else "project"
        found += of_data(name, layer.source.data, layer.source, (), registry)
    return found


def of_data(
    kind: str, data: dict[str, Any], places: Places, secret: Collection[DocPath], registry: Registry
) -> list[Diagnostic]:
    """The findings of one document. What stands at paths in `secret` came from references: it is never shown, and
    no secret written down. Nor are the values of headers shown."""
    from wizard_dsl.spec import schema
    from wizard_dsl.spec.schema_errors import schema_findings

    rules = schema.for_kind(kind, registry, plugins=_uses_plugins(data))
    found = schema_findings(rules, data, places, _hidden(secret))
    literal = [each for each in found if each.code != "E034" or each.path not in secret]
    return [_sharper(each, data, registry) for each in literal]


def _uses_plugins(value: Any) -> bool:
    """Whether a dotted name stands where a kind may stand; only then is it worth a scan of what is installed."""
    if isinstance(value, list):
        return any(map(_uses_plugins, value))
    if not isinstance(value, dict):
        return False
    names = [*value, *(value[key] for key in ("type", "strategy") if isinstance(value.get(key), str))]
    return any(re.search(grammar.DOTTED_PATTERN, name) for name in names) or any(map(_uses_plugins, value.values()))


def _hidden(secret: Collection[DocPath]) -> Callable[[DocPath], bool]:
    return lambda path: path in secret or (path[:1] == ("providers",) and path[2:3] == ("headers",))


def of_conversion(failures: Sequence[Failure], places: Places) -> list[Diagnostic]:
    """Conversion's own words, for what the schema does not mind."""
    return [
        finding("E022", f"{show_path(each.path)}: {each.message}", places.value_at(each.path), path=each.path)
        for each in failures
    ]


def _sharper(each: Diagnostic, data: dict[str, Any], registry: Registry) -> Diagnostic:
    """The same finding with what only we know: where a policy belongs, which kinds and which versions there are."""
    if each.code == "E025" and each.path == ("version",):
        return _version(each, data.get("version"))
    if each.code in ("E060", "E061") and each.path[-2:-1] == ("policies",):
        return _misplaced(each, registry)
    if each.code in _KINDS:
        return _unknown_kind(each, value_in(data, each.path), registry)
    return each


def _version(each: Diagnostic, said: Any) -> Diagnostic:
    """What to do about a version; what is none may come from a variable, and is not shown."""
    from wizard_dsl.spec.migration import version_of, wrong  # it scans tokens, and few files need it

    if version_of(said) is None:
        return each
    message, hint = wrong(said)
    return replace(each, message=message, suggestion=hint)


def _misplaced(each: Diagnostic, registry: Registry) -> Diagnostic:
    """The finding of a kind that is known, and does not belong where it stands."""
    name = str(each.path[-1])
    type = registry.policy(name) if "." in name or name in registry.names("policies") else None
    if type is None:
        return each
    place = "a target" if "targets" in each.path else "a provider"
    scope = {"call": "the whole call", "chain": "the chain", "target": "each target of a chain"}[type.scope.value]
    message = f"the policy '{type.name}' cannot stand on {place}; it belongs to {scope}"
    return replace(each, code="E061", message=message, suggestion="write it under the chain, or in a policy set")


def _unknown_kind(each: Diagnostic, name: Any, registry: Registry) -> Diagnostic:
    group, word = _KINDS[each.code]
    if not isinstance(name, str) or has_reference(name):
        return replace(each, message=f"{show_path(each.path)} wants the name of a {word}", suggestion=None)
    names = registry.names(group)
    near = did_you_mean(name, names)
    hint = f"did you mean '{near}'?" if near else f"known here: {', '.join(names)}"
    return replace(each, message=f"unknown {word} {show_value(name)} in {show_path(each.path)}", suggestion=hint)


def of_references(found: Sequence[Diagnostic], shape: Sequence[Diagnostic]) -> list[Diagnostic]:
    """All findings, a malformed reference once: as E030 where it makes the value wrong, as E038 in a free text."""
    refused = {each.path for each in shape}
    malformed = {each.path for each in found if each.code == "E030"}
    free = [replace(each, code="E038") if each.code == "E030" and each.path not in refused else each for each in found]
    return [*free, *(each for each in shape if each.path not in malformed)]
