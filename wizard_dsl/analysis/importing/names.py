"""Names as a pipeline file wants them, and keys as references to variables."""

from __future__ import annotations

import re
from typing import Final

from wizard_dsl.core.regex import regex
from wizard_dsl.core.units import show_duration

#: What looks like a key, a password in a URL, or a private key, wherever it stands. Words that are joined by dashes, as
#: in names of models, are none.
_KEYS: Final = regex(
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|hf|r8|pplx|nvapi|fw|tgp|ghp|gho|ghs|github_pat|glpat|xox[abprs])[-_]"
    r"(?:[A-Za-z0-9]*[-_]){0,4}(?=[A-Za-z]*[0-9])[A-Za-z0-9]{12,}[A-Za-z0-9_-]*"
    r"|(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{20,}|(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"
    r"|(?<=://)[^\s/@:\"']{0,200}:[^\s/@\"']{1,200}(?=@)"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
)
HIDDEN: Final = "***"

#: What no input may be called.
RESERVED: Final = frozenset(
    [
        "steps",
        "item",
        "index",
        "self",
        "super",
        "loop",
        "text",
        "json",
        "attempts",
        "served_by",
        "elapsed",
        "cost",
        "error",
        "breakers",
    ]
)
_LONGEST: Final = 60


def slug(text: str, *, prefix: str = "m") -> str:
    """Small letters, digits and underscores, a letter first."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)
    made = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:_LONGEST].rstrip("_")
    return made if made[:1].isalpha() else f"{prefix}_{made}".rstrip("_")


class Names:
    """Gives each thing a name that no other has."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def free(self, text: str, *, prefix: str = "m") -> str:
        wanted = name = slug(text, prefix=prefix)
        number = self._next.get(wanted, 2)
        while name in self._taken:
            name, number = f"{wanted}_{number}", number + 1
        self._next[wanted] = number
        self._taken.add(name)
        return name


class Keys:
    """Variables for keys that stand literally in a source: equal keys get the same one. The keys themselves are kept
    here and written nowhere."""

    def __init__(self) -> None:
        self._variables: dict[str, str] = {}

    def variable(self, key: str, wanted: str) -> str:
        if key not in self._variables:
            name, number = wanted, 2
            while name in self._variables.values():
                name, number = f"{wanted}_{number}", number + 1
            self._variables[key] = name
        return self._variables[key]

    def reserve(self, variable: str) -> None:
        """A name that the source itself uses."""
        self._variables.setdefault(f"\0{variable}", variable)


def variable_of(text: str) -> str:
    """A name for a variable, in capitals."""
    made = re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")[:_LONGEST]
    return made if made[:1].isalpha() else f"P_{made}".rstrip("_")


def without_keys(text: str) -> str:
    """A text with `***` for what looks like a key in it."""
    return _KEYS.sub(HIDDEN, text)


def reference(variable: str) -> str:
    return f"${{env:{variable}}}"


def literal(text: str) -> str:
    """A text of the source that our files must not take for a reference."""
    return text.replace("${", "$${")


def seconds(value: float) -> str:
    """`30s` of a number of seconds."""
    return show_duration(float(value))
