"""Scalars that stand for a mapping with one key: `retry: 3` is `retry: {max_attempts: 3}`.

They are written out before layers merge, so that `retry: 3` in `wizard.yaml` and `retry: {base: 2s}` in a pipeline
make one policy. A scalar that the key does not take is left as it is: then the finding is about what was written.
References wait until they are resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.document import BudgetLimit, RateLimitSpec
from wizard_dsl.spec.fit import fitted, leaves, required_fields
from wizard_dsl.spec.interpolate import has_reference

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

#: What stands beside the kinds where policies are written.
NOT_KINDS: Final = ("use", "stack")
_MOST_ENTRIES: Final = 1000

#: Changes one value, given its path and key.
Change = Callable[[DocPath, str, Any], Any]


def expanded(data: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """`data` with its shorthands written out; it is not changed itself."""

    def change(path: DocPath, key: str, value: Any) -> Any:
        target = _target(key, registry)
        if target is None or has_reference(value):
            return value
        return _written_out(value, *target)

    return _changed(data, change)


def expanded_value(path: DocPath, value: Any, registry: Registry) -> Any:
    """The same for one value that a variable or flag puts at `path`."""
    data: Any = value
    for part in reversed(path):
        if isinstance(part, int) and part > _MOST_ENTRIES:
            return value
        data = {part: data} if isinstance(part, str) else [*[{}] * part, data]
    data = expanded(data, registry)
    for part in path:
        data = data[part]
    return data


def settled(
    data: dict[str, Any], registry: Registry, refs: Collection[DocPath], unresolved: Collection[DocPath]
) -> dict[str, Any]:
    """`data` after its references: a resolved text as the scalar it stands for, an unresolved one as the defaults."""
    if not refs:
        return data

    def change(path: DocPath, key: str, value: Any) -> Any:
        target = _target(key, registry)
        if path not in refs or target is None or not isinstance(value, str):
            return value
        if path in unresolved:
            return value if required_fields(target[1]) else {}
        return _written_out(fitted(value, leaves(target[1], (target[0],))), *target)

    return _changed(data, change)


def _target(key: str, registry: Registry) -> tuple[str, type[msgspec.Struct]] | None:
    """The field that a scalar of this policy, of `on_rate_limit` or in `budgets` sets, and the struct it belongs to."""
    if key == "budgets":
        return "limit", BudgetLimit
    if key == "on_rate_limit":
        return "wait_up_to", RateLimitSpec
    type = None if key in NOT_KINDS else registry.policy(key)
    return None if type is None or not type.scalar else (type.scalar, type.config)


def _written_out(value: Any, field: str, config: type[msgspec.Struct]) -> Any:
    if isinstance(value, (dict, list, bool)) or value is None or value == "off":
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        msgspec.convert({field: value}, config)
    except msgspec.ValidationError:
        return value
    return {field: value}


def _changed(data: dict[str, Any], change: Change) -> dict[str, Any]:
    """Put each policy, wherever policies may stand, each `on_rate_limit` and each budget through `change`."""

    def policies(path: DocPath, key: str, holder: Any) -> Any:
        return _at(holder, path, "policies", lambda at, _, own: _each(own, at, change))

    def target_list(path: DocPath, key: str, own: Any) -> Any:
        if not isinstance(own, list):
            return own
        return [policies((*path, index), "", each) for index, each in enumerate(own)]

    def chain(path: DocPath, key: str, own: Any) -> Any:
        own = _at(policies(path, key, own), path, "targets", target_list)
        return _at(own, path, "on_rate_limit", change)

    data = _at(data, (), "policies", lambda at, _, own: _each(own, at, lambda to, _, each: _each(each, to, change)))
    data = _at(data, (), "budgets", lambda at, key, own: _each(own, at, lambda to, _, each: change(to, key, each)))
    data = _at(data, (), "chains", lambda at, _, own: _each(own, at, chain))
    result: dict[str, Any] = _at(data, (), "providers", lambda at, _, own: _each(own, at, policies))
    return result


def _at(holder: Any, path: DocPath, key: str, change: Change) -> Any:
    """`holder` with one of its keys changed, if it has it."""
    if not isinstance(holder, dict) or key not in holder:
        return holder
    return {**holder, key: change((*path, key), key, holder[key])}


def _each(own: Any, path: DocPath, change: Change) -> Any:
    """A mapping with all of its values changed."""
    if not isinstance(own, dict):
        return own
    return {key: change((*path, key), key, value) for key, value in own.items()}
