"""The HTTP seam: what a provider hands to a transport and what it gets back.

One implementation talks to the network (`providers/_aiohttp.py`); scripted targets and cassettes implement the
same two methods, below all policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec


class PoolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one provider's connections; `size` 0 means no limit. Durations are seconds."""

    size: int = 100
    per_host: int = 0
    keep_alive: float = 30.0
    dns_ttl: float = 300.0


class HttpRequest(msgspec.Struct, frozen=True):
    """One exchange to make. `connect` limits the time to a usable connection, in seconds; None: no limit.

    `pool` names the connection pool, usually the provider. `target` names who is asked, as cassettes and
    scripts match it.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    connect: float | None = None
    pool: str = ""
    target: str = ""
    stream: bool = False


class HttpResponse(Protocol):
    """Status and headers of an exchange whose body may still arrive. Header names are lower case."""

    status: int
    headers: Mapping[str, str]

    async def read_some(self) -> bytes:
        """The next bytes as they arrive, decompressed; `b""` at the end of the body.

        Safe to cancel: bytes that arrived are not lost. Raises ConnectionLost on a broken body.
        """

    def abort(self) -> None:
        """Synchronous: wakes a pending read, which then raises, and frees the connection. Idempotent."""

    def release(self) -> None:
        """The body was read to its end: give the connection back. Idempotent."""


class PoolFigures(msgspec.Struct, frozen=True):
    """Connections of one pool at this moment, and what it has opened and closed in all."""

    name: str
    size: int
    active: int
    idle: int
    opened: int
    requests: int


class Transport(Protocol):
    """Sends requests. Raises ConnectFailed (nothing was sent) or ConnectionLost (sent, perhaps billed)."""

    async def send(self, request: HttpRequest) -> HttpResponse: ...

    def configure(self, pool: str, config: PoolConfig) -> None:
        """Set the limits of a pool before its first request."""

    def figures(self) -> list[PoolFigures]: ...

    async def close(self) -> None: ...


class ConnectFailed(Exception):
    """No connection: refused, DNS, TLS, or `connect` passed, which `phase` then says. Nothing was sent."""

    def __init__(self, message: str, *, phase: str = "") -> None:
        super().__init__(message)
        self.phase = phase


class ConnectionLost(Exception):
    """The connection broke after the request was (perhaps) sent.

    `stale` is true where a kept-alive connection proved dead before a byte of the answer arrived.
    """

    def __init__(self, message: str, *, stale: bool = False) -> None:
        super().__init__(message)
        self.stale = stale
