"""What vendors send is the same from a cassette: the recorded exchanges, recorded and replayed."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from provider_kit import HELLO, Bench
from test_exchanges import CONFIG, EXCHANGES, TYPES, needs_data

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import WizardError
from wizard_dsl.observe.redact import Redaction
from wizard_dsl.testing import _cassette_file as files
from wizard_dsl.testing import virtual
from wizard_dsl.testing._cassette_http import TapeTransport
from wizard_dsl.testing._cassette_lines import Header
from wizard_dsl.testing._cassette_tape import Tape
from wizard_dsl.testing.transport import Reply, ScriptedTransport

HEADER = Header(cassette=1, wizard="0", recorded_at="2026-01-01T00:00:00Z", prompts="0" * 16, checksum="0" * 16)
#: A message that says `tokens (ref: …)` and 36 digits and letters, which are no key.
LOOKS_LIKE_A_KEY = ("openai-chat.ollama-cloud.400u.020",)
REDACTION = Redaction(["sk-secret-key"])


def pieces_of(exchange):
    """The body in pieces, cut at random, each after a wait of whole milliseconds."""
    dice = random.Random(exchange["id"])
    body = exchange["response_body"].encode()
    cuts = sorted({0, len(body), *(dice.randrange(len(body) + 1) for _ in range(9))})
    return [(dice.randrange(500) / 1000, body[start:stop]) for start, stop in pairwise(cuts)]


async def outcome(bench, streamed):
    """All that a reader gets, and when it had it."""
    try:
        whole = (await bench.stream())[1] if streamed else await bench.read(HELLO)
        seen = (whole.text, whole.reasoning, whole.tool_calls, whole.finish_reason, whole.usage, whole.model)
    except WizardError as error:
        seen = (error.kind, error.message, getattr(error, "status", None), error.retry_after)
    return seen, pytest.approx(bench.clock.now(), abs=0.002)


def through(tape, exchange, replies):
    async def main():
        transport = TapeTransport(
            tape, ScriptedTransport(replies), LoopClock(), target="t/m", base_url="https://nowhere.invalid"
        )
        return await outcome(
            Bench(TYPES[exchange["dialect"]], CONFIG, transport=transport), exchange["expected"]["stream"]
        )

    return virtual.run(main())


@needs_data
@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda each: each["id"])
def test_an_exchange_reads_the_same_from_a_cassette(exchange, tmp_path):
    headers = {"content-type": "application/octet-stream"} | exchange["response_headers"]
    reply = Reply(status=exchange["status"], headers=headers, chunks=tuple(pieces_of(exchange)), delay=0.125)
    tape = Tape("t", [], record="all", redactions=(REDACTION,))
    live = through(tape, exchange, [reply])
    path = tmp_path / "t.cassette.jsonl"
    files.write(path, HEADER, [files.line_of(take.exchange(REDACTION)) for take in tape.takes])
    held = files.require(path).exchanges
    (_, line), *_ = held
    body = "".join(text for _, text in line.chunks)
    again = through(Tape("t", held, record="none", redactions=(REDACTION,)), exchange, [])
    if exchange["id"] in LOOKS_LIKE_A_KEY:
        assert body != exchange["response_body"]
        return
    assert exchange["response_body"].startswith(body)
    assert line.end is None or body == exchange["response_body"]
    assert again[0] == live[0]
    assert again[1] == live[1].expected
