"""The peers' side of the benchmarks: pins, runner files, and the protocol with a peer that is made up. No network."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec
import pytest

from benchmarks import harness
from benchmarks.harness import HERE, mock_server
from benchmarks.measures import Ask
from benchmarks.peers import evaluations
from benchmarks.peers.__main__ import behind, main
from benchmarks.peers.crowds import Imports, Waiting
from benchmarks.peers.driver import Program, Unable, in_turn, module, running
from benchmarks.peers.environments import NotInstalled, Pin, install, pins
from benchmarks.peers.evaluations import PROMPTFOO, Cases, launched
from benchmarks.peers.found import BARE, RAW, WIZARD, Aims, Gap, found
from benchmarks.peers.questions import QUESTIONS, Question
from benchmarks.peers.worker import Side, serve

PEERS = HERE / "peers"
SIDES = sorted(PEERS.glob("side_*.py"))
#: What a side runs on in a peer's interpreter, which has none of our dependencies.
SHARED = (
    "benchmarks/measures.py",
    "benchmarks/server.py",
    "benchmarks/peers/__init__.py",
    "benchmarks/peers/worker.py",
)
FAKE = """
import json, sys
print("it began", file=sys.stderr)
for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "leave":
        sys.exit("it broke")
    if command["do"] != "stay":
        answer = {"cannot": "it has none"} if command["do"] == "cached" else {"value": command["count"]}
        print(json.dumps(answer), flush=True)
"""
PROGRAM = Program(command=[sys.executable, "-c", FAKE])


def test_each_peer_has_exact_versions_and_each_python_peer_a_runner() -> None:
    for name, pin in pins().items():
        assert pin.pip or pin.npm, name
        assert all(re.fullmatch(r"[\w-]+(\[\w+\])?==[\d.]+", each) for each in pin.pip), pin.pip
        assert all(re.fullmatch(r"[\w/@-]+@[\d.]+", each) for each in pin.npm), pin.npm
    runners = {path.stem.removeprefix("side_") for path in SIDES}
    assert runners - {"raw", "wizard"} == {name for name, pin in pins().items() if pin.imports}


def test_pins_with_a_word_that_nobody_reads_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pins.toml").write_text('[one]\npips = ["one==1"]\n')
    with pytest.raises(msgspec.ValidationError, match="pips"):
        pins(tmp_path / "pins.toml")


@pytest.mark.parametrize("path", SIDES, ids=lambda path: path.stem)
def test_a_runner_parses_and_names_its_side(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert any(isinstance(each, ast.If) and "__main__" in ast.unparse(each.test) for each in tree.body)


@pytest.mark.parametrize("name", SHARED)
def test_what_runs_in_a_peers_interpreter_imports_the_standard_library_and_itself(name: str) -> None:
    mine = {path.removesuffix(".py").replace("/", ".") for path in SHARED}
    for node in ast.walk(ast.parse((HERE.parent / name).read_text())):
        if isinstance(node, ast.Import):
            assert all(each.name.split(".")[0] in sys.stdlib_module_names for each in node.names), ast.unparse(node)
        if isinstance(node, ast.ImportFrom):
            assert node.module in mine or str(node.module).split(".")[0] in sys.stdlib_module_names, node.module


async def test_a_side_answers_says_what_it_cannot_and_what_it_ended_with() -> None:
    async with running(PROGRAM) as side:
        assert await side.ask(do="sequential", count=3) == {"value": 3}
        with pytest.raises(Unable, match=r"^it has none$"):
            await side.ask(do="cached", count=3)
        with pytest.raises(Unable, match="status 1: it broke"):
            await side.ask(do="leave")


async def test_a_side_that_does_not_answer_in_time_is_given_up() -> None:
    async with running(PROGRAM, patience=0.0) as side:
        with pytest.raises(Unable, match="did not finish within 0 s"):
            await side.ask(do="stay")


async def test_a_side_that_is_unable_falls_out_and_the_others_go_on() -> None:
    calls: list[int] = []

    async def good() -> float:
        return 2.0

    async def bad() -> float:
        calls.append(1)
        if len(calls) == 2:
            raise Unable("it broke")
        return 1.0

    values, reasons = await in_turn({"good": good, "bad": bad}, 3)
    assert (values, reasons, len(calls)) == ({"good": [2.0, 2.0, 2.0]}, {"bad": "it broke"}, 2)


def test_figures_are_against_raw_and_gaps_have_reasons() -> None:
    values = {RAW: [1.0, 2.0], WIZARD: [1.5, 3.0], "slow": [4.0, 8.0], "quick": [1.0, 1.0]}
    result = found("q", values, {"other": "it has none"}, unit="s", aims=Aims(1.35, 1.2))
    assert [(each.subject, each.ratio, each.reached) for each in result.rows] == [
        (WIZARD, 1.5, "missed"),
        ("slow", 4.0, ""),
        ("quick", 0.75, ""),
    ]
    assert result.gaps == [Gap("q", "other", "it has none")]
    assert behind(result.rows) == ["- q: quick 0.75 x, wizard 1.5 x"]
    with pytest.raises(Unable, match="q: it broke"):
        found("q", {WIZARD: [1.0]}, {RAW: "it broke"}, unit="s")


def fake() -> Side:
    """A side that answers by itself and streams two texts, of which one is empty."""

    @asynccontextmanager
    async def ask(_: str) -> AsyncIterator[Ask]:
        async def answer(text: str) -> str:
            return "The sky is blue"

        yield answer

    @asynccontextmanager
    async def wrong(_: str) -> AsyncIterator[Ask]:
        async def answer(text: str) -> str:
            return "None"

        yield answer

    @asynccontextmanager
    async def stream(_: str) -> AsyncIterator[object]:
        async def texts(text: str) -> AsyncIterator[str]:
            for each in ("", "word"):
                yield each

        yield texts

    return Side(ask=ask, crowd=ask, stream=stream, cached="it has no cache", failover=wrong)


async def test_the_worker_measures_each_command() -> None:
    commands = [
        {"do": "sequential", "url": "u", "count": 3},
        {"do": "throughput", "url": "u", "count": 3, "at_once": 2},
        {"do": "waiting", "url": "u", "count": 3},
        {"do": "chunks", "url": "u", "count": 1},
        {"do": "first", "url": "u", "count": 3},
        {"do": "chunks", "url": "u", "count": 2},
        {"do": "cached", "url": "u", "count": 3},
        {"do": "failover", "url": "u", "count": 3},
    ]
    answers = io.StringIO()
    await serve(fake(), io.StringIO("".join(f"{json.dumps(each)}\n" for each in commands)), answers)
    said = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [each["value"] > 0 for each in said[:5]] == [True] * 5
    assert said[2]["errors"] == {} and said[2]["most"] >= said[2]["before"] > 0
    assert said[5] == {"error": "AssertionError: 1 chunks of 2 arrived"}
    assert said[6] == {"cannot": "it has no cache"}
    assert said[7] == {"error": "AssertionError: the answer was 'None'"}


def loaded(megabytes: float, errors: str = "{}") -> Program:
    """A side of which a crowd takes two seconds and so much memory, with these errors."""
    answer = f'{{"value": 2.0, "before": 10.0, "most": {megabytes}, "errors": {errors}}}'
    return Program(command=[sys.executable, "-c", f"input(); print({answer!r})"])


@pytest.mark.server
async def test_calls_in_flight_have_a_time_and_memory_and_none_where_calls_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(harness, "FEWER", 1)
    sides = {RAW: loaded(11), WIZARD: loaded(12), "broken": loaded(11, '{"TimeoutError": 2}'), BARE: PROGRAM}
    few = await Waiting(count=10, seconds=1, time=Aims(2.0, 1.4, "value"), call=Aims(300, 100, "value")).measured(sides)
    assert [(each.subject, each.value, each.ratio, each.reached) for each in few.rows] == [
        (WIZARD, 2.0, 1.0, "floor"),
        (WIZARD, 200.0, 2.0, "floor"),
        (WIZARD, 12.0, 12 / 11, ""),
    ]
    assert few.gaps == [Gap("10 in flight, 1 s: time of all", "broken", "calls failed, 2 with TimeoutError")]


async def test_imports_that_fail_are_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "FEWER", 1)
    python = Program(command=[sys.executable], imports="import json")
    result = await Imports().measured({RAW: python, WIZARD: python, "none": Program(command=["false"], imports="x")})
    assert [(each.subject, each.unit) for each in result.rows] == [(WIZARD, "s"), (WIZARD, "MB")]
    assert {gap.reason for gap in result.gaps} == {"its imports ended with status 1"}


@pytest.mark.server
async def test_our_own_sides_answer_every_question() -> None:
    small = {"count": 2}
    asked = {name: each for name, each in QUESTIONS.items() if isinstance(each, Question)}
    with mock_server() as url:
        async with running(module("wizard", sys.executable)) as wizard, running(module("raw", sys.executable)) as raw:
            for name, question in asked.items():
                path = "/chunks/2/v1" if name == "stream" else question.path
                command = {**question.command, **small, "url": f"{url}{path}"}
                assert "value" in await wizard.ask(**command), name
                if question.baseline is None:
                    assert "value" in await raw.ask(**command), name


def test_a_peer_that_cannot_be_installed_says_why_and_one_that_is_there_is_left(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "pins.json").write_bytes(b'[[],["one@1"]]')
    assert install("one", Pin(npm=["one@1"]), tmp_path) == tmp_path / "one"
    with pytest.raises(NotInstalled, match=r"\S"):
        install("two", Pin(npm=["file:./there-is-none@0"]), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"), [(["nothing"], "no question 'nothing'"), (["--peers", "nobody"], "no peer 'nobody'")]
)
def test_what_is_not_known_is_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err


async def test_a_whole_program_has_a_time_and_memory_of_its_own_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    took = await launched([sys.executable, "-S", "-c", "held = b'x' * 50_000_000"])()
    less = await launched([sys.executable, "-S", "-c", "pass"])()
    assert took["value"] > 0 and 40 < took["most"] - less["most"] < 60
    with pytest.raises(Unable, match=r"^ended with status 1: it broke$"):
        await launched([sys.executable, "-S", "-c", "import sys; sys.exit('it broke')"])()
    monkeypatch.setattr(evaluations, "PATIENCE", 0.0)
    with pytest.raises(Unable, match="did not finish within 0 s"):
        await launched([sys.executable, "-S", "-c", "input()"])()


async def test_our_test_cases_are_as_many_as_theirs_and_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "FEWER", 1)
    cases = Cases(3)
    assert len(cast(list[object], cases.theirs()["tests"])) == 3 == cases.ours().count("expect:")
    result = await cases.measured({PROMPTFOO: Program(command=["false"])})
    assert [(each.subject, each.unit) for each in result.rows] == [(WIZARD, "s"), (WIZARD, "MB")]
    assert [(gap.subject, gap.reason) for gap in result.gaps] == [(PROMPTFOO, "ended with status 1: it said nothing")]
