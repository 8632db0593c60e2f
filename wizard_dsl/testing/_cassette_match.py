"""Requests in a canonical form, what makes two of them the same, and what differs between two.

Two requests are the same where target, method, path below the base URL and body are. Whether the answer is asked for
as a stream does not count: every protocol can read the one for the other, and a run on a terminal, which streams, is
replayed by a test, which does not.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.testing._cassette_body import redact_json
from wizard_dsl.testing._cassette_file import digest
from wizard_dsl.testing._cassette_lines import Asked

if TYPE_CHECKING:
    from wizard_dsl.core.http import HttpRequest
    from wizard_dsl.core.messages import Request
    from wizard_dsl.observe.redact import Redaction

#: Base64 that is longer is kept as its hash: it is an image, which is large and may show somebody.
_LONGEST_BASE64: Final = 1024
_BASE64: Final = regex(r"(data:[a-z0-9.+/-]{1,100};base64,)?([A-Za-z0-9+/_-]+={0,2})")
_FORM_KEYS: Final = ("stream", "stream_options")
_FORM_PLACES: Final = tuple(f"body.{key}" for key in _FORM_KEYS)
_FORM_PATHS: Final = regex(r":(?:stream)?[gG]enerateContent(?:\?alt=sse)?$")
_SHOWN: Final = 60  # characters of a text on each side of what differs
_MOST: Final = 12  # differences that are shown
_MISSING: Final = object()


def of_http(request: HttpRequest, base_url: str, redaction: Redaction) -> Asked:
    """The canonical form of a request over HTTP. `base_url` is left out of its path, so that another server will do."""
    path = request.url.removeprefix(base_url.rstrip("/"))
    if path == request.url:
        parts = urlsplit(request.url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        body: Any = json.loads(request.body) if request.body else None
    except (ValueError, RecursionError):
        body = request.body.decode("utf-8", "replace")
    return Asked(method=request.method, path=redaction.text(path), body=redact_json(_without_files(body), redaction))


def of_request(request: Request, redaction: Redaction) -> Asked:
    """The canonical form of what is asked of a provider without HTTP."""
    plain = _said(msgspec.to_builtins(request))
    plain["messages"] = [_said(each) for each in plain.get("messages", ())]
    return Asked(body=redact_json(_without_files(plain), redaction))


def _said(plain: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty."""
    return {name: value for name, value in plain.items() if value}


def _without_files(value: Any) -> Any:
    """Plain data with the hash in place of each file that it holds as base64."""
    if isinstance(value, dict):
        return {key: _without_files(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_files(each) for each in value]
    if isinstance(value, str) and len(value) > _LONGEST_BASE64:
        match = _BASE64.fullmatch(value)
        if match is not None:
            return f"{match[1] or ''}sha256:{sha256(match[2].encode()).hexdigest()} ({len(match[2])} characters)"
    return value


def key_of(asked: Asked) -> str:
    """The same for two requests that are the same."""
    plain = _plain(asked)
    if isinstance(plain["body"], dict):
        plain["body"] = {name: value for name, value in plain["body"].items() if name not in _FORM_KEYS}
    plain["path"] = _FORM_PATHS.sub(":generateContent", asked.path)
    return digest(json.dumps(plain, sort_keys=True, ensure_ascii=True, separators=(",", ":")))


def _plain(asked: Asked) -> dict[str, Any]:
    return {"method": asked.method, "path": asked.path, "body": asked.body}


def nearest(asked: Asked, recorded: Sequence[tuple[int, Asked]]) -> tuple[int, list[str]] | None:
    """The recorded request that differs least, by its line, and in what it differs; None where there is none."""
    best: tuple[tuple[int, float], int, list[tuple[str, Any, Any]]] | None = None
    for line, each in recorded:
        found = list(_differences(_plain(each), _plain(asked)))
        far = len(found), sum(1 - _alike(old, new) for _, old, new in found[:_MOST])
        if best is None or far < best[0]:
            best = far, line, found
    if best is None:
        return None
    shown = [text for path, old, new in best[2][:_MOST] for text in _shown(path, old, new)]
    more = len(best[2]) - _MOST
    return best[1], [*shown, f"and {more} more"] if more > 0 else shown


def _differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            if path or key != "stream":
                yield from _differences(
                    old.get(key, _MISSING), new.get(key, _MISSING), f"{path}.{key}" if path else key
                )
    elif isinstance(old, list) and isinstance(new, list):
        for number, (before, after) in enumerate(zip_longest(old, new, fillvalue=_MISSING)):
            yield from _differences(before, after, f"{path}[{number}]")
    elif type(old) is not type(new) or old != new:
        yield path, old, new


def _alike(old: Any, new: Any) -> float:
    """From 0 to 1; of long texts by how they begin and end, which takes no time."""
    if not isinstance(old, str) or not isinstance(new, str):
        return 0.0
    size = max(len(old), len(new), 1)
    start, end = _common(old, new)
    return (start + end) / size


def _common(old: str, new: str) -> tuple[int, int]:
    """How many characters at the beginning and at the end are the same."""
    least = min(len(old), len(new))
    start = next((at for at in range(least) if old[at] != new[at]), least)
    end = next((at for at in range(least - start) if old[-1 - at] != new[-1 - at]), least - start)
    return start, end


def _shown(path: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, str) and isinstance(new, str):
        if "\n" in old and "\n" in new:
            changed = difflib.unified_diff(old.split("\n"), new.split("\n"), lineterm="", n=1)
            return [f"{path}:", *(f"  {line}" for line in list(changed)[2:] if not line.startswith("@@"))]
        start, end = _common(old, new)
        return [f"{path}:", f"  - {_around(old, start, end)}", f"  + {_around(new, start, end)}"]
    return [f"{path}:", f"  - {_value(old)}", f"  + {_value(new)}"]


def _around(text: str, start: int, end: int) -> str:
    """What differs, with some of what does not on each side."""
    first, last = max(0, start - _SHOWN), min(len(text), len(text) - end + _SHOWN)
    cut = text[first:last]
    return json.dumps(("…" if first else "") + cut + ("…" if last < len(text) else ""), ensure_ascii=False)


def _value(value: Any) -> str:
    if value is _MISSING:
        return "(not there)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}…"
