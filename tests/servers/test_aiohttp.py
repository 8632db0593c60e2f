"""The transport on real sockets: what breaks, what is kept alive, what is given up."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket

import pytest
from server_kit import RawServer, chunked, read_all, response

from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest, PoolConfig
from wizard_dsl.providers._aiohttp import AiohttpTransport

pytestmark = pytest.mark.server


def request(url, **fields):
    return HttpRequest(**({"method": "POST", "url": url, "headers": {"x-a": "1"}, "body": b"{}", "pool": "p"} | fields))


@pytest.fixture(params=["direct", "session"])
def way(request, monkeypatch):
    """Both ways on which a request goes out; the session's is that of proxies and of releases that were not tried."""
    monkeypatch.setattr("wizard_dsl.providers._aiohttp.is_tried", lambda: request.param == "direct")
    return request.param


@pytest.fixture
async def transport(way):
    made = AiohttpTransport()
    yield made
    await made.close()


async def test_status_headers_and_body_arrive(transport):
    async with RawServer([[response(b'{"a":1}', status=201, extra=b"X-Request-ID: r1\r\n")]]) as server:
        answer = await transport.send(request(f"{server.url}/v1/x?api-version=1"))
        assert (answer.status, answer.headers["x-request-id"]) == (201, "r1")
        assert await read_all(answer) == b'{"a":1}'
        answer.release()
        head = server.requests[0]
        assert head.startswith(b"POST /v1/x?api-version=1 HTTP/1.1\r\n") and head.endswith(b"\r\n\r\n{}")
        assert b"x-a: 1" in head and b"cookie" not in head.lower()


async def test_a_connection_is_used_again(transport):
    async with RawServer([[response(b"one")], [response(b"two")]]) as server:
        for wanted in (b"one", b"two"):
            answer = await transport.send(request(server.url))
            assert await read_all(answer) == wanted
            answer.release()
        assert server.connections == 1
        (figures,) = transport.figures()
        assert (figures.name, figures.opened, figures.requests, figures.idle, figures.active) == ("p", 1, 2, 1, 0)


async def test_a_kept_connection_that_died_is_stale(transport):
    async with RawServer([[response(b"one")], ["close"], ["close"]]) as server:
        answer = await transport.send(request(server.url))
        await read_all(answer)
        answer.release()
        with pytest.raises(ConnectionLost) as caught:
            await transport.send(request(server.url))
        assert caught.value.stale
        with pytest.raises(ConnectionLost) as caught:
            await transport.send(request(server.url))
        assert not caught.value.stale, "a fresh connection is never stale"


async def test_nobody_listening_is_no_connection(transport):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConnectFailed):
        await transport.send(request(url))


async def test_an_unknown_host_is_no_connection(transport):
    with pytest.raises(ConnectFailed):
        await transport.send(request("http://does-not-exist.invalid/"))


async def test_a_server_that_does_not_accept_in_time_is_no_connection(transport):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            with pytest.raises(ConnectFailed, match=r"none within 0\.2 s"):
                await transport.send(request(url, connect=0.2))
        finally:
            for filler in fillers:
                filler.close()


async def test_plain_http_in_answer_to_tls_is_no_connection(transport):
    async def talk(reader, writer):
        writer.write(response(b"this is no TLS"))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ConnectFailed):
            await transport.send(request(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))


async def test_what_is_not_http_is_a_lost_connection(transport):
    async with RawServer([[b"SSH-2.0-OpenSSH_9\r\n\r\n", "close"]]) as server:
        with pytest.raises(ConnectionLost):
            await transport.send(request(server.url))


async def test_a_body_shorter_than_announced_is_lost(transport):
    cut = response(b"half of it").replace(b"content-length: 10", b"content-length: 20")
    async with RawServer([[cut, "close"]]) as server:
        answer = await transport.send(request(server.url))
        with pytest.raises(ConnectionLost):
            await read_all(answer)
        answer.abort()


async def test_a_chunked_body_without_its_end_is_lost(transport):
    async with RawServer([[chunked(b"data: 1\n\n", end=False), "close"]]) as server:
        answer = await transport.send(request(server.url))
        assert await answer.read_some() == b"data: 1\n\n"
        with pytest.raises(ConnectionLost):
            await answer.read_some()
        answer.abort()


async def test_gzip_is_undone_also_in_a_stream(transport):
    body = gzip.compress(b"data: hello\n\n" * 50)
    encoded = chunked(body[:20], body[20:]).replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n", 1)
    async with RawServer([[encoded]]) as server:
        answer = await transport.send(request(server.url))
        assert await read_all(answer) == b"data: hello\n\n" * 50
        answer.release()


async def test_a_redirect_is_an_answer_and_is_not_followed(transport):
    async with RawServer([[response(b"", status=307, extra=b"location: http://127.0.0.1:1/\r\n")]]) as server:
        answer = await transport.send(request(server.url))
        assert (answer.status, answer.headers["location"]) == (307, "http://127.0.0.1:1/")
        answer.release()
        assert len(server.requests) == 1


async def test_aborting_wakes_a_pending_read_and_closes_the_connection(transport):
    async with RawServer([[chunked(b"data: 1\n\n", end=False), "hang"]]) as server:
        answer = await transport.send(request(server.url))
        await answer.read_some()
        pending = asyncio.ensure_future(answer.read_some())
        await asyncio.sleep(0)
        answer.abort()
        with pytest.raises(ConnectionLost):
            await pending
        answer.abort()
        await asyncio.wait_for(server.lost.wait(), 5)
        assert transport.figures()[0].active == 0


async def test_cancelling_a_request_closes_the_upstream_connection(transport):
    async with RawServer([["hang"]]) as server:
        pending = asyncio.ensure_future(transport.send(request(server.url)))
        while not server.requests:
            await asyncio.sleep(0)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        await asyncio.wait_for(server.lost.wait(), 5)


async def test_a_cancelled_read_loses_no_bytes(transport):
    async with RawServer([[chunked(b"a", end=False), 0.05, b"1\r\nb\r\n0\r\n\r\n"]]) as server:
        answer = await transport.send(request(server.url))
        assert await answer.read_some() == b"a"
        pending = asyncio.ensure_future(answer.read_some())
        await asyncio.sleep(0)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        assert await read_all(answer) == b"b"
        answer.release()


async def test_a_pool_waits_for_a_place_longer_than_for_a_connection(transport):
    transport.configure("p", PoolConfig(size=1))
    async with RawServer([[0.3, response(b"slow")], [response(b"next")]]) as server:

        async def one():
            answer = await transport.send(request(server.url, connect=0.1))
            body = await read_all(answer)
            answer.release()
            return body

        assert await asyncio.gather(one(), one()) == [b"slow", b"next"]
        assert server.connections == 1


async def test_proxies_of_the_environment_are_used_and_exceptions_honoured(monkeypatch):
    async with RawServer([[response(b"from the proxy")], [response(b"direct")]]) as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        transport = AiohttpTransport()
        answer = await transport.send(request("http://provider.invalid/v1"))
        assert await read_all(answer) == b"from the proxy"
        answer.release()
        assert server.requests[0].startswith(b"POST http://provider.invalid/v1 HTTP/1.1")
        answer = await transport.send(request(f"{server.url}/v1"))
        assert await read_all(answer) == b"direct"
        answer.release()
        await transport.close()
        assert server.requests[1].startswith(b"POST /v1 HTTP/1.1")


async def test_a_closed_transport_refuses_and_closing_again_is_fine(transport):
    await transport.close()
    await transport.close()
    with pytest.raises(ConnectFailed, match="closed"):
        await transport.send(request("http://127.0.0.1:1/"))


async def test_a_url_that_is_none_is_no_connection(transport):
    with pytest.raises(ConnectFailed):
        await transport.send(request("http://[half/"))


async def test_a_chunk_that_is_no_http_ends_the_body_at_once(transport):
    for broken in (b"zz\r\nxx", b"1" * 200_000, b"0\r\n" + b"x" * 200_000):
        async with RawServer([[chunked(b"ab", end=False), 0.02, broken, "hang"]]) as server:
            answer = await transport.send(request(server.url))
            assert await answer.read_some() == b"ab"
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(answer.read_some(), 5)
            answer.abort()


async def test_a_body_up_to_the_end_of_the_connection_is_read_whole(transport):
    async with RawServer([[b"HTTP/1.0 200 OK\r\n\r\n", 0.01, b"all of it", "close"]]) as server:
        answer = await transport.send(request(server.url))
        assert await read_all(answer) == b"all of it"
        answer.release()


async def test_informational_answers_before_the_answer_are_skipped(transport):
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    async with RawServer([[hints, response(b"ok")]]) as server:
        answer = await transport.send(request(server.url))
        assert (answer.status, await read_all(answer)) == (200, b"ok")
        answer.release()


async def test_a_header_of_a_gateway_may_be_long(transport):
    async with RawServer([[response(b"ok", extra=b"x-policy: " + b"a" * 30_000 + b"\r\n")]]) as server:
        answer = await transport.send(request(server.url))
        assert len(answer.headers["x-policy"]) == 30_000
        answer.release()


async def test_what_a_server_says_that_is_no_http_is_not_quoted(transport):
    async with RawServer([[b"HTTP/1.1 200 OK\r\nsk-secret-key\r\n\r\n", "close"]]) as server:
        with pytest.raises(ConnectionLost) as caught:
            await transport.send(request(server.url))
        assert str(caught.value) == "the answer is no proper HTTP (invalid header token)"


async def test_a_large_body_is_sent_without_a_warning(transport):
    async with RawServer([[response(b"ok")]]) as server:
        answer = await transport.send(request(server.url, body=b"x" * 3_000_000))
        assert await read_all(answer) == b"ok"
        answer.release()
        assert server.requests[0].endswith(b"x" * 3_000_000)


async def test_connections_that_died_are_not_counted_as_idle(transport):
    async with RawServer([[response(b"ok")]]) as server:
        answer = await transport.send(request(server.url))
        await read_all(answer)
        answer.release()
        assert transport.figures()[0].idle == 1
    for _ in range(3):
        await asyncio.sleep(0)
    assert transport.figures()[0].idle == 0


@pytest.mark.parametrize("secure", [False, True])
async def test_cancelling_in_the_handshake_or_before_the_headers_leaves_nothing(transport, secure):
    came, gone = asyncio.Event(), asyncio.Event()

    async def listen(reader, writer):
        came.set()
        if not secure:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nx-half: ")
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pending = asyncio.ensure_future(transport.send(request(f"http{'s' * secure}://127.0.0.1:{port}/")))
        await asyncio.wait_for(came.wait(), 5)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        await asyncio.wait_for(gone.wait(), 5)
        assert transport.figures()[0].active == 0


async def test_those_who_wait_for_a_place_may_leave_and_the_next_gets_it(transport):
    transport.configure("p", PoolConfig(size=1))
    async with RawServer([["hang"], [response(b"ok")]]) as server:
        first = asyncio.ensure_future(transport.send(request(server.url)))
        while not server.requests:
            await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(transport.send(request(server.url))) for _ in range(4)]
        await asyncio.sleep(0)
        for task in (*waiting[:3], first):
            task.cancel()
        answer = await asyncio.wait_for(waiting[3], 5)
        assert await read_all(answer) == b"ok"
        answer.release()
        assert len(server.requests) == 2
