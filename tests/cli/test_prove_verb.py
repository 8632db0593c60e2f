"""wizard prove: what it prints, writes and exits with, and what it says of what it cannot do."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from cli_kit import Wizard
from interrupt_kit import interruptible

from wizard_dsl.cli._progress import Progress
from wizard_dsl.testing.trying import collect, try_case

GOOD = """\
version: 1
inputs: {question: {type: string}}
providers: {one: {type: mock, model: m}, two: {type: mock, model: n}}
policies: {default: {retry: off}}
chains: {default: {targets: [one, two]}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""
HIDDEN = GOOD.replace("[one, two]", "[one, two], fallback_on: {auth: true}") + (
    "invariants: {no_dead_key: \"not (attempts | selectattr('kind', 'eq', 'auth') | list and served_by)\"}\n"
)
QUICK = ("--no-states", "--depth", "1", "--jobs", "1")


@pytest.fixture
def file(wizard: Wizard) -> Path:
    path = Path("reply.yaml")
    path.write_text(GOOD)
    return path


def test_an_interrupt_ends_the_search_and_tells_what_was_covered(
    wizard: Wizard, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Progress, "at", lambda self, done: signal.raise_signal(signal.SIGINT))
    with interruptible():
        ran = wizard("prove", file, *QUICK)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert ran.code == 130 and ran.err == ""
    assert "depth 1: 0 of " in ran.out and " sequences of depth 1, and longer ones" in ran.out
    assert ran.out.endswith(" sequences, not exhausted; up to depth 0 all were played\n")


def test_where_no_target_is_asked_nothing_is_said_to_hold(wizard: Wizard, file: Path) -> None:
    file.write_text(GOOD.replace("{prompt:", "{when: question == 'never' and false, prompt:"))
    ran = wizard("prove", file, *QUICK)
    assert ran.out.splitlines()[-1].startswith("reply.yaml: nothing was shown: no target was asked in ")


def test_what_holds_is_told_with_what_was_covered_and_what_was_not(wizard: Wizard, file: Path) -> None:
    ran = wizard("prove", file, *QUICK)
    assert ran.code == 0 and ran.err == ""
    assert "held    no_hidden_auth: an auth error is never hidden" in ran.out
    assert "depth 1: " in ran.out and "not covered\n" in ran.out
    last = ran.out.splitlines()[-1]
    assert last.startswith("reply.yaml: holds for all ") and last.endswith(" sequences up to depth 1")


def test_a_violation_exits_1_and_its_test_can_be_written(wizard: Wizard, file: Path) -> None:
    file.write_text(HIDDEN)
    ran = wizard("prove", file, *QUICK, "-o", "key.test.yaml")
    assert ran.code == 1
    assert "  1. one: 401 (auth)\n  2. two: an answer\n" in ran.out
    suite = collect("key.test.yaml")
    assert [each.what for each in try_case(suite, suite.cases[0]).failures] == ["that"]
    assert wizard("prove", file, *QUICK, "-o", "key.test.yaml").code == 2


def test_json_has_all_of_it(wizard: Wizard, file: Path) -> None:
    file.write_text(HIDDEN)
    ran = wizard("prove", file, *QUICK, "--format", "json")
    told = json.loads(ran.out)
    assert ran.code == 1 and told["holds"] is False
    assert told["violations"][0]["outcomes"] == ["one: 401 (auth)", "two: an answer"]
    assert told["sequences"] == sum(level["played"] for level in told["levels"])


def test_verbose_lists_the_classes(wizard: Wizard, file: Path) -> None:
    assert "    401 (auth)\n" in wizard("prove", file, *QUICK, "--verbose").out
    assert "    401 (auth)\n" not in wizard("prove", file, *QUICK).out


def test_a_name_that_an_invariant_misspells_is_found_by_validate_and_by_prove(wizard: Wizard, file: Path) -> None:
    file.write_text(GOOD + 'invariants:\n  few: "attempt | length < 3"\n')
    for verb in ("validate", "prove"):
        ran = wizard(verb, file)
        assert "reply.yaml:8:9 error[E051] 'attempt' is not defined; did you mean 'attempts'?" in ran.out + ran.err
        assert ran.code == (1 if verb == "validate" else 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--time", "5"), "is not a duration; write a number with a unit"),
        (("--time", "0s"), "is no time in which anything could happen"),
        (("--depth", "-1"), "-1 is not in the range"),
        (("-o", "found.yaml"), "no name of a test file"),
        (("-o", "nowhere/x.test.yaml"), "there is no folder nowhere"),
        (("-i", "quest=1"), "did you mean 'question'?"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_told(
    wizard: Wizard, file: Path, options: tuple[str, ...], said: str
) -> None:
    ran = wizard("prove", file, *options)
    assert ran.code == 2 and said in ran.err, ran.err
    assert "Traceback" not in ran.err


def test_a_search_that_its_time_ends_says_how_far_it_came(wizard: Wizard, file: Path) -> None:
    ran = wizard("prove", file, "--no-states", "--jobs", "1", "--time", "1ms")
    assert ran.code == 0 and "not exhausted" in ran.out.splitlines()[-1]
