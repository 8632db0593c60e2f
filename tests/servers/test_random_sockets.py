"""Random files, faults and callers on real sockets: no connection, no task and no descriptor is left behind.

As tests/properties/test_random_runs.py, much faster, against a server that breaks off, stalls, refuses and
talks nonsense. `make soak` plays 300 cases.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from random_cases import Dice, random_caller, random_document, shown
from server_kit import RawServer, chunked, response
from soak_kit import Watch, caller, check_nothing_is_held

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.events import ObserverFailed
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import running

pytestmark = pytest.mark.server

CASES = 300 if os.environ.get("SOAK") else 12
FASTER = 120.0
REGISTRY = Registry(plugins=False)
#: Seconds that a connection which was given up may take until the server has seen it.
A_MOMENT = 5.0
QUICK = {
    "timeout": {"connect": "1s", "first_chunk": "60ms", "idle": "60ms", "total": "200ms"},
    "retry": {"max_attempts": 3, "base": "5ms"},
}
HEADS = [
    response(b'{"error": {"message": "x"}}', status=503),
    response(b"", status=500),
    response(b'{"error": {"message": "x"}}', status=429, extra=b"retry-after-ms: 30\r\n"),
    response(b'{"error": {"message": "x"}}', status=401),
    response(b"no json at all"),
    b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
    b"nonsense\r\n\r\n",
]


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n"


END = event("", "stop") + b"data: [DONE]\n\n"


class Whims:
    """What the server does with each request, without end; takes the place of a script."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.requests: list[bytes] = []

    def pop(self, _: int) -> list[Any]:
        dice = self.dice
        before: list[Any] = [dice.between(0, 0.1)] if dice.chance(0.3) else []
        if dice.chance(0.4):
            return [*before, *dice.one([["close"], ["hang"], [dice.one(HEADS)], [dice.one(HEADS), "close"]])]
        streamed = b'"stream":true' in self.requests[-1].replace(b" ", b"")
        return before + (self.stream() if streamed else [self.whole()])

    def whole(self) -> bytes:
        said = {"message": {"role": "assistant", "content": self.dice.one(["yes", "one two", ""])}}
        return response(msgspec.json.encode({"choices": [{"index": 0, "finish_reason": "stop", **said}]}))

    def stream(self) -> list[Any]:
        pieces = [event(f"{word} ") for word in range(self.dice.upto(6, 1))]
        whole = chunked(*pieces, END)
        if self.dice.chance(0.5):
            return [whole]
        cut = self.dice.upto(len(whole) - 1, 1)
        after: Any = self.dice.one(["close", "hang", self.dice.between(0, 0.1)])
        return [whole[:cut], after, whole[cut:]] if isinstance(after, float) else [whole[:cut], after]


def on_sockets(dice: Dice, url: str) -> dict[str, Any]:
    """A random file whose targets are the server, now and then one that nobody listens for, and whose times are short.

    Without a budget: it would count days by the wall clock, in a file."""
    document = random_document(dice)
    for provider in document["providers"].values():
        base = "http://127.0.0.1:9/v1" if dice.chance(0.1) else f"{url}/v1"
        provider |= {"type": "openai_compatible", "base_url": base, "pool": {"size": dice.one([1, 3, 100])}}
    document["policies"]["default"] |= QUICK
    for chain in document["chains"].values():
        if isinstance(chain["strategy"], dict) and "after" in chain["strategy"]:
            chain["strategy"] = {"type": "hedged", "after": "20ms"}
    document["deadline"] = dice.one(["100ms", "400ms"])
    document.pop("budgets", None)
    return document


def hurried(who: dict[str, Any]) -> dict[str, Any]:
    """A caller at the speed of this test."""
    faster = {key: value / FASTER for key, value in who.items() if key in {"at", "pause", "cancelled"}}
    options = {key: value for key, value in who["options"].items() if key != "deadline"}
    return {**who, **faster, "options": options}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def until_as_before(tasks: int, files: int) -> None:
    """Wait until the server has seen who went away."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + A_MOMENT
    while (len(asyncio.all_tasks()), descriptors()) != (tasks, files) and loop.time() < latest:
        await asyncio.sleep(0.005)
    assert (len(asyncio.all_tasks()), descriptors()) == (tasks, files), [repr(each) for each in asyncio.all_tasks()]


async def play(dice: Dice, path: Path) -> int:
    case, watch = compile_file(path, REGISTRY, Sources(env={})), Watch()
    if case.program is None:
        return 0
    callers = [hurried(random_caller(dice)) for _ in range(dice.upto(8, 2))]
    async with running(case, REGISTRY, seed=1, sinks=[watch.sink]) as pipeline:
        await asyncio.gather(*(caller(pipeline, who) for who in callers))
        await pipeline._runtime._background.close()
        assert [pool.active for pool in pipeline.pools() if pool.active] == []
        check_nothing_is_held(pipeline, watch)
        for transcript in watch.transcripts.values():
            assert all(row.kind is not None and row.elapsed is not None for row in transcript.attempts)
            assert not [each for _, _, each in transcript.events if isinstance(each, ObserverFailed)]
    return len(callers)


async def test_random_runs_on_sockets_leave_no_connection_no_task_and_no_descriptor(tmp_path: Path) -> None:
    path, runs = tmp_path / "case.yaml", 0
    async with RawServer([]) as server:
        await asyncio.sleep(0)
        tasks, files = len(asyncio.all_tasks()), descriptors()
        for number in range(CASES):
            dice = Dice(f"sockets/{number}")
            server.script = whims = Whims(Dice(f"whims/{number}"))
            whims.requests = server.requests
            text = shown(on_sockets(dice, server.url))
            path.write_text(text, encoding="utf-8")
            try:
                runs += await play(dice, path)
                await until_as_before(tasks, files)
            except BaseException as error:
                error.add_note(f"case {number}\n{text}")
                raise
    assert runs >= CASES
