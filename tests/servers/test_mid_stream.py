"""Broken and stalled streams over real sockets, down to the command line."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from server_kit import RawServer, chunked

from wizard_dsl.runtime.runtime import open as open_pipeline

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "WIZARD_PLUGINS": "", "KEY": "sk-1"}
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def said(text):
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text.encode()


def written(folder, server, mode="fail", more=""):
    path = folder / "case.yaml"
    path.write_text(
        "version: 1\n"
        "providers:\n"
        f"  p: {{type: openai_compatible, base_url: '{server.url}/v1', api_key: '${{env:KEY}}', model: m}}\n"
        "policies: {default: {retry: {base: 10ms}}}\n"
        f"chains: {{default: {{targets: [p], on_mid_stream_error: {mode}}}}}\n"
        f"steps: {{answer: {{prompt: {{user: hi}}}}}}\n{more}"
    )
    return path


async def wizard(*arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wizard_dsl.cli", *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=ENV,
        cwd=ROOT,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


BROKEN = [chunked(said("Hel"), said("lo"), end=False), "close"]


async def test_the_command_line_says_that_the_answer_begins_anew(tmp_path):
    async with RawServer([BROKEN, [chunked(said("Good day") + END)]]) as server:
        code, out, err = await wizard("run", written(tmp_path, server, "restart"), "--stream")
    assert (code, out, err) == (0, "Hello\nGood day\n", "(the stream broke; the answer begins anew)\n")


async def test_the_command_line_goes_on_with_a_continued_answer(tmp_path):
    async with RawServer([BROKEN, [chunked(said(" world") + END)]]) as server:
        code, out, err = await wizard("run", written(tmp_path, server, "continue"), "--stream")
        assert b'{"role":"assistant","content":"Hello"}' in server.requests[1].replace(b": ", b":").replace(b", ", b",")
    assert (code, out, err) == (0, "Hello world\n", "")


async def test_a_broken_stream_that_fails_keeps_what_was_printed(tmp_path):
    async with RawServer([BROKEN]) as server:
        code, out, err = await wizard("run", written(tmp_path, server), "--stream")
    assert (code, out) == (5, "Hello\n")
    assert "the stream broke" in err


async def test_with_block_a_reader_that_stalls_stops_the_reading_of_the_socket(tmp_path):
    """2,000 reads of 16 KiB are offered; what the sockets and the read buffer hold is all that is taken."""
    piece = said("x" * 16_000)
    body = b"%x\r\n%s\r\n" % (len(piece), piece)
    script = [chunked(said("first"), end=False), *([body] * 2000), b"%x\r\n%s\r\n0\r\n\r\n" % (len(END), END)]
    sent = 0

    class Counting(RawServer):
        async def _answer(self, reader, writer, actions):
            nonlocal sent
            for action in actions:
                writer.write(action)
                await writer.drain()
                sent += len(action)
            return True

    async with Counting([script]) as server:
        path = written(tmp_path, server)
        async with open_pipeline(path, env=ENV) as pipeline, pipeline.stream() as stream:
            await anext(stream)
            await asyncio.sleep(0.5)
            held = sent
            await asyncio.sleep(0.5)
            assert sent == held, "the server is held back"
            assert held < 12_000_000
            kept = stream._execution.heard()
            assert len(kept.text) < 400_000, "one read's deltas were taken from the socket, of 32 MB"
            result = await stream.finish()
    assert len(result.text) == 5 + 2000 * 16_000


@pytest.mark.parametrize("when_full", ["drop_oldest", "error"])
async def test_without_block_at_most_buffer_deltas_are_kept_for_a_reader_that_stalls(tmp_path, when_full):
    pieces = [said(f"{n:05}") for n in range(20_000)]
    more = f"stream: {{buffer: 256, when_full: {when_full}}}\n"
    async with RawServer([[chunked(*pieces, END)]]) as server:
        path = written(tmp_path, server, more=more)
        async with open_pipeline(path, env=ENV) as pipeline, pipeline.stream() as stream:
            await anext(stream)
            await asyncio.wait_for(stream.ended(), 30)
            assert len(stream._channel._kept) == 256
            if when_full == "drop_oldest":
                seen = [delta.text async for delta in stream]
                assert seen == [f"{n:05}" for n in range(20_000 - 256, 20_000)]
                assert len(stream.result.text) == 100_000
            else:
                assert stream.result.error.kind == "stream_buffer"
