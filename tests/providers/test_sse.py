"""Events are split on bytes, whatever the line ends and the borders of the reads."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.providers import _sse
from wizard_dsl.providers._errors import Unreadable
from wizard_dsl.providers._ndjson import NdjsonSplitter
from wizard_dsl.providers._sse import SseSplitter


def split(*pieces: bytes) -> list[tuple[bytes, bytes]]:
    splitter = SseSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return events + splitter.close()


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"data:a\n\n", [(b"", b"a")]),
        (b"data:  a\n\n", [(b"", b" a")]),
        (b"data\n\n", [(b"", b"")]),
        (b"event: error\ndata: a\n\n", [(b"error", b"a")]),
        (b"id: 7\nretry: 5\ndata: a\ndata: b\n\n", [(b"", b"a\nb")]),
        (b": a comment\n\n:another\n\ndata: a\n\n", [(b"", b"a")]),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\r\rdata: b\r\r", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\r\n\ndata: b\n\r\n", [(b"", b"a"), (b"", b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
        (b"data: last without a blank line", [(b"", b"last without a blank line")]),
        (b"event: only a name\n\n", []),
        ("data: \u2028\u2029\u0085\n\n".encode(), [(b"", "\u2028\u2029\u0085".encode())]),
        (b"", []),
    ],
)
def test_events_come_out_whole(body, events):
    assert split(body) == events


LINES = st.sampled_from([b"data: x", b"data:y", b": c", b"event: e", b"id: 1", "data: ü\u2028".encode(), b""])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=12), st.sets(st.integers(0, 80)), st.booleans())
def test_the_borders_of_reads_change_nothing(lines, cuts, mark):
    body = (b"\xef\xbb\xbf" if mark else b"") + b"".join(line + end for line, end in lines)
    at = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[start:end] for start, end in pairwise(at)]
    assert split(*pieces) == split(body)
    assert split(*(body[index : index + 1] for index in range(len(body)))) == split(body)


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), max_size=8), ENDS
)
def test_what_was_framed_is_what_is_read(texts, end):
    body = b"".join(b"data: " + text.encode() + end + end for text in texts)
    assert split(body) == [(b"", text.encode()) for text in texts]


def test_an_event_without_end_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(_sse, "EVENT_LIMIT", 100)
    splitter = SseSplitter()
    with pytest.raises(Unreadable, match="larger than 100 bytes"):
        for _ in range(20):
            splitter.feed(b"data: aaaa")


def test_json_lines_are_split_at_any_border_and_the_last_needs_no_end():
    body = b'{"a":1}\r\n\n{"b":2}\n{"c":3}'
    wanted = [(b"", b'{"a":1}\r'), (b"", b'{"b":2}'), (b"", b'{"c":3}')]
    for size in range(1, len(body) + 1):
        splitter = NdjsonSplitter()
        events = [e for at in range(0, len(body), size) for e in splitter.feed(body[at : at + size])]
        assert events + splitter.close() == wanted


def test_a_json_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("wizard_dsl.providers._ndjson.EVENT_LIMIT", 10)
    with pytest.raises(Unreadable, match="longer than 10 bytes"):
        NdjsonSplitter().feed(b"x" * 11)
