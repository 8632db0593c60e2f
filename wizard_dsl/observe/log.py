"""Logs: each event at or above a level is one line on stderr, as JSON or as text.

    {"schema":1,"time":"2026-01-01T00:00:00.120Z","level":"WARNING","event":"circuit_opened","run_id":"7f3a1b2c",…}
    2026-01-01T00:00:00.120Z WARNING circuit_opened run_id=7f3a1b2c path=… target=openai/gpt-4o before=closed after=open

Every line has the correlation id (`run_id`), and holds what the event holds: names, times, kinds; never a prompt, a
completion or a key. All texts are redacted where the line is made, the last place before the stream. A text cannot
forge a line: in JSON and in text alike, control characters are escaped.

The logger is loguru's, with a core of its own: handlers an application adds to `loguru.logger`, or removes from it,
neither see these lines nor lose their own. It is made with the first line, so a run that logs nothing does not
import loguru.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import msgspec

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.events import EVENTS, BreakerChanged, Event, RunEnded
from wizard_dsl.core.regex import regex
from wizard_dsl.core.run import Run
from wizard_dsl.observe.redact import redact_tree

if TYPE_CHECKING:
    from loguru import Logger

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Format = Literal["text", "json"]

#: Changes when a field changes its meaning or goes away; new fields do not change it.
SCHEMA: Final = 1

_ORDER: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_PLAIN: Final = regex(r"[^\s\"'=\\]+")
_BREAKER: Final = {"open": "circuit_opened", "closed": "circuit_closed", "half_open": "circuit_half_opened"}


def log_sink(
    level: Level = "WARNING",
    format: Format = "text",
    stream: TextIO | None = None,
    *,
    secrets: Collection[str] = (),
) -> Callable[[Run, Event], None]:
    """A sink that writes events of at least `level` to `stream` (default: what sys.stderr is at the first line).

    `secrets` are values that must not appear, whatever they look like. A stream that cannot be written to loses
    lines and nothing else. Must be called while a loop runs: times are those of its wall clock.
    """
    threshold = _ORDER[level]
    write: Callable[[str, dict[str, Any]], None] | None = None

    def takes(kind: type[Event]) -> bool:
        return _ORDER[kind.level] >= threshold

    def sink(run: Run, event: Event) -> None:
        nonlocal write
        if not takes(type(event)):
            return
        if write is None:
            write = _writer(format, sys.stderr if stream is None else stream, secrets)
        write(event.level, fields(run, event))

    sink.takes = takes  # type: ignore[attr-defined]  # so that nobody calls it for what it does not write
    return sink


def fields(run: Run, event: Event) -> dict[str, Any]:
    """What a line says, in its order. The event's own fields come last and replace the scope's of the same name."""
    scope = run.scope
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "time": timestamp(LoopClock().wall()),
        "level": event.level,
        "event": event_name(event),
        "run_id": scope.run_id,
        "pipeline": scope.pipeline,
        "step": scope.step,
        "item": scope.item,
        "path": event.path,
    }
    fixed = ("schema", "time", "level", "event", "run_id")
    own = msgspec.structs.asdict(event)
    line.update((name, value) for name, value in own.items() if name not in fixed)
    return line


def event_name(event: Event) -> str:
    """The name that logs know an event by: some events have a name for each way they can go."""
    if isinstance(event, RunEnded) and event.kind != "ok":
        return "request_failed"
    if isinstance(event, BreakerChanged):
        return _BREAKER.get(event.after, event.name)
    return event.name


def event_names() -> frozenset[str]:
    """Every name that an event of ours may have in logs."""
    return frozenset({each.name for each in EVENTS} | set(_BREAKER.values()) | {"request_failed"})


def timestamp(wall: float) -> str:
    """Seconds since the epoch as RFC 3339, UTC, to the millisecond."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _writer(format: Format, stream: TextIO, secrets: Collection[str]) -> Callable[[str, dict[str, Any]], None]:
    render = render_json if format == "json" else render_text

    def emit(message: Any) -> None:
        line = render(redact_tree(message.record["extra"]["line"], secrets))
        try:
            stream.write(f"{line}\n")
            stream.flush()
        except (OSError, ValueError):
            pass  # closed, full or gone: there is nowhere left to say so

    logger = _logger()
    # The name of the event is the whole message: nothing that came from outside is ever formatted as a template.
    logger.add(emit, level=0, format="{message}", colorize=False, diagnose=False, backtrace=False, catch=False)

    def write(level: str, line: dict[str, Any]) -> None:
        logger.bind(line=line).log(level, line["event"])

    return write


def _logger() -> Logger:
    """A logger like loguru's only one, with a core of its own. loguru offers no public way to have a second one
    without taking the first one's handlers away."""
    from loguru import _logger as inside

    own: Any = inside  # untyped
    logger: Logger = own.Logger(own.Core(), None, 0, False, False, False, False, True, [], {})
    return logger


def render_json(line: dict[str, Any]) -> str:
    return msgspec.json.encode(line).decode()


def render_text(line: dict[str, Any]) -> str:
    """Time, level, event, then name=value; what is empty is left out, and odd texts are in JSON's quotes."""
    head = f"{line['time']} {line['level']} {line['event']}"
    rest = (
        f"{name}={_value(value)}"
        for name, value in line.items()
        if name not in ("schema", "time", "level", "event") and value not in (None, "", [])
    )
    return " ".join((head, *rest))


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{round(value, 6):g}" if abs(value) < 1e6 else repr(value)
    if isinstance(value, list):
        return _value(",".join(str(each) for each in value))
    text = str(value)
    if text.isprintable() and _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
