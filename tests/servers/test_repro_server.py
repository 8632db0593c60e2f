"""From an incident on real sockets to a test: a provider that fails in all ways, a run that is recorded, and the test
that is written of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from server_kit import RawServer, chunked, response

import wizard_dsl as wizard
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.observe.history_file import HISTORY, HistoryFile
from wizard_dsl.observe.history_record import Stored
from wizard_dsl.observe.story import story
from wizard_dsl.registry import Registry
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.repro import reproduce
from wizard_dsl.testing.trying import collect, try_case

pytestmark = pytest.mark.server
KEY = "sk-aaaabbbbccccddddeeee"
REGISTRY = Registry(plugins=False)


def answered(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 11, "completion_tokens": 5}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], "usage": usage}).encode()


def event(text: str) -> bytes:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n".encode()


def failed(status: int, message: str, extra: bytes = b"") -> bytes:
    return response(json.dumps({"error": {"message": message}}).encode(), status=status, extra=extra)


async def run(folder: Path, scripts: list[list[Any]], *, stream: bool, content: str) -> Stored:
    """One run against two servers, recorded."""
    async with RawServer(scripts[0]) as first, RawServer(scripts[1]) as second:
        provider = 'type: openai_compatible, model: m, api_key: "${env:KEY}"'
        (folder / "case.yaml").write_text(
            f"version: 1\nhistory: {{content: {content}}}\ninputs: {{q: {{type: string}}}}\nproviders:\n"
            f'  a: {{{provider}, base_url: "{first.url}/v1"}}\n  b: {{{provider}, base_url: "{second.url}/v1"}}\n'
            "policies: {default: {timeout: {total: 10s, first_chunk: 500ms}, retry: {base: 50ms}}}\n"
            "chains: {default: {targets: [a, b]}}\nsteps: {answer: {prompt: {user: '{{ q }}'}}}\n"
        )
        async with wizard.open(folder / "case.yaml", env={"KEY": KEY}, history=wizard.History()) as pipeline:
            begun = pipeline.stream if stream else pipeline.start
            async with begun(q="my question") as answer:
                try:
                    await answer.finish()
                except wizard.WizardError:
                    assert not answer.result.ok
    found = HistoryFile(folder / HISTORY).find("last")
    assert isinstance(found, Stored)
    return found


CASES: dict[str, tuple[list[list[Any]], bool]] = {
    "an outage": (
        [[[failed(503, "overloaded")], [failed(429, "slow down", b"retry-after-ms: 120\r\n")], ["close"], ["close"]],
         [[response(answered("all is well"))]]],
        False,
    ),
    "a wrong key": ([[[failed(401, f"no such key {KEY}")]], []], False),
    "a cut stream": ([[[chunked(event("one "), event("two "), end=False), "close"]], []], True),
    "a stream that never begins": (
        [[["hang"], ["hang"], ["hang"]], [[chunked(event("one "), event("two"), b"data: [DONE]\n\n")]]],
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("content", ["none", "full"])
@pytest.mark.parametrize("name", CASES)
def test_what_happened_on_sockets_is_a_test_that_passes(tmp_path: Path, name: str, content: str) -> None:
    scripts, stream = CASES[name]
    stored = asyncio.run(run(tmp_path, scripts, stream=stream, content=content))
    path = tmp_path / "again.test.yaml"
    compiled = compile_file(tmp_path / "case.yaml", REGISTRY, Sources(env={"KEY": KEY}, mock=True))
    made = reproduce(
        stored, compiled, REGISTRY, target=path, pipeline=tmp_path / "case.yaml", env={"KEY": "test"}
    )  # fmt: skip
    assert made.passes, made.text
    assert [each for each in made.notes if "in the recorded run" in each] == []
    path.write_text(made.text)

    suite = collect(path, Programs(REGISTRY))
    outcome = try_case(suite, suite.cases[0], lambda case, played: played.runs[-1].result)
    assert outcome.passed
    (result,) = outcome.seen
    assert [(row.target, row.kind) for row in result.attempts] == [
        (row.target, row.kind) for row in stored.result.attempts
    ]
    told = story(stored.result, stored.transcript())
    assert all(told.count(f"Attempt {number} asked") == 1 for number in range(1, len(stored.result.attempts) + 1))
    with closing(sqlite3.connect(tmp_path / HISTORY)) as database:
        (record,) = database.execute("SELECT record FROM runs").fetchone()
    assert KEY not in record + made.text + told
