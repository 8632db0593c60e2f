"""The transport on aiohttp: the only file that opens sockets.

One session a pool, made on its first request. No cookies, no redirects (a 3xx is an answer like any other), no
retries of its own, no timeouts but that of connecting: the policies above own all the others. Bodies are
decompressed. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are read once, when a pool's first request is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from typing import Any
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest, HttpResponse, PoolConfig, PoolFigures
from wizard_dsl.providers._direct import Exchange, Road, is_tried

_READ_BUFFER = 64 * 2**10  # bytes held for a reader that does not read
_LONGEST_HEADER = 64 * 2**10  # bytes; aiohttp's own limit of 8 KiB refuses what gateways send
_KNOWN_URLS = 4096
_LARGE = 2**20  # bytes of a body that aiohttp wants as a file, so that it is written in pieces

_NO_CONNECTION = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientProxyConnectionError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
)


class AiohttpTransport:
    """Connections of one runtime; belongs to the event loop of its first request."""

    def __init__(self) -> None:
        self._configs: dict[str, PoolConfig] = {}
        self._pools: dict[str, _Pool] = {}
        self._closed = False

    def configure(self, pool: str, config: PoolConfig) -> None:
        self._configs[pool] = config

    async def send(self, request: HttpRequest) -> HttpResponse:
        if self._closed:
            raise ConnectFailed("the runtime is closed")
        pool = self._pools.get(request.pool)
        if pool is None:
            pool = self._pools[request.pool] = _Pool(self._configs.get(request.pool, PoolConfig()))
        return await pool.send(request)

    def figures(self) -> list[PoolFigures]:
        return [pool.figures(name) for name, pool in self._pools.items()]

    async def close(self) -> None:
        """Idempotent; what is still in flight is cut."""
        self._closed = True
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.session.close()


class _Protocol(ResponseHandler):
    """aiohttp does not wake who reads a body that turns out to be no HTTP, such as a broken chunk."""

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("broken"), exc)


class _Connector(aiohttp.TCPConnector):
    """Counts connections, and tells for the request of a task whether its connection had served another before.

    aiohttp's tracing tells the same for a tenth of a request's time.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Protocol, loop=self._loop)  # type: ignore[assignment]
        self.opened = 0
        self.reused: dict[asyncio.Task[Any] | None, bool] = {}

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> aiohttp.connector.Connection:
        self.reused[asyncio.current_task()] = True
        return await super().connect(req, traces, timeout)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Any:
        self.reused[asyncio.current_task()] = False
        self.opened += 1
        return await super()._create_connection(req, traces, timeout)


class _Pool:
    """One session with its limits, and its figures."""

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._connector = _Connector(
            limit=config.size,
            limit_per_host=config.per_host,
            keepalive_timeout=config.keep_alive,
            ttl_dns_cache=int(config.dns_ttl),
        )
        self.session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=_READ_BUFFER,
            max_field_size=_LONGEST_HEADER,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Content-Type"),
        )
        self._proxies = getproxies_environment()
        self._urls: dict[str, tuple[URL, URL | None]] = {}
        self._roads: dict[str, Road] = {}
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}
        self._requests = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        url, proxy = self._urls.get(request.url) or self._resolve(request.url)
        self._requests += 1
        try:
            if proxy is None and request.method == "POST" and len(request.body) <= _LARGE and is_tried():
                road = self._roads.get(request.url) or self._road(request.url, url)
                return _Response(await road.send(request.headers, request.body, self._timeout(request.connect)))
            response = await self.session.request(
                request.method,
                url,
                data=request.body if len(request.body) <= _LARGE else BytesIO(request.body),
                headers=request.headers,
                allow_redirects=False,
                proxy=proxy,
                timeout=self._timeout(request.connect),
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            named = isinstance(error, aiohttp.ClientHttpProxyError)  # with the proxy's password
            raise self._translated(error, request) from (None if named else error)
        finally:
            self._connector.reused.pop(asyncio.current_task(), None)
        return _Response(response)

    def _road(self, text: str, url: URL) -> Road:
        limits = {"read_bufsize": _READ_BUFFER, "max_field_size": _LONGEST_HEADER}
        road = Road(url, self._connector, read_until_eof=True, **limits)
        if len(self._roads) < _KNOWN_URLS:
            self._roads[text] = road
        return road

    def _translated(self, error: Exception, request: HttpRequest) -> Exception:
        """What an error before the headers means. A reused connection that broke had probably died idle."""
        if isinstance(error, _NO_CONNECTION):
            said = _no_connection(error, request.connect)
            proxy = self._urls[request.url][1] if request.url in self._urls else None
            through = proxy is not None and getattr(error, "host", None) == proxy.host
            told = f"the proxy {proxy.host}:{proxy.port}: {said}" if proxy and through else said
            return ConnectFailed(told, phase="connect" if isinstance(error, aiohttp.ConnectionTimeoutError) else "")
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            return ConnectFailed(f"the request cannot be sent: {error}")
        reused = self._connector.reused.get(asyncio.current_task(), True)
        stale = reused and isinstance(error, (aiohttp.ServerDisconnectedError, OSError))
        return ConnectionLost(_broken(error), stale=stale)

    def _resolve(self, text: str) -> tuple[URL, URL | None]:
        """The parsed URL, and the proxy that the environment wants for it."""
        try:
            url = URL(text)
        except ValueError as error:
            raise ConnectFailed(f"the address is no URL: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise ConnectFailed("the address is no URL of http or https")
        named = self._proxies.get(url.scheme) or self._proxies.get("all")
        bypass = named is None or proxy_bypass_environment(url.host, self._proxies)
        proxy = None if named is None or bypass else _parsed_proxy(named)
        if len(self._urls) < _KNOWN_URLS:
            self._urls[text] = (url, proxy)
        return url, proxy

    def _timeout(self, connect: float | None) -> aiohttp.ClientTimeout:
        """Limits the connection alone: waiting for a place in the pool is no fault of the provider."""
        timeout = self._timeouts.get(connect)
        if timeout is None:
            timeout = self._timeouts[connect] = aiohttp.ClientTimeout(
                total=None, sock_connect=connect, ceil_threshold=1e9
            )
        return timeout

    def figures(self, name: str) -> PoolFigures:
        connector = self._connector
        return PoolFigures(
            name=name,
            size=self._config.size,
            active=len(connector._acquired),
            idle=sum(kept.is_connected() for each in connector._conns.values() for kept, _ in each),
            opened=connector.opened,
            requests=self._requests,
        )


def _parsed_proxy(text: str) -> URL:
    """Raises ConnectFailed where the environment names no proxy that we can speak to."""
    try:
        url = URL(text if "://" in text else f"http://{text}")
        if url.scheme in ("http", "https") and url.host:
            return url
        said = f"{url.scheme}:// is not supported"
    except ValueError:
        said = "it is no URL"
    raise ConnectFailed(
        f"HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names no proxy of HTTP: {said}; correct it, or set NO_PROXY"
    )


def _no_connection(error: Exception, connect: float | None) -> str:
    """Why there is none, in a sentence for people: aiohttp's own names its classes, and a proxy's password."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"none within {connect:g} s (timeout.connect)" if connect is not None else "none in time"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refused it with status {error.status}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner: Any = error.certificate_error
        return f"TLS: {getattr(inner, 'verify_message', '') or inner}"
    assert isinstance(error, aiohttp.ClientConnectorError)
    return _of_system(error.os_error)


def _of_system(error: OSError) -> str:
    """What the system says: `connection refused`, without numbers and addresses."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return "name not known" if error.errno == socket.EAI_NONAME else (error.strerror or "name not found").lower()
    if error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or "the connection was closed"


def _broken(error: Exception) -> str:
    """How a connection ended that had begun. What aiohttp says after a colon quotes the answer: it is left out."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server disconnected"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is no proper HTTP ({error.message.partition(':')[0].strip().lower()})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body is not in the encoding it names" if "decode" in str(error) else "the body broke off"
    return _of_system(error) if isinstance(error, OSError) else "the connection was closed"


class _Response:
    """See core.http.HttpResponse."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse | Exchange) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    async def read_some(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise ConnectionLost(_broken(error)) from error

    def abort(self) -> None:
        self._response.close()

    def release(self) -> None:
        self._response.release()
