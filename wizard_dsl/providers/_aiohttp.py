"""The transport on aiohttp: the only file that opens sockets.

One session a pool, made on its first request. No cookies, no redirects (a 3xx is an answer like any other), no
retries of its own, no timeouts but that of connecting: the policies above own all the others. Bodies are
decompressed. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are read once, when a pool's first request is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
from yarl import URL

from wizard_dsl.core.http import ConnectFailed, ConnectionLost, HttpRequest, HttpResponse, PoolConfig, PoolFigures

_READ_BUFFER = 64 * 2**10  # bytes held for a reader that does not read
_KNOWN_URLS = 4096


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


class _Connector(aiohttp.TCPConnector):
    """Counts connections, and tells for the request of a task whether its connection had served another before.

    aiohttp's tracing tells the same for a tenth of a request's time.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
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
            trust_env=False,
            skip_auto_headers=("User-Agent", "Content-Type"),
        )
        self._proxies = getproxies_environment()
        self._urls: dict[str, tuple[URL, str | None]] = {}
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}
        self._requests = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        url, proxy = self._urls.get(request.url) or self._resolve(request.url)
        self._requests += 1
        try:
            response = await self.session.request(
                request.method,
                url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                proxy=proxy,
                timeout=self._timeout(request.connect),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise self._translated(error, request) from error
        finally:
            self._connector.reused.pop(asyncio.current_task(), None)
        return _Response(response)

    def _translated(self, error: Exception, request: HttpRequest) -> Exception:
        """What an error before the headers means. A reused connection that broke had probably died idle."""
        if isinstance(error, _NO_CONNECTION):
            return ConnectFailed(_reason(error, request.connect))
        if isinstance(error, aiohttp.InvalidURL):
            return ConnectFailed(f"{request.url!r} is not a URL")
        reused = self._connector.reused.get(asyncio.current_task(), False)
        stale = reused and isinstance(error, (aiohttp.ServerDisconnectedError, OSError))
        sentence = "the server disconnected" if isinstance(error, aiohttp.ServerDisconnectedError) else None
        return ConnectionLost(sentence or _reason(error, None), stale=stale)

    def _resolve(self, text: str) -> tuple[URL, str | None]:
        """The parsed URL, and the proxy that the environment wants for it."""
        try:
            url = URL(text)
        except ValueError as error:
            raise ConnectFailed(f"{text!r} is not a URL: {error}") from error
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if proxy is not None and proxy_bypass_environment(url.host or "", self._proxies):
            proxy = None
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
            idle=sum(len(kept) for kept in connector._conns.values()),
            opened=connector.opened,
            requests=self._requests,
        )


def _reason(error: BaseException, connect: float | None) -> str:
    """A sentence for people: aiohttp's own are often the name of a class."""
    if isinstance(error, aiohttp.ConnectionTimeoutError) and connect is not None:
        return f"none within {connect:g} s (timeout.connect)"
    return str(error) or type(error).__name__


class _Response:
    """See core.http.HttpResponse."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    async def read_some(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise ConnectionLost(_reason(error, None)) from error

    async def read_all(self) -> bytes:
        parts = []
        while data := await self.read_some():
            parts.append(data)
        return b"".join(parts)

    def abort(self) -> None:
        self._response.close()

    def release(self) -> None:
        self._response.release()
