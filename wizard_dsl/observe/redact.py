"""Keys never appear: pure text in, text without secrets out.

Two nets. The values this run was given as secrets are replaced wherever they stand. What else looks like a
credential – a vendor's prefix, a bearer token, whatever follows a name such as `api_key` – is replaced by its look,
because a provider may quote a key that is not ours. Too much is rather hidden than too little; every pattern is
linear in the length of the text.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from wizard_dsl.core.regex import regex
from wizard_dsl.observe._edits import Edit, Rule, may_have, pattern_rule, replace_in
from wizard_dsl.observe.personal import PERSONAL
from wizard_dsl.providers._secrets import spellings

HIDDEN: Final = "***"

#: A shorter value is no secret, and replacing it would tear ordinary words apart.
SHORTEST: Final = 4

_PREFIXED: Final = (
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|hf|r8|pplx|nvapi|fw|tgp|ghp|gho|ghs|github_pat|glpat|xox[abprs])"
    r"[-_][A-Za-z0-9_-]{8,}"
)
_BARE: Final = (
    r"(?<![A-Za-z0-9])(?:AIza[A-Za-z0-9_-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)"
)
_NAMES: Final = (
    r"(?:api[-_ ]?key|authorization|(?:access|auth|refresh|session|security|id)[-_]?token"
    r"|secret(?:[-_](?:access[-_])?key)?|password|passwd|private[-_]key|cookie)"
)
_NAMED: Final = (
    rf"(?i)({_NAMES}\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}\\?[\"']?)"
    r"(?:(?:bearer|basic|token)\s{1,4})?[^\s\"'\\,;&}]+"
)
#: A key of JSON whose value is a secret, whatever that looks like.
_SECRET_NAME: Final = regex(rf"(?i)(?:[a-z0-9]{{1,20}}[-_]){{0,3}}{_NAMES}")
_MENTIONED: Final = (
    r"(?i)(\b(?:key|token|secret|credential)s?\b[^A-Za-z0-9]{1,4}(?:[a-z]{1,12}[^A-Za-z0-9]{1,4}){0,4})"
    r"[A-Za-z0-9+/_-]{32,}={0,2}"
)

#: What is found, what of it stays, and what a text must have for it.
_LOOKS: Final = tuple(
    (regex(pattern), kept, needs)
    for pattern, kept, needs in (
        (
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
            HIDDEN,
            ("-----begin",),
        ),
        (_NAMED, r"\1***", ("key", "authorization", "token", "secret", "passw", "cookie")),
        (
            r"(?i)(?<![a-z])(bearer|basic)(\s{1,4})(?=[^\s]{0,200}[0-9=])[A-Za-z0-9._~+/=-]{6,}",
            r"\1\2***",
            ("bearer", "basic"),
        ),
        (_PREFIXED, HIDDEN, ("-", "_")),
        (_BARE, HIDDEN, ("aiza", "akia", "asia", "eyj")),
        (r"([?&](?:key|token|sig|signature)=)[^&\s\"'\\]+", r"\1***", ("=",)),
        (r"(://)[^\s/@:\"']{0,200}:[^\s/@\"']{1,200}@", r"\1***@", ("://",)),
        (_MENTIONED, r"\1***", ("key", "token", "secret", "credential")),
    )
)


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """`text` with every secret, and what looks like one, replaced by `***`.

    Of secrets that contain each other the longer goes first, so no tail of it is left over.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    for look, kept, needs in _LOOKS:
        if may_have(text, needs):
            text = look.sub(kept, text)
    return text


def redact_tree(value: Any, secrets: Collection[str] = ()) -> Any:
    """Plain data with each of its texts redacted, keys included; lone surrogates become escapes."""
    if isinstance(value, str):
        return redact(value.encode("utf-8", "backslashreplace").decode(), secrets)
    if isinstance(value, Mapping):
        return {redact_tree(key, secrets): redact_tree(each, secrets) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact_tree(each, secrets) for each in value]
    return value


_WORD: Final = 8  # characters; a shorter secret is hidden only where it stands alone
_PIECE: Final = 12  # characters of a key's beginning or end that give too much of it away


def names_secret(key: str) -> bool:
    """Whether what stands under this key is a secret by its name: `api_key`, `client_secret`, `Authorization` …"""
    return _SECRET_NAME.fullmatch(key) is not None


class Redaction:
    """What is kept of texts that are written down: no secret, nothing that looks like one, and, with `personal`, no
    personal data that has a shape.

    A secret is found as it is, as a URL and JSON write it, in base64, and where twelve characters of its beginning
    or end are left. Texts that lie in pieces are judged as a whole, so the same is left of an answer whole and
    streamed. Hiding twice changes nothing.
    """

    def __init__(self, secrets: Iterable[str] = (), *, personal: bool = True) -> None:
        known = spellings(secrets)
        self._values = tuple(map(_value_rule, _with_base64(known)))
        self._pieces = tuple(partial(_ends, each) for each in known if len(each) >= 2 * _PIECE and " " not in each)
        looks = tuple(pattern_rule(*look) for look in _LOOKS)
        self._rules: tuple[Rule, ...] = (*self._values, *self._pieces, *looks, *(PERSONAL if personal else ()))

    def text(self, text: str) -> str:
        return replace_in([text], self._rules)[0]

    def pieces(self, pieces: Sequence[str]) -> list[str]:
        """The pieces of one text; what replaces something stays whole, in the piece where that begins."""
        return replace_in(pieces, self._rules)

    def values(self, pieces: Sequence[str]) -> list[str]:
        """The same for the known secrets alone, whatever they stand in."""
        return replace_in(pieces, (*self._values, *self._pieces))


def _with_base64(known: Sequence[str]) -> list[str]:
    """The secrets and what base64 makes of them, at whichever of its three places they begin, longest first."""
    found = set(known)
    for secret in known:
        if len(secret) < _WORD:
            continue
        raw = secret.encode("utf-8", "surrogatepass")
        for before, cut in ((0, 0), (1, 2), (2, 3)):
            code = b64encode(b"\0" * before + raw).decode().rstrip("=")
            whole = code[cut : len(code) - (1 if (before + len(raw)) % 3 else 0)]
            found |= {whole, whole.translate(str.maketrans("+/", "-_"))}
    return sorted(found, key=lambda text: (-len(text), text))


def _value_rule(secret: str) -> Rule:
    plain = re.escape(secret)
    return pattern_rule(
        re.compile(plain if len(secret) >= _WORD else rf"(?<![A-Za-z0-9]){plain}(?![A-Za-z0-9])"), HIDDEN
    )


def _ends(secret: str, text: str) -> list[Edit]:
    """Long pieces of a secret, from its beginning or up to its end."""
    edits: list[Edit] = []
    for start in _places(text, secret[:_PIECE]):
        stop = start + _PIECE
        while stop < len(text) and stop - start < len(secret) and text[stop] == secret[stop - start]:
            stop += 1
        edits.append((start, stop, HIDDEN))
    for end in _places(text, secret[-_PIECE:]):
        start, before = end, len(secret) - _PIECE
        while start > 0 and before > 0 and text[start - 1] == secret[before - 1]:
            start, before = start - 1, before - 1
        edits.append((start, end + _PIECE, HIDDEN))
    kept: list[Edit] = []
    for edit in sorted(edits):
        if not kept or edit[0] >= kept[-1][1]:
            kept.append(edit)
        elif edit[1] > kept[-1][1]:
            kept[-1] = (kept[-1][0], edit[1], HIDDEN)
    return kept


def _places(text: str, part: str) -> list[int]:
    found, at = [], text.find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found
