"""Where a document holds templates and expressions: references are not resolved there, `${` is text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.spec.diagnostics import DocPath

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

_OF_PROMPTS: Final = frozenset({"system", "user"})
_OF_STEPS: Final = frozenset({"when", "for_each"})


def template_paths(data: dict[str, Any], registry: Registry) -> Callable[[DocPath], bool]:
    """Tells of a path whether it is a template, or holds nothing else."""
    steps = data.get("steps")
    fields = {name: _fields(raw, registry) for name, raw in steps.items()} if isinstance(steps, dict) else {}

    def is_template(path: DocPath) -> bool:
        if path[:1] == ("output",):
            return True
        if path[:1] == ("prompts",):
            return _in_prompt(path[2:])
        if path[:1] != ("steps",) or len(path) < 3:
            return False
        return path[2] in fields.get(str(path[1]), _OF_STEPS) or (path[2] == "prompt" and _in_prompt(path[3:]))

    return is_template


def _in_prompt(path: DocPath) -> bool:
    if path[:1] == ("messages",):
        return path[2:3] == ("content",)
    return bool(path) and path[0] in _OF_PROMPTS


def _fields(raw: Any, registry: Registry) -> frozenset[str]:
    """The templates of a step, by its type."""
    name = raw.get("type", "generate") if isinstance(raw, dict) else None
    type = registry.step(name) if isinstance(name, str) else None
    return _OF_STEPS | frozenset(type.templates if type else ())
