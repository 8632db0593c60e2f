"""Test files: from the text to outcomes, in virtual time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.trying import Outcome, collect, try_case

FILES = Path(__file__).parent / "files"
HEAD = """version: 1
pipeline: triage.yaml
defaults: {inputs: {ticket: My invoice is wrong}}
"""
#: Two steps that work.
WORKS = """
    targets: {openai/gpt-4o-mini: ['{"topic": "billing"}'], openai/gpt-4o: ["Dear customer,"]}
"""
PROGRAMS = Programs(Registry(plugins=False))

Try = Callable[[str], list[Outcome]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(FILES / "triage.yaml", tmp_path / "triage.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tried(project: Path) -> Try:
    """The outcomes of tests, whose file must have nothing wrong in it."""

    def run(tests: str) -> list[Outcome]:
        Path("t.test.yaml").write_text(HEAD + "tests:\n" + tests)
        suite = collect("t.test.yaml", Programs(Registry(plugins=False)))
        assert render_text(suite.found.diagnostics) == ""
        return [try_case(suite, case) for case in suite.cases]

    return run


def told(outcome: Outcome) -> list[str]:
    return [f"{each.place.line}:{each.place.column} {each.sentence}" for each in outcome.failures]


def _cut(text: str) -> str:
    """Without what comes after a long value's beginning."""
    return text if len(text) <= 110 else f"{text[:110]}…"


def test_the_test_of_the_design_passes(project: Path) -> None:
    shutil.copy(FILES / "design.test.yaml", project / "design.test.yaml")
    suite = collect("design.test.yaml", PROGRAMS)
    assert render_text(suite.found.diagnostics) == ""
    assert [try_case(suite, case).passed for case in suite.cases] == [True]


def test_each_assertion_that_does_not_hold_is_told_with_its_line_and_the_transcript(tried: Try) -> None:
    (outcome,) = tried(
        """
  wrong:
    targets: {"openai/gpt-4o-mini": ['{"topic": "billing"}'], "openai/gpt-4o": [503, "Dear customer,\\nhello"]}
    expect:
      text: {contains: [Dear, money], matches: ^hello}
      json: {at: {topic: bug}, contains: {topic: billing, other: 1}}
      output: {at: {topic: {one_of: [bug, spam]}, text: "Dear customer,\\nHello"}}
      served_by: claude/*
      attempts: 2
      elapsed: {at_most: 500ms}
      cost: {at_least: $1}
      cache: hit
      error: server
      breakers: {"openai/*": open}
      logs: {retry_attempt: 2}
      transcript: {contains: no such words}
      steps:
        topic: {text: {length: {at_most: 3}}, skipped: true, attempts: {at_least: 2}, cache: hit, error: contract}
      that: ["attempts | length == 4", steps.topic.json.topic == 'bug']
"""
    )
    assert not outcome.passed
    assert [_cut(each) for each in told(outcome)] == (FILES / "unmet.txt").read_text().splitlines()
    diffs = [each.diff for each in outcome.failures if each.diff]
    assert [each.splitlines()[-2:] for each in diffs] == [["-Hello", "+hello"]]
    assert "openai/gpt-4o: 503 server after 0.000 s" in outcome.transcript
    assert outcome.transcript.startswith("   0.000         run of triage begins\n")


def test_a_run_that_fails_fails_its_test_unless_the_error_is_expected(tried: Try) -> None:
    down = 'targets: {"*": [{status: 401, times: forever}]}'
    first, second, third = tried(
        f"  one: {{{down}}}\n  two: {{{down}, expect: {{error: auth}}}}\n"
        f"  three: {{{down}, expect: {{error: {{kind: auth, message: {{matches: '401'}}, where: null}}}}}}\n"
    )
    assert [each.partition(", was ")[0] for each in told(first)] == ["5:3 error: expected no error"]
    assert second.passed
    assert [each.partition(", was ")[0] for each in told(third)] == ["7:116 error.where: expected null"]


def test_a_target_that_no_script_matches_fails_the_test_when_it_is_called(tried: Try) -> None:
    (outcome,) = tried('  one: {targets: {"openai/gpt-4o-mini": [\'{"topic": "bug"}\']}}\n')
    assert told(outcome) == ["5:3 target openai/gpt-4o is called, and no pattern of `targets` matches it"]
    assert outcome.transcript.endswith("reply  openai/gpt-4o: attempt 2")


def test_a_call_beyond_the_script_fails_the_test(tried: Try) -> None:
    (outcome,) = tried("  one: {targets: {openai/gpt-4o-mini: [503]}}\n")
    assert told(outcome) == [
        "5:3 call 2 of target openai/gpt-4o-mini: its script is used up; "
        "add what it answers, or `times: forever` to the last item"
    ]


def test_items_that_were_not_used_fail_the_test_but_those_of_the_defaults(tried: Try) -> None:
    left, unused, never = tried(
        """
  left: {targets: {"openai/gpt-4o-mini": ['{"topic": "spam"}', x, y]}}
  unused: {targets: {"openai/gpt-4o-mini": ['{"topic": "spam"}'], "claude/*": [x]}}
  never: {targets: {"openai/*": ['{"topic": "spam"}'], local: [{reply: x, times: forever}]}}
"""
    )
    assert told(left) == [
        "6:20 2 items of the script for 'openai/gpt-4o-mini' left over: openai/gpt-4o-mini was not called again"
    ]
    assert told(unused) == ["7:67 the script for 'claude/*' was not used: no target that it matches was called"]
    assert never.passed


def test_a_table_is_a_case_a_row(tried: Try) -> None:
    outcomes = tried(
        """
  sorted:
    targets: {"openai/gpt-4o": [Hello]}
    expect: {attempts: 2}
    for_each:
      - {inputs: {language: en}, targets: {"openai/gpt-4o-mini": ['{"topic": "bug"}']}}
      - name: spam
        targets: {"openai/gpt-4o-mini": ['{"topic": "spam"}'], "openai/gpt-4o": [{reply: "", times: forever}]}
        expect: {attempts: 1, text: ""}
      - {targets: {"openai/gpt-4o-mini": ['{"topic": "bug"}']}, expect: {text: Goodbye}}
"""
    )
    assert [(each.name, each.passed) for each in outcomes] == [
        ("sorted [language=en]", True),
        ("sorted [spam]", True),
        ("sorted [3]", False),
    ]
    assert told(outcomes[2]) == ['14:74 text: expected "Goodbye", was "Hello"']


def test_several_runs_share_a_runtime(tried: Try) -> None:
    outcomes = tried(
        """
  cached:
    targets: {"openai/gpt-4o-mini": ['{"topic": "bug"}', '{"topic": "bug"}'], "openai/gpt-4o": [Hello, Bye]}
    runs:
      - {expect: {cache: miss}}
      - {after: 30m, expect: {cache: hit, text: Hello, elapsed: 0s}}
      - {after: 2h, times: 2}
    expect: {text: Bye}
  wrong:
    targets: {"openai/gpt-4o-mini": ['{"topic": "spam"}']}
    runs: [{}, {expect: {attempts: 1}}]
"""
    )
    assert outcomes[0].passed, told(outcomes[0])
    assert told(outcomes[1]) == ["15:26 run 2: attempts: expected 1, was 0"]
    assert outcomes[1].transcript.startswith("run 1\n")


def test_samples_have_seeds_of_their_own_and_a_share_of_them_has_to_pass(tried: Try) -> None:
    test = """
    targets: {"openai/gpt-4o-mini": [503, '{"topic": "spam"}']}
    repeat: 20
    expect: {elapsed: {at_most: 1s}}
"""
    outcomes = tried(f"  all:{test}\n  some:{test}    pass_rate: 20%\n")
    assert [each.passed for each in outcomes] == [False, True]
    assert outcomes[0].samples == 20
    assert 4 <= outcomes[0].good < 20


def test_what_repeats_without_end_is_stopped_with_the_transcript_so_far(tried: Try) -> None:
    (outcome,) = tried('  one: {max_steps: 20, targets: {"*": [{status: 503, times: forever}]}}\n')
    assert told(outcome)[0].startswith("5:3 stopped after 20 turns of the event loop: something repeats without end")
    assert "retry 1 in" in outcome.transcript


def test_a_run_may_be_streamed_and_given_up(tried: Try) -> None:
    slow = """
    targets:
      openai/gpt-4o-mini: ['{"topic": "bug"}']
      openai/gpt-4o: [{reply: one two three four, chunk_every: 1s}]
    stream: true
"""
    whole, cut = tried(
        f"  whole:{slow}    expect: {{text: one two three four, elapsed: 3s, logs: {{stream_started: 1}}}}\n"
        f"  cut:{slow}    cancel_after: 1500ms\n    expect: {{error: cancelled, elapsed: 1500ms, text: one two}}\n"
    )
    assert whole.passed, (told(whole), whole.transcript)
    assert cut.passed, told(cut)


def test_a_run_that_is_refused_before_it_begins_has_a_result_too(tried: Try) -> None:
    (outcome,) = tried(
        "  one: {inputs: {language: fr}, expect: {error: {kind: input, where: language}, attempts: 0}}\n"
    )
    assert outcome.passed, told(outcome)


def test_options_lie_over_the_pipeline(tried: Try, project: Path) -> None:
    (project / "o.overlay.yaml").write_text("policies: {default: {retry: off}}\n")
    outcomes = tried(
        """
  overlay:
    overlay: o.overlay.yaml
    targets: {"openai/gpt-4o-mini": [503], local: ['{"topic": "spam"}']}
  set:
    set: {policies.default.retry.max_attempts: 1}
    targets: {"openai/gpt-4o-mini": [503], local: ['{"topic": "spam"}']}
  chain:
    chain: writer
    targets: {openai/gpt-4o: ['{"topic": "bug"}', Hi]}
  deadline:
    deadline: 1500ms
    targets: {openai/gpt-4o-mini: [{reply: late, delay: 5s}]}
    expect: {error: deadline, elapsed: 1500ms}
"""
    )
    assert [(each.name, told(each)) for each in outcomes if not each.passed] == []


def test_the_variables_of_the_process_are_not_seen(tried: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIZARD_RETRY_MAX_ATTEMPTS", "1")
    outcomes = tried(
        """
  mine: {targets: {"openai/gpt-4o-mini": [503, 503, '{"topic": "spam"}']}}
  own: {env: {WIZARD_RETRY_MAX_ATTEMPTS: "1"}, targets: {"openai/gpt-4o-mini": [503], local: ['{"topic": "spam"}']}}
"""
    )
    assert [(each.name, told(each)) for each in outcomes if not each.passed] == []


def test_an_observer_sees_each_sample(project: Path) -> None:
    Path("t.test.yaml").write_text(f"{HEAD}tests:\n  one:{WORKS}    repeat: 2\n")
    suite = collect("t.test.yaml", PROGRAMS)
    (case,) = suite.cases
    outcome = try_case(suite, case, lambda case, played: (case.name, len(played.runs[0].result.attempts)))
    assert outcome.seen == (("one", 2), ("one", 2))


@pytest.mark.parametrize("name", ["wrong", "unreadable"])
def test_everything_that_does_not_fit_the_pipeline_or_cannot_be_read_is_told_at_once(project: Path, name: str) -> None:
    Path(f"{name}.test.yaml").write_text((FILES / f"{name}.test.yaml").read_text())
    suite = collect(f"{name}.test.yaml", PROGRAMS)
    told = render_text(suite.found.diagnostics).replace(f" leaves the project {project.name}", " leaves the project")
    assert told.splitlines() == (FILES / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        ("triag.yaml", "t.test.yaml:2:11 error[E035] there is no file 'triag.yaml'; did you mean 'triage.yaml'?"),
        ("../triage.yaml", "t.test.yaml:2:11 error[E033] '../triage.yaml' leaves the project"),
        ("bad.yaml", "t.test.yaml:2:11 error[E080] bad.yaml has 2 errors: the pipeline has no steps"),
    ],
)
def test_a_pipeline_that_cannot_be_run_is_told(project: Path, pipeline: str, told: str) -> None:
    Path("bad.yaml").write_text("version: 1\nstep: {}\n")
    Path("t.test.yaml").write_text(f"version: 1\npipeline: {pipeline}\ntests: {{a: {{}}}}\n")
    found = render_text(collect("t.test.yaml", PROGRAMS).found.diagnostics)
    assert told in found


@pytest.mark.parametrize("record", [False, True])
def test_a_folder_where_a_cassette_should_be_is_told_where_it_is_named(project: Path, record: bool) -> None:
    Path("tapes").mkdir()
    Path("t.test.yaml").write_text(f"{HEAD}tests:\n  a: {{cassette: tapes}}\n")
    programs = Programs(Registry(plugins=False), record=record)
    told = "t.test.yaml:5:17 error[E002] 'tapes' is a directory, not a cassette; name a file"
    assert render_text(collect("t.test.yaml", programs).found.diagnostics) == f"{told}\n"
    Path("tapes", "one.jsonl").touch()
    assert render_text(collect("t.test.yaml", programs).found.diagnostics) == f"{told} in it, such as tapes/one.jsonl\n"


def test_options_that_break_the_pipeline_are_told_where_they_stand(project: Path) -> None:
    Path("t.test.yaml").write_text(
        f"{HEAD}tests:\n  a:\n    set: {{chains.cheap.targets: []}}\n  b: {{chain: wrter}}\n"
    )
    found = render_text(collect("t.test.yaml", PROGRAMS).found.diagnostics)
    assert "t.test.yaml:6:10 error[E080] triage.yaml has an error:" in found
    assert "t.test.yaml:7:14 error[E081] the pipeline has no chain 'wrter'; did you mean 'writer'?" in found


def test_no_two_cases_of_a_file_have_one_name(project: Path) -> None:
    tests = "  a: {for_each: [{}, {name: '2'}, {name: x}]}\n  a [x]: {}\n"
    Path("t.test.yaml").write_text(f"{HEAD}tests:\n{tests}")
    assert [case.name for case in collect("t.test.yaml", PROGRAMS).cases] == ["a [1]", "a [2]", "a [x]", "a [x] again"]


def test_a_value_is_held_against_a_schema(tried: Try) -> None:
    spam = 'targets: {"openai/*": [\'{"topic": "spam"}\']}'
    outcomes = tried(
        f"""
  one: {{{spam}, expect: {{json: {{schema: {{required: [other], properties: {{topic: {{enum: [bug]}}}}}}}}}}}}
  two: {{{spam}, expect: {{output: {{at: {{topic: {{schema: {{type: string}}, not: spam}}}}}}}}}}
"""
    )
    assert told(outcomes[0]) == [
        "6:71 json: expected to fit its schema, was JSON that does not: 'other' is a required property",
        "6:71 json['topic']: expected to fit its schema, was JSON that does not: 'spam' is not one of ['bug']",
    ]
    assert told(outcomes[1])[0].endswith('output.topic: expected JSON, was "spam"')
    assert told(outcomes[1])[1].endswith('output.topic: expected not "spam", was "spam"')


OUTAGE = """version: 1
pipeline: triage.yaml
tests:
  ten minutes without the first two targets:
    targets:
      openai/gpt-4o-mini: [{status: 503, times: 6}, {reply: {topic: bug}, times: forever}]
      openai/gpt-4o: [{status: 503, times: 6}, {reply: Hello, times: forever}]
      local: [{reply: {topic: bug}, times: forever}]
      claude/*: [{reply: Hello, times: forever}]
    snapshot: true
    runs:
      - {inputs: {ticket: One}, expect: {served_by: claude/*, attempts: {at_least: 6}}}
      - {inputs: {ticket: Two}, after: 20s, expect: {served_by: claude/*}}
      - {inputs: {ticket: Three}, after: 2m, expect: {served_by: claude/*}}
      - {inputs: {ticket: Four}, after: 10m, expect: {served_by: openai/gpt-4o, breakers: {"openai/*": closed}}}
"""


def test_a_suite_with_an_outage_of_ten_minutes_takes_less_than_half_a_second(project: Path) -> None:
    """Of this process: the clock on the wall is shared with whatever else runs on the machine."""
    Path("outage.test.yaml").write_text(OUTAGE)
    first = collect("outage.test.yaml", PROGRAMS)
    try_case(first, first.cases[0])  # what is imported is imported once
    began = time.process_time()
    suite = collect("outage.test.yaml", Programs(Registry(plugins=False)))
    outcomes = [try_case(suite, case, snapshots="make") for case in suite.cases]
    assert time.process_time() - began < 0.5
    assert [told(each) for each in outcomes] == [[]]
    assert outcomes[0].elapsed < 60


def test_a_hundred_runs_give_the_same_bytes(project: Path) -> None:
    Path("outage.test.yaml").write_text(OUTAGE)
    suite = collect("outage.test.yaml", PROGRAMS)
    (case,) = suite.cases
    outcomes = {msgspec.json.encode(try_case(suite, case, snapshots="make")) for _ in range(100)}
    assert len(outcomes) == 1


def test_a_thousand_cases_take_less_than_ten_seconds(project: Path) -> None:
    tests = "".join(f"  case {number}:{WORKS}    expect: {{attempts: 2, error: null}}\n" for number in range(1000))
    Path("t.test.yaml").write_text(f"{HEAD}tests:\n{tests}")
    began = time.process_time()
    suite = collect("t.test.yaml", PROGRAMS)
    outcomes = [try_case(suite, case) for case in suite.cases]
    assert time.process_time() - began < 10
    assert len(outcomes) == 1000 and all(each.passed for each in outcomes)


def test_calls_of_a_step_are_expected_with_their_arguments_read(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "version: 1\nproviders: {m: {type: mock}}\nchains: {default: {targets: [m]}}\n"
        "steps: {ask: {prompt: {user: x, tools: [{name: look, parameters: {type: object}}]}}}\n"
    )
    test = tmp_path / "p.test.yaml"
    calls = "tool_calls: [{name: look, arguments: {x: 1}}]"
    test.write_text(
        f"version: 1\npipeline: p.yaml\ndefaults: {{targets: {{m: [{{{calls}}}]}}}}\ntests:\n"
        f"  right: {{expect: {{steps: {{ask: {{{calls}, finish_reason: tool_calls}}}}}}}}\n"
        "  wrong: {expect: {steps: {ask: {tool_calls: {at: {'[0].arguments.x': 2, '[1]': 3}}}}}}\n"
    )
    suite = collect(test, PROGRAMS)
    right, wrong = [try_case(suite, case) for case in suite.cases]
    assert right.passed
    assert [(each.what, each.expected, each.actual) for each in wrong.failures] == [
        ("steps.ask.tool_calls[0].arguments.x", "2", "1"),
        ("steps.ask.tool_calls[1]", "3", "nothing"),
    ]


def test_a_test_is_named_by_one_line_of_text(project: Path) -> None:
    Path("t.test.yaml").write_text('version: 1\npipeline: triage.yaml\ntests:\n  "": {}\n  " ": {}\n  "a\\nb": {}\n')
    assert [(each.line, each.code) for each in collect("t.test.yaml", PROGRAMS).found.diagnostics] == [
        (4, "E040"), (5, "E040"), (6, "E040"),
    ]  # fmt: skip
