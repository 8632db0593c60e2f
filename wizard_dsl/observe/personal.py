"""Personal data that has a shape: mail addresses, telephone numbers, bank accounts, cards, public IP addresses.

What replaces it has the same shape, so that a schema or a pattern that took the one takes the other: a mail address is
another, digits are nines, an IP address is one that is kept for documentation. The same data gets the same stand-in,
and a stand-in is its own, so hiding twice changes nothing. Names, addresses of houses and dates of birth have no shape
that tells them from other words: they are not found.

Every pattern is linear in the length of the text. Numbers are checked where they have a check digit (Luhn for cards,
modulo 97 for IBANs), because an order number is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from wizard_dsl.core.regex import regex
from wizard_dsl.observe._edits import Rule, pattern_rule, replace_in

MAIL: Final = "redacted@example.com"
ADDRESS_4: Final = "192.0.2.1"
ADDRESS_6: Final = "2001:db8::1"

_MAIL: Final = regex(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_IBAN: Final = regex(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_CARD: Final = regex(r"(?<![\w.+-])[2-6](?:[ -]?\d){13,18}(?![\w-])")
_ABROAD: Final = regex(r"(?<![\w+])\+\d{1,15}(?:[ ()./-]{1,3}\d{1,8}){0,7}(?!\w)")
_AT_HOME: Final = regex(
    r"(?<![\w.+/-])(?:\(0\d{1,5}\)|0\d{1,5})[ /-]{1,3}\d{2,9}(?:[ -]\d{2,6}){0,4}(?![\w-])"
    r"|(?<![\w.+/-])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])"
)
_IPV4: Final = regex(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_IPV6: Final = regex(r"(?<![\w:.-])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])")
_CAPITAL: Final = regex(r"[A-Z]")
_DIGIT: Final = regex(r"\d")


def redact_personal(text: str) -> str:
    """`text` with the personal data that is found in it replaced. All of it has digits, but for mail addresses."""
    if "@" not in text and _DIGIT.search(text) is None:
        return text
    return replace_in([text], PERSONAL)[0]


def _nines(text: str, *, are: Callable[[str], bool]) -> str | None:
    """Every digit a nine, where they are what they look like."""
    return _DIGIT.sub("9", text) if are("".join(_DIGIT.findall(text))) else None


def _is_card(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _iban(text: str) -> str | None:
    plain = text.replace(" ", "")
    number = int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4]))
    if not 15 <= len(plain) <= 34 or number % 97 != 1:
        return None
    return text[:2] + _DIGIT.sub("9", _CAPITAL.sub("X", text[2:]))


def _public(text: str, *, stand_in: str) -> str | None:
    """Addresses of this machine, of private networks and of documentation are nobody's."""
    from ipaddress import ip_address

    try:
        return stand_in if ip_address(text).is_global else None
    except ValueError:
        return None


#: One rule a kind.
PERSONAL: Final[tuple[Rule, ...]] = tuple(
    pattern_rule(pattern, stand_in, needs)
    for pattern, stand_in, needs in (
        (_MAIL, lambda text: MAIL, ("@",)),
        (_IBAN, _iban, ()),
        (_CARD, partial(_nines, are=_is_card), ()),
        (_ABROAD, partial(_nines, are=lambda digits: 8 <= len(digits) <= 15), ("+",)),
        (_AT_HOME, partial(_nines, are=lambda digits: 9 <= len(digits) <= 15), ()),
        (_IPV4, partial(_public, stand_in=ADDRESS_4), ()),
        (_IPV6, partial(_public, stand_in=ADDRESS_6), (":",)),
    )
)
