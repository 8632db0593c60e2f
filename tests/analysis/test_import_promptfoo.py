"""Imports of promptfoo: a pipeline that runs, and tests that expect what the assertions said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from import_kit import (
    IMPORTS,
    REGISTRY,
    Text,
    artefact,
    asked,
    compiled,
    finding,
    read_foreign_text,
    reader,
    settings,
    written,
)
from syrupy.assertion import SnapshotAssertion

from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.promptfoo import import_promptfoo
from wizard_dsl.core.clock import machine_time
from wizard_dsl.core.errors import SpecError
from wizard_dsl.lint.allow import with_allowed
from wizard_dsl.lint.rules import lint
from wizard_dsl.spec.diagnostics import has_errors, render_text
from wizard_dsl.testing.cases import Programs
from wizard_dsl.testing.trying import Suite, collect, try_case

FOLDER = IMPORTS / "promptfoo"
FILES = sorted(FOLDER.glob("*.yaml"))


def imported(text: str, name: str = "config.yaml") -> Imported:
    return import_promptfoo(read_foreign_text(text, name), FOLDER, "imported")


of_file = reader(imported)


def with_assert(*assertions: dict[str, Any]) -> Imported:
    config = {
        "prompts": ["Say {{what}}"],
        "providers": ["openai:gpt-4o"],
        "tests": [{"vars": {"what": "hello"}, "assert": list(assertions)}],
    }
    return imported(yaml.safe_dump(config, sort_keys=False))


def tried(made: Imported, folder: Path, reply: str) -> Suite:
    """The tests, with one reply to every call in place of the cassette."""
    (folder / "imported.yaml").write_text(made.pipeline, encoding="utf-8")
    tests = yaml.safe_load(made.files[1].text)
    assert tests["defaults"].pop("cassette") == "imported.cassette.jsonl"
    tests["defaults"]["targets"] = {"*": [{"reply": reply, "times": "forever"}]}
    path = folder / "imported.test.yaml"
    path.write_text(yaml.safe_dump(tests, sort_keys=False), encoding="utf-8")
    return collect(path, Programs(REGISTRY, wall=machine_time()))


def passes(made: Imported, folder: Path, reply: str) -> bool:
    suite = tried(made, folder, reply)
    assert suite.cases and not has_errors(suite.found.diagnostics), render_text(suite.found.diagnostics)
    return all(try_case(suite, case).passed for case in suite.cases)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestEveryFile:
    def test_is_imported_as_it_was_reviewed(self, path: Path, snapshot: SnapshotAssertion) -> None:
        assert artefact(of_file(path)) == snapshot(extension_class=Text)

    def test_has_exactly_one_finding_for_each_setting(self, path: Path) -> None:
        made = of_file(path)
        assert [each.setting for each in made.findings] == settings(path.read_text(encoding="utf-8"))
        assert all(each.why or each.outcome == "mapped" for each in made.findings)

    def test_becomes_a_pipeline_without_errors_that_answers(self, path: Path, tmp_path: Path) -> None:
        made = of_file(path)
        found = compiled(made, tmp_path).diagnostics
        assert not has_errors(found), render_text(found)
        made_up = {"string": "x", "boolean": True}
        inputs = {name: spec.get("default", made_up[spec["type"]]) for name, spec in written(made)["inputs"].items()}
        assert asked(made, tmp_path, **inputs).ok

    def test_has_tests_that_fit_the_pipeline(self, path: Path, tmp_path: Path) -> None:
        suite = tried(of_file(path), tmp_path, "Hello")
        assert suite.cases and not has_errors(suite.found.diagnostics), render_text(suite.found.diagnostics)

    def test_writes_no_key(self, path: Path) -> None:
        assert "a-literal" not in artefact(of_file(path))


@pytest.mark.parametrize(
    ("assertion", "good", "bad"),
    [
        ({"type": "equals", "value": "Hello"}, "Hello", "Hello!"),
        ({"type": "equals", "value": {"a": 1}}, '{"a": 1}', '{"a": 2}'),
        ({"type": "not-equals", "value": "Hello"}, "Hello!", "Hello"),
        ({"type": "contains", "value": "ell"}, "Hello", "HELLO"),
        ({"type": "contains", "value": 42}, "it is 42", "it is 41"),
        ({"type": "icontains", "value": "ELL"}, "Hello", "Hallo"),
        ({"type": "not-contains", "value": "a.b"}, "axb", "a.b"),
        ({"type": "contains-any", "value": ["a", "b"]}, "xb", "xc"),
        ({"type": "contains-all", "value": ["a", "b"]}, "b a", "b"),
        ({"type": "icontains-all", "value": ["a", "b"]}, "B\nA", "B"),
        ({"type": "not-contains-all", "value": ["a", "b"]}, "b", "b a"),
        ({"type": "starts-with", "value": "He"}, "Hello", "Oh, Hello"),
        ({"type": "not-starts-with", "value": "He"}, "Oh, Hello", "Hello"),
        ({"type": "regex", "value": r"^\d{3}$"}, "123", "1234"),
        ({"type": "not-regex", "value": r"\d"}, "none", "1"),
        ({"type": "is-json"}, "{}", "{"),
        ({"type": "is-json", "value": {"required": ["a"]}}, '{"a": 1}', "{}"),
        ({"type": "javascript", "value": "output.length <= 5"}, "Hello", "Hello!"),
        ({"type": "javascript", "value": "output.length > 5;"}, "Hello!", "Hello"),
        ({"type": "javascript", "value": "output.includes('ell')"}, "Hello", "Hallo"),
        ({"type": "javascript", "value": '!output.includes("ell")'}, "Hallo", "Hello"),
        ({"type": "similar", "value": "Hello world", "threshold": 0.8}, "Hello worlds", "Goodbye"),
        ({"type": "levenshtein", "value": "Hello world", "threshold": 2}, "Hello world!", "Goodbye"),
        ({"type": "contains", "value": "{{ what }}, {{what}}"}, "hello, hello", "hello"),
        ({"type": "contains", "value": "file://prompts/letter.txt"}, "My invoice is wrong.", "letter.txt"),
        ({"type": "assert-set", "assert": [{"type": "contains", "value": "a"}]}, "a", "b"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_assertion_expects_what_it_expected_there(
    tmp_path: Path, assertion: dict[str, Any], good: str, bad: str
) -> None:
    made = with_assert(assertion)
    assert passes(made, tmp_path, good)
    assert not passes(made, tmp_path, bad)


def test_several_assertions_of_one_kind_all_count(tmp_path: Path) -> None:
    made = with_assert(
        {"type": "regex", "value": "a|b"},
        {"type": "icontains", "value": "C"},
        {"type": "contains", "value": "d"},
        {"type": "contains", "value": "e"},
        {"type": "not-regex", "value": "x|y"},
        {"type": "not-contains", "value": "z"},
        {"type": "is-json"},
        {"type": "is-json", "value": {"type": "array"}},
    )
    assert passes(made, tmp_path, '["b", "c", "d", "e"]')
    for without in ('["c", "d", "e"]', '["b", "d", "e"]', '["b", "c", "e"]', '["b", "c", "d"]', '"b, c, d, e"'):
        assert not passes(made, tmp_path, without)
    for with_one in "xyz":
        assert not passes(made, tmp_path, f'["b", "c", "d", "e", "{with_one}"]')


@pytest.mark.parametrize(
    ("assertion", "why"),
    [
        ({"type": "llm-rubric", "value": "is polite"}, "graded by a model"),
        ({"type": "python", "value": "len(output) > 3"}, "code of its own"),
        ({"type": "javascript", "value": "output.trim() === 'x'"}, "code of its own"),
        ({"type": "contains", "value": "a", "weight": 0}, "always passes"),
        ({"type": "contains", "value": "a", "transform": "output.trim()"}, "transformed"),
        ({"type": "contains", "value": "{{ what | upper }}"}, "a template with more than vars"),
        ({"type": "contains", "value": "file://check.js"}, "made by code"),
        ({"type": "regex", "value": "("}, "Python's regular expressions"),
        ({"type": "is-json", "value": {"type": 3}}, "no JSON Schema"),
        ({"type": "not-cost", "threshold": 1}, "no such expectation"),
        ({"type": "latency"}, "no threshold"),
        ({"type": "contains"}, "no value"),
        ({"type": "containz", "value": "a"}, "no such expectation"),
        ({"value": "a"}, "an assertion has a `type`"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_assertion_without_counterpart_is_dropped_with_the_reason(assertion: dict[str, Any], why: str) -> None:
    made = with_assert(assertion)
    found = [each for each in made.findings if each.setting.startswith("tests[0].assert")]
    assert found and all(each.outcome == "dropped" and why in str(each.why) for each in found)
    assert "expect" not in next(iter(yaml.safe_load(made.files[1].text)["tests"].values()))


def test_every_test_runs_on_every_provider_and_prompt(tmp_path: Path) -> None:
    suite = tried(of_file(FOLDER / "minimal.yaml"), tmp_path, "bananas")
    assert len(suite.cases) == 4
    assert len({case.name for case in suite.cases}) == 4


def test_a_var_gets_a_name_that_an_input_may_have() -> None:
    config = "prompts: ['{{userName}} {{ steps }} {{a|upper}} {{ \"userName\" }}']\nproviders: openai:gpt-4o\n"
    made = imported(f"{config}tests: [{{vars: {{userName: x, steps: y, a: z}}}}]\n")
    assert set(written(made)["inputs"]) == {"a", "steps_2", "user_name"}
    assert written(made)["prompts"]["prompt"]["user"] == '{{user_name}} {{ steps_2 }} {{a|upper}} {{ "userName" }}'
    assert finding(made, "tests[0].vars.userName").why == "called user_name"


def test_a_var_that_a_test_leaves_out_is_empty(tmp_path: Path) -> None:
    made = imported(
        "prompts: ['{{a}} {{b}}']\nproviders: openai:gpt-4o\ntests: [{vars: {a: x, b: 3}}, {vars: {a: y}}]\n"
    )
    assert written(made)["inputs"]["b"]["default"] == ""
    assert asked(made, tmp_path, a="x").ok


def test_a_var_in_a_system_message_is_trusted_as_it_is_there(tmp_path: Path) -> None:
    chat = '[{"role": "system", "content": "You are {{who}}"}, {"role": "user", "content": "{{what}}"}]'
    made = imported(yaml.safe_dump({"prompts": [chat], "providers": ["openai:gpt-4o"]}))
    assert written(made)["inputs"]["who"]["trusted"] is True
    assert "trusted" not in written(made)["inputs"]["what"]
    assert asked(made, tmp_path, who="a pirate", what="Hello").ok


def test_without_a_provider_that_can_be_asked_a_mock_answers(tmp_path: Path) -> None:
    made = imported("prompts: [Hello]\nproviders: ['python:mine.py', 'exec:ask.sh']\n")
    assert [each.outcome for each in made.findings] == ["mapped", "dropped", "dropped"]
    assert asked(made, tmp_path).served_by == "mock/mock"


def test_more_combinations_than_anybody_reads_are_cut_and_said_to_be() -> None:
    values = list(range(30))
    config = {"prompts": ["{{a}} {{b}}"], "providers": "openai:gpt-4o", "tests": [{"vars": {"a": values, "b": values}}]}
    made = imported(yaml.safe_dump(config))
    assert "tests[0].vars: the first 200 of 900 combinations are written" in made.notes


@pytest.mark.parametrize(
    "text",
    [
        "providers: [openai:gpt-4o]\n",
        "prompts: []\n",
        "prompts: ['exec:make.sh']\n",
        "prompts: ['file://../../x.txt']\n",
    ],
)
def test_a_file_without_a_prompt_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="there is no prompt that can be asked"):
        imported(text)


def of_folder(folder: Path, text: str) -> Imported:
    return import_promptfoo(read_foreign_text(text, "config.yaml"), folder, "imported")


TABLES = {
    "t.jsonl": '{"vars": {"a": 1}, "assert": [{"type": "contains", "value": "x"}]}\n\n{"vars": {"a": 2}}\n',
    "t.json": '[{"vars": {"a": 1}, "assert": [{"type": "contains", "value": "x"}]}, {"vars": {"a": 2}}]',
    "t.yaml": "- vars: {a: 1}\n  assert: [{type: contains, value: x}]\n- vars: {a: 2}\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tests_in_a_file_are_taken_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLES[name])
    made = of_folder(tmp_path, f"prompts: ['Say {{{{a}}}}']\nproviders: [openai:m]\ntests: file://{name}\n")
    tests = yaml.safe_load(made.files[1].text)["tests"]
    assert [each["inputs"] for each in tests.values()] == [{"a": 1}, {"a": 2}]
    assert [each.get("expect") for each in tests.values()] == [{"text": {"contains": "x"}}, None]
    assert f"# {name}, 2" in made.files[1].text
    assert [each.outcome for each in made.findings if each.setting == "tests"] == ["approximated"]


def test_a_pattern_stands_for_the_tests_of_all_its_files(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.csv"):
        (tmp_path / name).write_text("- vars: {x: 1}\n" if name == "a.yaml" else "x\n2\n")
    made = of_folder(tmp_path, "prompts: ['{{x}}']\nproviders: [openai:m]\ntests: ['*.*']\n")
    tests = yaml.safe_load(made.files[1].text)["tests"]
    assert [each["inputs"] for each in tests.values()] == [{"x": 1}, {"x": "2"}]


@pytest.mark.parametrize("content", ['{"vars": {}}', "[1]", "[", "a: 1\na: 2\n", ""])
def test_a_file_that_is_no_list_of_tests_is_dropped_with_the_reason(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.yaml").write_text(content)
    made = of_folder(tmp_path, "prompts: [Hi]\nproviders: [openai:m]\ntests: t.yaml\n")
    assert finding(made, "tests").why == "the file 't.yaml' is no list of tests"


def test_a_pattern_stands_for_each_of_its_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.py"):
        (tmp_path / name).write_text(f"From {name}")
    made = of_folder(tmp_path, "prompts: ['file://*']\nproviders: [openai:m]\n")
    assert written(made)["prompts"] == {"a": {"user": "From a.txt"}, "b": {"user": "From b.txt"}}
    for pattern in ("*.none", "/*", "../*.txt"):
        text = f"prompts: [Hi, 'file://{pattern}']\nproviders: [openai:m]\n"
        assert finding(of_folder(tmp_path / "..", text), "prompts[1]").outcome == "dropped"


def test_chains_for_comparing_are_said_to_be_meant(tmp_path: Path) -> None:
    made = imported("prompts: [Hi]\nproviders: [openai:m, openai:n]\n")
    found = compiled(made, tmp_path)
    told = with_allowed([*found.diagnostics, *lint(found)], [str(tmp_path / "imported.yaml")], frozenset(["W121"]))
    assert [(each.code, bool(each.allowed)) for each in told] == [("W121", True)]


def test_providers_may_stand_under_their_ids(tmp_path: Path) -> None:
    made = imported(
        "prompts: [Say it]\ntests: [{}]\nproviders:\n"
        "  openai:gpt-4o: {config: {temperature: 0}, label: big}\n"
        "  ollama:chat:llama3.2:\n"
        "  other: {id: 'groq:llama-3.3-70b-versatile'}\n"
    )
    targets = {name: each["targets"][0] for name, each in written(made)["chains"].items()}
    assert targets == {
        "big": {"provider": "openai", "model": "gpt-4o", "params": {"temperature": 0}},
        "ollama_llama3_2": {"provider": "ollama", "model": "llama3.2"},
        "other": {"provider": "groq", "model": "llama-3.3-70b-versatile"},
    }
    assert {each.outcome for each in made.findings if each.setting.startswith("providers")} == {"mapped"}


def test_providers_in_a_file_of_their_own_are_said_to_be_elsewhere() -> None:
    made = imported("prompts: [Say it]\nproviders: file://providers.yaml\n")
    assert finding(made, "providers").why == (
        "providers in a file of their own: write them into the source and import again"
    )
