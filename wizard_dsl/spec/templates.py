"""Where a document holds templates and expressions: references are not resolved there, `${` is text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.spec.diagnostics import DocPath

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

_OF_PROMPTS: Final = frozenset({"system", "user", "messages"})
_OF_STEPS: Final = frozenset({"when", "for_each"})


def template_paths(data: dict[str, Any], registry: Registry) -> Callable[[DocPath], bool]:
    """Tells of a path whether it is a template, or holds nothing else."""
    steps = data.get("steps")
    fields = {name: _fields(raw, registry) for name, raw in steps.items()} if isinstance(steps, dict) else {}

    def is_template(path: DocPath) -> bool:
        if path[:1] == ("output",):
            return True
        if len(path) < 3:
            return False
        section, name, field = path[:3]
        if section == "prompts":
            return field in _OF_PROMPTS
        if section != "steps":
            return False
        return field in fields.get(str(name), _OF_STEPS) or (field == "prompt" and path[3:4] in _MESSAGES)

    return is_template


_MESSAGES: Final = tuple((field,) for field in _OF_PROMPTS)


def _fields(raw: Any, registry: Registry) -> frozenset[str]:
    """The templates of a step, by its type."""
    name = raw.get("type", "generate") if isinstance(raw, dict) else None
    type = registry.step(name) if isinstance(name, str) else None
    return _OF_STEPS | frozenset(type.templates if type else ())
