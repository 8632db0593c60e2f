"""Secrets do not survive in bodies, however the text was cut into deltas and reads."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.observe.redact import Redaction
from wizard_dsl.testing._cassette_body import redact_body, redact_json

KEY = "sk-proj-Ab12Cd34Ef56Gh78Ij90"
SAYS = f"Your key is {KEY}, jane.doe@firm.com, and that is all."
HIDDEN = "Your key is ***, redacted@example.com, and that is all."
REDACTION = Redaction([KEY])


def chat(pieces):
    said = [{"id": "c-1", "choices": [{"index": 0, "delta": {"content": each}}]} for each in pieces]
    return "".join(f"data: {json.dumps(each)}\n\n" for each in said) + "data: [DONE]\n\n"


def anthropic(pieces):
    said = [{"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": p}} for p in pieces]
    return "".join(f"event: content_block_delta\r\ndata: {json.dumps(each)}\r\n\r\n" for each in said)


def ollama(pieces):
    said = [{"model": "m", "message": {"content": each}, "done": False} for each in pieces]
    return "".join(f"{json.dumps(each)}\n" for each in said)


def several_lines(pieces):
    said = [json.dumps({"text": each}, indent=1).replace("\n", "\ndata: ") for each in pieces]
    return "".join(f"data: {each}\n\n" for each in said)


def array(pieces):
    return json.dumps([{"candidates": [{"index": 0, "text": each}]} for each in pieces], indent=2)


STREAMS = {each.__name__: each for each in (chat, anthropic, ollama, several_lines)}
CONTENT = {
    "chat": lambda event: event["choices"][0]["delta"]["content"],
    "anthropic": lambda event: event["delta"]["text"],
    "ollama": lambda event: event["message"]["content"],
    "several_lines": lambda event: event["text"],
}


def said_in(body, make):
    """The text that a reader puts together."""
    plain = body.replace("\r\n", "\n")
    events = plain.split("\n") if make is ollama else plain.split("\n\n")
    data = ["\n".join(re.findall(r"^(?:data: )?([^e].*)$", each, re.MULTILINE)) for each in events]
    return "".join(CONTENT[make.__name__](json.loads(each)) for each in data if each and each != "[DONE]")


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_a_text_that_is_cut_anywhere_into_two_deltas_is_hidden(make):
    for cut in range(len(SAYS) + 1):
        body = make([SAYS[:cut], SAYS[cut:]])
        (left,) = redact_body([body], REDACTION)
        assert said_in(body, make) == SAYS
        assert said_in(left, make) == HIDDEN


@pytest.mark.parametrize("make", [*STREAMS.values(), array], ids=[*STREAMS, "array"])
def test_the_borders_of_reads_change_nothing(make):
    body = make(["Hello ", SAYS[:20], SAYS[20:31], SAYS[31:]])
    (whole,) = redact_body([body], REDACTION)
    assert KEY not in whole
    for cut in range(len(body)):
        pieces = redact_body([body[:cut], body[cut:]], REDACTION)
        assert "".join(pieces) == whole


@pytest.mark.parametrize("make", [*STREAMS.values(), array], ids=[*STREAMS, "array"])
def test_a_body_that_breaks_off_anywhere_holds_no_secret(make):
    body = make([SAYS[:14], SAYS[14:25], SAYS[25:]])
    for end in range(len(body)):
        (left,) = redact_body([body[:end]], REDACTION)
        assert KEY not in left
        for piece in (KEY[2:16], KEY[-14:]):
            assert piece not in left


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_a_secret_whose_end_is_in_an_event_that_breaks_off_is_hidden(make):
    body = make([f"It is {KEY[:11]}", f"{KEY[11:]}, as you know"])
    end = body.index(KEY[-6:]) + 6
    for more in range(8):
        (left,) = redact_body([body[: end + more]], REDACTION)
        assert KEY[11:] not in left
        assert KEY[:11] not in left
        assert left.count("***") == 1


def test_only_what_changes_is_written_anew():
    body = '{ "a":1.50,  "b" : "\\u00fc", "c":[ "' + KEY + '" ] }'
    assert redact_body([body], REDACTION) == ['{ "a":1.50,  "b" : "\\u00fc", "c":[ "***" ] }']


def test_a_whole_answer_and_a_streamed_one_say_the_same():
    (whole,) = redact_body([json.dumps({"choices": [{"message": {"content": SAYS}}]})], REDACTION)
    (streamed,) = redact_body([chat(SAYS)], REDACTION)
    said = [json.loads(line[6:]) for line in streamed.split("\n\n") if line.startswith("data: {")]
    assert json.loads(whole)["choices"][0]["message"]["content"] == HIDDEN
    assert "".join(each["choices"][0]["delta"]["content"] for each in said) == HIDDEN


def test_two_answers_side_by_side_are_told_apart():
    said = [{"choices": [{"index": n % 2, "delta": {"content": KEY[n // 2 * 7 : n // 2 * 7 + 7]}}]} for n in range(8)]
    (left,) = redact_body(["".join(f"data: {json.dumps(each)}\n\n" for each in said)], REDACTION)
    both = {0: "", 1: ""}
    for line in left.split("\n\n")[:-1]:
        choice = json.loads(line[6:])["choices"][0]
        both[choice["index"]] += choice["delta"]["content"]
    assert both == {0: "***", 1: "***"}


def test_a_value_under_a_secret_name_is_hidden_whatever_it_looks_like():
    data = {"api_key": "hunter2", "nested": {"Client-Secret": "x"}, "tokens": "kept", "password": None}
    hidden = {"api_key": "***", "nested": {"Client-Secret": "***"}, "tokens": "kept", "password": None}
    assert redact_json(data, REDACTION) == hidden


def test_comments_pages_and_odd_lines_are_redacted_as_text():
    body = f': your {KEY}\n\ndata: {{"a": "b"}}\n\n<html>{KEY}</html>\n'
    (left,) = redact_body([body], REDACTION)
    assert left == ': your ***\n\ndata: {"a": "b"}\n\n<html>***</html>\n'


def test_an_id_that_is_said_in_each_event_stays_what_it_is():
    body = "".join(f'data: {{"id": "chatcmpl-{"9" * 12}", "model": "gpt-4o"}}\n\n' for _ in range(5))
    assert redact_body([body], REDACTION) == [body]


@given(st.text(max_size=200), st.integers(0, 200))
def test_any_text_keeps_its_pieces(text, cut):
    pieces = redact_body([text[:cut], text[cut:]], REDACTION)
    assert len(pieces) == 2
    assert "".join(pieces) == redact_body([text], REDACTION)[0]


@pytest.mark.parametrize("body", ['{"a":' * 3000, "[" * 100_000, '"' * 5001, "data: {" * 2000, "\\" * 999, '{"a": "\\'])
def test_no_body_is_too_odd(body):
    assert isinstance(redact_body([body], REDACTION)[0], str)
