"""A hedge on real sockets: the loser's connection is closed at once, the winner's stream goes on in the caller."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from server_kit import RawServer, chunked

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import running

pytestmark = pytest.mark.server

FILE = """
version: 1
inputs: {{q: {{type: string, default: hello}}}}
providers:
  slow: {{type: openai_compatible, base_url: {slow}, model: m}}
  fast: {{type: openai_compatible, base_url: {fast}, model: m}}
chains:
  default: {{strategy: {{type: hedged, after: 50ms}}, targets: [slow, fast], policies: {{concurrency: 2}}}}
steps: {{one: {{prompt: {{user: "{{{{ q }}}}"}}}}}}
"""


def event(text: str, finish: str = "null") -> bytes:
    return b'data: {"choices": [{"delta": {"content": "%s"}, "finish_reason": %s}]}\n\n' % (
        text.encode(),
        finish.encode(),
    )


async def test_the_stream_of_a_hedge_is_read_after_its_task_has_ended(tmp_path: Path) -> None:
    first = chunked(event("one "), end=False)
    rest = chunked(event("two", '"stop"'), b"data: [DONE]\n\n").partition(b"\r\n\r\n")[2]
    async with RawServer([["hang"]]) as slow, RawServer([[first, 0.1, rest]]) as fast:
        path = tmp_path / "case.yaml"
        path.write_text(FILE.format(slow=slow.url, fast=fast.url))
        compiled = compile_file(path, Registry(plugins=False), Sources(env={}))
        async with running(compiled, Registry(plugins=False), seed=1) as pipeline:
            async with pipeline.stream() as started:
                result = await started.finish()
            await asyncio.wait_for(slow.lost.wait(), 5)
        assert result.output == "one two"
        rows = [(row.target, row.kind, row.hedge) for row in started.transcript.attempts]
        assert rows == [("slow", "cancelled", False), ("fast", "ok", True)]
        assert len(slow.requests) == len(fast.requests) == 1
