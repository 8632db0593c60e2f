"""State on a Redis or Valkey server: each decision is one script, on the server's time, in one round trip.

A row is one string, packed by the script. The keys of one decision carry the same hash tag, so that they lie on one
node of a cluster. Scripts are called by their hash; only where the server does not know it yet is the text sent.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wizard_dsl.stores._state import Ask

#: Keys on a server begin with this.
PREFIX: Final = "wizard:"

_FRAME: Final = Path(__file__).parent / "lua" / "decide.lua"
#: As many as there are batches at once, and one to leave with.
_CONNECTIONS: Final = 3


class RedisKeeper:
    """Implements `_state.Keeper`. Imports the client at once, and connects with the first decision."""

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        self._client = client(url)
        self._known: set[str] = set()  # scripts that the server has
        self.name = shown(url)

    async def ask(self, batch: Sequence[Ask], /) -> list[bytes]:
        """See Keeper."""
        texts = [script(each.decision.script, each.decision.library) for each in batch]
        replies = await self._sent(batch, [text if sha not in self._known else "" for sha, text in texts])
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, no_script())]
        if unknown:  # the server was restarted, say
            again = await self._sent([batch[index] for index in unknown], [texts[index][1] for index in unknown])
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        self._known.update(sha for sha, _ in texts)
        return [_right(reply) for reply in replies]

    async def _sent(self, batch: Sequence[Ask], texts: Sequence[str]) -> list[Any]:
        """One exchange; scripts go by their text, or, where that is empty, by their hash."""
        pipeline = self._client.pipeline(transaction=False)
        for each, text in zip(batch, texts, strict=True):
            how = ("EVAL", text) if text else ("EVALSHA", script(each.decision.script, each.decision.library)[0])
            pipeline.execute_command(*how, 2, *self._keys(each.key), each.arguments, each.member)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    def _keys(self, key: str) -> tuple[str, str]:
        return row_name(self._prefix, key), f"{row_name(self._prefix, key)}:members"

    async def leave(self, keys: Sequence[str], member: str, /) -> None:
        """See Keeper."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.zrem(self._keys(key)[1], member)
        await pipeline.execute()

    async def close(self) -> None:
        """See Keeper."""
        await self._client.aclose()


def row_name(prefix: str, key: str) -> str:
    """Where the row of a key lies."""
    return f"{prefix}{{{key}}}"


def client(url: str) -> Any:
    """Never waits by itself, and never repeats: `_state` decides how long and how often."""
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=None,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=None,
        health_check_interval=0,
        protocol=2,
        driver_info=None,
        decode_responses=False,
    )
    return Redis.from_pool(pool)


@cache
def no_script() -> type[Exception]:
    from redis.exceptions import NoScriptError

    return NoScriptError


def _right(reply: Any) -> bytes:
    if isinstance(reply, Exception):
        raise reply
    if not isinstance(reply, bytes):
        raise ValueError("a reply that is no text")
    return reply


@cache
def script(path: Path, library: Path | None) -> tuple[str, str]:
    """(hash, text) of the whole script of a decision."""
    body = "".join(each.read_text("utf-8") for each in (library, path) if each is not None)
    text = _FRAME.read_text("utf-8").replace("--DECISION--", body.rstrip())
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text


def shown(url: str) -> str:
    """The server's name for people: scheme, host, port and path, no user, password or options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
