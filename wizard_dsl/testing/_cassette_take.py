"""One attempt while it is recorded: what came, and when; without secrets once it is written down."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from wizard_dsl.core.messages import Delta
from wizard_dsl.observe.redact import Redaction
from wizard_dsl.testing._cassette_body import redact_body, redact_json
from wizard_dsl.testing._cassette_lines import Asked, Exchange, Failed, Vectors

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.messages import Completion

#: Headers of an answer that are kept: what somebody reads, and what names the exchange to the provider.
KEPT: Final = (
    "content-type", "date", "location", "retry-after", "retry-after-ms", "x-ms-retry-after-ms", "x-should-retry",
    "x-request-id", "request-id", "apim-request-id", "x-goog-request-id", "x-kong-request-id", "x-amzn-requestid",
)  # fmt: skip
KEPT_BEGINNINGS: Final = ("ratelimit-", "x-ratelimit-", "anthropic-ratelimit-")
_ANNOUNCED: Final = ("retry-after", *KEPT_BEGINNINGS)


class Take:
    """See the module. What is not ended when it is written counts as given up then."""

    def __init__(self, clock: Clock, target: str, asked: Asked, *, stream: bool) -> None:
        self._clock = clock
        self._started = clock.now()
        self._target = target
        self._asked = asked
        self._stream = stream
        self._answered: int | None = None
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._chunks: list[tuple[int, bytes]] = []
        self._batches: list[tuple[int, list[Delta]]] = []
        self._vectors: Vectors | None = None
        self._end: int | None = None
        self._failed: Failed | None = None
        self._cancelled: int | None = None
        self._over = False

    def now(self) -> int:
        """Milliseconds since the request was sent."""
        return max(0, round((self._clock.now() - self._started) * 1000))

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self._answered, self._status = self.now(), status
        self.headed(headers)

    def headed(self, headers: Mapping[str, str]) -> None:
        self._headers = {
            name: value for name, value in headers.items() if name in KEPT or name.startswith(KEPT_BEGINNINGS)
        }
        if "date" not in self._headers and any(name.startswith(_ANNOUNCED) for name in self._headers):
            self._headers["date"] = formatdate(self._clock.wall(), usegmt=True)  # what dates in the others count from

    def chunk(self, data: bytes) -> None:
        self._chunks.append((self.now(), data))

    def batch(self, deltas: list[Delta]) -> None:
        self._batches.append((self.now(), list(deltas)))

    def vectors(self, completion: Completion) -> None:
        usage = completion.usage
        self._vectors = Vectors(
            embeddings=completion.embeddings,
            model=completion.model,
            input_tokens=None if usage is None else usage.input_tokens,
        )

    def end(self) -> None:
        if not self._over:
            self._over, self._end = True, self.now()

    def fail(self, kind: str, message: str, **fields: Any) -> None:
        if not self._over:
            self._over, self._failed = True, Failed(at=self.now(), kind=kind, message=message, **fields)

    def cancel(self) -> None:
        if not self._over:
            self._over, self._cancelled = True, self.now()

    def exchange(self, redaction: Redaction) -> Exchange:
        """As it is written down."""
        self.cancel()
        encoding: Literal["latin-1"] | None = None if _is_utf8(self._chunks) else "latin-1"
        failed = self._failed
        if failed is not None:
            failed = msgspec.structs.replace(failed, message=_text(redaction.text(failed.message)))
        return Exchange(
            target=self._target,
            request=self._asked,
            stream=self._stream,
            answered=self._answered,
            status=self._status,
            headers={name: _text(redaction.text(value)) for name, value in self._headers.items()},
            chunks=_chunks(self._chunks, encoding or "utf-8", redaction),
            encoding=encoding,
            deltas=_deltas(self._batches, redaction),
            vectors=self._vectors,
            end=self._end,
            failed=failed,
            cancelled=self._cancelled,
        )


def cleaned(exchange: Exchange) -> Exchange:
    """An exchange that somebody edited, without what looks like a secret and without personal data."""
    redaction = Redaction()
    asked = exchange.request
    chunks = redact_body([text for _, text in exchange.chunks], redaction)
    lines = redact_body([f"{json.dumps(each)}\n" for _, batch in exchange.deltas for each in batch], redaction)
    made = iter(json.loads(line) for line in lines)
    return msgspec.structs.replace(
        exchange,
        request=msgspec.structs.replace(
            asked, path=redaction.text(asked.path), body=redact_json(asked.body, redaction)
        ),
        headers={name: redaction.text(value) for name, value in exchange.headers.items()},
        chunks=tuple((at, text) for (at, _), text in zip(exchange.chunks, chunks, strict=True)),
        deltas=tuple((at, tuple(next(made) for _ in batch)) for at, batch in exchange.deltas),
    )


def _text(text: str) -> str:
    """Half a surrogate pair is no text: as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_utf8(chunks: Sequence[tuple[int, bytes]]) -> bool:
    """Whether the body is UTF-8 as far as it came: it may have been cut inside a character, which then counts not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for _, data in chunks:
            decoder.decode(data)
    except UnicodeDecodeError:
        return False
    return not decoder.getstate()[0]


def _chunks(chunks: Sequence[tuple[int, bytes]], encoding: str, redaction: Redaction) -> tuple[tuple[int, str], ...]:
    """The body's text, cut where it was cut; a character that was cut belongs to the piece in which it ends."""
    decoder = codecs.getincrementaldecoder(encoding)()
    texts = redact_body([decoder.decode(data) for _, data in chunks], redaction)
    return tuple((at, text) for (at, _), text in zip(chunks, texts, strict=True))


def _deltas(
    batches: Sequence[tuple[int, list[Delta]]], redaction: Redaction
) -> tuple[tuple[int, tuple[dict[str, Any], ...]], ...]:
    plain = [_plain(delta) for _, batch in batches for delta in batch]
    lines = redact_body([f"{json.dumps(each)}\n" for each in plain], redaction)
    made = [json.loads(_text_of(line)) for line in lines]
    ends = accumulate((len(batch) for _, batch in batches), initial=0)
    return tuple((at, tuple(made[start:stop])) for (at, _), (start, stop) in zip(batches, pairwise(ends), strict=True))


def _text_of(line: str) -> str:
    """JSON whose halves of surrogate pairs are replacement characters."""
    from wizard_dsl.providers._json import mend

    return mend(line.encode("utf-8", "replace")).decode()


def _plain(delta: Delta) -> dict[str, Any]:
    """A delta as plain data, without what it does not say."""
    made: dict[str, Any] = msgspec.to_builtins(delta)
    return {name: value for name, value in made.items() if value != getattr(_NOTHING, name)}


_NOTHING: Final = Delta()
