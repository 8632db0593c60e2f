"""What every order has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wizard_dsl.core.target import Branch, Target


def ranked(branches: Sequence[Branch], rank: Callable[[Target], float]) -> list[Branch]:
    """The lowest priority first, within it the lowest rank; ties by declaration."""
    return sorted(branches, key=lambda branch: (branch.target.priority, rank(branch.target), branch.target.position))
