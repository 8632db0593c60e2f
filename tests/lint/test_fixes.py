"""Remedies: made where they are certain, and nowhere else; all around them stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.cli._mending import remedies
from wizard_dsl.lint.allow import RULE_CODES
from wizard_dsl.lint.fixes import mended
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic, Place, finding

BASE = """\
version: 1
inputs: {question: {type: string}}   # what is asked
providers: {local: {type: mock}}
chains: {default: {targets: [local]}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""
REGISTRY = Registry(plugins=False)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mend(text: str, name: str = "a.yaml") -> str:
    Path(name).write_bytes(text.encode())
    kind = "overlay" if name.endswith(".overlay.yaml") else "project" if name == "wizard.yaml" else "pipeline"
    made = remedies([(Path(name), kind)], REGISTRY, frozenset(RULE_CODES))
    return made[0].made.text if made else text


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("stratgy: cheapest", "strategy: cheapest"),
        ("startegy: cheapest", "strategy: cheapest"),
        ("strateggy: cheapest", "strategy: cheapest"),
        ("Strategy: cheapest", "strategy: cheapest"),
        ('"stratgy": cheapest', '"strategy": cheapest'),
        ("strategy: cheapst  # the cheapest", "strategy: cheapest  # the cheapest"),
        ("strategy: 'cheapst'", "strategy: 'cheapest'"),
        ("policies: {circuit-breaker: {}}", "policies: {circuit_breaker: {}}"),
        ("policies: {retry: {max_attempt: 2,   base: 2s}}", "policies: {retry: {max_attempts: 2,   base: 2s}}"),
        ("policies: {cache: {evicton: lfo}}", "policies: {cache: {eviction: lfo}}"),
        ("polices: {retry: {max_attempt: 2}}", "policies: {retry: {max_attempts: 2}}"),
    ],
)
def test_a_word_of_the_grammar_one_letter_off_is_put_right_and_nothing_else(wrong: str, right: str) -> None:
    text = BASE.replace("{default: {targets: [local]}}", "\n  default:   # asked by all\n    targets: [local]\n    {0}")
    assert mend(text.replace("{0}", wrong)) == text.replace("{0}", right)


@pytest.mark.parametrize(
    "wrong",
    [
        "strtgy: cheapest",  # two letters
        "policies: {cash: 1h}",
        "fallback_on: {502x: true}",
        "policies: {retry: {max_attempts: 30}}",
        "stratgy: cheapest, strategy: cheapest",  # there is one
    ],
)
def test_what_is_not_certain_is_left_alone(wrong: str) -> None:
    text = BASE.replace("{targets: [local]}", f"{{targets: [local], {wrong}}}")
    assert mend(text) == text


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("prompt: {user", "chain: defaul, prompt: {user"),
        BASE.replace("{{ question }}", "{{ questio }}"),
        BASE.replace("targets: [local]", "targets: [locl]"),
        BASE.replace("{type: mock}}", "{type: mock}, spare: {type: mock}}"),
        BASE + "prompts: {spare: {user: Hello}}\n",
    ],
)
def test_names_that_people_choose_and_what_is_not_used_are_theirs(text: str) -> None:
    assert mend(text) == text


def test_a_word_between_two_of_the_grammar_is_left_alone() -> None:
    text = BASE.replace("targets: [local]", "targets: [local], stratgy: cheapest")
    found = [finding("E021", "unknown key", Place("a.yaml", 4, 38), suggestion="did you mean 'strategy'?")]

    def look(now: str) -> list[Diagnostic]:
        return found if now == text else []

    assert mended(text, look, lambda: frozenset({"strategy"})).text == text.replace("stratgy", "strategy")
    assert mended(text, look, lambda: frozenset({"strategy", "strat_gy"})).text == text
    assert mended(text, lambda now: found, lambda: frozenset({"strategy"})).text == text


@pytest.mark.parametrize("head", ["", "# A comment.\n", "# One.\n\n# Two.\n"])
def test_the_version_is_added_below_the_comments_at_the_head(head: str) -> None:
    rest = BASE.replace("version: 1\n", "")
    assert mend(head + rest) == f"{head}version: 1\n{rest}"


@pytest.mark.parametrize("text", ["", "[1]\n", "--- \nsteps: {}\n", "{steps: {}}\n", "a: [\n"])
def test_the_version_is_not_added_where_its_place_is_not_plain(text: str) -> None:
    assert mend(text) == text


def test_a_project_file_needs_none() -> None:
    text = "providrs: {local: {type: mock}}\n"
    assert mend(text, "wizard.yaml") == text.replace("providrs", "providers")


def test_an_overlay_is_mended_too() -> None:
    assert mend("polices: {default: {retry: {max_attempt: 2}}}\n", "x.overlay.yaml") == (
        "policies: {default: {retry: {max_attempts: 2}}}\n"
    )


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("version: 1   # wizard: allow W120 because of a trial\n", "version: 1\n"),
        ("# wizard: allow W120 because of a trial\nversion: 1\n", "version: 1\n"),
        ("version: 1   # wizard: allow W120, W110 because of a trial\n", "version: 1\n"),
        (
            "version: 1   # wizard: allow W120, E021, W110 because of a trial\n",
            "version: 1   # wizard: allow E021 because of a trial\n",
        ),
    ],
)
def test_a_comment_that_is_no_longer_needed_goes(wrong: str, right: str) -> None:
    assert mend(BASE.replace("version: 1\n", wrong)) == BASE.replace("version: 1\n", right)


def test_line_ends_and_a_byte_order_mark_stay() -> None:
    text = BASE.replace("{targets", "{stratgy: cheapest, targets").replace("\n", "\r\n")
    text = f"\ufeff{text}"
    assert mend(text) == text.replace("stratgy", "strategy")
    head = "\ufeff" + BASE.replace("version", "verison")
    assert mend(head) == head.replace("verison", "version")


def test_a_word_behind_an_anchor_is_put_right_once() -> None:
    chains = (
        "{default: {targets: [local], policies: &p {retry: {max_attempt: 2}}}, other: {targets: [local], policies: *p}}"
    )
    text = BASE.replace("{default: {targets: [local]}}", chains).rstrip("\n")
    assert mend(text) == text.replace("max_attempt:", "max_attempts:")


def test_a_file_that_cannot_be_read_stays() -> None:
    Path("a.yaml").write_bytes(b"version: 1\nstepz: \xff\n")
    assert remedies([(Path("a.yaml"), "pipeline"), (Path("none.yaml"), "pipeline")], REGISTRY, frozenset()) == []
