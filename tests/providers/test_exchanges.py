"""The recorded exchanges read as expected: whole, split at every byte, and split at random."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_kit import HELLO, Bench

from wizard_dsl.core.errors import WizardError, root
from wizard_dsl.providers.anthropic import ANTHROPIC
from wizard_dsl.providers.cohere import COHERE
from wizard_dsl.providers.gemini import GEMINI
from wizard_dsl.providers.ollama import OLLAMA
from wizard_dsl.providers.openai_responses import OPENAI_RESPONSES
from wizard_dsl.providers.presets import OPENAI
from wizard_dsl.testing import virtual
from wizard_dsl.testing.transport import Reply

FOLDER = Path(os.environ.get("WIZARD_WIRE_DATA", Path(__file__).parents[3] / "shared" / "data" / "exchanges"))
TYPES = {
    "openai-chat": OPENAI,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "ollama": OLLAMA,
    "cohere-v2": COHERE,
    "openai-responses": OPENAI_RESPONSES,
}
CONFIG = {"api_key": "sk-secret-key"}
EVERY_BYTE_UP_TO = 3000


def load():
    found = []
    for dialect in TYPES:
        path = FOLDER / f"{dialect}.jsonl"
        if path.is_file():
            found += [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    return found


EXCHANGES = load()
needs_data = pytest.mark.skipif(not EXCHANGES, reason=f"no recorded exchanges in {FOLDER}; set WIZARD_WIRE_DATA")


def read(exchange, pieces):
    """What the node makes of the body in these pieces: (completion, error)."""
    headers = {"content-type": "application/octet-stream"} | exchange["response_headers"]
    reply = Reply(status=exchange["status"], headers=headers, chunks=tuple((0.0, piece) for piece in pieces))
    streamed = exchange["expected"]["stream"]

    async def main():
        bench = Bench(TYPES[exchange["dialect"]], CONFIG, [reply])
        try:
            if streamed:
                _, completion = await bench.stream()
            else:
                completion = await bench.read(HELLO)
            return completion, None
        except WizardError as error:
            return error.partial, error

    return virtual.run(main())


def judge(exchange, completion, error):
    accept = exchange["expected"]["accept"]
    if error is not None:
        cause = error.__cause__ if error.kind == "mid_stream" and error.__cause__ is not None else error
        assert accept["error"] in ("required", "optional"), f"{error.kind}: {error}"
        assert {error.kind, root(cause).kind} & set(accept["errors"]), f"{error.kind}: {error}"
        assert accept["errors"][0] == error.kind or len(accept["errors"]) > 2, "the finest kind is meant"
        assert "sk-secret-key" not in str(error)
        return
    assert accept["error"] in ("none", "optional"), "an error was expected"
    assert accept["finish"] is None or completion.finish_reason in accept["finish"]
    assert completion.finish_reason is not None
    assert len(completion.tool_calls) in accept["tool_calls"]
    wanted = exchange["expected"]["tool_calls"]
    if len(wanted) == len(completion.tool_calls):
        for call, want in zip(completion.tool_calls, wanted, strict=True):
            assert call.name == want["name"]
            assert json.loads(call.arguments) == want["arguments"]
            assert want["id"] is None or call.id == want["id"]
    if accept["text_loose"]:
        assert "".join(completion.text.split()) in {"".join(text.split()) for text in accept["texts"]}
    else:
        assert "*" in accept["texts"] or completion.text in accept["texts"]
    reasoning = exchange["expected"]["reasoning"]
    if reasoning or "reasoning_item" not in exchange["expected"]["tags"]:  # its summary is reasoning too
        assert completion.reasoning == reasoning
    assert not accept["input_tokens"] or completion.usage.input_tokens in accept["input_tokens"]
    assert not accept["output_tokens"] or completion.usage.output_tokens in accept["output_tokens"]
    assert not exchange["expected"]["model"] or completion.model == exchange["expected"]["model"]


@needs_data
@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["id"])
def test_a_recorded_exchange_reads_as_expected(exchange):
    body = exchange["response_body"].encode()
    judge(exchange, *read(exchange, [body]))


@needs_data
@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["id"])
def test_single_bytes_read_the_same_as_the_whole(exchange):
    body = exchange["response_body"].encode()
    size = 1 if len(body) <= EVERY_BYTE_UP_TO else 7
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert result(exchange, pieces) == result(exchange, [body])


def result(exchange, pieces):
    completion, error = read(exchange, pieces)
    return completion, error and (error.kind, error.message)


def borders(body: bytes) -> list[int]:
    """Every place where a split is likely to hurt: inside CRLF, inside UTF-8, around events and inside field names."""
    inside_utf8 = [at for at in range(1, len(body)) if 0x80 <= body[at] < 0xC0]
    line_ends = [at + shift for at, byte in enumerate(body) if byte in b"\r\n" for shift in (0, 1)]
    return sorted({at for at in (*inside_utf8, *line_ends) if 0 < at < len(body)})


@needs_data
@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["id"])
def test_splits_inside_characters_and_line_ends_change_nothing(exchange):
    body = exchange["response_body"].encode()
    cuts = [0, *borders(body), len(body)]
    pieces = [body[start:end] for start, end in pairwise(cuts)]
    assert result(exchange, pieces) == result(exchange, [body])


@needs_data
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_random_splits_change_nothing(data):
    exchange = data.draw(st.sampled_from(EXCHANGES))
    body = exchange["response_body"].encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(body) - 1)), max_size=12)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert result(exchange, [piece for piece in pieces if piece]) == result(exchange, [body])


STREAMS = [each for each in EXCHANGES if each["expected"]["stream"] and each["expected"]["error"] is None]
EVENT_STREAMS = [each for each in STREAMS if each["dialect"] != "ollama"]


@needs_data
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_stream_cut_before_its_marker_is_never_complete(data):
    exchange = data.draw(st.sampled_from(STREAMS))
    body = exchange["response_body"].encode()
    cut = data.draw(st.integers(1, len(body) // 2))
    _, error = read(exchange, [body[:cut]])
    marked = any(word in body[:cut] for word in (b'"stop"', b'finish_reason":"', b"finishReason", b'"done":true'))
    assert error is not None or marked
    if error is not None and not marked:
        assert error.kind in ("server", "mid_stream")


@needs_data
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("exchange", EVENT_STREAMS, ids=lambda exchange: exchange["id"])
def test_any_line_end_reads_the_same(exchange, ending):
    body = exchange["response_body"].encode()
    plain = body.replace(b"\r\n", b"\n")
    assert result(exchange, [plain.replace(b"\n", ending)]) == result(exchange, [body])


@needs_data
@pytest.mark.parametrize("exchange", EVENT_STREAMS, ids=lambda exchange: exchange["id"])
def test_comments_a_mark_and_a_missing_last_line_end_change_nothing(exchange):
    body = exchange["response_body"].encode()
    changed = b"\xef\xbb\xbf: hello\n\n" + body.replace(b"data: ", b"data:").rstrip()
    assert result(exchange, [changed]) == result(exchange, [body])
