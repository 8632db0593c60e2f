"""The keys of `retry_on` and `trip_on`: kinds an attempt can end with, and HTTP statuses."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

_ATTEMPT: Final = (
    "connect",
    "timeout",
    "server",
    "rate_limited",
    "quota_exhausted",
    "auth",
    "not_found",
    "context_length",
    "content_filter",
    "invalid_request",
    "malformed_response",
    "mid_stream",
)
_STATUS: Final = "[3-5][0-9]{2}"


def _names(kinds: tuple[str, ...], *more: str) -> Meta:
    return Meta(pattern=f"^(?:{'|'.join((*kinds, *more))})$", extra_json_schema={"x-words": list(kinds)})


Kind = Annotated[str, _names(_ATTEMPT)]
#: {kind or status: repeat it?}, over the table's column.
RetryOn = dict[Annotated[str, _names(_ATTEMPT, _STATUS)], bool]
#: {kind or status: a failure?}, over the table's column.
TripOn = dict[Annotated[str, _names(_ATTEMPT, _STATUS)], bool]
