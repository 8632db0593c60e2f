"""The process of one side: it reads commands, a JSON object a line, and answers each with one.

    {"do": "sequential", "url": URL, "count": N}            {"value": seconds}
    {"do": "throughput", "url", "count", "at_once"}         {"value": calls a second}
    {"do": "waiting", "url", "count"}                       {"value": seconds, "before": MB, "most": MB, "errors": {}}
    {"do": "chunks", "url", "count"}                        {"value": chunks a second}
    {"do": "first", "url", "count"}                         {"value": seconds}
    {"do": "cached", "url", "count"}                        {"value": seconds}
    {"do": "failover", "url", "count"}                      {"value": seconds that are added}

A side that cannot do it answers {"cannot": reason}, one that failed {"error": what}. What a command opens stays open
for the next. It runs in the interpreter of the side, so it needs the standard library only.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, TextIO

from benchmarks.measures import added, chunk_rate, crowd, first_chunk, p50, question, resident
from benchmarks.server import SOCKETS, open_files

SYSTEM = "You are a helpful assistant. Answer in two or three short sentences."
KEY = "test-key"
MODEL = "mock"
#: No timeout of a client is to end a call, seconds.
PATIENCE = 600.0
#: An answer that the cache gives takes less; the server waits twice as long, seconds.
HIT = 0.025

#: Opens something for a URL; a text says why a side has none.
Opens = Callable[[str], AbstractAsyncContextManager[Any]] | str
Answer = dict[str, Any]
Command = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Side:
    """What a side can do, each as a manager that gets the URL of the server's API.

    `ask`: gives a function that asks one question and returns the text of the answer. `crowd`: the same without a
    limit of connections. `cached`: the same with a cache in memory. `failover`: the same with a first target that
    answers with 500, `fails(url)`, and `url` as its second. `stream`: gives a function from a question to its texts."""

    ask: Opens
    crowd: Opens
    stream: Opens
    cached: Opens
    failover: Opens


def fails(url: str) -> str:
    """Where the server answers with 500."""
    return url.replace("/v1", "/fail/v1")


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


async def contents(chunks: AsyncIterator[Any]) -> AsyncIterator[str]:
    """The texts in chunks of the kind that OpenAI's client has."""
    async for chunk in chunks:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield text


class Cannot(Exception):
    """The side has no such thing; the text says why."""


class Worker:
    """Answers the commands for one side."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._stack = AsyncExitStack()
        self._open: dict[tuple[str, str], Any] = {}

    async def __aenter__(self) -> Worker:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def answer(self, command: Command) -> Answer:
        """What a command measures, or why it does not."""
        try:
            answered: Answer = await getattr(self, f"do_{command.pop('do')}")(**command)
        except Cannot as reason:
            return {"cannot": str(reason)}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return answered

    async def opened(self, what: str, url: str) -> Any:
        """What the side opens for a URL; it stays open."""
        if (what, url) not in self._open:
            opens = getattr(self._side, what)
            if isinstance(opens, str):
                raise Cannot(opens)
            self._open[what, url] = await self._stack.enter_async_context(opens(url))
        return self._open[what, url]

    async def asking(self, what: str, url: str) -> Callable[[], Awaitable[str]]:
        """Asks a new question with each call, and has had a good answer once."""
        ask = await self.opened(what, url)

        async def once() -> str:
            text: str = await ask(question())
            return text

        text = await once()
        assert text.startswith("The sky is blue"), f"the answer was {text!r}"
        return once

    async def do_sequential(self, url: str, count: int) -> Answer:
        return {"value": await p50(await self.asking("ask", url), count)}

    async def do_throughput(self, url: str, count: int, at_once: int) -> Answer:
        ask = await self.opened("ask", url)
        took, errors = await crowd(ask, count, at_once)
        assert not errors, f"calls failed: {dict(errors)}"
        return {"value": count / took}

    async def do_waiting(self, url: str, count: int) -> Answer:
        if limited := open_files(SOCKETS):
            raise Cannot(limited)
        ask = await self.opened("crowd", url)
        await ask(question())
        before = resident()
        took, errors = await crowd(ask, count, count)
        return {"value": took, "before": before, "most": resident("VmHWM"), "errors": dict(errors)}

    async def do_chunks(self, url: str, count: int) -> Answer:
        stream = await self.opened("stream", url)
        return {"value": await chunk_rate(lambda: stream(question()), count)}

    async def do_first(self, url: str, count: int) -> Answer:
        stream = await self.opened("stream", url)
        return {"value": await first_chunk(lambda: stream(question()), count)}

    async def do_cached(self, url: str, count: int) -> Answer:
        """At a server that waits, so that what is no hit shows."""
        ask = await self.opened("cached", url)
        same = question()
        await ask(same)
        await asyncio.sleep(HIT)  # some store in the background
        took = await p50(lambda: ask(same), count)
        assert took < HIT, f"an answer took {took * 1000:.0f} ms, so it did not come from the cache"
        return {"value": took}

    async def do_failover(self, url: str, count: int) -> Answer:
        failing = await self.asking("failover", url)
        plain = await self.asking("ask", url)
        return {"value": (await added(plain, failing, count))[1]}


async def serve(side: Side, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until there are no more. Between them the loop runs, so that what a side does later is done."""
    loop = asyncio.get_running_loop()
    async with Worker(side) as worker:
        while line := await loop.run_in_executor(None, commands.readline):
            answers.write(json.dumps(await worker.answer(json.loads(line))) + "\n")
            answers.flush()


def main(side: Side) -> None:
    """Serve on what was the standard output; what a library prints goes to the standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        asyncio.run(serve(side, sys.stdin, answers))
