"""What stands at a path of a document as it was read."""

from __future__ import annotations

from typing import Any

from wizard_dsl.spec.diagnostics import DocPath


def value_in(data: Any, path: DocPath) -> Any:
    """The value at a path; None where nothing stands there, or a null does."""
    for part in path:
        if not _has(data, part):
            return None
        data = data[part]
    return data


def stands_in(data: Any, path: DocPath) -> bool:
    """Whether anything stands at a path, be it a null."""
    for part in path:
        if not _has(data, part):
            return False
        data = data[part]
    return True


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and 0 <= part < len(data)
