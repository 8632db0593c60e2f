"""The merged document as people read it: as YAML, each value with the place it comes from.

References stay references: nothing is resolved, so no secret is printed. What no file says is filled in where a
single value applies – the policies of a set, the run's deadline, the log – and is marked `built-in`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from wizard_dsl.compiler.ladder import BUILT_IN_DEFAULT
from wizard_dsl.core.regex import regex
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import DocPath, show_path, without_user
from wizard_dsl.spec.document import ObserveSpec, PipelineFile
from wizard_dsl.spec.layers import Merged, Origin
from wizard_dsl.spec.scalars import core_scalar

_BUILT_IN: Final = Origin("built-in", "built-in", 0, 0)
_PLAIN: Final = regex(r"[A-Za-z0-9_./$+][A-Za-z0-9 _./$+%@-]*(?<! )")
_DATE: Final = regex(r"\d{4}-\d")
_BLOCK_LINE: Final = regex(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]*(?<! )")


class Resolved(msgspec.Struct, frozen=True):
    """The document with defaults filled in, and the origin of each of its scalars and empty collections."""

    data: dict[str, Any]
    origins: Mapping[DocPath, Origin]


def resolved(merged: Merged, registry: Registry) -> Resolved:
    """The document of the layers; treat it as frozen."""
    data = _masked(_with_defaults(merged.data, registry))
    known = merged.origins()
    origins = {path: known.get(path, _BUILT_IN) for path in _ends(data, ())}
    return Resolved(data, origins)


def _with_defaults(data: dict[str, Any], registry: Registry) -> dict[str, Any]:
    if not data.get("version"):
        return data
    sets = dict(data.get("policies", {}))
    sets["default"] = {**BUILT_IN_DEFAULT, **sets.get("default", {})}
    filled = {
        **data,
        "policies": {name: _filled_set(own, registry) for name, own in sets.items()},
        "observe": _under(msgspec.to_builtins(ObserveSpec()), data.get("observe", {})),
    }
    deadline = next(field.default for field in msgspec.structs.fields(PipelineFile) if field.name == "deadline")
    return {**filled, "deadline": data.get("deadline", deadline)}


def _filled_set(own: dict[str, Any], registry: Registry) -> dict[str, Any]:
    filled = {}
    for kind, value in own.items():
        type = registry.policy(kind) if isinstance(value, dict) else None
        filled[kind] = value if type is None else _under(_defaults(type.config), value)
    return filled


def _defaults(config: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults of a config's keys; one without a default, or with the default None, has nothing to show."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(config):
        made = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        if made is not msgspec.NODEFAULT and made is not None:
            found[field.encode_name] = msgspec.to_builtins(made)
    return found


def _under(defaults: dict[str, Any], own: Any) -> Any:
    """`own`, with what it does not say from `defaults`."""
    if not isinstance(own, dict):
        return own
    merged = {**own}
    for key, value in defaults.items():
        merged[key] = _under(value, own[key]) if key in own and isinstance(value, dict) else own.get(key, value)
    return merged


def _masked(value: Any) -> Any:
    """Names and passwords inside URLs are not shown."""
    if isinstance(value, dict):
        return {key: _masked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return without_user(value) if isinstance(value, str) else value


def _ends(value: Any, path: DocPath) -> list[DocPath]:
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [end for key, each in pairs for end in _ends(each, (*path, key))] if pairs else [path]


def origin_words(origin: Origin) -> str:
    """`triage.yaml:14`, `WIZARD_RETRY_MAX_ATTEMPTS`, `--set` or `built-in`."""
    if origin.layer == "flag":
        return "--set"
    return f"{origin.file}:{origin.line}" if origin.line else origin.file


def as_data(document: Resolved) -> dict[str, Any]:
    """For machines: the document, and the origin of each value by its path."""
    origins = {show_path(path): msgspec.structs.asdict(origin) for path, origin in document.origins.items()}
    return {"document": document.data, "origins": origins}


def as_yaml(document: Resolved) -> str:
    """YAML that loads as the same document; each value is followed by its origin as a comment."""
    lines = _mapping(document.data, (), document.origins, 0)
    width = min(max((len(line) for line, origin in lines if origin), default=0), 60)
    return "".join(f"{line.ljust(width)}  # {origin}\n" if origin else f"{line}\n" for line, origin in lines)


Line = tuple[str, str]


def _mapping(data: dict[str, Any], path: DocPath, origins: Mapping[DocPath, Origin], depth: int) -> list[Line]:
    lines: list[Line] = []
    for key, value in data.items():
        lines += _entry(f"{'  ' * depth}{_scalar(key)}:", value, (*path, key), origins, depth)
    return lines


def _entry(head: str, value: Any, path: DocPath, origins: Mapping[DocPath, Origin], depth: int) -> list[Line]:
    """The lines of one value after `head`, which is a key or a dash."""
    if isinstance(value, dict) and value:
        return [(head, ""), *_mapping(value, path, origins, depth + 1)]
    if isinstance(value, list) and value:
        return _list(head, value, path, origins, depth)
    origin = origin_words(origins[path])
    if isinstance(value, str) and _fits_block(value):
        chomp = "" if value.endswith("\n") else "-"
        body = value.removesuffix("\n").split("\n")
        return [(f"{head} |{chomp}", origin), *((f"{'  ' * (depth + 1)}{line}".rstrip(), "") for line in body)]
    return [(f"{head} {_scalar(value)}", origin)]


def _list(head: str, value: list[Any], path: DocPath, origins: Mapping[DocPath, Origin], depth: int) -> list[Line]:
    words = {origin_words(origins[(*path, index)]) for index in range(len(value)) if (*path, index) in origins}
    if len(words) == 1 and not any(isinstance(each, (dict, list)) or _is_long(each) for each in value):
        return [(f"{head} [{', '.join(map(_scalar, value))}]", words.pop())]
    lines: list[Line] = [(head, "")]
    dash = f"{'  ' * (depth + 1)}-"
    for index, each in enumerate(value):
        if isinstance(each, dict) and each:
            (first, origin), *others = _mapping(each, (*path, index), origins, depth + 2)
            lines += [(f"{dash} {first.lstrip()}", origin), *others]
        else:
            lines += _entry(dash, each, (*path, index), origins, depth + 1)
    return lines


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and ("\n" in value or len(value) > 40)


def _fits_block(text: str) -> bool:
    """Whether a text of several lines can stand as a literal block as it is."""
    lines = text.removesuffix("\n").split("\n")
    fit = all(_BLOCK_LINE.fullmatch(line) for line in lines)
    return len(lines) > 1 and fit and bool(lines[0]) and not lines[0].startswith(" ") and not text.endswith("\n\n")


def _scalar(value: Any) -> str:
    """A scalar as YAML 1.2; a text is quoted where it could be read as something else, also by older tools."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and core_scalar(value) == value and not _DATE.match(value)
        return value if plain else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\x7f")
    return json.dumps(value)
