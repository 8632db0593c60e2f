"""A server that fails twice, then streams, then is cut: one story, in virtual time and over a real socket alike."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

import wizard_dsl as wizard
from wizard_dsl.core.http import Transport
from wizard_dsl.observe.transcript import render
from wizard_dsl.testing import virtual
from wizard_dsl.testing.transport import Reply, ScriptedTransport

FILE = """
version: 1
name: story
providers: {{p: {{type: openai_compatible, base_url: "{base_url}", model: m, api_key: "${{env:KEY}}"}}}}
chains:
  default:
    targets: [p]
    policies: {{retry: {{base: 20ms, jitter: none}}}}
steps: {{answer: {{prompt: {{user: hi}}}}}}
"""
DOWN = b'{"error":{"message":"try again later","type":"server_error"}}'
EVENTS = [b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % word for word in (b"one", b" two")]
EXPECTED = ["server", "server", "mid_stream"]


class Text(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "txt"


async def story(folder: Path, base_url: str, transport: Transport | None) -> str:
    """Stream once; returns the transcript, and checks what a caller sees."""
    path = folder / "story.yaml"
    path.write_text(FILE.format(base_url=base_url))
    seen = []
    async with wizard.open(path, env={"KEY": "k-123"}, seed=1, transport=transport) as pipeline:
        async with pipeline.stream() as stream:
            with pytest.raises(wizard.StreamBroken) as caught:
                async for delta in stream:
                    seen.append(delta.text)
            result = stream.result
            told = render(stream.transcript, result=result)
    assert "".join(seen) == result.text == "one two"
    assert result.partial
    assert [attempt.kind for attempt in result.attempts] == EXPECTED
    assert [attempt.retry_of for attempt in result.attempts] == [None, 0, 1]
    assert caught.value.exit_code == 5
    assert "k-123" not in told
    return told


def in_virtual_time(folder: Path) -> str:
    async def main() -> str:
        down = Reply(status=503, headers={"content-type": "application/json"}, body=DOWN)
        chunks = tuple((0.0, event) for event in EVENTS)
        cut = Reply(headers={"content-type": "text/event-stream"}, chunks=chunks, lost="body")
        return await story(folder, "http://provider.test/v1", ScriptedTransport([down, down, cut]))

    return virtual.run(main())


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def down(writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 503 Down\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(DOWN)
    writer.write(head + DOWN)


async def cut(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in EVENTS:
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
    await writer.drain()
    writer.close()


def over_a_socket(folder: Path) -> str:
    answers = iter([down, down, cut])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            await next(answers)(writer)
            await writer.drain()

    async def main() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await story(folder, f"http://127.0.0.1:{port}/v1", None)

    return asyncio.run(main())


def without_times(told: str) -> list[str]:
    """The story with measured times left out; the scheduled delays stay."""
    lines = [re.sub(r"after \d+\.\d+ s", "after some time", line[10:]) for line in told.split("\n")[:-1]]
    return [re.sub(r"the stream broke: .*", "the stream broke", line) for line in lines]


def test_the_transcript_in_virtual_time(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    assert in_virtual_time(tmp_path) + "\n" == snapshot(extension_class=Text)


@pytest.mark.server
def test_a_real_socket_tells_the_same_story(tmp_path: Path) -> None:
    assert without_times(over_a_socket(tmp_path)) == without_times(in_virtual_time(tmp_path))
