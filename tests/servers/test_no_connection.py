"""Why there is no connection, in words that an engineer on call can act on."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from provider_kit import Bench
from server_kit import RawServer, response

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.http import ConnectFailed, HttpRequest
from wizard_dsl.providers._aiohttp import AiohttpTransport
from wizard_dsl.providers.openai_compatible import OPENAI_COMPATIBLE

pytestmark = pytest.mark.server


@pytest.fixture
async def transport():
    made = AiohttpTransport()
    yield made
    await made.close()


async def refusal(transport, url, **fields):
    with pytest.raises(ConnectFailed) as caught:
        await transport.send(HttpRequest("POST", url, {}, b"{}", **fields))
    return str(caught.value)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def test_a_refused_connection_names_the_server_and_the_reason(transport):
    port = free_port()
    node = Bench(OPENAI_COMPATIBLE, {"base_url": f"http://127.0.0.1:{port}/v1"}, transport=transport)
    with pytest.raises(WizardError) as caught:
        await node.read()
    assert str(caught.value) == f"no connection to 127.0.0.1:{port}: connection refused"
    assert (caught.value.kind, caught.value.sent) == ("connect", False)


async def test_an_unknown_name_is_told_as_such(transport, monkeypatch):
    def resolve(*asked, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    assert await refusal(transport, "http://no-such-host.invalid/") == "name not known"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://a..b/", "the request cannot be sent"),
        (f"http://{'a' * 70}.com/", "the request cannot be sent"),
        ("ftp://127.0.0.1/", "the address is no URL of http or https"),
        ("127.0.0.1:9/v1", "the address is no URL of http or https"),
        ("http://h:99999/", "the address is no URL: "),
        ("http://[half/", "the address is no URL: "),
    ],
)
async def test_an_address_that_cannot_be_one_is_no_connection(transport, url, said):
    assert (await refusal(transport, url)).startswith(said)


async def talk(reader, writer):
    writer.write(response(b"this is no TLS"))
    writer.close()


async def hang_up(reader, writer):
    await reader.read(10)
    writer.close()


@pytest.mark.parametrize(
    ("serve", "said"), [(talk, "TLS: wrong version number"), (hang_up, "the connection was closed")]
)
async def test_a_failed_handshake_says_why(transport, serve, said):
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await refusal(transport, f"https://127.0.0.1:{port}/") == said


async def test_a_certificate_that_is_not_trusted_says_why(transport, monkeypatch):
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "certificate has expired"

    async def connect(*asked, sock, **options):
        sock.close()
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await refusal(transport, f"https://127.0.0.1:{port}/") == "TLS: certificate has expired"


async def test_a_handshake_that_hangs_counts_as_connecting(transport):
    async with RawServer([["hang"]]) as server:
        url = server.url.replace("http:", "https:")
        assert await refusal(transport, url, connect=0.1) == "none within 0.1 s (timeout.connect)"


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://127.0.0.1:9", "socks5:// is not supported"),
        ("http://[half", "it is no URL"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_blamed_and_not_the_provider(monkeypatch, proxy, said):
    monkeypatch.setenv("all_proxy", proxy)
    transport = AiohttpTransport()
    sentence = await refusal(transport, "http://provider.invalid/")
    assert said in sentence and "ALL_PROXY" in sentence and "NO_PROXY" in sentence
    await transport.close()


async def test_a_proxy_without_a_scheme_is_one_of_http_and_its_failure_names_it(monkeypatch):
    port = free_port()
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
    transport = AiohttpTransport()
    assert await refusal(transport, "http://provider.invalid/") == f"the proxy 127.0.0.1:{port}: connection refused"
    await transport.close()


async def test_a_refusal_of_the_proxy_does_not_show_its_password(monkeypatch):
    async with RawServer([[response(b"no", status=407)]]) as server:
        monkeypatch.setenv("https_proxy", f"http://me:pass-word@127.0.0.1:{server.port}")
        transport = AiohttpTransport()
        with pytest.raises(ConnectFailed) as caught:
            await transport.send(HttpRequest("POST", "https://provider.invalid/", {}, b"{}"))
        assert str(caught.value) == "the proxy refused it with status 407"
        assert caught.value.__cause__ is None, "aiohttp's own error shows the password"
        assert b"proxy-authorization: basic" in server.requests[0].lower(), "which the proxy has got"
        await transport.close()
