"""The arithmetic of the benchmarks' harness: rounds, ratios, what is reached, and how results compare."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from benchmarks import harness
from benchmarks.__main__ import QUESTIONS, main
from benchmarks.compare import comparison, earlier, verdict
from benchmarks.harness import Row, figure, mock_server, profile, rounds, row, show, table, write
from benchmarks.measures import crowd


def side(name: str, order: list[str]) -> Callable[[], Awaitable[float]]:
    async def measure() -> float:
        order.append(name)
        return float(len(order))

    return measure


async def test_the_order_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    values = await rounds({name: side(name, order) for name in "abc"}, 3)
    assert "".join(order) == "abcbcacababc"
    assert values == {"a": [6, 8, 10], "b": [4, 9, 11], "c": [5, 7, 12]}


def test_ratios_are_taken_within_a_round() -> None:
    found = row("q", "s", [2.0, 30.0, 4.0], [1.0, 10.0, 4.0], unit="s")
    assert (found.ratio, found.lowest, found.highest) == (2.0, 1.0, 3.0)
    assert (found.value, found.baseline) == (4.0, 4.0)
    with pytest.raises(ValueError):
        row("q", "s", [1.0], [1.0, 2.0], unit="s")


def test_a_figure_alone_carries_its_own_spread() -> None:
    found = figure("q", "s", [3.0, 1.0, 2.0], unit="MB")
    assert (found.value, found.lowest, found.highest, found.ratio) == (2.0, 1.0, 3.0, None)


@pytest.mark.parametrize(
    ("value", "better", "reached"),
    [(0.9, "lower", "goal"), (1.5, "lower", "floor"), (2.5, "lower", "missed"), (2.5, "higher", "goal")],
)
def test_what_is_reached(value: float, better: str, reached: str) -> None:
    lower = better == "lower"
    found = row("q", "s", [value], [1.0], unit="s", better=better)
    assert found.reached == ""
    assert found.aiming(floor=2.0, goal=1.0 if lower else 2.2).reached == reached


def test_aims_are_of_the_value_where_they_say_so() -> None:
    found = row("q", "s", [50.0], [10.0], unit="MB").aiming(floor=60, goal=45, of="value")
    assert found.reached == "floor"
    assert "| 50.0 MB | 10.0 MB | 60.0 MB | 45.0 MB | floor |" in table([found])
    assert found.aiming(floor=60, of="value").reached == "floor"


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(1.2e-6, "s", "1.20 µs"), (1.5e-4, "s", "150 µs"), (0.25, "s", "250.0 ms"), (1234.0, "/s", "1,234/s")],
)
def test_values_are_shown_in_readable_units(value: float, unit: str, shown: str) -> None:
    assert show(value, unit) == shown


def spread(lowest: float, highest: float, better: str = "lower") -> Row:
    return figure("q", "s", [lowest, highest], unit="x", better=better)


def test_only_spreads_that_are_apart_are_a_change() -> None:
    assert verdict(spread(1, 3), spread(2, 4)) == "within the spread"
    assert verdict(spread(3, 4), spread(1, 2)) == "better"
    assert verdict(spread(1, 2), spread(3, 4)) == "worse"
    assert verdict(spread(1, 2, "higher"), spread(3, 4, "higher")) == "better"


def test_results_are_written_read_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    path = write("q", [spread(1, 2)])
    assert earlier(path) == earlier(path.parent) == [spread(1, 2)]
    told = comparison(earlier(path), [spread(4, 5), figure("other", "s", [1.0], unit="x")])
    assert "| q | s | 1.5 x (1.0 x to 2.0 x) | 4.5 x (4.0 x to 5.0 x) | 3.000 | worse |" in told
    assert "- new: other, s" in told
    with pytest.raises(ValueError, match="no results there"):
        earlier(tmp_path)
    (tmp_path / "old.json").write_text("{}")
    with pytest.raises(ValueError, match=r"old\.json: "):
        earlier(tmp_path / "old.json")


def test_wrong_names_and_files_are_refused_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["fast"], "there is no benchmark 'fast'; there are headroom"),
        (["--compare", "none.json"], "none.json: "),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_each_question_has_a_file_and_is_documented() -> None:
    text = (harness.HERE / "README.md").read_text()
    missing = [name for name in QUESTIONS if not (harness.HERE / f"{name}.py").exists() or f"`{name}.py`" not in text]
    assert missing == []


async def test_a_crowd_makes_every_call_and_counts_what_fails() -> None:
    at_once, most, calls = 0, 0, 0

    async def ask(question: str) -> None:
        nonlocal at_once, most, calls
        calls += 1
        mine = calls
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        if mine % 5 == 0:
            raise ConnectionError(question)

    _, errors = await crowd(ask, 20, 4)
    assert (calls, most, errors) == (20, 4, {"ConnectionError": 4})


async def test_a_profile_names_what_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    harness.asked.set("q")
    await profile("one side", side("a", []))
    assert "measure" in (tmp_path / "q.one_side.profile.txt").read_text()


@pytest.mark.server
@pytest.mark.parametrize(("path", "status"), [("/v1", 200), ("/wait/5/v1", 200), ("/fail/v1", 500), ("/else", 404)])
def test_the_mock_server_answers_each_way(path: str, status: int) -> None:
    with mock_server() as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20) as ours:
        ours.sendall(b"POST %s/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}" % path.encode())
        head, _, body = ours.recv(1 << 16).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-length: %d" % len(body) in head
    if body:
        assert ("choices" in msgspec.json.decode(body)) == (status == 200)
