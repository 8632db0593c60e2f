"""Exceptions from the error table: what a file says about single kinds and statuses."""

from __future__ import annotations

from collections.abc import Mapping

from wizard_dsl.core.errors import WizardError, root


def override(error: WizardError, overrides: Mapping[str, bool]) -> bool | None:
    """What `overrides` (kind or HTTP status as text → yes or no) says of `error`; None where it is silent.

    A status is more specific than a kind and wins.
    """
    if not overrides:
        return None
    status = getattr(root(error), "status", None)
    said = overrides.get(str(status)) if status is not None else None
    return said if said is not None else overrides.get(error.kind)
