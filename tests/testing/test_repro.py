"""From incident to test: whatever a run did is played again by the file that is written of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from repro_kit import FILE, REGISTRY, Case, alike

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.errors import ATTEMPT_ERRORS
from wizard_dsl.core.result import AttemptRow
from wizard_dsl.observe.history_record import Asking
from wizard_dsl.providers._errors import inside, refused
from wizard_dsl.testing.repro_items import item_of
from wizard_dsl.testing.repro_text import Draft, flow, scalar
from wizard_dsl.testing.scripted import read_item

SCHEMA = "steps.answer.output={schema: {type: object, required: [topic], properties: {topic: {enum: [x, y]}}}}"


CASES: dict[str, tuple[tuple[str, ...], dict[str, list[Any]], dict[str, Any]]] = {
    "retries and a fallback": ((), {"a": [503, {"status": 503, "delay": "2s"}, 500], "b": ["yes"]}, {}),
    "a 429 with retry-after": ((), {"a": [{"status": 429, "retry_after": "1500ms"}, "yes"]}, {}),
    "a failure that is not to be repeated": (
        (),
        {"a": [{"status": 503, "headers": {"x-should-retry": "false"}}], "b": ["yes"]},
        {},
    ),
    "a 429 that is left": ((), {"a": [{"status": 429, "retry_after": "90s"}], "b": ["yes"]}, {}),
    "a key that is refused": ((), {"a": [401]}, {}),
    "no connection": ((), {"a": [{"refuse": True, "delay": "1s"}] * 3, "b": [{"refuse": True}] * 3, "c": ["ok"]}, {}),
    "a timeout": (("chains.default.policies.timeout=4s",), {"a": [{"reply": "x", "delay": "9s"}] * 3, "b": ["y"]}, {}),
    "an empty answer": ((), {"a": ["", "", ""], "b": ["y"]}, {}),
    "lost before the end": ((), {"a": [{"reply": "a b", "cut_after": 0}, "ok"]}, {}),
    "an empty account": (
        (),
        {"a": [{"status": 429, "body": '{"error": {"code": "insufficient_quota"}}'}], "b": ["y"]},
        {},
    ),
    "an error inside a 200": (
        (),
        {"a": [{"status": 200, "body": '{"error": {"type": "overloaded_error", "message": "x"}}'}, "ok"]},
        {},
    ),
    "the deadline": ((), {"a": [503, {"reply": "x", "delay": "1h"}]}, {"deadline": "7s"}),
    "somebody who left": ((), {"a": [503, {"reply": "x", "delay": "1h"}]}, {"cancel": 6.0}),
    "a repair": ((SCHEMA,), {"a": ["no json", {"reply": {"topic": "x"}}]}, {}),
    "nothing as declared": ((SCHEMA,), {"a": ["no json"] * 2, "b": ["{}"] * 2, "c": ["[]"] * 2}, {}),
    "a hedge": (
        ("chains.default.strategy={type: hedged, after: 3s}",),
        {"a": [{"reply": "late", "delay": "60s"}], "b": [{"reply": "soon", "delay": "1s"}]},
        {},
    ),
    "two at once": (
        ("chains.default.strategy={type: parallel, n: 2}",),
        {"a": [{"status": 503, "delay": "1s"}] * 3, "b": [{"reply": "soon", "delay": "2s"}]},
        {},
    ),
    "a breaker that opens": (
        ("chains.default.policies.circuit_breaker.failure_threshold=2",),
        {"a": [503, 503], "b": ["y"]},
        {},
    ),
    "a stream": (
        (),
        {"a": [{"reply": "one two three four", "first_chunk": "2s", "chunk_every": "1s"}]},
        {"stream": True},
    ),
    "a stream that is cut": (
        (),
        {"a": [{"reply": "one two three", "first_chunk": "2s", "cut_after": 1}]},
        {"stream": True},
    ),
    "a stream that begins anew": (
        ("chains.default.on_mid_stream_error=restart",),
        {"a": [{"reply": "one two three", "first_chunk": "2s", "cut_after": 1}, "one two"]},
        {"stream": True},
    ),
    "a slow first content": (
        ("chains.default.policies.timeout={first_chunk: 3s}",),
        {"a": [{"reply": "late", "first_chunk": "9s"}] * 3, "b": ["y"]},
        {"stream": True},
    ),
}


@pytest.mark.parametrize("content", ["none", "full"])
@pytest.mark.parametrize("name", CASES)
def test_a_run_is_played_again_with_the_same_attempts(tmp_path: Path, name: str, content: str) -> None:
    sets, scripts, how = CASES[name]
    case = Case(tmp_path, *sets, f"history.content={content}")
    stored = case.play(scripts, **how)
    made = case.repro(stored)
    assert made.passes, made.text
    (result,) = case.results(made.text)
    assert [(row.target, row.kind) for row in result.attempts] == [
        (row.target, row.kind) for row in stored.result.attempts
    ]
    assert (result.served_by, result.error and result.error.kind) == (
        stored.result.served_by,
        stored.result.error and stored.result.error.kind,
    )
    assert alike(result.attempts) == alike(stored.result.attempts)
    differs = [each for each in made.notes if "in the recorded run" in each]
    assert differs == []
    if content == "full":
        assert result.text == stored.result.text
        assert "placeholder" not in made.text.replace("placeholder …", "")


def test_placeholders_are_called_so_and_inputs_may_be_given(tmp_path: Path) -> None:
    case = Case(tmp_path, SCHEMA)
    stored = case.play({"a": [503, {"reply": {"topic": "y"}}]})
    made = case.repro(stored)
    assert "(`history.content: none`)" in made.text
    lines = made.text.splitlines()
    assert [line for line in lines if line.strip().startswith(("q:", "n:", "d:"))] == [
        "      q: amber  # placeholder",
        "      n: 9  # placeholder",
    ]
    assert next(line for line in lines if "reply" in line).strip().startswith("- {reply: {topic: ")
    given = case.repro(stored, inputs={"q": "really? 'yes' : \"no\" # \x85", "n": 7})
    assert 'q: "really? \'yes\' : \\"no\\" # \\u0085"\n' in given.text
    assert "n: 7\n" in given.text
    assert given.passes
    assert "Inputs that are not named here were not recorded, and take their defaults." in made.notes
    assert "and take their defaults" not in case.repro(stored, inputs={"q": "x", "n": 3, "d": "y"}).text


def test_a_cache_hit_is_played_after_a_run_that_fills_the_cache(tmp_path: Path) -> None:
    case = Case(tmp_path, "chains.default.policies.cache=1h")
    stored = case.play({"a": ["yes"]}, runs=2, pause=12.0)
    assert stored.result.attempts == []
    made = case.repro(stored)
    assert made.passes
    first, second = case.results(made.text)
    assert (len(first.attempts), len(second.attempts)) == (1, 0)
    assert second.steps["answer"].cached
    assert second.steps["answer"].age == pytest.approx(12.0, abs=0.01)


def test_a_breaker_that_was_open_before_is_told(tmp_path: Path) -> None:
    case = Case(tmp_path, "chains.default.policies.circuit_breaker.failure_threshold=2")
    stored = case.play({"a": [503, 503], "b": ["x", "y"]}, runs=2)
    made = case.repro(stored)
    assert "The breaker of a was open when the run began; here it begins closed." in made.notes
    assert any("run 1 of its process" in each for each in made.notes)
    assert made.passes, made.text
    case.results(made.text)


def test_a_file_that_has_changed_since_is_told_and_what_differs_is_expected_as_it_comes(tmp_path: Path) -> None:
    case = Case(tmp_path)
    stored = case.play({"a": [503, 503, 503], "b": ["yes"]})
    case.path.write_text(FILE.replace("targets: [a, b, c]", "targets: [a, b, c], policies: {retry: 2}"))
    case.compiled = compile_file(case.path, REGISTRY, Sources(env={}))
    made = case.repro(stored)
    assert any(each.startswith("case.yaml has changed since") for each in made.notes)
    assert "attempts was 4 in the recorded run" in made.notes
    assert "    # attempts was 4 in the recorded run\n" in made.text
    assert made.passes, made.text
    (result,) = case.results(made.text)
    assert len(result.attempts) == 3


def test_a_file_that_refuses_what_was_recorded_does_not_pass_and_says_why(tmp_path: Path) -> None:
    case = Case(tmp_path)
    stored = case.play({"a": ["yes"]})
    case.path.write_text(FILE.replace("[a, b, c]", "[b, c]"))
    case.compiled = compile_file(case.path, REGISTRY, Sources(env={}))
    made = case.repro(stored)
    assert not made.passes
    assert any("'a'" in each for each in made.notes)


def test_options_of_the_run_are_those_of_the_test(tmp_path: Path) -> None:
    case = Case(tmp_path, "chains.default.policies.retry=1", "observe.log={level: ERROR}", chain="default")
    stored = case.play({"a": [503], "b": ["yes"]}, deadline="9s")
    made = case.repro(stored, env={"KEY": "test"})
    for line in (
        "    chain: default\n",
        "    set: {chains.default.policies.retry: 1, observe.log: {level: ERROR}}\n",
        '    deadline: "9s"\n',
        "    seed: 5\n",
        "    env: {KEY: test}\n",
    ):
        assert line.replace('"9s"', "9s") in made.text or line in made.text
    assert made.passes


ITEMS = st.sampled_from([
    "yes", 503, 401, 429, {"status": 429, "retry_after": "1s"}, {"status": 429, "retry_after": "400s"},
    {"refuse": True, "delay": "1s"}, {"status": 503, "retry_after": "2s"}, {"reply": "slow", "delay": "9s"},
    {"reply": "a b c", "cut_after": 0}, {"reply": "a b", "stall_after": 0}, {"reply": ""},
    {"reply": "never", "delay": "1h"}, {"reply": {"topic": "x"}}, 400, 404, 408, {"status": 402}, "no json",
])  # fmt: skip
SCRIPT = st.lists(ITEMS, min_size=12, max_size=12)
SHAPES = [
    (),
    (SCHEMA,),
    ("chains.default.strategy={type: hedged, after: 2s}",),
    ("chains.default.strategy={type: parallel, n: 2}",),
    ("chains.default.policies.circuit_breaker={failure_threshold: 2, reset_timeout: 5s}", "deadline=30s"),
    ("chains.default.policies.rate_limit={rate: 1/s, burst: 1}", "chains.default.policies.cache=1h"),
    ("chains.default.on_rate_limit={wait_up_to: 30s}", "chains.default.policies.concurrency=1"),
]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return [Case(tmp_path_factory.mktemp("shape"), *sets) for sets in SHAPES]


@settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(st.integers(0, len(SHAPES) - 1), SCRIPT, SCRIPT, SCRIPT)
def test_whatever_targets_do_is_played_again_to_the_same_attempts(
    shapes: list[Case], shape: int, a: list[Any], b: list[Any], c: list[Any]
) -> None:
    case = shapes[shape]
    stored = case.play({"a": a, "b": b, "c": c})
    made = case.repro(stored)
    assert made.passes, made.text
    (result,) = case.results(made.text)
    assert alike(result.attempts) == alike(stored.result.attempts), made.text
    assert (result.served_by, result.error and result.error.kind) == (
        stored.result.served_by,
        stored.result.error and stored.result.error.kind,
    )


@pytest.mark.parametrize("status", [None, 200, 400, 402, 404, 413, 422, 429, 503])
@pytest.mark.parametrize("kind", [*ATTEMPT_ERRORS])
def test_each_kind_is_made_again_by_its_item(kind: str, status: int | None) -> None:
    row = msgspec.convert(
        {
            "target": "a", "step": "s", "item": None, "kind": kind, "status": status, "started": 0.0, "elapsed": 1.0,
            "first_chunk": None, "usage": None, "cost": None, "confidence": "unknown", "waited": 0.0, "hedge": False,
            "retry_of": None, "message": None,
        },
        AttemptRow,
    )  # fmt: skip
    item = read_item(item_of(row, Asking(), None))
    if item.refuse or item.cut_after == 0 or item.stall_after == 0:
        assert status is None or status < 300
        assert kind in ("connect", "server", "timeout")
    elif item.status >= 300:
        assert refused(item.status, {}, item.body.encode(), wall=0.0, secrets=()).kind == kind
    else:
        payload = msgspec.json.decode(item.body)
        assert inside(payload, {}, status=item.status, wall=0.0, secrets=()).kind == kind


@given(st.text())
def test_every_text_is_read_back_as_it_was(text: str) -> None:
    from wizard_dsl.spec.source import parse_value

    if any("\ud800" <= char <= "\udfff" for char in text):
        return
    value, problems = parse_value(scalar(text), "x")
    assert (value, problems) == (text, ())
    value, problems = parse_value(flow({"k": [text, {"x": text}]}), "x")
    assert (value, problems) == ({"k": [text, {"x": text}]}, ())


def test_what_is_too_wide_is_written_as_lines() -> None:
    item = {"status": 503, "body": "x" * 60, "headers": {"x-why": "y" * 60}}
    draft = Draft(head=["why"], pipeline="a.yaml", name="t", targets={"a": [item]}, replies={("a", 0)})
    lines = draft.render().splitlines()
    assert "      a:" in lines and "        - status: 503  # placeholder" in lines
