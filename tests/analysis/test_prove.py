"""prove: which sequences are played, what is found, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from proving_kit import TWO_TARGETS, names, proved, written

from wizard_dsl.analysis.prove import Job, Limits, prove
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.registry import Registry
from wizard_dsl.testing.trying import collect, try_case

ONE_TARGET = """\
version: 1
inputs: {question: {type: string, default: "?"}}
providers: {one: {type: mock, model: m}}
policies: {default: {retry: off, circuit_breaker: off, timeout: {total: 20s}}}
chains: {default: {targets: [one]}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""
HIDDEN_KEY = (
    TWO_TARGETS.replace("[one, two]", "[one, two], fallback_on: {auth: true}")
    + """\
invariants:
  no_hidden_dead_key: "not (attempts | selectattr('kind', 'eq', 'auth') | list and served_by)"
"""
)


def test_a_file_with_few_sequences_is_shown_for_all_of_them(tmp_path: Path) -> None:
    report = proved(written(tmp_path, ONE_TARGET), depth=9)
    assert report.holds and report.stopped == "all"
    assert report.verdict == f"holds for all {report.played:,} sequences: there are no others of these classes"
    assert [(level.depth, level.played == level.size) for level in report.levels] == [(0, True), (1, True)]


def test_an_input_that_a_prompt_shows_is_an_image(tmp_path: Path) -> None:
    text = ONE_TARGET.replace("{user:", "{messages: [{role: user, content: [{image:").replace('}}"}', '}}"}]}]}')
    report = proved(written(tmp_path, text.replace(', default: "?"', "") + 'invariants: {silent: "not text"}\n'))
    assert [each.name for each in report.violations] == ["silent"]


def test_no_more_is_said_than_was_shown(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_TARGETS)
    deep = proved(path, depth=1, states=False)
    assert deep.verdict == f"holds for all {deep.played:,} sequences up to depth 1" and deep.more > deep.played
    few = proved(path, depth=3, runs=20, states=False)
    assert few.verdict == "no violation in 20 sequences, not exhausted; up to depth 0 all were played"


def test_the_smallest_counter_example_comes_with_its_story_and_a_test_that_fails(tmp_path: Path) -> None:
    report = proved(written(tmp_path, HIDDEN_KEY), depth=3)
    (found,) = report.violations
    assert (found.name, found.depth, found.start) == ("no_hidden_dead_key", 1, "closed")
    assert found.outcomes == ("one: 401 (auth)", "two: an answer")
    assert "one: 401 auth after 0.000 s" in found.transcript
    assert found.test_fails
    assert report.verdict == "1 of 8 invariants broken, the first at depth 1"


def test_the_test_passes_once_the_file_is_mended(tmp_path: Path) -> None:
    report = proved(written(tmp_path, HIDDEN_KEY))
    test = tmp_path / "found.test.yaml"
    test.write_text(report.violations[0].test, encoding="utf-8")
    suite = collect(test)
    failures = try_case(suite, suite.cases[0]).failures
    assert [each.what for each in failures] == ["that"]
    written(tmp_path, HIDDEN_KEY.replace("[one, two], fallback_on: {auth: true}", "[one, two]"))
    again = collect(test)
    assert "that" not in [each.what for each in try_case(again, again.cases[0]).failures]


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, HIDDEN_KEY)
    assert proved(path, depth=2, runs=120, processes=2) == proved(path, depth=2, runs=120)


def test_a_kind_that_a_file_names_is_a_class_of_its_own(tmp_path: Path) -> None:
    def classes(text: str) -> tuple[str, ...]:
        return proved(written(tmp_path, text), depth=0, states=False).covered[0].classes

    plain = classes(ONE_TARGET)
    assert any(each.startswith("connect; the same as server, not_found") for each in plain)
    named = classes(ONE_TARGET + "invariants: {x: \"not error or error.kind != 'content_filter'\"}\n")
    assert len(named) == len(plain) + 1 and any(each.startswith("400 (content_filter)") for each in named)
    status = classes(ONE_TARGET.replace("retry: off", "retry: {when: 'error.status == 529'}"))
    assert "529 (server)" in status


def test_what_a_condition_compares_with_is_answered(tmp_path: Path) -> None:
    text = """\
version: 1
inputs: {mode: {type: string, default: slow}}
providers: {one: {type: mock, model: m}}
chains: {default: {targets: [one]}}
steps:
  topic:
    prompt: {user: Sort it.}
    output: {schema: {type: object, required: [topic], properties: {topic: {enum: [bug, bill, spam]}}}}
  reply: {prompt: {user: Answer.}, when: "steps.topic.json.topic != 'spam' and mode != 'fast'"}
invariants:
  always_answered: "error or not steps.reply.skipped"
"""
    report = proved(written(tmp_path, text), depth=1, states=False)
    (found,) = report.violations
    assert found.depth == 0 and found.start.startswith("closed, other inputs")
    assert "mode: fast" in found.test
    fixed = proved(written(tmp_path, text), depth=1, states=False, inputs=b'{"mode": "slow"}')
    assert fixed.violations[0].outcomes == ('one: the answer {"topic":"spam"}',)


def test_states_that_earlier_runs_leave_are_begun_from(tmp_path: Path) -> None:
    limited = TWO_TARGETS.replace("[one, two]", "[one, two], policies: {rate_limit: {rate: 1/s, burst: 2}}")
    starts = proved(written(tmp_path, limited), depth=0).starts
    assert "open: one of chain default" in starts
    assert "half-open: all targets of chain default, 30s later" in starts
    assert "blocked by a 429: one of chain default" in starts
    assert "empty bucket: rate_limit (two), and the caller goes away" not in starts, "the first target answers"
    assert "empty bucket: rate_limit (one), and the caller goes away" in starts


def test_a_state_that_is_not_reached_is_told(tmp_path: Path) -> None:
    report = proved(
        written(tmp_path, TWO_TARGETS.replace("[one, two]", "[one, two], policies: {circuit_breaker: 500}")), depth=0
    )
    assert any(each.startswith("the breaker of one of chain default open: not reached") for each in report.left_out)
    assert not any(each.startswith("open") for each in report.starts)


def test_a_counter_example_from_an_open_breaker_is_a_test_with_earlier_runs(tmp_path: Path) -> None:
    text = TWO_TARGETS + "invariants: {first_answers: \"served_by != 'two' or attempts | length > 1\"}\n"
    (found,) = proved(written(tmp_path, text), depth=0).violations
    assert found.start == "open: one of chain default"
    assert "runs:" in found.test and found.test_fails


def test_an_invariant_without_a_value_is_a_finding(tmp_path: Path) -> None:
    text = TWO_TARGETS + "invariants: {odd: \"breakers['three'].state == 'closed'\"}\n"
    (found,) = proved(written(tmp_path, text), depth=0).violations
    assert found.sentence.startswith("it has no value here: ") and found.depth == 0


def test_streams_break_and_callers_go_away(tmp_path: Path) -> None:
    text = TWO_TARGETS + "invariants: {whole: \"not error or error.kind not in ['mid_stream', 'cancelled']\"}\n"
    (found,) = proved(written(tmp_path, text), depth=1, states=False).violations
    assert found.outcomes == ("one: no answer, and the caller goes away",)
    assert "cancel_after: 1ms" in found.test and found.test_fails
    broken = text.replace(", 'cancelled'", "")
    (found,) = proved(written(tmp_path, broken), depth=1, states=False).violations
    assert found.start == "closed, read as a stream" and "stream: true" in found.test and found.test_fails


def test_elapsed_time_is_driven_to_just_before_the_declared_delays(tmp_path: Path) -> None:
    text = ONE_TARGET + 'invariants: {quick: "elapsed < 19.9"}\n'
    (found,) = proved(written(tmp_path, text), states=False).violations
    assert found.outcomes == ("one: an answer, just before timeout.total, 20s",)


def test_inputs_that_do_not_fit_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_TARGETS)
    registry = Registry(plugins=False)
    compiled = compile_file(path, registry, Sources(env={}, mock=True))
    with pytest.raises(InputInvalid, match="there is no input 'x'"):
        prove(Job(path, inputs=b'{"x": 1}'), compiled, registry, Limits())


def test_a_turn_that_comes_with_the_deadline_is_no_sleep_past_it(tmp_path: Path) -> None:
    """A wait for a token that ends on the deadline was allowed to begin."""
    text = TWO_TARGETS.replace("{type: string}", "{type: array, items: {type: string}, minItems: 3}")
    text = text.replace("answer: {", "answer: {for_each: question, concurrency: 1, ") + "deadline: 2s\n"
    text = text.replace("[one, two]", "[one, two], policies: {admission: {global: {rate: 1/s, burst: 1}}}")
    assert proved(written(tmp_path, text), depth=0, states=False).holds


@pytest.mark.parametrize(
    ("schema", "invariant"),
    [("{type: string}", "error != none"), ("{enum: [x, y]}", "error != none or steps.a.json != 'y'")],
)
def test_an_answer_that_has_to_be_a_text_is_as_declared(tmp_path: Path, schema: str, invariant: str) -> None:
    steps = f"steps: {{a: {{prompt: {{user: x}}, output: {{schema: {schema}, repairs: 0}}}}}}\n"
    text = f'{TWO_TARGETS.partition("steps:")[0]}{steps}invariants: {{never: "{invariant}"}}\n'
    assert names(proved(written(tmp_path, text))) == ["never"]
