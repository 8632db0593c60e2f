"""A transport that is made when the first request is sent: a run that asks no server never imports the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wizard_dsl.core.http import HttpRequest, HttpResponse, PoolConfig, PoolFigures, Transport


class OnDemand:
    """Stands for the transport that `make` returns; see core.http.Transport."""

    __slots__ = ("_configs", "_made", "_make")

    def __init__(self, make: Callable[[], Transport]) -> None:
        self._make = make
        self._made: Transport | None = None
        self._configs: dict[str, PoolConfig] = {}

    def configure(self, pool: str, config: PoolConfig) -> None:
        self._configs[pool] = config
        if self._made is not None:
            self._made.configure(pool, config)

    async def send(self, request: HttpRequest) -> HttpResponse:
        if self._made is None:
            self._made = self._make()
            for pool, config in self._configs.items():
                self._made.configure(pool, config)
        return await self._made.send(request)

    def figures(self) -> list[PoolFigures]:
        return [] if self._made is None else self._made.figures()

    async def close(self) -> None:
        """What was never made needs no closing, and is not made any more."""
        made, self._made = self._made, None
        self._make = _closed
        if made is not None:
            await made.close()


def _closed() -> Transport:
    raise RuntimeError("the runtime is closed")
