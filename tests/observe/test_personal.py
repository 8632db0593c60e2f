"""Personal data is found by its shape, and what replaces it has the same shape."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wizard_dsl.observe._edits import replace_in
from wizard_dsl.observe.personal import PERSONAL, redact_personal
from wizard_dsl.observe.redact import Redaction, names_secret

KEY = "sk-proj-Ab12Cd34Ef56Gh78Ij90"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to jane.doe+x@firm.co.uk.", "write to redacted@example.com."),
        ("jörg@müller.de, ok", "redacted@example.com, ok"),
        ("DE89 3704 0044 0532 0130 00 please", "DE99 9999 9999 9999 9999 99 please"),
        ("IBAN GB29NWBK60161331926819", "IBAN GB99XXXX99999999999999"),
        ("4111 1111 1111 1111", "9999 9999 9999 9999"),
        ('{"card": "5500005555555559"}', '{"card": "9999999999999999"}'),
        ("+49 170 1234567", "+99 999 9999999"),
        ("call +1 (202) 555-0100 now", "call +9 (999) 999-9999 now"),
        ("030 1234567 or 0170/1234567", "999 9999999 or 9999/9999999"),
        ("(555) 123-4567 and 555-123-4567", "(999) 999-9999 and 999-999-9999"),
        ("from 8.8.8.8 to 2a00:1450:4001:82a::200e", "from 192.0.2.1 to 2001:db8::1"),
    ],
)
def test_what_has_the_shape_of_personal_data_is_replaced_by_what_has_it_too(text: str, left: str) -> None:
    assert redact_personal(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 is no card: its check digit is wrong",
        "DE00370400440532013000 is no account",
        "order 1234567890123456, 2026-11-28, 01-02-2026, 12:34:56, 1.2.3, 3.11.4",
        "std::vec, abc::def, a::b, fd00::1, 20:30:40",
        "127.0.0.1, 10.0.0.1, 192.168.1.1, ::1, fe80::1, 300.1.2.3",
        "one in 1,000,000 at 20.5% of $12.50; a 555-page book",
        "chains.writer.targets[1] @ 10/s",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact_personal(text) == text


PIECES = st.sampled_from(
    [KEY, "jane@firm.com", "+49 170 1234567", "4111 1111 1111 1111", "8.8.8.8", "DE89370400440532013000", " ", ",", "a",
     "1", "0", "-", "api_key=", "Bearer ", ":", "\n", '"', "***", "@", "."]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
@example("Bearer 0123456789 Bearer")
def test_hiding_twice_changes_nothing(text: str) -> None:
    once = Redaction([KEY]).text(text)
    assert Redaction([KEY]).text(once) == once


@given(st.lists(PIECES, max_size=12), st.lists(st.integers(0, 200), max_size=6))
def test_pieces_together_are_what_the_whole_is(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[start:stop] for start, stop in pairwise(places)]
    redaction = Redaction([KEY])
    left = redaction.pieces(pieces)
    assert len(left) == len(pieces)
    assert "".join(left) == redaction.text(text)


@pytest.mark.parametrize("form", [KEY, KEY.replace("-", "%2D"), KEY[:14] + "…", "…" + KEY[-12:]])
def test_a_secret_is_found_whole_and_by_its_ends(form: str) -> None:
    text = Redaction([KEY, KEY.replace("-", "%2D")]).text(f"it was {form}, was it")
    assert KEY[:12] not in text
    assert KEY[-12:] not in text


@pytest.mark.parametrize("user", ["", "u:", "us:", "use:"])
def test_a_secret_in_base64_is_found_wherever_it_begins(user: str) -> None:
    from base64 import b64encode, urlsafe_b64encode

    for encode in (b64encode, urlsafe_b64encode):
        code = encode(f"{user}{KEY}".encode()).decode()
        left = Redaction([KEY]).text(f"cookie-like {code}")
        assert code[6:-6] not in left


def test_a_short_secret_is_hidden_where_it_stands_alone() -> None:
    assert Redaction(["test"]).text("the test of contestants: test") == "the *** of contestants: ***"


@pytest.mark.parametrize("unit", ["+1", "0-1", "a@", "1 ", "a.", "1.", ":a", "DE89 ", "4111-", "(0) ", "9"])
def test_no_text_makes_it_slow(unit: str) -> None:
    """Twice the text may take about twice the steps; a pattern that backtracks takes minutes here."""
    assert isinstance(redact_personal(unit * (40_000 // len(unit))), str)


def test_names_of_secrets_are_known() -> None:
    assert all(map(names_secret, ("api_key", "x-api-key", "Authorization", "client_secret", "password", "apiKey")))
    assert not any(map(names_secret, ("max_tokens", "token", "keys", "input_tokens", "stop", "content")))


@given(st.text("09٣+@:.-() aAfF\u0660"))
def test_a_text_without_digits_is_left_unsearched_only_where_nothing_would_be_found(text: str) -> None:
    assert redact_personal(text) == replace_in([text], PERSONAL)[0]
