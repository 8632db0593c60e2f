"""wizard diff: what changes in behaviour is told with its place, and everything else is silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from diff_kit import REGISTRY, RICH, diff_of, edited, sentences, told

from wizard_dsl.analysis._diff_renames import renamed
from wizard_dsl.analysis.diff import Side, compare
from wizard_dsl.analysis.diff_changes import SECTIONS

SILENT = {
    "a comment": [("name: triage", "# sorts\nname: triage # tickets")],
    "the order of keys": [("max_attempts: 3, base: 1s", "base: 1s, max_attempts: 3")],
    "another unit": [("first_chunk: 20s", "first_chunk: 20000ms"), ("deadline: 45s", "deadline: 0.75m")],
    "a rate of another period": [("rate: 10/s", "rate: 600/minute")],
    "money with cents": [("$20", "$20.00")],
    "a number as a fraction": [("temperature: 0", "temperature: 0.0")],
    "a scalar written out": [("cache: {ttl: 1h}", "cache: 60m")],
    "a default written out": [("wait_up_to: 2s", "wait_up_to: 2s, then: fallback, quota_block: 60m")],
    "what the error table says anyway": [
        ("on_rate_limit: {wait_up_to: 2s}", "fallback_on: {auth: false, server: true, 503: true}"),
        ("base: 1s", "base: 1s, retry_on: {auth: false}, backoff: {connect: immediate}"),
    ],
    "a target as a mapping": [("- openai/gpt-4o", "- {provider: openai, model: gpt-4o}")],
    "a policy moved to its chains": [
        ("    timeout: {first_chunk: 20s}\n", ""),
        ("cheap: {targets: [local]}", "cheap: {targets: [local], policies: {timeout: {first_chunk: 20s}}}"),
        ("deadline: 45s", "deadline: 45s, timeout: {first_chunk: 20s}"),
    ],
    "a set under another name": [
        ("  default:\n    cache", "  usual:\n    cache"),
        ("timeout: {first_chunk: 20s}", "timeout: {first_chunk: 20s}\n    retry_budget: {}\n    circuit_breaker: {}"),
        ("cheap: {targets: [local]}", "cheap: {targets: [local], policies: {use: usual}}"),
        ("deadline: 45s", "use: usual, deadline: 45s"),
    ],
    "a prompt in place": [
        ("    prompt: classify\n", "    prompt: {system: Sort the ticket., user: '{{ticket}}'}\n"),
        ("    output: {schema", "    params: {temperature: 0}\n    output: {schema"),
        (
            "prompts:\n  classify:\n    system: Sort the ticket.\n    user: \"{{ ticket }}\"\n"
            "    params: {temperature: 0}\n",
            "",
        ),
    ],
    "messages instead of system and user": [
        ('    system: Sort the ticket.\n    user: "{{ ticket }}"\n', (
            "    messages:\n      - {role: system, content: [{text: Sort the ticket.}]}\n"
            '      - {role: user, content: "{{ ticket }}{# the text #}"}\n'
        )),
    ],
    "spaces and quotes of an expression": [("topic != 'spam'", 'topic!="spam"')],
    "a description": [
        ("name: triage", "name: triage\ndescription: Sorts."),
        ("maxLength: 800", "maxLength: 800, description: its text"),
    ],
    "an anchor": [
        ("params: {max_tokens: 800}", "params: &p {max_tokens: 800}"),
        ("      - local\n", "      - {provider: local}\n"),
    ],
}  # fmt: skip

#: What is edited, the section, what is told, and the line it is told at.
TOLD = {
    "auth moves on": (
        [("on_rate_limit:", "fallback_on: {auth: true}\n    on_rate_limit:")],
        "errors", "auth on writer: fails → moves on to claude/claude-sonnet-4-5, then local", 18,
    ),
    "nothing is repeated": (
        [("max_attempts: 3", "max_attempts: 1")],
        "errors",
        "connect, timeout, server, rate_limited, malformed_response and mid_stream (repeating) on cheap and "
        "writer (openai/gpt-4o, local): is repeated → is not repeated", 13,
    ),
    "a status counts": (
        [("base: 1s", "base: 1s}\n    circuit_breaker: {trip_on: {429: true}")],
        "errors", "status 429 (the circuit breaker) on cheap and writer: does not count → counts", 14,
    ),
    "a target is gone": ([("      - local\n", "")], "serves", "writer: target local is gone", 21),
    "a target is new": (
        [("      - local\n", "      - local\n      - openai/gpt-4o-mini\n")],
        "serves", "writer: target openai/gpt-4o-mini is new, at place 4 of 4", 24,
    ),
    "another strategy": (
        [("    on_rate_limit", "    strategy: {type: hedged, after: 3s}\n    on_rate_limit")],
        "serves", "strategy on writer: sequential → hedged", 18,
    ),
    "another chain": (
        [("    chain: cheap\n", "    chain: writer\n")], "serves", "chain on step topic: cheap → writer", 32,
    ),
    "another key": (
        [("env:OPENAI_API_KEY", "env:OTHER")],
        "serves", "provider openai.api_key: ${env:OPENAI_API_KEY} → ${env:OTHER}", 7,
    ),
    "a version of the key": (
        [("cache: {ttl: 1h}", "cache: {ttl: 1h, key_version: b}")],
        "cache", "step topic: the key changes, 100 % cold after this (key_version)", 12,
    ),
    "another temperature": (
        [("temperature: 0", "temperature: 1")],
        "cache", "step topic: the key changes, 100 % cold after this (params)", 28,
    ),
    "a cache is gone": (
        [("cache: {ttl: 1h}", "cache: off")],
        "cache", "cache on cheap and writer: on (ttl 1h, ttl_jitter 10%, store memory, max_entries 100) → off", 12,
    ),
    "another prompt": ([("Sort the ticket", "Sort it")], "prompts", "step topic: the prompt changes", 26),
    "a budget": ([("$20", "$30")], "limits", "budgets.day.limit: $20 → $30", 39),
    "a rate": (
        [("rate: 10/s", "rate: 20/s")],
        "limits", "provider's rate_limit.rate on writer (openai/gpt-4o): 10/s → 20/s", 7,
    ),
    "patience": (
        [("wait_up_to: 2s", "wait_up_to: 9s")], "limits", "on_rate_limit.wait_up_to on writer: 2s → 9s", 18,
    ),
    "a chain under another name": (
        [("  cheap: {", "  quick: {"), ("chain: cheap", "chain: quick")],
        "state", "chain cheap is called quick now", 16,
    ),
    "its state": (
        [("  cheap: {", "  quick: {"), ("chain: cheap", "chain: quick")],
        "state", "cache and retry_budget of chain quick begins anew: it was called cheap", 16,
    ),
    "another model": (
        [("model: tiny", "model: small")],
        "state", "circuit_breaker of cheap's local begins anew: its model was tiny", 16,
    ),
    "a timeout": (
        [("first_chunk: 20s", "first_chunk: 10s")],
        "behaviour", "timeout.first_chunk on cheap and writer: 20s → 10s", 14,
    ),
    "a retry of one target": (
        [("max_attempts: 2", "max_attempts: 4")],
        "behaviour", "retry.max_attempts on writer (claude/claude-sonnet-4-5): 2 → 4", 22,
    ),
    "a condition": (
        [("!= 'spam'", "== 'bug'")], "behaviour",
        "when on step reply: steps.topic.json.topic != 'spam' → steps.topic.json.topic == 'bug'", 37,
    ),
    "repairs": ([("repairs: 1", "repairs: 2")], "behaviour", "output.repairs on step topic: 1 → 2", 33),
    "the deadline": (
        [("budgets:", "deadline: 30s\nbudgets:")], "behaviour", "deadline: 10m → 30s", 39,
    ),
    "an input": ([("maxLength: 800", "maxLength: 900")], "behaviour", "input ticket.maxLength: 800 → 900", 4),
    "the order of the ladder": (
        [("deadline: 45s", "deadline: 45s, stack: [timeout, retry]")],
        "behaviour",
        "ladder on writer (claude/claude-sonnet-4-5, local): retry > circuit_breaker > timeout → "
        "timeout > circuit_breaker > retry", 19,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_what_is_only_written_otherwise_is_no_change(name: str, tmp_path: Path) -> None:
    found = told(tmp_path, *SILENT[name])
    assert sentences([each for each in found if each.section != "diagnostics"]) == []


@pytest.mark.parametrize("name", TOLD)
def test_what_alters_behaviour_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    edits, section, sentence, line = TOLD[name]
    found = {each.sentence: each for each in told(tmp_path, *edits)}
    assert sentence in found, list(found)
    assert (found[sentence].section, found[sentence].place) == (section, f"p.yaml:{line}")


def test_sections_are_told_in_their_order(tmp_path: Path) -> None:
    edits = [edit for name in ("repairs", "another prompt", "auth moves on", "a budget") for edit in TOLD[name][0]]
    sections = [each.section for each in told(tmp_path, *edits)]
    assert sections == sorted(sections, key=list(SECTIONS).index) and len(set(sections)) == 6


def test_an_edit_of_a_set_is_told_once_for_all_its_chains(tmp_path: Path) -> None:
    found = told(tmp_path, ("base: 1s", "base: 2s"))
    assert sentences([each for each in found if each.section != "bounds"]) == [
        "retry.base on cheap and writer: 1s → 2s"
    ]


def test_the_worst_case_is_told_first_with_the_part_that_moved_it_and_its_line(tmp_path: Path) -> None:
    first, *others = told(tmp_path, ("max_attempts: 3", "max_attempts: 9"))
    assert (first.section, first.sentence) == ("bounds", "worst-case attempts: 14 → 38, from reply.retry")
    assert (first.place, first.path) == ("p.yaml:13", "policies.default.retry.max_attempts")
    assert [each.what for each in others if each.section == "bounds"] == ["worst-case cost"]
    back = diff_of(tmp_path, edited(RICH, ("max_attempts: 3", "max_attempts: 9")), RICH).pipelines[0].changes[0]
    assert back.sentence == "worst-case attempts: 38 → 14, from reply.retry"


def test_a_prompt_that_changes_is_shown_by_its_lines(tmp_path: Path) -> None:
    (change,) = (each for each in told(tmp_path, ("Sort the ticket.", "Sort it.")) if each.section == "prompts")
    assert change.detail == (" [system]", "-Sort the ticket.", "+Sort it.", " [user]", " {{ ticket }}")


def test_a_key_and_a_header_that_stand_in_the_file_are_never_shown(tmp_path: Path) -> None:
    found = told(tmp_path, ('"${env:TEAM}"', "hunter2"))
    assert sentences(found) == ["provider claude.headers.x-team: ${env:TEAM} → ***"]
    again = told(tmp_path, ("hunter2", "hunter3"), text=edited(RICH, ('"${env:TEAM}"', "hunter2")))
    assert sentences(again) == ["provider claude.headers.x-team: another value"]


def test_a_reference_to_another_variable_is_another_value(tmp_path: Path) -> None:
    text = edited(RICH, ("first_chunk: 20s", 'first_chunk: "${env:FIRST}"'))
    found = told(tmp_path, ("env:FIRST", "env:SECOND"), text=text)
    assert sentences(found) == ["timeout.first_chunk on cheap and writer: ${env:FIRST} → ${env:SECOND}"]


def test_a_fallback_in_a_chain_of_one_target_changes_nothing(tmp_path: Path) -> None:
    edit = ("cheap: {targets: [local]}", "cheap: {targets: [local], fallback_on: {auth: true}}")
    assert [each.section for each in told(tmp_path, edit)] == ["diagnostics"]  # which says that it decides nothing


def test_new_and_resolved_diagnostics_are_told_and_those_that_moved_are_not(tmp_path: Path) -> None:
    unused = ("chains:\n", "  spare: {retry: 2}\nchains:\n")
    found = told(tmp_path, unused)
    assert [each.section for each in found] == ["diagnostics"]
    assert found[0].sentence.startswith("new: warning[W") and found[0].place == "p.yaml:15"
    both = edited(RICH, unused)
    assert told(tmp_path, ("version: 1\n", "# moved\n\nversion: 1\n"), text=both) == []
    gone = diff_of(tmp_path, both, RICH).pipelines[0].changes
    assert [each.sentence.split(":")[0] for each in gone] == ["resolved"] and gone[0].place == ""


def test_a_side_that_is_broken_is_told_and_the_other_one_is_shown(tmp_path: Path) -> None:
    diff = diff_of(tmp_path, RICH, RICH.replace("chain: cheap", "chain: cheep"))
    (pipeline,) = diff.pipelines
    assert diff.broken and pipeline.state == "broken" and pipeline.broken == ("new",)
    assert pipeline.changes[0].sentence.startswith("new is broken: error[E043] there is no chain 'cheep'")
    assert pipeline.changes[0].place == "p.yaml:32"
    assert pipeline.outlines["old"].steps == ("topic (generate, asks cheap)", "reply (generate, asks writer)")
    assert pipeline.outlines["old"].chains[0].startswith("cheap: local · cache > contract > sequential")


def test_two_sides_broken_alike_are_the_same(tmp_path: Path) -> None:
    broken = RICH.replace("chain: cheap", "chain: cheep")
    assert diff_of(tmp_path, broken, f"# a note\n{broken}").pipelines[0].state == "same"
    assert diff_of(tmp_path, broken, broken.replace("1h", "2h")).pipelines[0].state == "broken"


def test_another_format_version_is_said(tmp_path: Path) -> None:
    (pipeline,) = diff_of(tmp_path, RICH, RICH.replace("version: 1", "version: 2")).pipelines
    assert pipeline.versions == ("1", "2") and pipeline.broken == ("new",)


def test_a_pipeline_that_one_side_lacks_is_new_or_gone(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(RICH)
    full, empty = Side("b", {"p.yaml": tmp_path / "p.yaml"}), Side("a", {})
    assert [each.state for each in compare(empty, full, REGISTRY).pipelines] == ["added"]
    (gone,) = compare(full, empty, REGISTRY).pipelines
    assert gone.state == "removed" and list(gone.outlines) == ["b"]


def test_a_file_that_runs_as_a_step_is_compared_too(tmp_path: Path) -> None:
    outer = (
        "version: 1\ninputs: {q: {type: string}}\n"
        'steps: {facts: {type: pipeline, file: facts.yaml, inputs: {q: "{{ q }}"}}}\n'
    )
    inner = """\
version: 1
inputs: {q: {type: string}}
providers: {local: {type: mock, model: tiny}}
chains: {default: {targets: [local], policies: {retry: 2}}}
steps: {answer: {prompt: {user: "{{ q }}"}}}
"""
    for name, text in (("old", inner), ("new", inner.replace("retry: 2", "retry: 4"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.yaml").write_text(outer)
        (tmp_path / name / "facts.yaml").write_text(text)
    sides = [Side(name, {"p.yaml": tmp_path / name / "p.yaml"}, tmp_path / name) for name in ("old", "new")]
    facts, whole = compare(*sides, REGISTRY).pipelines
    assert (whole.name, sentences(list(whole.changes))) == ("p.yaml", ["worst-case attempts: 2 → 4, from facts"])
    assert whole.changes[0].place == "p.yaml:3"
    assert (facts.name, facts.changes[-1].sentence) == ("facts.yaml", "retry.max_attempts on default: 2 → 4")


def test_a_file_that_is_called_otherwise_is_the_one_that_reads_most_like_it(tmp_path: Path) -> None:
    texts = {"a/one": RICH, "a/two": RICH.replace("1h", "2h"), "a/else": "version: 1\n", "b/two": RICH, "b/x": "a: 1\n"}
    paths = {name: tmp_path / f"{name}.yaml" for name in texts}
    for name, text in texts.items():
        paths[name].parent.mkdir(exist_ok=True)
        paths[name].write_text(text)
    old, new = ({name: path for name, path in paths.items() if name.startswith(side)} for side in "ab")
    assert renamed(old, new) == {"b/two": "a/one"}
    paths["b/two"].write_text(texts["a/two"])
    assert renamed(old, new) == {"b/two": "a/two"} and renamed(old, {**old, **new}) == {}
    paths["a/one"].write_text(texts["a/two"])
    assert renamed(old, new) == {"b/two": "a/two"}


def test_files_without_a_name_are_not_changed_by_being_called_otherwise(tmp_path: Path) -> None:
    text = edited(
        RICH, ("name: triage\n", ""), ("    timeout: {f", "    circuit_breaker: {per: chain}\n    timeout: {f")
    )
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(text)
    old, new = (Side(name, {"p": tmp_path / f"{name}.yaml"}) for name in ("a", "b"))
    assert [each.state for each in compare(old, new, REGISTRY).pipelines] == ["same"]
    (tmp_path / "b.yaml").write_text(f"{text}name: other\n")
    (pipeline,) = compare(old, new, REGISTRY).pipelines
    assert "name: not set → other" in sentences(list(pipeline.changes), "state")
    assert any("begins anew" in each for each in sentences(list(pipeline.changes), "state"))
