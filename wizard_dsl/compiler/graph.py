"""The graph of steps: edges in, an order out, or the cycles that stand in its way. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise


def topological(needs: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The names in an order in which each comes after what it needs, as near to the given order as that allows;
    None where a cycle prevents it."""
    order: list[str] = []
    left = list(needs)
    placed: set[str] = set()
    while left:
        ready = next((name for name in left if all(need in placed for need in needs[name])), None)
        if ready is None:
            return None
        left.remove(ready)
        placed.add(ready)
        order.append(ready)
    return order


def cycles(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Cycles that cover all steps on one, each as the names along it: `a` needs `b` needs … needs `a`."""
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in needs:
        if start in seen:
            continue
        trail: list[str] = []
        here: str | None = start
        while here is not None and here not in seen:
            seen.add(here)
            trail.append(here)
            here = next((need for need in needs[here] if _reaches(needs, need, here)), None)
        if here is not None and here in trail:
            found.append(trail[trail.index(here) :])
    return found


def _reaches(needs: Mapping[str, Sequence[str]], start: str, goal: str) -> bool:
    stack, seen = [start], set()
    while stack:
        name = stack.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            stack.extend(needs.get(name, ()))
    return False


def straight(order: Sequence[str], needs: Mapping[str, Sequence[str]]) -> bool:
    """Whether each step needs the one before it, so that nothing can run at once."""
    return all(before in needs[name] for before, name in pairwise(order))
