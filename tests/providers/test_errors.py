"""What providers refuse with becomes one kind each, by status and body."""

from __future__ import annotations

import msgspec
import pytest

from wizard_dsl.providers._errors import inside, read_refusal, refused

WALL = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def error_of(status, payload, headers=None, secrets=()):
    body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return refused(status, headers or {}, body, wall=WALL, secrets=secrets)


def openai(message="", code=None, type="invalid_request_error"):
    return {"error": {"message": message, "type": type, "code": code, "param": None}}


@pytest.mark.parametrize(
    ("status", "payload", "kind"),
    [
        (400, openai("maximum context length is 8192 tokens", "context_length_exceeded"), "context_length"),
        (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 2"}},
            "context_length",
        ),
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (9) exceeds the maximum",
                    "status": "INVALID_ARGUMENT",
                }
            },
            "context_length",
        ),
        (
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "API key not valid.",
                        "status": "INVALID_ARGUMENT",
                        "details": [{"reason": "API_KEY_INVALID"}],
                    }
                }
            ],
            "auth",
        ),
        (400, {"code": "invalid-argument", "error": "Incorrect API key provided."}, "auth"),
        (400, openai("The model `x` does not exist", "model_not_found"), "not_found"),
        (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}},
            "quota_exhausted",
        ),
        (400, openai("filtered", "content_filter"), "content_filter"),
        (
            400,
            {"error": {"code": "400", "message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            "content_filter",
        ),
        (400, openai("temperature must be at most 2"), "invalid_request"),
        (400, openai("max_tokens is too large: 99999"), "invalid_request"),
        (401, openai("Incorrect API key", "invalid_api_key"), "auth"),
        (401, b"", "auth"),
        (402, {"error": {"message": "Insufficient credits"}}, "quota_exhausted"),
        (403, openai("no access to this model"), "auth"),
        (403, openai("quota", "insufficient_quota"), "quota_exhausted"),
        (403, {"error": {"message": "Your input was flagged", "code": 403}}, "content_filter"),
        (404, b"<html>not here</html>", "not_found"),
        (408, b"", "timeout"),
        (409, openai("the resource is locked"), "server"),
        (409, openai("conflict"), "invalid_request"),
        (413, openai("Request too large: tokens per minute", "rate_limit_exceeded", "tokens"), "context_length"),
        (
            413,
            {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
            "invalid_request",
        ),
        (422, {"detail": [{"loc": ["body", "model"], "msg": "field required", "type": "missing"}]}, "invalid_request"),
        (425, b"", "server"),
        (429, openai("Rate limit reached", "rate_limit_exceeded", "requests"), "rate_limited"),
        (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), "quota_exhausted"),
        (
            429,
            openai(
                "Request too large for gpt-4o on tokens per min: Limit 3, Requested 5", "rate_limit_exceeded", "tokens"
            ),
            "context_length",
        ),
        (429, b"slow down", "rate_limited"),
        (500, b"", "server"),
        (501, b"", "invalid_request"),
        (502, b"<html><title>Bad gateway</title></html>", "server"),
        (503, {"error": {"message": "overloaded"}}, "server"),
        (505, b"", "invalid_request"),
        (520, b"", "server"),
        (526, b"", "connect"),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server"),
        (599, b"", "server"),
        (302, b"", "invalid_request"),
        (418, "a text", "invalid_request"),
        (503, openai("prompt is too long"), "server"),
    ],
)
def test_a_refusal_has_the_kind_that_status_and_body_say(status, payload, kind):
    error = error_of(status, payload)
    assert (error.kind, error.status) == (kind, status)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server"),
        ({"error": {"type": "rate_limit_error", "message": "slow"}}, "rate_limited"),
        ({"error": {"message": "boom", "code": 502}}, "server"),
        ({"error": {"message": "Token limit reached", "code": 400}}, "invalid_request"),
        ({"error": {"message": "prompt too long", "type": "invalid_request_error"}}, "context_length"),
        ({"error": {"message": "bad", "type": "invalid_request_error"}}, "invalid_request"),
        ({"error": 'model "x" not found, try pulling it first'}, "not_found"),
        ({"object": "error", "message": "bad temperature", "type": "BadRequestError", "code": 400}, "invalid_request"),
        ({"error": {"message": "nobody knows this one"}}, "malformed_response"),
        ({"error": {"message": "no money", "code": "insufficient_quota"}}, "quota_exhausted"),
    ],
)
def test_an_error_inside_an_answer_takes_the_kind_it_names(payload, kind):
    assert inside(payload, {}, status=200, wall=WALL, secrets=()).kind == kind


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"error": {"message": "nested"}}, "nested"),
        ({"error": "a text"}, "a text"),
        ({"message": "flat", "request_id": "r"}, "flat"),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"detail": "a text"}, "a text"),
        ({"detail": {"message": "an object"}}, "an object"),
        ({"detail": [{"loc": ["body", "x"], "msg": "missing"}]}, "body.x: missing"),
        ({"error": {"message": {"detail": "deeper"}}}, "deeper"),
        ({"error": {"metadata": {"raw": "x"}, "message": "with more"}}, "with more"),
        ("plain", "plain"),
        ([], ""),
        (None, ""),
        (7, "7"),
        ({}, ""),
    ],
)
def test_every_shape_of_an_error_gives_its_message(payload, message):
    assert read_refusal(payload).message == message


def test_a_key_never_appears_in_message_or_body():
    error = error_of(401, openai("Incorrect API key provided: sk-abcdef123"), secrets=("sk-abcdef123",))
    assert "sk-abcdef123" not in error.message + error.body
    assert "***" in error.message


def test_a_long_message_is_shortened_to_one_line():
    error = error_of(500, openai("line\n" * 500))
    assert len(error.message) < 330 and "\n" not in error.message and error.message.endswith("…")


def test_a_page_for_browsers_is_not_shown_as_the_message():
    error = error_of(502, b"<html><body>Bad gateway</body></html>")
    assert error.message == "status 502" and "Bad gateway" in error.body


def test_request_id_and_the_word_on_retrying_are_kept():
    error = error_of(500, b"", {"request-id": "req_1", "x-should-retry": "false"})
    assert error.request_id == "req_1" and error.should_retry is False
    assert error_of(500, b"", {"x-should-retry": "true"}).should_retry is True
    assert error_of(500, b"").should_retry is None
    assert error.headers == {"request-id": "req_1", "x-should-retry": "false"}


def test_bytes_that_are_no_text_are_still_an_error():
    assert error_of(500, b"\xff\xfe\x00").kind == "server"


GOOGLE = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}],
    }
}


def test_google_says_in_the_body_when_to_come_back():
    error = error_of(429, GOOGLE)
    assert (error.kind, error.retry_after) == ("rate_limited", 34.5)


def test_google_s_quota_of_a_day_is_exhausted_not_limited():
    daily = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}
    payload = {"error": {**GOOGLE["error"], "details": [*GOOGLE["error"]["details"], daily]}}
    assert error_of(429, payload).kind == "quota_exhausted"


def test_only_errors_that_pass_say_when_to_come_back():
    headers = {"retry-after": "7"}
    assert error_of(429, b"", headers).retry_after == 7
    assert error_of(503, b"", headers).retry_after == 7
    assert error_of(400, b"", headers).retry_after is None
    assert error_of(401, b"", headers).retry_after is None


def test_an_exhausted_limit_speaks_for_a_429_alone():
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}
    assert error_of(429, b"", headers).retry_after == 9
    assert error_of(503, b"", headers).retry_after is None
