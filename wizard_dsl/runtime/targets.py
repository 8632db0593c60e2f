"""The targets of a pipeline by name, as they are switched on and off by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.core.target import TargetState

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program


def switched_on(programs: Iterable[Program], states: Mapping[str, TargetState]) -> dict[str, bool]:
    """Whether each target is switched on, by name, in the order of the file."""
    return {name: not any(state.disabled for state in found) for name, found in _by_name(programs, states).items()}


def switch(programs: Iterable[Program], states: Mapping[str, TargetState], target: str, *, on: bool) -> None:
    """Switch what is called `target`. Raises InputInvalid where nothing is."""
    known = _by_name(programs, states)
    if target not in known:
        raise InputInvalid(f"there is no target '{target}'", where=target, suggestion=f"one of: {', '.join(known)}")
    for state in known[target]:
        state.disabled = not on


def _by_name(programs: Iterable[Program], states: Mapping[str, TargetState]) -> dict[str, list[TargetState]]:
    """The states behind each name, in the order of the file. Two files may give one name to different targets."""
    found: dict[str, list[TargetState]] = {}
    chains = (chain for program in programs for chain in program.chains.values())
    for target in (target for chain in chains for target in chain.targets):
        known = found.setdefault(target.name, [])
        if states[target.key] not in known:
            known.append(states[target.key])
    return found
