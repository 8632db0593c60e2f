"""The many ways to say when to come back, and what is not believed."""

from __future__ import annotations

import pytest

from wizard_dsl.core.announced import Remaining, announced, remaining, reset_in

WALL = 1_767_225_600.0  # 2026-01-01T00:00:00Z
DATE = "Thu, 01 Jan 2026 01:00:00 GMT"  # an hour after WALL: the answer's own clock counts


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "garbage", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 01:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": DATE}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "3600"}, 3600.0),
        ({"retry-after": "3601"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"}, 90.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6ms"}, 0.006),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "9s"}, None),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "9s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "20",
            },
            20.0,
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225612000"}, 12.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225605"}, 5.0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "11"}, 11.0),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:42Z",
            },
            42.0,
        ),
        ({"retry-after": "4", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}, 4.0),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        ({"x-ratelimit-remaining-requests": "none", "x-ratelimit-reset-requests": "9s"}, None),
    ],
)
def test_the_announced_wait(headers, seconds):
    assert announced(headers, WALL, limits=True) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("1h1m1s", 3661.0),
        ("250us", 0.00025),
        ("0s", 0.0),
        ("x", None),
        ("", None),
    ],
)
def test_a_reset_in_go_s_spelling(text, seconds):
    assert reset_in(text, WALL) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            [
                Remaining("requests", "requests", 59, 60, 1.0),
                Remaining("tokens", "tokens", 149984, 150000, 360.0),
            ],
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-limit": "1000",
                "anthropic-ratelimit-input-tokens-remaining": "200",
                "anthropic-ratelimit-input-tokens-reset": "2026-01-01T00:00:30Z",
                "anthropic-ratelimit-requests-remaining": "7",
            },
            [
                Remaining("input-tokens", None, 200, 1000, 30.0),
                Remaining("requests", "requests", 7, None, None),
            ],
        ),
        (
            {"x-ratelimit-remaining": "3", "x-ratelimit-reset": "1767225620", "x-ratelimit-limit": "10"},
            [Remaining("requests", "requests", 3, 10, 20.0)],
        ),
        (
            {"x-ratelimit-remaining-tokens-minute": "5", "x-ratelimit-reset-tokens-minute": "2h"},
            [Remaining("tokens-minute", "tokens", 5, None, None)],
        ),
        ({"x-ratelimit-remaining": "many", "x-ratelimit-limit": "10", "content-type": "text/plain"}, []),
        ({}, []),
    ],
)
def test_what_remains_of_each_limit_is_read_from_all_spellings(headers: dict[str, str], told: list[Remaining]) -> None:
    assert remaining(headers, WALL) == told


def test_the_used_share_is_known_where_the_limit_is() -> None:
    assert Remaining("requests", "requests", 15, 60, None).used == 0.75
    assert Remaining("requests", "requests", 70, 60, None).used == 0
    assert Remaining("requests", "requests", 15, None, None).used is None
    assert Remaining("requests", "requests", 0, 0, None).used is None
