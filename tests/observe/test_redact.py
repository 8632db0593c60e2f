"""Keys never appear in what is shown."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wizard_dsl.observe._edits import may_have
from wizard_dsl.observe.redact import _LOOKS, HIDDEN, Redaction, redact, redact_tree

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Incorrect API key provided: sk-proj-Ab12Cd34Ef56Gh78", "sk-proj-Ab12Cd34Ef56Gh78"),
        ("invalid key sk-ant-api03-abcdefghijk", "abcdefghijk"),
        ("gsk_0123456789abcdef is not valid", "0123456789abcdef"),
        ("key AIzaSyA0123456789012345678901234567 not valid", "AIzaSyA0123456789012345678901234567"),
        ("Authorization: Bearer abc.def.123", "abc.def.123"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("sent Bearer opaque0token in vain", "opaque0token"),
        ("{'x-api-key': 'topsecret', 'accept': '*/*'}", "topsecret"),
        ('{"api_key":"topsecret"}', "topsecret"),
        (r'"{\"api_key\": \"topsecret\"}"', "topsecret"),
        ("API-Key=topsecret&model=x", "topsecret"),
        ("https://host/v1/models/x:generate?alt=sse&key=topsecret", "topsecret"),
        ("redis://user:topsecret@cache:6379/0", "topsecret"),
        ("redis://:topsecret@cache:6379/0", "topsecret"),
        ("password = topsecret;", "topsecret"),
        ("client_secret: topsecret", "topsecret"),
        ("set-cookie: sid=topsecret", "topsecret"),
        (f"the key that was sent, {HEX}, is unknown", HEX),
        (f"token {HEX}", HEX),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIiOiIxIn0"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----", "MIIEabc"),
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert HIDDEN in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "openai/gpt-4o-mini: 503 server after 0.120 s",
        "the task-management-tool asked for a risk-adjusted answer",
        "set OPENAI_API_KEY, or name the variable that holds the key",
        "chains.writer.targets[1].retry",
        f"cache miss {HEX}",
        "the bearer of bad news",
        "https://api.openai.com/v1/chat/completions?alt=sse",
        "http://127.0.0.1:8080/v1",
        "API key not valid. Please pass a valid API key.",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_is_hidden_whatever_it_looks_like() -> None:
    assert redact("it was plainword, twice plainword", ["plainword"]) == "it was ***, twice ***"


def test_of_two_secrets_that_contain_each_other_no_tail_is_left() -> None:
    assert redact("value secret-and-tail", ["secret", "secret-and-tail"]) == "value ***"


def test_an_empty_or_tiny_secret_tears_nothing_apart() -> None:
    assert redact("a banana", ["", "a", "ana"]) == "a banana"


def test_the_name_of_the_key_stays_so_that_one_knows_what_was_hidden() -> None:
    assert redact("x-api-key: topsecret and more") == "x-api-key: *** and more"


def test_plain_data_is_redacted_in_every_text_and_keeps_its_shape() -> None:
    data = {"a": ["Bearer opaque0token", 1, None], "sk-0123456789": ({"b": "hush-hush"},), "n": 4096}
    hidden = {"a": ["Bearer ***", 1, None], "***": [{"b": "***"}], "n": 4096}
    assert redact_tree(data, ["hush-hush", "4096"]) == hidden


def test_half_a_surrogate_pair_becomes_an_escape() -> None:
    assert redact_tree("a\ud800b") == "a\\ud800b"


@pytest.mark.parametrize(
    "unit",
    ["sk-", "a", "://", "://a:", "api key ", "key key ", "Bearer ", "eyJaaaaaaaa.", "-----BEGIN ", '\\"', "key, "],
)
def test_no_text_makes_it_slow(unit: str) -> None:
    """Twice the text may take about twice the steps; a pattern that backtracks takes minutes here."""
    text = unit * (60_000 // len(unit))
    assert isinstance(redact(text), str)
    assert not re.search("topsecret", redact(f"{text} api_key=topsecret"))


PARTS = [
    "sk-",
    "AKIA",
    "aKia",
    "eyJ",
    "api key",
    "API-KEY",
    "Auth",
    "orization",
    "id_token",
    "Secret",
    "\u017fecret",
    "paSSwd",
    "cookie",
    "private_",
    "\u212aey",
    "bearer ",
    "BASIC ",
    "?key",
    "://u",
    ":p@",
    "-----BEGIN ",
    "PRIVATE KEY-----",
    "=",
    ": ",
    " ",
    "'",
    HEX,
    "Ab12Cd34Ef56Gh78",
    "topsecret",
    "eyJhbGciOiJI.eyJzdWIiOiIx",
]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=9).map("".join))
@example("\u017fecret: topsecret")
@example("to\u212aen=topsecret")
def test_a_text_is_left_unsearched_only_where_nothing_would_be_found(text: str) -> None:
    searched = text
    for look, kept, _ in _LOOKS:
        searched = look.sub(kept, searched)
    assert redact(text) == searched
    assert Redaction(personal=False).text(text) == searched


def test_every_letter_that_a_pattern_takes_for_another_is_looked_for() -> None:
    letter = re.compile("[a-z]", re.IGNORECASE)
    taken = [each for each in map(chr, range(sys.maxunicode + 1)) if letter.fullmatch(each)]
    assert {"ſ", "ı"} < set(taken)
    assert [each for each in taken if not may_have(each, tuple("abcdefghijklmnopqrstuvwxyz"))] == []


def test_a_text_that_is_not_ascii_is_searched_only_where_it_may_have_something() -> None:
    assert not may_have("→ 503 …", ("key", "token"))
