"""A provider node over real sockets: streams, cuts, cancellation."""

from __future__ import annotations

import asyncio

import pytest
from provider_kit import Bench
from server_kit import RawServer, chunked, response

from wizard_dsl.core.errors import StreamBroken, WizardError
from wizard_dsl.providers._aiohttp import AiohttpTransport
from wizard_dsl.providers.openai_compatible import OPENAI_COMPATIBLE

pytestmark = pytest.mark.server

HELLO = [
    b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\r',
    b'\n\r\ndata: {"choices":[{"index":0,"delta":{"content":"lo \xc3',
    b'\xa9"}}]}\r\n\r\n',
]
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\r\n\r\n'


@pytest.fixture
async def transport():
    made = AiohttpTransport()
    yield made
    await made.close()


def bench(server, transport):
    return Bench(OPENAI_COMPATIBLE, {"base_url": f"{server.url}/v1", "api_key": "sk-1"}, transport=transport)


async def test_a_stream_cut_inside_characters_and_line_ends_is_read_whole(transport):
    actions = [chunked(HELLO[0], end=False), 0.01, b"%x\r\n%s\r\n" % (len(HELLO[1]), HELLO[1]), 0.01]
    rest = HELLO[2] + END
    async with RawServer([[*actions, b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest)]]) as server:
        _, completion = await bench(server, transport).stream()
        assert completion.text == "Hello é"
        assert transport.figures()[0].idle == 1, "the connection is kept"


async def test_a_connection_cut_after_content_breaks_the_stream(transport):
    async with RawServer([[chunked(HELLO[0] + HELLO[1] + HELLO[2], end=False), "close"]]) as server:
        with pytest.raises(StreamBroken) as caught:
            await bench(server, transport).stream()
        assert caught.value.partial.text == "Hello é"


async def test_a_polite_end_without_the_marker_is_a_cut_too(transport):
    async with RawServer([[chunked(HELLO[0] + HELLO[1] + HELLO[2])]]) as server:
        with pytest.raises(StreamBroken):
            await bench(server, transport).stream()


async def test_a_refusal_keeps_the_connection(transport):
    refusal = response(b'{"error": {"message": "busy"}}', status=503, extra=b"retry-after: 1\r\n")
    ok = response(b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}')
    async with RawServer([[refusal], [ok]]) as server:
        node = bench(server, transport)
        with pytest.raises(WizardError) as caught:
            await node.read()
        assert (caught.value.kind, caught.value.retry_after) == ("server", 1.0)
        assert (await node.read()).text == "hi"
        assert server.connections == 1


async def test_a_kept_connection_that_died_is_kind_connect(transport):
    ok = response(b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}')
    async with RawServer([[ok], ["close"]]) as server:
        node = bench(server, transport)
        await node.read()
        with pytest.raises(WizardError) as caught:
            await node.read()
        assert (caught.value.kind, caught.value.sent) == ("connect", None)


async def test_leaving_a_stream_closes_the_upstream_connection(transport):
    async with RawServer([[chunked(HELLO[0] + HELLO[1] + HELLO[2], end=False), "hang"]]) as server:
        async with await bench(server, transport).open(commit="content") as opened:
            assert opened.outcome is None
        assert opened.outcome.kind == "abandoned"
        await asyncio.wait_for(server.lost.wait(), 5)


async def test_an_idle_stream_is_given_up_from_the_timer(transport):
    async with RawServer([[chunked(HELLO[0] + HELLO[1] + HELLO[2], end=False), "hang"]]) as server:
        with pytest.raises(WizardError, match=r"nothing arrived for 0\.1 s"):
            await bench(server, transport).stream(idle=0.1)
        await asyncio.wait_for(server.lost.wait(), 5)
