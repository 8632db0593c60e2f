"""The baseline: aiohttp as an expert would write it by hand, and nothing else.

A request's body is encoded and an answer's decoded with msgspec, typed, as the subject does. The stream is read
in whatever pieces arrive and split on its blank lines, which is faster than aiohttp's own lines. The connection limit
is the subject's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from wizard_dsl.core.http import PoolConfig

SYSTEM = "You are a helpful assistant. Answer in two or three short sentences."


class Turn(msgspec.Struct):
    content: str | None = None


class Choice(msgspec.Struct):
    delta: Turn | None = None
    message: Turn | None = None
    finish_reason: str | None = None


class Answer(msgspec.Struct):
    choices: list[Choice] = []
    usage: dict[str, int] | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Answer).decode


class Raw:
    """A session and one URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/chat/completions"
        self._headers = {"content-type": "application/json", "authorization": "Bearer test-key"}

    def _body(self, question: str, stream: bool) -> bytes:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        return _encode({"temperature": 0, "max_tokens": 120, "model": "mock", "messages": messages, "stream": stream})

    async def ask(self, question: str) -> str:
        """One whole answer."""
        body = self._body(question, False)
        async with self._session.post(self._url, data=body, headers=self._headers) as response:
            response.raise_for_status()
            answer = _decode(await response.read())
        message = answer.choices[0].message
        return message.content or "" if message is not None else ""

    async def stream(self, question: str) -> AsyncIterator[str]:
        """The pieces of one answer as they come."""
        body = self._body(question, True)
        async with self._session.post(self._url, data=body, headers=self._headers) as response:
            response.raise_for_status()
            rest = b""
            async for data in response.content.iter_any():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    if event == b"data: [DONE]":
                        return
                    for choice in _decode(event[6:]).choices:
                        if choice.delta is not None and choice.delta.content:
                            yield choice.delta.content


@asynccontextmanager
async def raw(url: str, limit: int = PoolConfig().size) -> AsyncIterator[Raw]:
    """With `limit` connections at most; 0: no limit."""
    connector = aiohttp.TCPConnector(limit=limit)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Raw(session, url)
