"""Rules of the grammar that are neither a struct's nor a component's: names, kinds and which headers are secret.

The schema and the conversion both take them from here, so that they accept the same.
"""

from __future__ import annotations

import re
from typing import Final

from wizard_dsl.core.errors import KINDS

NAME_PATTERN: Final = "^[a-z][a-z0-9_]*$"
#: A plug-in's kind, as opposed to a built-in one.
DOTTED_PATTERN: Final = r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$"
#: `provider` or `provider/model`; a model's name may have slashes of its own.
TARGET_PATTERN: Final = r"^[a-z][a-z0-9_]*(/[^\s/][^\s]*)?$"
#: Keys of {kind or status: true|false}.
KIND_KEY_PATTERN: Final = f"^(?:{'|'.join(KINDS)}|[1-5][0-9]{{2}})$"
NAMED_SECTIONS: Final = ("inputs", "providers", "policies", "chains", "prompts", "steps")
#: Words that templates, expressions and tests use for something else.
RESERVED: Final = (
    "steps", "item", "index", "self", "super", "loop", "text", "json", "attempts", "served_by", "elapsed", "cost",
    "error", "breakers",
)  # fmt: skip

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_DEFAULT: Final = r"(?::-(?:[^}$]|\$(?!\{))*)?"
_PATH: Final = r"[^}\s$](?:(?:[^}$]|\$(?!\{))*[^}\s$])?"
REFERENCE: Final = rf"\$\{{(?:env:{_NAME}{_DEFAULT}|file:{_PATH})\}}"
#: A text with a reference somewhere; `$${` is none.
REFERENCE_PATTERN: Final = rf"(?:^|[^$]){REFERENCE}"
#: A reference that brings no text of its own: a default is written in the file, as a literal is.
_BARE: Final = rf"\$\{{(?:env:{_NAME}(?::-)?|file:{_PATH})\}}"
#: A text that is one bare reference.
SECRET_PATTERN: Final = rf"^{_BARE}$"
#: A text with a bare reference somewhere, as in `Bearer ${env:TOKEN}`.
SECRET_PART_PATTERN: Final = rf"(?:^|[^$]){_BARE}"

_SECRET_NAMES: Final = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "api-key",
    "apikey",
    "token",
    "secret",
    "password",
)


def _any_case(word: str) -> str:
    return "".join(f"[{char.upper()}{char}]" if char.isalpha() else char for char in word)


#: Names of headers that hold secrets, in any case; JSON Schema has no flag for that.
SECRET_HEADER_PATTERN: Final = f"(?:^|-|_)(?:{'|'.join(map(_any_case, _SECRET_NAMES))})$"
#: Values that are a secret in whatever header.
SECRET_VALUE_PATTERN: Final = r"^(?:(?:[Bb]earer|[Bb]asic|[Tt]oken)\s|sk-|gsk_|xai-|AIza)"

_PASSWORD: Final = r"(?:(?!\$\{)[^/@\s]+@|\$\{[^}]*:-[^}])"
#: A URL with a password that stands there literally, be it as the default of a reference.
LITERAL_PASSWORD_PATTERN: Final = (
    rf"://(?:[^/@\s:$]|\$\{{[^}}]*\}})*:{_PASSWORD}|[?&]password=(?:(?!\$\{{)[^&]|\$\{{[^}}]*:-[^}}])"
)


def is_secret_header(name: str, value: str) -> bool:
    """Whether a header's literal value is a secret that belongs into a variable."""
    return bool(re.search(SECRET_HEADER_PATTERN, name) or re.search(SECRET_VALUE_PATTERN, value))
