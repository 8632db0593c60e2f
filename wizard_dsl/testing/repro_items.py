"""From what the attempts of a recorded run did to the script items that do it again.

An item says what its target did as far as policies can tell: how long it took, its status, what it asked to wait, how
far it came. What the transport or a body said beyond that is put in words that are classified alike.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wizard_dsl.core.result import AttemptRow
from wizard_dsl.core.units import show_duration
from wizard_dsl.observe.history_record import Asking
from wizard_dsl.providers._errors import classify, read_refusal
from wizard_dsl.testing.scripted import read_item
from wizard_dsl.testing.words import pieces_of

#: The word of a body that a provider's error is told by, and the status it is sent with where the recorded one
#: would be read otherwise.
_WORDS: Final[dict[str, tuple[int, str]]] = {
    "server": (503, "overloaded"),
    "timeout": (408, ""),
    "rate_limited": (429, "rate_limit_exceeded"),
    "quota_exhausted": (402, "insufficient_quota"),
    "auth": (401, "invalid_api_key"),
    "not_found": (404, "model_not_found"),
    "context_length": (413, "context_length_exceeded"),
    "content_filter": (400, "content_filter"),
    "invalid_request": (400, "invalid_request_error"),
    "connect": (525, ""),
}
#: Kinds that were cut off by us: the target would have gone on.
_CUT: Final = frozenset({"timeout", "deadline", "cancelled"})
#: What stands for an answer that was cut, in two pieces: the second comes where it was cut later than it began.
_BROKEN: Final = "placeholder …"
#: Below that a time is none, in seconds.
_MOMENT: Final = 0.0005

#: Longer than anybody waits for a connection.
_NEVER: Final = "1h"

Item = str | int | dict[str, Any]


def item_of(row: AttemptRow, asking: Asking, reply: Any, cut: str = "", idle: float = 0.0) -> Item:
    """The item of one attempt; `reply` is what it answered, or what stands for it, and None where that is vectors.
    `cut` is the phase of `timeout` that ended it, `idle` for how long nothing had come where that was `idle`."""
    if row.kind == "ok":
        said = _said(reply, asking)
        return _short({**said, **_usage(row), **_times(row, _pieces(said))})
    if row.first_chunk is not None:
        return _short(_broken(row, asking, idle, stalled=cut != "" or row.kind in _CUT))
    if cut == "connect":
        return {"connect": _NEVER}
    if row.status is not None and row.status >= 300 and row.kind in _WORDS:
        return _short({**_refusal(row), **_asked(asking), **_delay(row)})
    return _short({**_failure(row), **_delay(row)})


def _failure(row: AttemptRow) -> dict[str, Any]:
    """What failed without a status that says so, before its first content."""
    if row.kind == "connect":
        return {"refuse": True}
    if row.kind in _CUT:
        return {"reply": _BROKEN, "stall_after": 0}
    if row.kind == "malformed_response" or row.kind not in _WORDS:
        return {"status": 200, "body": _body("unreadable")}
    if row.kind == "server" and row.status is None:
        return {"reply": _BROKEN, "cut_after": 0}
    return {"status": 200, "body": _body(_WORDS[row.kind][1])}


def _broken(row: AttemptRow, asking: Asking, idle: float, *, stalled: bool) -> dict[str, Any]:
    """What broke, or stalled, after its first content: where as many pieces as had come are known, after these. When
    the last of them came is not known of what the deadline or a total limit cut."""
    assert row.first_chunk is not None
    begun = row.first_chunk - row.started
    later = row.elapsed - begun - idle if idle or not stalled else 0.0
    known = bool(asking.reply or asking.tool_calls)
    item: dict[str, Any] = _said(asking.reply, asking) if known else {"reply": _BROKEN}
    pieces = _pieces(item) if known else 2 if later >= _MOMENT else 1
    item["stall_after" if stalled else "cut_after"] = pieces
    item.update(_lasting("first_chunk", begun))
    return item | (_lasting("chunk_every", later / (pieces - 1)) if pieces > 1 else {})


def _refusal(row: AttemptRow) -> dict[str, Any]:
    """The status, with a body where the status alone says another kind."""
    assert row.status is not None
    if _reads(row.status, "") == row.kind:
        return {"status": row.status}
    status, word = _WORDS.get(row.kind, (row.status, ""))
    if _reads(row.status, word) == row.kind:
        return {"status": row.status, "body": _body(word)}
    return {"status": status, "body": _body(word)} if _reads(status, "") != row.kind else {"status": status}


def _reads(status: int, word: str) -> str:
    """The kind that an error with this status and word is taken for."""
    return classify(status, read_refusal({"error": {"code": word}} if word else {}))


def _body(word: str) -> str:
    return msgspec.json.encode({"error": {"code": word, "message": "reproduced"}}).decode()


def _asked(asking: Asking) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if asking.retry_after is not None:
        said["retry_after"] = show_duration(round(asking.retry_after, 3))
    if asking.should_retry is not None:
        said["headers"] = {"x-should-retry": "true" if asking.should_retry else "false"}
    return said


def _usage(row: AttemptRow) -> dict[str, Any]:
    if row.usage is None or row.usage.confidence != "reported":
        return {}
    return {"usage": {"input_tokens": row.usage.input_tokens, "output_tokens": row.usage.output_tokens}}


def answer_of(asking: Asking, reply: Any) -> Item:
    """The item of an answer of which nothing else is known."""
    return _short(_said(reply, asking))


def _said(reply: Any, asking: Asking) -> dict[str, Any]:
    """What an answer says, and why it ended where that is not plain."""
    calls = [{"name": call.name, "arguments": _arguments(call.arguments)} for call in asking.tool_calls]
    plain = "tool_calls" if calls else "stop"
    said: dict[str, Any] = {} if reply is None or (calls and not reply) else {"reply": reply}
    said |= {"tool_calls": calls} if calls else {}
    return said | ({} if asking.finish_reason in (None, plain) else {"finish_reason": asking.finish_reason})


def _arguments(text: str) -> Any:
    """As a mapping where they are one."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return text


def _pieces(item: dict[str, Any]) -> int:
    """In how many pieces an answer comes."""
    told = read_item({key: item[key] for key in ("reply", "tool_calls") if key in item})
    return len(pieces_of(told.text)) + len(told.calls)


def _times(row: AttemptRow, pieces: int) -> dict[str, Any]:
    """Streamed, the time to the first content and the rest over the pieces; else one delay."""
    if row.first_chunk is None:
        return _delay(row)
    begun = row.first_chunk - row.started
    every = (row.elapsed - begun) / (pieces - 1) if pieces > 1 else 0.0
    return {**_lasting("first_chunk", begun), **_lasting("chunk_every", every)}


def _delay(row: AttemptRow) -> dict[str, Any]:
    """How long it took; what we cut would have taken longer."""
    return {} if row.kind in _CUT and row.status is None else _lasting("delay", row.elapsed)


def _lasting(key: str, seconds: float) -> dict[str, Any]:
    """To the microsecond, where there is anything to tell."""
    return {key: show_duration(round(seconds, 6))} if seconds >= _MOMENT else {}


def _short(item: dict[str, Any]) -> Item:
    """As short as it can be written."""
    if item.keys() == {"reply"} and isinstance(item["reply"], str):
        return str(item["reply"])
    return int(item["status"]) if item.keys() == {"status"} and item["status"] != 200 else item
