"""The lines of a cassette: the header, and one exchange with one target a line.

This is the format that `schemas/cassette.schema.json` describes. Times are whole milliseconds since the request was
sent. A version that is not ours is refused before anything else is read.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

VERSION: Final = 1

Milliseconds = Annotated[int, Meta(ge=0, description="milliseconds since the request was sent")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$", extra_json_schema={"x-form": "sixteen hexadecimal digits"})]


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    cassette: Annotated[Literal[1], Meta(description="the version of this format")]
    wizard: Annotated[str, Meta(description="the version of wizard that recorded it")]
    recorded_at: Annotated[
        str,
        Meta(
            pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
            description="when the oldest exchange in it was recorded, UTC",
            extra_json_schema={"x-form": "a time such as 2026-11-28T01:50:00Z"},
        ),
    ]
    prompts: Annotated[Digest, Meta(description="hash of the texts of the file's prompts, as they were then")]
    checksum: Annotated[Digest, Meta(description="of this line and the `sum` of all others")]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request in its canonical form, without secrets and personal data. Its headers are not kept."""

    method: Annotated[str, Meta(description="of HTTP; missing where the provider is not asked over HTTP")] = ""
    path: Annotated[str, Meta(description="what follows the base URL, with the query")] = ""
    body: Annotated[Any, Meta(description="the JSON that was sent, or a text that is none")] = None


class Failed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How an exchange broke: `refused`, `lost` or `stale` (a connection that had died idle) over HTTP, else the kind of
    the provider's error."""

    at: Milliseconds
    kind: Annotated[str, Meta(description="`refused`, `lost`, `stale`, or the kind of an error")]
    message: Annotated[str, Meta(description="what was said about it")] = ""
    status: Annotated[int, Meta(description="that the provider's error had")] | None = None
    retry_after: Annotated[float, Meta(description="seconds")] | None = None
    sent: Annotated[bool, Meta(description="whether the request had left; null: nobody knows")] | None = True


class Vectors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Embeddings of a provider that is not asked over HTTP."""

    embeddings: Annotated[tuple[tuple[float, ...], ...], Meta(description="one vector a text")]
    model: Annotated[str, Meta(description="that made them")] | None = None
    input_tokens: Annotated[int, Meta(description="as the provider counted")] | None = None


class Exchange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One attempt. It ends in one way: `end`, `failed`, or `cancelled`, when it was given up."""

    target: Annotated[str, Meta(description="who was asked, as results name it")]
    request: Asked
    stream: Annotated[bool, Meta(description="whether the answer was asked for as a stream")] = False
    answered: Annotated[Milliseconds, Meta(description="when status and headers came")] | None = None
    status: Annotated[int, Meta(ge=100, le=599, description="of HTTP")] | None = None
    headers: Annotated[dict[str, str], Meta(description="of the answer, those that matter")] = {}
    chunks: Annotated[
        tuple[tuple[Milliseconds, str], ...], Meta(description="the body as it came: when, and what")
    ] = ()
    encoding: (
        Annotated[Literal["latin-1"], Meta(description="where the body was no UTF-8: a byte is a character")] | None
    ) = None
    deltas: Annotated[
        tuple[tuple[Milliseconds, tuple[dict[str, Any], ...]], ...],
        Meta(description="the answer of a provider that is not asked over HTTP"),
    ] = ()
    vectors: Annotated[Vectors, Meta(description="embeddings, instead of deltas")] | None = None
    end: Annotated[int, Meta(ge=0, description="milliseconds until the answer was complete")] | None = None
    failed: Annotated[Failed, Meta(description="how it broke")] | None = None
    cancelled: Annotated[int, Meta(ge=0, description="milliseconds until it was given up")] | None = None


class ExchangeLine(Exchange, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An exchange as it stands in the file."""

    sum: Annotated[Digest, Meta(description="checksum of the rest of the line")]


def line_schema() -> dict[str, Any]:
    """The JSON Schema of one line: the header has the key `cassette`, every other line is an exchange."""
    (header, exchange), definitions = msgspec.json.schema_components(
        (Header, ExchangeLine), ref_template="#/$defs/{name}"
    )
    return {
        "title": "A line of a cassette",
        "type": "object",
        "if": {"required": ["cassette"]},
        "then": header,
        "else": exchange,
        "$defs": definitions,
    }
