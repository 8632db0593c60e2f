"""What the JSON Schema says about a document that did not convert.

Each file is judged by itself, by the schema of its kind: that is what editors and CI see. Only where all files are
right is the merged document judged, with the values of variables, flags and references in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from wizard_dsl.spec import schema
from wizard_dsl.spec.convert import Failure
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Places, finding, show_path
from wizard_dsl.spec.interpolate import Malformed, pieces
from wizard_dsl.spec.layers import Layer
from wizard_dsl.spec.schema_errors import schema_findings

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

#: What the published schema refuses is reported under these codes, and nothing else is.
SCHEMA_CODES: Final = frozenset(
    {"E020", "E021", "E022", "E023", "E024", "E025", "E026", "E027", "E028", "E029"}
    | {"E034", "E040", "E041", "E042", "E048", "E060", "E061", "E062", "E065"}
)


def of_layers(layers: Iterable[Layer], registry: Registry, kind: str) -> list[Diagnostic]:
    """The findings of each file by itself. `kind` is that of the file asked for, the layer `pipeline`."""
    found: list[Diagnostic] = []
    for layer in layers:
        if layer.source is None or not layer.source.data:
            continue
        name = kind if layer.name == "pipeline" else "overlay" if layer.name == "overlay" else "project"
        found += of_data(schema.for_kind(name, registry, plugins=True), layer.source.data, layer.source, (), registry)
    return found


def of_data(
    rules: dict[str, Any], data: dict[str, Any], places: Places, secret: Collection[DocPath], registry: Registry
) -> list[Diagnostic]:
    """The findings of one document. What stands at paths in `secret` came from references: it is never shown, and
    no secret written down. Nor are the values of headers shown."""
    found = schema_findings(rules, data, places, _hidden(secret))
    literal = [each for each in found if each.code != "E034" or each.path not in secret]
    return [_sharper(each, data, registry) for each in literal]


def _hidden(secret: Collection[DocPath]) -> Callable[[DocPath], bool]:
    return lambda path: path in secret or (path[:1] == ("providers",) and path[2:3] == ("headers",))


def of_conversion(failures: Sequence[Failure], places: Places) -> list[Diagnostic]:
    """Conversion's own words, for what the schema does not mind."""
    return [
        finding("E022", f"{show_path(each.path)}: {each.message}", places.value_at(each.path), path=each.path)
        for each in failures
    ]


def _sharper(each: Diagnostic, data: dict[str, Any], registry: Registry) -> Diagnostic:
    """The same finding with what only we know: why a reference is none, and where a policy belongs."""
    if each.code in ("E060", "E021") and _is_policy_place(each.path):
        type = registry.policy(str(each.path[-1])) if each.path[-1] in registry.names("policies") else None
        if type is not None:
            place = "a target" if "targets" in each.path else "a provider"
            message = f"the policy '{type.name}' cannot stand on {place}: its scope is the {type.scope.value}"
            return replace(each, code="E061", message=message, suggestion="move it to the chain, or into a policy set")
    if each.code in ("E022", "E024", "E025", "E026", "E027", "E034", "E040", "E065"):
        bad = _malformed(data, each.path)
        if bad is not None:
            message = f"{bad.reason}, in {show_path(each.path)}"
            return replace(each, code="E027", message=message, suggestion=bad.suggestion, value=None)
    return each


def _is_policy_place(path: DocPath) -> bool:
    return len(path) >= 2 and path[-2] == "policies" and path[0] in ("providers", "chains")


def _malformed(data: Any, path: DocPath) -> Malformed | None:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    found = pieces(data) if isinstance(data, str) and "${" in data else []
    return next((each for each in found if isinstance(each, Malformed)), None)
