"""One exchange over HTTP, unary or streamed, through one decode path.

A protocol brings a `Reader`, which turns decoded events, or a whole body, into deltas and knows its terminal
marker. What is the same for all – sending, statuses, errors inside a 200, the end of a body – is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from wizard_dsl.core.errors import (
    AttemptFailed,
    ConnectError,
    MalformedResponse,
    ServerError,
    WizardError,
)
from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest, HttpResponse
from wizard_dsl.core.messages import Assembler, Completion, Delta
from wizard_dsl.core.response import Response
from wizard_dsl.providers._errors import (
    ErrorInside,
    Unreadable,
    inside,
    raise_named,
    refused,
    request_id,
    shorten,
)
from wizard_dsl.providers._reading import ODD, Reader, drain, read_event, read_whole
from wizard_dsl.providers._secrets import hide

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Timer
    from wizard_dsl.core.component import ModelSpec
    from wizard_dsl.core.node import BuildContext
    from wizard_dsl.core.run import Run

ERROR_LIMIT = 64 * 2**10  # bytes of an error's body that are read
ANSWER_LIMIT = 32 * 2**20  # bytes of a whole answer
_GRACE = 0.5  # seconds a server may take to close a body after its last event
_PATIENCE = 5.0  # seconds the body of an error may take
_SPACE = b" \t\r\n\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b":", b"id", b"retry")
_SHOWN = 80  # bytes of an unreadable body that an error shows
_SIGN_OF_LIFE = Delta()


class Wire:
    """What the exchanges of one node share. `secrets` never appear in a message."""

    __slots__ = ("_clock", "_http", "_pool", "_secrets", "_target")

    def __init__(self, context: BuildContext, model: ModelSpec, secrets: tuple[str, ...]) -> None:
        self._http = context.http
        self._clock = context.clock
        self._pool = model.pool
        self._target = model.target
        self._secrets = secrets

    async def ask(
        self, url: str, headers: Mapping[str, str], body: bytes, reader: Reader, run: Run, *, stream: bool
    ) -> Response:
        """Make one exchange. A streamed one returns at its commit point. Raises AttemptFailed."""
        response = await self._send(url, headers, body, run, stream)
        try:
            if not 200 <= response.status < 300:
                raise await self._refusal(response)
            if not stream:
                answer = Response.complete(await self._whole(response, reader))
                answer.headers = response.headers
                return answer
        except BaseException:
            response.abort()
            raise
        source = Arriving(self, response, reader)
        opened = await Response.open(source, run.commit, clock=self._clock, reasoning=run.reasoning, idle=run.idle)
        opened.headers = response.headers
        return opened

    async def embed(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        convert: Callable[[Any], Completion],
        count: int,
        run: Run,
    ) -> Response:
        """One unary exchange for `count` vectors; `convert` finds them in the decoded body."""
        response = await self._send(url, headers, body, run, False)
        try:
            if not 200 <= response.status < 300:
                raise await self._refusal(response)
            completion = self._vectors(response, await self._body(response), convert, count)
        except BaseException:
            response.abort()
            raise
        identity = request_id(response.headers)
        return Response.complete(msgspec.structs.replace(completion, request_id=identity, headers=response.headers))

    async def _send(self, url: str, headers: Mapping[str, str], body: bytes, run: Run, stream: bool) -> HttpResponse:
        request = HttpRequest("POST", url, headers, body, run.connect, self._pool, self._target, stream)
        try:
            response = await self._http.send(request)
        except ConnectFailed as error:
            raise ConnectError(f"no connection to {_host(url)}: {error}", sent=False) from error
        except ConnectionLost as error:
            if error.stale:
                raise ConnectError(f"a kept-alive connection was dead: {error}", sent=None) from error
            raise ServerError(f"the connection was lost before an answer: {error}") from error
        told = [name for name, value in response.headers.items() if any(each in value for each in self._secrets)]
        if told:  # a gateway that repeats what it was asked; errors and results keep the headers
            response.headers = {
                **response.headers,
                **{name: hide(response.headers[name], self._secrets) for name in told},
            }
        return response

    async def _refusal(self, response: HttpResponse) -> AttemptFailed:
        body = b""
        patience = self.after(_PATIENCE, response)
        try:
            while len(body) < ERROR_LIMIT:
                data = await response.read_some()
                if not data:
                    response.release()
                    break
                body += data
        except ConnectionLost:
            pass  # the status has come, and says enough
        finally:
            patience.cancel()
        return refused(response.status, response.headers, body, wall=self._clock.wall(), secrets=self._secrets)

    async def _body(self, response: HttpResponse) -> bytes:
        parts, size = [], 0
        try:
            while data := await response.read_some():
                size += len(data)
                if size > ANSWER_LIMIT:
                    raise self.garbage(response, f"the answer is larger than {ANSWER_LIMIT} bytes")
                parts.append(data)
        except ConnectionLost as error:
            raise lost(response, f"the connection broke inside the answer: {error}") from error
        response.release()
        return b"".join(parts)

    async def _whole(self, response: HttpResponse, reader: Reader) -> Completion:
        body = await self._body(response)
        assembler = Assembler()
        assembler.headers = response.headers
        assembler.request_id = request_id(response.headers)
        for delta in self.decode(response, reader, body):
            assembler.add(delta)
        if not reader.done:
            raise lost(response, "the connection was closed before the answer was complete")
        return assembler.completion()

    def decode(self, response: HttpResponse, reader: Reader, body: bytes) -> list[Delta]:
        """The deltas of a whole body; one that is a stream all the same is read as one."""
        head = body[:64].lstrip(_SPACE)
        try:
            if not head:
                raise Unreadable("the body is empty")
            if not reader.lines and head.startswith((b"data:", b"event:", b":", b"id:")):
                return drain(reader, body)
            return read_whole(reader, body)
        except ErrorInside as error:
            raise self.inside(response, error) from None
        except Unreadable as error:
            raise self.garbage(response, str(error), body) from None
        except ODD as error:
            raise self.garbage(response, f"the body cannot be read ({error})", body) from None

    def _vectors(
        self, response: HttpResponse, body: bytes, convert: Callable[[Any], Completion], count: int
    ) -> Completion:
        try:
            payload = msgspec.json.decode(body)
            raise_named(payload)
            completion = convert(payload)
            if len(completion.embeddings) != count:
                raise Unreadable(f"{count} vectors were asked for, {len(completion.embeddings)} came")
            return completion
        except ErrorInside as error:
            raise self.inside(response, error) from None
        except (Unreadable, *ODD) as error:
            raise self.garbage(response, f"the vectors cannot be read ({error})", body) from None

    def inside(self, response: HttpResponse, error: ErrorInside) -> WizardError:
        """The error of an error object inside a 2xx."""
        return inside(
            error.payload,
            response.headers,
            status=response.status,
            wall=self._clock.wall(),
            secrets=self._secrets,
        )

    def garbage(self, response: HttpResponse, message: str, body: bytes = b"") -> WizardError:
        """The error of an answer that cannot be read; it shows how the body begins."""
        text = hide(body[:2000].decode("utf-8", "replace"), self._secrets)
        shown = shorten(hide(message, self._secrets))
        if text.strip():
            shown += f"; it begins with {shorten(text)[:_SHOWN]!r}"
        return MalformedResponse(
            shown,
            status=response.status,
            headers=response.headers,
            body=text,
            request_id=request_id(response.headers),
        )

    def after(self, seconds: float, response: HttpResponse) -> Timer:
        """Give a connection up unless its body ends in time."""
        return self._clock.call_at(self._clock.now() + seconds, response.abort)


def lost(response: HttpResponse, message: str) -> ServerError:
    """The error of an answer that broke off."""
    return ServerError(message, status=response.status, request_id=request_id(response.headers))


class Arriving:
    """The source of a streamed answer. What came before an error in the same read is delivered first, so that the
    borders of the reads change nothing."""

    __slots__ = (
        "_grace", "_opening", "_over", "_pending", "_reader", "_response", "_size", "_splitter", "_unknown", "_void",
        "_whole", "_wire",
    )  # fmt: skip

    def __init__(self, wire: Wire, response: HttpResponse, reader: Reader) -> None:
        self._wire = wire
        self._response = response
        self._reader = reader
        self._splitter = reader.splitter()
        self._unknown = True  # whether this is a stream
        self._opening = b""
        self._whole: list[bytes] | None = None  # the parts of a body that is no stream
        self._size = 0
        self._pending: WizardError | None = None
        self._grace: Timer | None = None
        self._over = False
        self._void = False

    @property
    def done(self) -> bool:
        """An error event voids the answer that it follows."""
        return self._reader.done and not self._void

    async def read_batch(self) -> list[Delta]:
        if self._pending is not None:
            raise self._pending
        if self._over:
            return []
        try:
            data = await self._response.read_some()
        except ConnectionLost as error:
            self._response.abort()
            raise lost(self._response, f"the connection broke: {error}") from error
        out: list[Delta] = []
        try:
            if data:
                self._take(data, out)
            else:
                self._finish(out)
        except WizardError as error:
            self._void = True
            if not out:
                raise
            self._pending = error
        if self._over and self._grace is not None:
            self._grace.cancel()
        return out or ([] if self._over else [_SIGN_OF_LIFE])

    def _take(self, data: bytes, out: list[Delta]) -> None:
        if self._whole is not None:
            self._whole.append(data)
            self._size += len(data)
            if self._size > ANSWER_LIMIT:
                raise self._wire.garbage(self._response, f"the answer is larger than {ANSWER_LIMIT} bytes")
            return
        if self._unknown:
            data = self._begin(data, out)
            if not data:
                return
        if len(self._opening) < _SHOWN:
            self._opening += data[:_SHOWN].lstrip(_SPACE)
        self._events(data, out)
        if self._reader.final and self._grace is None:
            self._grace = self._wire.after(_GRACE, self._response)

    def _begin(self, data: bytes, out: list[Delta]) -> bytes:
        """Look at the first bytes: a body of JSON or HTML is no stream, and is read whole."""
        data = data.lstrip(_SPACE)
        first = data[:1]
        if not first:
            return b""
        self._unknown = False
        identity = request_id(self._response.headers)
        if identity is not None:
            out.append(Delta(request_id=identity))
        if not self._reader.lines and first in b'{[<"':
            self._whole = [data]
            return b""
        return data

    def _events(self, data: bytes, out: list[Delta]) -> None:
        reader = self._reader
        raw = b""
        try:
            for name, raw in self._splitter.feed(data):
                read_event(reader, name, raw, out)
        except ErrorInside as error:
            raise self._wire.inside(self._response, error) from None
        except Unreadable as error:
            raise self._wire.garbage(self._response, str(error), raw) from None
        except ODD as error:
            raise self._wire.garbage(self._response, f"an event cannot be read ({error})", raw) from None

    def _finish(self, out: list[Delta]) -> None:
        self._over = True
        self._response.release()
        if self._whole is not None or self._unknown:
            out.extend(self._wire.decode(self._response, self._reader, b"".join(self._whole or ())))
            return
        begins = self._opening.startswith(b"{") if self._reader.lines else _begins_stream(self._opening)
        if not begins:
            raise self._wire.garbage(self._response, "the body is no stream of events", self._opening)
        raw = b""
        try:
            for name, raw in self._splitter.close():
                read_event(self._reader, name, raw, out)
        except ErrorInside as error:
            raise self._wire.inside(self._response, error) from None
        except (Unreadable, *ODD) as error:
            if not _is_cut(raw):
                raise self._wire.garbage(self._response, f"an event cannot be read ({error})", raw) from None

    def abort(self, reason: BaseException | None) -> None:
        if self._grace is not None:
            self._grace.cancel()
        self._response.abort()


def _begins_stream(opening: bytes) -> bool:
    """Whether a body, or what came of it, begins with a field of an event."""
    return any(opening.startswith(field) or field.startswith(opening) for field in _FIELDS)


def _is_cut(data: bytes) -> bool:
    """Whether an event without its end is half an event: the stream was cut inside it."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True
    return False


def _host(url: str) -> str:
    """Host and port of a URL, as people know a server."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return url
