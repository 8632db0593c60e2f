"""Tests written of runs whose answers are more than text: calls, vectors, images, loops, files within files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from repro_kit import Case, alike

from wizard_dsl.testing.repro import Reproduction

FILE = """
version: 1
inputs: {q: {type: string}}
providers:
  a: {type: mock, model: ma}
  b: {type: mock, model: mb}
chains: {default: {targets: [a, b]}, other: {targets: [a]}}
"""
LIST = FILE.replace("{q: {type: string}}", "{qs: {type: array, items: {type: string}, maxItems: 9}}")
TOOLS = "tools: [{name: look, parameters: {type: object, required: [x], properties: {x: {type: string}}}}]"
ASK = 'steps: {v: {prompt: {user: "{{ q }}"}}}\n'
CALL = 'steps: {v: {prompt: {user: "{{ q }}", ' + TOOLS + "}}}\n"
EMBED = 'steps: {v: {type: embed, texts: ["{{ q }}", b]}}\n'
PLAN = """
steps:
  plan:
    prompt: {user: "{{ q }}"}
    output: {schema: {type: object, properties: {parts: {type: array, items: {type: string}, maxItems: 5}}}}
  each: {for_each: steps.plan.json.parts, prompt: {user: "{{ item }}"}, on_error: skip}
"""
TOPIC = "{schema: {type: object, required: [topic], properties: {topic: {enum: [x, y]}}}}"
SCHEMA = 'steps: {v: {prompt: {user: "{{ q }}"}, output: ' + TOPIC + '}}\noutput: {t: "{{ steps.v.json.topic }}"}\n'
TEXT = 'steps: {v: {prompt: {user: "{{ q }}"}, output: {schema: {type: string}}}}\n'
IMAGE = 'steps: {v: {prompt: {messages: [{role: user, content: [{text: what}, {image: "{{ q }}"}]}]}}}\n'
INNER = 'steps: {v: {type: pipeline, file: inner.yaml, inputs: {q: "{{ q }}"}}, w: {needs: [v], prompt: {user: x}}}\n'
TOGETHER = """
steps:
  v: {chain: other, prompt: {user: "{{ q }}"}}
  w: {prompt: {user: x}}
  z: {chain: other, needs: [v, w], prompt: {user: y}}
"""
PIXEL = "data:image/png;base64,iVBORw0KGgo="
LOOK = {"name": "look", "arguments": {"x": "1"}}
SLOW = {"first_chunk": "2s", "chunk_every": "1s"}

CASES: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "a call": (FILE + CALL, [503, {"reply": "so ", "tool_calls": [LOOK], "delay": "2s"}], {}),
    "a call in a stream": (FILE + CALL, [{"reply": "one two", "tool_calls": [LOOK, LOOK], **SLOW}], {"stream": True}),
    "a call that is cut": (
        FILE + CALL,
        [{"tool_calls": [LOOK, {"name": "look", "arguments": '{"x'}], **SLOW, "cut_after": 2}],
        {"stream": True},
    ),
    "a stream with spaces that is cut": (
        FILE + ASK,
        [{"reply": "one  two\nthree four ", **SLOW, "cut_after": 3}],
        {"stream": True},
    ),
    "a stream that stops": (FILE + ASK, [{"reply": "one two three", **SLOW, "stall_after": 2}], {"stream": True}),
    "an answer that ends early": (FILE + ASK, [{"reply": "one two", "finish_reason": "length"}], {}),
    "vectors": (FILE + EMBED, [503, {"reply": [[1, 0], [0, 1]], "delay": "3s"}], {}),
    "vectors to a stream": (FILE + EMBED, [{"reply": [[1, 0], [0, 1]]}], {"stream": True}),
    "too few vectors": (FILE + EMBED, [{"reply": [[1, 0]]}, {}], {}),
    "an image": (FILE + IMAGE, ["a cat"], {"inputs": {"q": PIXEL}}),
    "a schema": (FILE + SCHEMA, ["no json", {"reply": {"topic": "x"}, "delay": "1s"}], {}),
    "a schema of a text": (FILE + TEXT, ["no json", {"reply": '"x"', "delay": "1s"}], {}),
    "a schema of words": (FILE + TEXT.replace("type: string", "enum: [x, y]"), ['"x"'], {}),
    "a schema of a text in a stream": (FILE + TEXT, [{"reply": '"x y"', **SLOW}], {"stream": True}),
    "a schema in a stream": (FILE + SCHEMA, [{"reply": '{"topic": "x"}', **SLOW}], {"stream": True}),
    "a loop": (
        LIST + "steps: {v: {for_each: qs, concurrency: 2, prompt: {user: '{{ item }}'}}}\n",
        [503, "a", {"reply": "b", "delay": "3s"}, {"reply": "c", "delay": "1s"}, "d"],
        {"inputs": {"qs": ["1", "2", "3", "4"]}},
    ),
    "a loop over an answer": (FILE + PLAN, [{"reply": {"parts": ["1", "2", "3"]}}, "a", 400, "c"], {}),
    "steps at once": (
        FILE + TOGETHER.replace("chain: other, ", ""),
        [{"reply": "a", "delay": "2s"}, {"status": 503, "delay": "1s"}, {"reply": "b", "delay": "2s"}, "c"],
        {},
    ),
    "a file in a file": (FILE + INNER, [503, '{"topic": "y"}', "end"], {}),
}


def made(tmp_path: Path, file: str, items: list[Any], content: str, **how: Any) -> tuple[Case, Any, Reproduction]:
    (tmp_path / "inner.yaml").write_text(FILE + SCHEMA)
    case = Case(tmp_path, f"history.content={content}", file=file)
    stored = case.play({"a": items}, **{"inputs": {"q": "my question"}, **how})
    return case, stored, case.repro(stored)


@pytest.mark.parametrize("content", ["none", "redacted", "full"])
@pytest.mark.parametrize("name", CASES)
def test_a_run_is_played_again_whatever_its_answers_are(tmp_path: Path, name: str, content: str) -> None:
    file, items, how = CASES[name]
    if name == "a stream that stops":
        file = file.replace("[a, b]", "[a, b], policies: {timeout: {idle: 5s}}")
    case, stored, repro = made(tmp_path, file, items, content, **how)
    assert repro.passes, repro.text
    assert not [each for each in repro.notes if "in the recorded run" in each], repro.text
    (result,) = case.results(repro.text)
    exact = (content, name) != ("none", "a call in a stream")
    assert [alike([row])[0][: 5 if exact else 3] for row in result.attempts] == [
        alike([row])[0][: 5 if exact else 3] for row in stored.result.attempts
    ]
    for step, was in stored.result.steps.items():
        assert result.steps[step].finish_reason == was.finish_reason
    if content == "full" and "vectors" not in name:
        assert result.output == stored.result.output
        for step, was in stored.result.steps.items():
            assert (result.steps[step].text, result.steps[step].items) == (was.text, was.items)
            assert [call.name for call in result.steps[step].tool_calls] == [call.name for call in was.tool_calls]
        assert "placeholder" not in repro.text
    if content == "none":
        assert "# placeholder" in repro.text


def test_what_a_run_made_and_called_is_expected(tmp_path: Path) -> None:
    file, items, _ = CASES["a call"]
    _, _, repro = made(tmp_path, file, items, "full")
    assert 'tool_calls: [{name: look, arguments: {x: "1"}}]\n' in repro.text
    assert 'steps: {v: {tool_calls: [{name: look, arguments: {x: "1"}}]}}' in repro.text
    (tmp_path / "two").mkdir()
    file, items, _ = CASES["a schema"]
    _, _, repro = made(tmp_path / "two", file, items, "full")
    assert "output: {equals: {t: x}}" in repro.text


def test_vectors_are_stood_in_for_and_told_also_where_content_was_kept(tmp_path: Path) -> None:
    file, items, _ = CASES["vectors"]
    case, _, repro = made(tmp_path, file + "output: '{{ steps.v.json[0] | length }}'\n", items, "full")
    assert repro.notes[0].startswith("Vectors, and what broke off")
    assert "delay: 3s}  # placeholder" in repro.text
    assert "    # output was equals 2 in the recorded run\n" in repro.text
    (result,) = case.results(repro.text)
    assert [len(vector) for vector in result.steps["v"].json] == [4, 4]


def test_stand_ins_are_as_many_as_there_were_and_images_are_images(tmp_path: Path) -> None:
    file, items, how = CASES["a loop"]
    case, _, repro = made(tmp_path, file, items, "none", **how)
    (result,) = case.results(repro.text)
    assert len(result.steps["v"].items or []) == 4
    (tmp_path / "two").mkdir()
    file, items, _ = CASES["an image"]
    _, _, repro = made(tmp_path / "two", file, items, "none", inputs={"q": PIXEL})
    assert 'q: "https://example.com/"  # placeholder' in repro.text


def test_an_answer_from_the_cache_between_others_is_asked_for_at_its_place(tmp_path: Path) -> None:
    file = FILE.replace("[a, b]}", "[a, b], policies: {cache: 1h}}") + TOGETHER
    case, stored, repro = made(tmp_path, file, ["1", "2", "3", "4", "5"], "full", runs=2, pause=9.0)
    assert len(stored.result.attempts) == 2
    assert "    # attempts was 2 in the recorded run\n" in repro.text
    (result,) = case.results(repro.text)
    assert {name: step.text for name, step in result.steps.items()} == {"v": "4", "w": "2", "z": "5"}


def test_a_call_and_vectors_from_the_cache_are_made_by_a_run_before(tmp_path: Path) -> None:
    file = FILE.replace("[a, b]}", "[a, b], policies: {cache: 1h}}")
    items = [{"tool_calls": [LOOK]}, {"reply": [[1, 0], [0, 1]]}]
    steps = CALL.rstrip()[:-1] + ', w: {needs: [v], type: embed, texts: ["{{ q }}", b]}}\n'
    case, stored, repro = made(tmp_path, file + steps, items, "full", runs=2)
    assert stored.result.attempts == []
    first, second = case.results(repro.text)
    assert (len(first.attempts), len(second.attempts)) == (2, 0)
    assert [call.name for call in second.steps["v"].tool_calls] == ["look"]
    assert repro.text.count("# placeholder") == 1


def test_scripts_that_need_not_be_used_up_keep_their_marks(tmp_path: Path) -> None:
    file = FILE + 'steps: {v: {prompt: {user: "{{ q }}"}}, w: {when: "steps.v.text == \'go\'", prompt: {user: x}}}\n'
    _, _, repro = made(tmp_path, file, ["go", "end"], "none")
    assert repro.passes
    assert "the calls come out otherwise" in repro.text
    assert repro.text.count("# placeholder") == 3
