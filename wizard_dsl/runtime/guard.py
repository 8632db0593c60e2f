"""The input guard: what callers pass is text for a model, and nothing else.

Control characters are refused or stripped, in every input. Role markers and signs of injection are looked for in inputs
that are not `trusted`, because those may come from anybody. Findings name the input and the place, never the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wizard_dsl.core.errors import SafetyBlocked
from wizard_dsl.core.events import InputGuarded
from wizard_dsl.safety.characters import find_control, strip_control
from wizard_dsl.safety.injection import find_injection
from wizard_dsl.safety.roles import escape_roles, find_role

if TYPE_CHECKING:
    from wizard_dsl.spec.document import InputGuardSpec, InputSpec


class InputGuard:
    """The guard of one program's inputs."""

    def __init__(self, spec: InputGuardSpec, declared: Mapping[str, InputSpec]) -> None:
        self._spec = spec
        self._passes = spec.injection == "off"
        self._trusted = frozenset(name for name, each in declared.items() if each.trusted)

    def check(self, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[InputGuarded]]:
        """The values that go into the prompts, and what is to be told. Raises SafetyBlocked."""
        if self._passes and _are_plain(values):
            return values, ()
        told: list[InputGuarded] = []
        return {name: self._value(name, value, told) for name, value in values.items()}, told

    def _value(self, name: str, value: Any, told: list[InputGuarded]) -> Any:
        if isinstance(value, str):
            return self._text(name, value, told)
        if isinstance(value, list):
            return [self._value(name, each, told) for each in value]
        if isinstance(value, dict):
            return {self._text(name, key, told): self._value(name, each, told) for key, each in value.items()}
        return value

    def _text(self, name: str, text: str, told: list[InputGuarded]) -> str:
        def note(action: str, finding: str) -> None:
            told.append(InputGuarded(path=f"inputs.{name}", input=name, action=action, finding=finding))

        text = self._control(name, text, note)
        if name in self._trusted:
            return text
        text = self._roles(name, text, note)
        if self._spec.injection != "off":
            for finding in find_injection(text):
                if self._spec.injection == "block":
                    raise _refused(name, finding, "set safety.input.injection to warn, and it passes and is told")
                note("told", finding)
        return text

    def _control(self, name: str, text: str, note: Callable[[str, str], None]) -> str:
        found = find_control(text)
        if found is None:
            return text
        finding = f"control character {found[1]} at character {found[0]:,}"
        if self._spec.control == "reject":
            raise _refused(name, finding, "clean the input, or set safety.input.control to strip")
        note("stripped", finding)
        return strip_control(text)

    def _roles(self, name: str, text: str, note: Callable[[str, str], None]) -> str:
        found = None if self._spec.roles == "off" else find_role(text)
        if found is None:
            return text
        finding = f"role marker {found[1]} at character {found[0]:,}"
        if self._spec.roles == "reject":
            raise _refused(name, finding, "clean the input, or set safety.input.roles to escape")
        note("escaped", finding)
        return escape_roles(text)


def _are_plain(values: Mapping[str, Any]) -> bool:
    """Whether a look is enough to see that neither a control character nor a role marker is in them."""
    for value in values.values():
        if type(value) is not str or not (value.isascii() and value.isprintable()) or "<" in value or "[" in value:
            return False
    return True


def _refused(name: str, finding: str, hint: str) -> SafetyBlocked:
    error = SafetyBlocked(f"input '{name}' was refused: {finding}", findings=(finding,), where=name)
    error.suggestion = hint
    return error
