"""Logs: one line an event, with its correlation id, and nothing that must not be seen."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import msgspec
import pytest

from wizard_dsl.core.events import (
    EVENTS,
    BreakerChanged,
    CacheUnavailable,
    ContractFailed,
    Event,
    FallbackTriggered,
    LossAccepted,
    ObserverFailed,
    RetryScheduled,
    RunEnded,
    RunStarted,
    StepStarted,
)
from wizard_dsl.core.run import Call, Run, Scope, Transcript
from wizard_dsl.observe.log import log_sink
from wizard_dsl.testing import virtual

OPENED = BreakerChanged(path="chains.c.targets[0]", target="openai/gpt", before="closed", after="open")


def a_run(step: str = "writer", item: int | None = None) -> Run:
    scope = Scope(run_id="7f3a1b2c", pipeline="triage", step=step, item=item)
    return Run(scope=scope, deadline=60.0, transcript=Transcript(0.0), call=Call())


def logged(
    *events: Event,
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "DEBUG",
    format: Literal["text", "json"] = "json",
    run: Run | None = None,
    secrets: tuple[str, ...] = (),
) -> str:
    """What is on the stream after these events, one second after the virtual epoch."""
    stream = io.StringIO()

    async def main() -> None:
        from wizard_dsl.core.clock import LoopClock

        await LoopClock().sleep(1.0)
        sink = log_sink(level, format, stream, secrets=secrets)
        for event in events:
            sink(run or a_run(), event)

    virtual.run(main())
    return stream.getvalue()


def one(*events: Event, **options: Any) -> dict[str, Any]:
    line: dict[str, Any] = msgspec.json.decode(logged(*events, **options))
    return line


def test_a_json_line_says_when_what_for_whom_and_where() -> None:
    assert one(OPENED) == {
        "schema": 1,
        "time": "2026-01-01T00:00:01.000Z",
        "level": "WARNING",
        "event": "circuit_opened",
        "run_id": "7f3a1b2c",
        "pipeline": "triage",
        "step": "writer",
        "item": None,
        "path": "chains.c.targets[0]",
        "target": "openai/gpt",
        "before": "closed",
        "after": "open",
    }


def test_a_text_line_leaves_out_what_is_empty() -> None:
    event = RetryScheduled(path="p", target="openai/gpt", kind="server", retry=1, delay=1.25)
    assert logged(event, format="text") == (
        "2026-01-01T00:00:01.000Z DEBUG retry_attempt run_id=7f3a1b2c pipeline=triage step=writer path=p "
        "target=openai/gpt kind=server retry=1 delay=1.25\n"
    )


@pytest.mark.parametrize("format", ["json", "text"])
def test_every_event_is_one_line_with_the_correlation_id(format: Literal["json", "text"]) -> None:
    lines = logged(*[sample(each) for each in EVENTS], format=format).splitlines()
    assert len(lines) == len(EVENTS)
    assert all("7f3a1b2c" in line for line in lines)


def sample(event: type[Event]) -> Event:
    """An event with some value of the right type in each field."""
    values: dict[type[Any], Any] = {str: "word", int: 3, float: 1.5, tuple[str, ...]: ("word",)}
    kwargs = {}
    for field in msgspec.structs.fields(event):
        kwargs[field.name] = next((value for kind, value in values.items() if kind == field.type), 2)
    return event(**kwargs)


def test_levels_below_the_threshold_write_nothing() -> None:
    events = (RunStarted(pipeline="p"), RunEnded(kind="ok", elapsed=1.0), OPENED)
    counts = [len(logged(*events, level=each).splitlines()) for each in ("DEBUG", "INFO", "WARNING", "ERROR")]
    assert counts == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (RunEnded(kind="ok", elapsed=1.0), "request_completed"),
        (RunEnded(kind="server", elapsed=1.0), "request_failed"),
        (BreakerChanged(target="t", before="open", after="half_open"), "circuit_half_opened"),
        (BreakerChanged(target="t", before="half_open", after="closed"), "circuit_closed"),
        (BreakerChanged(target="t", before="closed", after="forced_open"), "circuit_changed"),
        (FallbackTriggered(target="t", kind="server", to="u"), "fallback_triggered"),
    ],
)
def test_events_have_the_names_that_the_requirements_fix(event: Event, name: str) -> None:
    assert one(event)["event"] == name


def test_an_item_of_a_step_names_itself() -> None:
    line = one(StepStarted(step="part", item=3), run=a_run("part", 3))
    assert (line["step"], line["item"]) == ("part", 3)


def test_an_event_cannot_change_whose_line_it_is() -> None:
    class Sly(Event, frozen=True):
        name: ClassVar[str] = "sly"
        run_id: str = "forged"
        event: str = "forged"

    line = one(Sly())
    assert (line["run_id"], line["event"]) == ("7f3a1b2c", "sly")


@pytest.mark.parametrize("format", ["json", "text"])
def test_keys_are_redacted_wherever_they_stand(format: Literal["json", "text"]) -> None:
    event = ObserverFailed(path="sk-path-0123456789", error="ValueError('Bearer opaque0token and plainsecret')")
    lost = LossAccepted(target="x-api-key=topsecret", lost=("plainsecret",))
    shown = logged(event, lost, format=format, secrets=("plainsecret",))
    for secret in ("plainsecret", "opaque0token", "topsecret", "sk-path-0123456789"):
        assert secret not in shown
    assert shown.count("***") >= 5


@pytest.mark.parametrize("format", ["json", "text"])
@pytest.mark.parametrize(
    "evil", ["a\nWARNING forged=1", "\x1b[2J", "\x9b2J", "\u2028x", "{__class__} {} {0}", "<red>x</red>"]
)
def test_a_text_from_outside_cannot_forge_a_line_or_reach_the_terminal(
    format: Literal["json", "text"], evil: str
) -> None:
    shown = logged(CacheUnavailable(reason=evil), format=format)
    assert shown.count("\n") == 1
    assert "\x1b" not in shown
    if format == "text":
        assert shown[:-1].isprintable()
    if evil.isprintable():
        assert evil in shown


def test_a_lone_surrogate_is_no_reason_to_fail() -> None:
    assert one(CacheUnavailable(reason="a\ud800b"))["reason"] == "a\\ud800b"


def test_a_stream_that_cannot_be_written_to_loses_lines_and_nothing_else() -> None:
    stream = io.StringIO()
    stream.close()

    async def main() -> None:
        log_sink("DEBUG", "json", stream)(a_run(), OPENED)

    virtual.run(main())


def test_the_applications_own_loguru_handlers_are_left_alone() -> None:
    from loguru import logger

    theirs: list[str] = []
    handler = logger.add(theirs.append, format="{message}")
    try:
        assert "circuit_opened" in logged(OPENED)
        logger.info("mine")
    finally:
        logger.remove(handler)
    assert theirs == ["mine\n"]
    assert "circuit_opened" in logged(OPENED), "removing their handlers does not remove ours"


def test_two_sinks_do_not_write_each_others_lines() -> None:
    first, second = io.StringIO(), io.StringIO()

    async def main() -> None:
        one, two = log_sink("DEBUG", "json", first), log_sink("DEBUG", "text", second)
        one(a_run(), OPENED)
        two(a_run(), OPENED)

    virtual.run(main())
    assert first.getvalue().startswith("{") and first.getvalue().count("\n") == 1
    assert second.getvalue().count("\n") == 1


def test_by_default_lines_go_to_what_stderr_is(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        log_sink()(a_run(), OPENED)

    virtual.run(main())
    held = capsys.readouterr()
    assert held.out == "" and "circuit_opened" in held.err


def test_violations_are_named_by_place_so_no_completion_is_logged() -> None:
    line = one(ContractFailed(target="t", violations=("$.topic: enum",), repair=0))
    assert line["violations"] == ["$.topic: enum"]


def test_a_run_that_logs_nothing_does_not_import_loguru() -> None:
    program = (
        "import sys\n"
        "from wizard_dsl.observe.log import log_sink\n"
        "from wizard_dsl.core.events import RunStarted\n"
        "log_sink('WARNING', 'json')(None, RunStarted(pipeline='p'))\n"
        "assert 'loguru' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_event_below_the_level_builds_nothing() -> None:
    """The level is looked at first: neither run nor event fields are touched."""
    sink: Callable[[Any, Any], None] = log_sink("WARNING", "json")

    class Untouchable:
        level = "DEBUG"

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was read")

    sink(Untouchable(), Untouchable())


def test_a_sink_says_which_events_it_writes() -> None:
    """Whoever asks need not call it for the others."""
    takes = log_sink("WARNING").takes  # type: ignore[attr-defined]
    assert takes(BreakerChanged) and not takes(RunStarted) and not takes(RunEnded)
    assert log_sink("INFO").takes(RunEnded)  # type: ignore[attr-defined]
