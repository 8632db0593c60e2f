"""From what a provider refused with to one typed error: by status *and* body, with the words as data.

A 400 may be a context too long, a bad key or an unknown model; a 429 may be an account without credit, or a
request that can never fit; an error may come inside a 200. The body's codes are asked first, then its message,
then the status decides; which kinds a status can turn into is a table too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from wizard_dsl.core.announced import announced, believed, reset_in
from wizard_dsl.core.errors import ATTEMPT_ERRORS, AttemptFailed, AttemptTimeout
from wizard_dsl.core.regex import regex
from wizard_dsl.providers._secrets import hide

SHOWN = 300  # characters of a provider's message that users see


class ErrorInside(Exception):
    """An error object where an answer was expected: in the body of a 200, or in the middle of a stream."""

    def __init__(self, payload: Any) -> None:
        super().__init__("error inside an answer")
        self.payload = payload


class Unreadable(Exception):
    """Not what the protocol promises; the message says what came instead."""


class Refusal(msgspec.Struct, frozen=True):
    """What a provider's error says: its message, every code and type it names, and a status of its own."""

    message: str = ""
    codes: tuple[str, ...] = ()
    status: int | None = None
    delay: float | None = None
    per_day: bool = False


_KIND_OF_CODE: dict[str, str] = {
    code: kind
    for kind, codes in {
        "quota_exhausted": (
            "insufficient_quota billing_hard_limit_reached billing_not_active billing_error insufficient_credits "
            "insufficient_balance insufficient_funds payment_required credits_exhausted quota_exceeded 1113"
        ),
        "rate_limited": (
            "rate_limit_exceeded rate_limit_error rate_limit_reached rate_limited too_many_requests "
            "toomanyrequests resource_exhausted throttling throttlingexception 1302 1305"
        ),
        "context_length": (
            "context_length_exceeded too_many_prompt_tokens exceed_context_size_error context_window_exceeded "
            "model_context_window_exceeded prompt_too_long 1261"
        ),
        "auth": (
            "invalid_api_key authentication_error permission_error permission_denied unauthenticated unauthorized "
            "invalid_authentication incorrect_api_key api_key_invalid forbidden access_denied 1000 1001 1002"
        ),
        "not_found": (
            "model_not_found not_found not_found_error notfounderror deploymentnotfound unknown_model "
            "model_not_exist model_not_available invalid_model 1211"
        ),
        "content_filter": (
            "content_filter content_filter_error content_policy_violation responsibleaipolicyviolation "
            "data_inspection_failed moderation_blocked prohibited_content safety model_armor 1301"
        ),
        "server": (
            "overloaded_error overloaded api_error server_error internal_error internal_server_error internal "
            "internalservererror unavailable service_unavailable serviceunavailable engine_overloaded "
            "engine_overloaded_error timeout_error deadline_exceeded capacity_exceeded bad_gateway"
        ),
        "invalid_request": (
            "invalid_request_error bad_request badrequesterror invalid_argument invalid-argument "
            "failed_precondition unprocessable_entity tool_use_failed validation_error"
        ),
    }.items()
    for code in codes.split()
}

#: Asked in this order, of the provider's own sentence, where no code decides.
_KIND_OF_MESSAGE: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, regex(pattern, re.IGNORECASE))
    for kind, pattern in (
        (
            "context_length",
            r"context[ _](length|window|size)|prompt (is )?too long|too many (input |prompt )?tokens|"
            r"input (is )?too long|messages is too long|reduce the length|input token count|maximum context|"
            r"request too large.*token|token.*exceeds? the (maximum|limit|model)",
        ),
        (
            "auth",
            r"api[ _-]?key (is )?(not valid|invalid|incorrect|missing|expired|not found)|"
            r"(invalid|incorrect|missing|no|wrong|expired) (x-)?api[ _-]?key|invalid (token|credentials)|"
            r"api key (expired|not provided)",
        ),
        (
            "quota_exhausted",
            r"credit balance|insufficient (quota|credit|balance|fund)|current quota|out of credit|no credit|"
            r"not enough credit|payment required|more credits|monthly (quota|limit)|prepayment credits",
        ),
        (
            "not_found",
            r"(model|deployment|endpoint)\b.{0,120}\b(does not exist|not found|doesn't exist|is not available)|"
            r"no such model|unknown model|(is )?not a valid model|model not exist",
        ),
        (
            "content_filter",
            r"content (management )?polic|content[ _]filter|safety (system|setting|polic|filter)|flagged|moderation|"
            r"model armor|usage polic",
        ),
    )
)

#: Which kinds the body may make of a status; a status that is not here keeps its own kind.
_MAY_BECOME: dict[int, frozenset[str]] = {
    status: frozenset(kinds.split())
    for statuses, kinds in (
        ((400, 422, 424), "context_length auth not_found quota_exhausted content_filter rate_limited server"),
        ((403,), "quota_exhausted content_filter"),
        ((404,), "content_filter"),
        ((409,), "server"),
        ((413,), "context_length"),
        ((429,), "quota_exhausted context_length server"),
    )
    for status in statuses
}
_DEEPEST = 16  # errors in errors that are looked into
_STATUS = regex(r"[345][0-9][0-9]")
_BUSY = regex(r"locked|overloaded", re.IGNORECASE)
_NEVER_FITS = regex(r"request too large", re.IGNORECASE)
_TOKENS = regex(r"token|context", re.IGNORECASE)


def kind_of_status(status: int) -> str:
    """The kind of a status whose body says nothing."""
    fixed = {
        401: "auth", 402: "quota_exhausted", 403: "auth", 404: "not_found", 408: "timeout", 425: "server",
        429: "rate_limited", 501: "invalid_request", 505: "invalid_request", 525: "connect", 526: "connect",
        527: "connect",
    }  # fmt: skip
    if status in fixed:
        return fixed[status]
    return "server" if status >= 500 else "invalid_request"


def classify(status: int, refusal: Refusal) -> str:
    """The one kind of a refusal. `status` 2xx means: inside an answer."""
    if 200 <= status < 300:
        return _inside(refusal)
    kind = kind_of_status(status)
    may = _MAY_BECOME.get(status, frozenset())
    if status == 409:
        return "server" if _BUSY.search(refusal.message) else kind
    if status == 413:
        return "context_length" if _TOKENS.search(refusal.message + " ".join(refusal.codes)) else kind
    if status == 429:
        return _too_many(refusal)
    for found in (_by_code(refusal, may), _by_message(refusal, may)):
        if found is not None:
            return found
    return kind


def _too_many(refusal: Refusal) -> str:
    if _NEVER_FITS.search(refusal.message):
        return "context_length"
    if refusal.per_day:
        return "quota_exhausted"
    if refusal.delay is not None:
        return "rate_limited"
    may = _MAY_BECOME[429]
    return _by_code(refusal, may) or _by_message(refusal, may) or "rate_limited"


def _inside(refusal: Refusal) -> str:
    """A status of its own says what the error would have been; else its words; else nobody can read it."""
    if refusal.status is not None and 300 <= refusal.status < 600:
        return classify(refusal.status, refusal)
    everything = frozenset(ATTEMPT_ERRORS)
    by_code = _by_code(refusal, everything - {"invalid_request"})
    return by_code or _by_message(refusal, everything) or _by_code(refusal, everything) or "malformed_response"


def _by_code(refusal: Refusal, may: frozenset[str]) -> str | None:
    for code in refusal.codes:
        kind = _KIND_OF_CODE.get(code.lower())
        if kind in may:
            return kind
    return None


def _by_message(refusal: Refusal, may: frozenset[str]) -> str | None:
    for kind, pattern in _KIND_OF_MESSAGE:
        if kind in may and pattern.search(refusal.message):
            return kind
    return None


def read_refusal(payload: Any, depth: int = 0) -> Refusal:
    """Whatever shape an error has: nested, flat, a text, a list, with `detail` as text, list or object."""
    if isinstance(payload, list) and payload and depth < _DEEPEST:
        return read_refusal(payload[0], depth + 1)
    if isinstance(payload, list) or depth >= _DEEPEST:
        return Refusal()
    if not isinstance(payload, Mapping):
        return Refusal(message=_sentence(payload))
    nested = next((payload[key] for key in ("error", "errors", "detail") if payload.get(key)), None)
    outer = _flat(payload)
    if isinstance(nested, list):
        nested = {"message": "; ".join(filter(None, map(_sentence, nested)))}
    if not isinstance(nested, Mapping):
        return msgspec.structs.replace(outer, message=_sentence(nested) or outer.message)
    inner = read_refusal(nested, depth + 1)
    return Refusal(
        inner.message or outer.message,
        inner.codes + outer.codes,
        inner.status or outer.status,
        inner.delay,
        inner.per_day,
    )


def _flat(error: Mapping[str, Any]) -> Refusal:
    status = None
    codes = []
    for key in ("code", "type", "status", "reason", "object", "__type"):
        value = error.get(key)
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, (int, str)) and _STATUS.fullmatch(str(value)):
            status = status or int(value)
        elif isinstance(value, (int, str)) and value != "error":
            codes.append(str(value))
    innererror = error.get("innererror") or error.get("inner_error")
    if isinstance(innererror, Mapping) and isinstance(innererror.get("code"), str):
        codes.append(innererror["code"])
    delay, per_day, reasons = _details(error.get("details"))
    message = next((text for key in ("message", "msg", "error_message") if (text := _sentence(error.get(key)))), "")
    return Refusal(message, tuple(codes) + reasons, status, delay, per_day)


def _details(details: Any) -> tuple[float | None, bool, tuple[str, ...]]:
    """Google's: the delay of RetryInfo, whether a quota for a whole day is spent, and the reasons of ErrorInfo."""
    delay, per_day, reasons = None, False, []
    for each in details if isinstance(details, list) else ():
        if not isinstance(each, Mapping):
            continue
        if isinstance(each.get("retryDelay"), str):
            delay = believed(reset_in(each["retryDelay"], 0.0))
        if isinstance(each.get("reason"), str):
            reasons.append(each["reason"])
        violations = each.get("violations")
        per_day = per_day or "PerDay" in str(violations or "")
    return delay, per_day, tuple(reasons)


def _sentence(value: Any) -> str:
    """A text for people out of a message field, which may be a text, an object with one, or any JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        inner = value.get("message") or value.get("msg") or value.get("detail")
        if isinstance(inner, str):
            place = value.get("loc")
            return f"{'.'.join(map(str, place))}: {inner}" if isinstance(place, list) else inner
    return "" if value is None else msgspec.json.encode(value).decode()


def names_error(payload: Any) -> bool:
    """Whether a decoded body or event is an error object rather than an answer."""
    if isinstance(payload, list):
        return bool(payload) and names_error(payload[0])
    if not isinstance(payload, Mapping):
        return False
    if any(payload.get(key) for key in ("error", "errors", "detail")):
        return True
    if payload.get("object") == "error" or payload.get("type") == "error":
        return True
    return isinstance(payload.get("message"), str) and ("code" in payload or "type" in payload or len(payload) == 1)


def raise_named(payload: Any) -> None:
    """Raise ErrorInside where a decoded body or event is an error object."""
    if names_error(payload):
        raise ErrorInside(payload)
    if not isinstance(payload, dict):
        raise Unreadable(f"a JSON object was expected, not {type(payload).__name__}")


def shorten(text: str) -> str:
    """One line of at most SHOWN characters."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the exchange, whatever its header is called."""
    for name in (
        "x-request-id", "request-id", "apim-request-id", "x-goog-request-id", "x-kong-request-id",
        "x-amzn-requestid", "x-debug-trace-id", "x-ds-trace-id", "cf-ray",
    ):  # fmt: skip
        if headers.get(name):
            return headers[name]
    return None


def refused(
    status: int, headers: Mapping[str, str], body: bytes, *, wall: float, secrets: tuple[str, ...]
) -> AttemptFailed:
    """The error of an answer that is none: any status but 2xx. `wall` is our time, epoch seconds."""
    text = body.decode("utf-8", "replace")
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        payload = _plain(text)
    refusal = read_refusal(payload)
    said = shorten(hide(refusal.message, secrets))
    sentence = f"status {status}: {said}" if said else f"status {status}"
    if 300 <= status < 400 and headers.get("location"):
        sentence += f" (it redirects to {shorten(hide(headers['location'], secrets))}; correct base_url)"
    return _build(classify(status, refusal), sentence, status, headers, hide(text, secrets), refusal, wall)


def _plain(text: str) -> str:
    """A body that is not JSON, unless it is a page for browsers."""
    return "" if text.lstrip().startswith("<") else text


def inside(
    payload: Any, headers: Mapping[str, str], *, status: int, wall: float, secrets: tuple[str, ...]
) -> AttemptFailed:
    """The error of an ErrorInside: it takes the kind of the error it names."""
    refusal = read_refusal(payload)
    said = shorten(hide(refusal.message or " ".join(refusal.codes), secrets)) or "no message"
    text = msgspec.json.encode(payload).decode()
    kind = classify(status, refusal)
    return _build(kind, f"an error inside the answer: {said}", status, headers, hide(text, secrets), refusal, wall)


def _build(
    kind: str, sentence: str, status: int, headers: Mapping[str, str], body: str, refusal: Refusal, wall: float
) -> AttemptFailed:
    if kind == "timeout":
        error: AttemptFailed = AttemptTimeout(f"the provider gave up waiting: {sentence}", phase="")
        error.status, error.headers, error.body = status, headers, body[:2000]
    else:
        error = ATTEMPT_ERRORS[kind](sentence, status=status, headers=headers, body=body)
    error.request_id = request_id(headers)
    error.should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
    if kind in ("rate_limited", "quota_exhausted", "server"):
        error.retry_after = announced(headers, wall, limits=kind == "rate_limited")
        if error.retry_after is None:
            error.retry_after = refusal.delay
    if kind == "connect":
        error.sent = False
    return error
