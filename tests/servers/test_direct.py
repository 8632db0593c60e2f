"""The direct way against the session's: the same request on the wire, and the same answer, on the installed aiohttp."""

from __future__ import annotations

import gzip
from pathlib import Path
from unittest.mock import Mock

import aiohttp
import pytest
from server_kit import RawServer, chunked, read_all, response

from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest
from wizard_dsl.providers import _direct
from wizard_dsl.providers._aiohttp import AiohttpTransport

pytestmark = pytest.mark.server

ANSWERS = {
    "ok": [response(b"hello")],
    "in chunks": [chunked(b"one", b"two")],
    "compressed": [response(gzip.compress(b"small"), extra=b"Content-Encoding: gzip\r\n")],
    "in encoding that it is not": [response(b"small", extra=b"Content-Encoding: gzip\r\n")],
    "refused": [response(b"no", status=429, extra=b"Retry-After: 3\r\nX-A: 1\r\nX-A: 2\r\n")],
    "no content": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "moved": [response(status=302, extra=b"Location: /elsewhere\r\n")],
    "provisional": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", response(b"late")],
    "to the end": [b"HTTP/1.0 200 OK\r\n\r\n", b"all", "close"],
    "without a word": ["close"],
    "no http": [b"SSH-2.0-OpenSSH\r\n\r\n", "close"],
    "broken off": [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", "close"],
    "a wrong header": [b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n", "close"],
    "not to be kept": [response(b"bye", extra=b"Connection: close\r\n"), "close"],
    "too long a header": [response(extra=b"X-A: " + b"a" * 70_000 + b"\r\n")],
}
HEADERS = {"authorization": "Bearer key", "content-type": "application/json", "X-Trace": "1"}


async def tried(transport, request):
    """Status, headers and body of the answer, or how it failed."""
    answer = None
    try:
        answer = await transport.send(request)
        return answer.status, dict(answer.headers), await read_all(answer)
    except (ConnectFailed, ConnectionLost) as error:
        return type(error), str(error), getattr(error, "stale", None)
    finally:
        if answer is not None:
            answer.abort()


async def told(way, monkeypatch, script, **fields):
    """What the server was asked, and what the client was told: of two requests, one after the other."""
    monkeypatch.setattr("wizard_dsl.providers._aiohttp.is_tried", lambda: way == "direct")
    transport = AiohttpTransport()
    async with RawServer([script, [response(b"the second")]]) as server:
        said = []
        for _ in range(2):
            url = f"{server.url}/v1/chat?a=%20b"
            request = HttpRequest(**({"method": "POST", "url": url, "headers": HEADERS, "body": b"{}"} | fields))
            said.append(await tried(transport, request))
        asked = [each.replace(str(server.port).encode(), b"PORT") for each in server.requests]
        opened = transport.figures()[0].opened
        await transport.close()
    return [(line.partition(b"\r\n")[0], sorted(line.split(b"\r\n"))) for line in asked], said, opened


@pytest.mark.parametrize("script", ANSWERS.values(), ids=ANSWERS)
async def test_both_ways_ask_the_same_and_are_told_the_same(script, monkeypatch):
    direct, session = [await told(way, monkeypatch, script) for way in ("direct", "session")]
    assert direct == session and direct[0]


@pytest.mark.parametrize(
    "headers",
    [{"Host": "elsewhere"}, {"accept": "text/plain"}, {"X-Ä": "ö"}, {}, {"x-a": "", "X-B": " b "}],
    ids=["host", "accept", "beyond ascii", "none", "space"],
)
async def test_headers_of_ones_own_are_the_same(headers, monkeypatch):
    script = [response(b"hello")]
    direct, session = [await told(way, monkeypatch, script, headers=headers) for way in ("direct", "session")]
    assert direct == session and direct[1][0][0] == 200


@pytest.mark.parametrize("bad", ["a\r\nX-Other: b", "a\nb", "a\0b"])
async def test_a_header_that_breaks_out_of_its_line_is_not_sent(bad, monkeypatch):
    direct, session = [await told(way, monkeypatch, [], headers={"x-a": bad}) for way in ("direct", "session")]
    assert direct[0] == session[0] == [] and direct[1][0][0] is session[1][0][0] is ConnectFailed


async def test_a_head_is_written_again_where_the_headers_differ(monkeypatch):
    monkeypatch.setattr("wizard_dsl.providers._aiohttp.is_tried", lambda: True)
    transport = AiohttpTransport()
    async with RawServer([[response(b"1")], [response(b"2")], [response(b"3")]]) as server:
        for value in ("a", "a", "b"):
            answer = await transport.send(HttpRequest("POST", server.url, {"x-a": value}, b"{}"))
            await read_all(answer)
            answer.release()
        await transport.close()
    assert [b"x-a: b" in each for each in server.requests] == [False, False, True]


@pytest.mark.parametrize("left", [0, 1])
async def test_after_an_answer_that_came_before_all_was_sent_the_connection_is_not_used_again(left):
    connection, content = Mock(), Mock()
    connection.transport.get_write_buffer_size.return_value = left
    _direct.Exchange(connection, 413, {}, content)
    content.on_eof.call_args.args[0]()
    assert connection.close.called == connection.transport.abort.called == bool(left)
    assert connection.release.called == (not left)


def test_the_installed_aiohttp_goes_the_direct_way_if_it_is_one_of_those_tried():
    assert _direct.is_tried() == aiohttp.__version__.startswith(_direct.TRIED)
    assert all(name in Path(_direct.__file__).read_text() for name in ("_get", "set_response_params"))
