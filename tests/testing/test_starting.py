"""The first tests of a pipeline pass as they are written, and tell what they claim."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.spec.layout import formatted
from wizard_dsl.spec.source import load_text
from wizard_dsl.testing.cases import Options, Programs
from wizard_dsl.testing.coverage import observe
from wizard_dsl.testing.scripted import Item
from wizard_dsl.testing.starting import first_test
from wizard_dsl.testing.testfile import TestFile, TestSpec
from wizard_dsl.testing.trying import collect, try_case

ROOT = Path(__file__).parents[2]
REGISTRY = Registry(plugins=False)
SHIPPED = [
    str(path.relative_to(ROOT))
    for folder in ("pipelines", "examples")
    for path in sorted((ROOT / folder).rglob("*.yaml"))
    if path.name.count(".") == 1 and path.name != "wizard.yaml"
]
TWO = """version: 1
providers: {one: {type: mock, model: a}, two: {type: mock, model: b}}
chains: {default: {targets: [one, two]}}
"""
INNER = TWO + "inputs: {part: {type: string}}\nsteps: {say: {prompt: {user: '{{ part }}'}}}\n"


def begun(path: Path, env: dict[str, str] | None = None, registry: Registry = REGISTRY) -> TestFile:
    """The first tests of a file, written, valid, laid out as `wizard fmt` does it, and passed."""
    target = path.with_name(f"{path.stem}.test.yaml")
    programs = Programs(registry)
    compiled = programs.compiled(path, Options(env or {}))
    text = first_test(compiled, registry, target=target, pipeline=path, env=env or {}, schema="test.schema.json")
    target.write_text(text)
    suite = collect(target, programs)
    assert not suite.found.diagnostics, render_text(suite.found.diagnostics)
    for case in suite.cases:
        outcome = try_case(suite, case, observe)
        assert outcome.passed, [each.sentence for each in outcome.failures]
    assert formatted(load_text(text, ""), ()) == text
    assert suite.found.value is not None
    return suite.found.value


def written(folder: Path, text: str) -> TestFile:
    path = folder / "made.yaml"
    path.write_text(text)
    return begun(path)


def expected(test: TestSpec) -> dict[str, Any]:
    """What a test expects, by key."""
    keys = ("text", "output", "served_by", "attempts", "steps", "error")
    return {key: getattr(test.expect, key) for key in keys if getattr(test.expect, key) is not msgspec.UNSET}


@pytest.mark.parametrize("name", SHIPPED)
def test_all_that_is_shipped_gets_a_first_test_that_passes(name: str, tmp_path: Path) -> None:
    top = name.partition("/")[0]
    shutil.copytree(ROOT / top, tmp_path / top, ignore=shutil.ignore_patterns("*.test.yaml", "__snapshots__"))
    env = {"OPENAI_API_KEY": "test", "ANTHROPIC_API_KEY": "test"}
    made = begun(tmp_path / name, env, Registry())
    assert len(made.tests) >= 2
    assert any("away" in each for each in made.tests)


def test_a_target_that_is_away_is_told_by_who_answers_instead(tmp_path: Path) -> None:
    made = written(tmp_path, TWO + "steps: {a: {prompt: {user: Hello}}}\n")
    assert list(made.tests) == ["all goes well", "one is away, and two answers"]
    usual, away = made.tests.values()
    assert expected(usual) == {"text": "An answer.", "served_by": "one", "attempts": 1}
    assert expected(away) == {"text": "An answer.", "served_by": "two", "attempts": 4}
    assert away.targets["one"] == [Item(status=503, times=3)]


def test_a_target_that_is_alone_is_told_by_its_repeat_and_by_what_then_becomes_of_the_run(tmp_path: Path) -> None:
    alone = TWO.replace("[one, two]", "[one]")
    made = written(tmp_path, alone + "steps: {a: {prompt: {user: Hello}}}\n")
    assert list(made.tests) == ["all goes well", "a failure of one is repeated", "one is away, and so the run fails"]
    assert made.tests["a failure of one is repeated"].expect.attempts == 2
    assert expected(made.tests["one is away, and so the run fails"]) == {"error": "server", "attempts": 3}
    made = written(tmp_path, alone + "steps: {a: {prompt: {user: Hello}, on_error: skip}}\n")
    assert list(made.tests)[-1] == "one is away, and the run goes on without it"


def test_without_a_repeat_none_is_told_of(tmp_path: Path) -> None:
    chain = "chains: {default: {targets: [one], policies: {retry: off}}}"
    alone = TWO.replace("chains: {default: {targets: [one, two]}}", chain)
    made = written(tmp_path, alone + "steps: {a: {prompt: {user: Hello}}}\n")
    assert list(made.tests) == ["all goes well", "one is away, and so the run fails"]


def test_inputs_fit_their_schemas_and_defaults_stay(tmp_path: Path) -> None:
    inputs = """inputs:
  mail: {type: string, format: email}
  count: {type: integer, minimum: 3, maximum: 5}
  kind: {enum: [letter, parcel]}
  days: {type: array, minItems: 2, items: {type: string, format: date}}
  language: {type: string, default: en}
"""
    prompt = "{{ mail }} {{ count }} {{ kind }} {{ days | tojson }} {{ language }}"
    made = written(tmp_path, f'{TWO}{inputs}steps: {{a: {{prompt: {{user: "{prompt}"}}}}}}\n')
    given = made.defaults.inputs
    assert list(given) == ["mail", "count", "kind", "days"]
    assert "# left to their defaults: language" in (tmp_path / "made.test.yaml").read_text()


def test_inputs_that_cannot_be_made_up_are_told(tmp_path: Path) -> None:
    steps = 'steps: {a: {type: render, template: "Hello {{ x }}"}}\n'
    made = written(tmp_path, f"version: 1\ninputs: {{x: {{type: string, not: {{minLength: 1}}}}}}\n{steps}")
    assert {name: expected(test) for name, test in made.tests.items()} == {
        "the inputs are refused": {"error": "input", "attempts": 0}
    }
    assert "put in what it takes" in (tmp_path / "made.test.yaml").read_text()


def test_answers_are_as_declared(tmp_path: Path) -> None:
    schema = "{type: object, required: [parts], properties: {parts: {type: array, minItems: 2}}}"
    steps = f"steps: {{a: {{prompt: {{user: Hello}}, output: {{schema: {schema}}}}}}}\n"
    made = written(tmp_path, TWO + steps)
    (item,) = made.tests["all goes well"].targets["one"]
    assert isinstance(item, Item) and len(item.reply["parts"]) == 2
    made = written(tmp_path, TWO + steps.replace(schema, "{type: string}"))
    assert made.tests["all goes well"].expect.attempts == 1


def test_an_answer_that_nothing_fits_is_told(tmp_path: Path) -> None:
    steps = "steps: {a: {prompt: {user: Hello}, output: {schema: {not: {}}}}}\n"
    made = written(tmp_path, TWO + steps)
    name, test = next(iter(made.tests.items()))
    assert (name, test.expect.error) == ("what is answered does not do", "contract")


@pytest.mark.parametrize(
    ("inputs", "steps", "chain"),
    [
        ("", "{a: {type: render, template: Hello}}", ""),
        ("texts: {type: array, items: {type: string}}", '{a: {type: embed, texts: "{{ texts }}"}}', ""),
        ("parts: {type: array}", '{a: {for_each: parts, prompt: {user: "{{ item }}"}}}', "strategy: hedged"),
        ("part: {type: string}", "{a: {type: pipeline, file: inner.yaml, inputs: {part: '{{ part }}'}}}", ""),
        ("part: {type: string}", "{a: {prompt: {user: '{{ part }}'}}}", "strategy: parallel"),
        ("part: {type: string}", "{a: {prompt: {user: '{{ part }}'}}}", "on_mid_stream_error: restart"),
        (
            "pic: {type: string}",
            "{a: {prompt: {messages: [{role: user, content: [{image: '{{ pic }}'}]}]}}}",
            "policies: {cache: 1h}",
        ),
    ],
    ids=["render", "embed", "for_each", "nested", "parallel", "streamed", "image"],
)
def test_every_kind_of_step_gets_a_first_test(inputs: str, steps: str, chain: str, tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(INNER)
    head = TWO.replace("[one, two]", f"[one, two], {chain}" if chain else "[one, two]")
    made = written(tmp_path, f"{head}inputs: {{{inputs}}}\nsteps: {steps}\n")
    away = [name for name in made.tests if "away" in name]
    assert len(away) == (0 if "render" in steps else 1)
    assert all("two answers" in name for name in away)


def test_who_answers_stands_at_the_steps_where_the_run_has_no_text_of_them(tmp_path: Path) -> None:
    steps = "{a: {prompt: {user: Hello}}, b: {type: render, template: '{{ steps.a.text }}'}}"
    made = written(tmp_path, f"{TWO}steps: {steps}\n")
    assert made.tests["one is away, and two answers"].expect.steps["a"].served_by == "two"  # type: ignore[index]


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        written(tmp_path, INNER)
        texts.append((tmp_path / "made.test.yaml").read_bytes())
    assert texts[0] == texts[1]
