"""Values of a source as what they are meant to be; what cannot be read so is None."""

from __future__ import annotations

import math
import re
from typing import Any

from wizard_dsl.analysis.importing.names import literal, reference
from wizard_dsl.core.regex import regex

_PERIOD = regex(r"(\d+(?:\.\d+)?)\s*(ms|mo|s|m|h|d|w|y)?")
_LENGTHS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "mo": 30 * 86400, "y": 365 * 86400}


def number(value: Any) -> float | None:
    """A finite number, also one that stands in quotes."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def count(value: Any) -> int | None:
    """A whole number of at least 0."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def positive(value: Any) -> float | None:
    """A number above 0."""
    found = number(value)
    return found if found is not None and found > 0 else None


def flag(value: Any) -> bool | None:
    """True or false, also as YAML 1.1 and people write it."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    return words.get(str(value).lower())


def period(value: Any) -> float | None:
    """Seconds of `30d`, `1mo`, `24h`, or of a number of seconds."""
    match = _PERIOD.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return positive(value)
    return float(match[1]) * _LENGTHS[match[2] or "s"] or None


def text(value: Any) -> str | None:
    """A text; `os.environ/NAME` becomes a reference."""
    if not isinstance(value, str):
        return None
    name = variable(value)
    return reference(name) if name else literal(value)


def variable(value: Any) -> str | None:
    """NAME of `os.environ/NAME`."""
    match = re.fullmatch(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)", value.strip()) if isinstance(value, str) else None
    return match[1] if match else None


def api_version(value: Any) -> str | None:
    """A version as the query of Azure has it, or a reference to one."""
    told = text(value)
    return told if told and (variable(value) or re.fullmatch(r"[A-Za-z0-9._-]+", told)) else None


def base_url(told: str, otherwise: str) -> str:
    """A URL that a provider may have; references stand in it as they are."""
    return told if re.fullmatch(r"(?:https?://|\$\{env:)[^\s/?#@]+(/[^\s?#]*)?", told) else otherwise


def whole(value: float) -> int | float:
    """3 for 3.0: as people write numbers."""
    return int(value) if value == int(value) else value


def snake(name: str) -> str:
    """`override_params` of `overrideParams`: some tools take both."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
