"""Steps: what cannot work is found before the run, at its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from compiler_kit import DEFAULT, HEAD, compile_text, found, program

BASE = HEAD + DEFAULT


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            "  a: {prompt: {user: '{{ steps.b.text }}'}}\n  b: {prompt: {user: x}, needs: [a]}\n",
            ["6:3 E044 steps wait for each other: a → b → a"],
        ),
        ("  a: {prompt: {user: x}, when: steps.a.skipped}\n", ["6:3 E044 steps wait for each other: a → a"]),
        (
            "  a: {prompt: {user: x}, when: 1 > 2}\n"
            "  b: {prompt: {user: x}, needs: {a: ran}}\n"
            "  c: {prompt: {user: x}, needs: {b: ran}}\n"
            "  d: {prompt: {user: x}, needs: [a]}\n",
            [
                "6:32 E045 step 'a' can never run: its condition is always false",
                "7:6 E045 step 'b' can never run: it needs 'a', which never runs",
                "8:6 E045 step 'c' can never run: it needs 'b', which never runs",
            ],
        ),
        ("  a: {prompt: {user: x}, needs: [b]}\n", ["6:34 E043 there is no step 'b'"]),
        ("  a: {prompt: {user: x}, needs: {b: ran}}\n", ["6:34 E043 there is no step 'b'"]),
        ("  a: {prompt: gone}\n", ["6:15 E043 there is no prompt 'gone'"]),
        ("  a: {prompt: {user: x}, chain: gone}\n", ["6:33 E043 there is no chain 'gone'"]),
        ("  a: {prompt: {user: x}, on_error: ignore}\n", ["6:36 E068 on_error is fail, skip, or {default: value}"]),
        (
            "  a: {prompt: {user: x}, on_error: {default: 1, more: 2}}\n",
            ["6:36 E068 on_error is fail, skip, or {default: value}"],
        ),
        ("  a: {prompt: {user: x}, when: item > 1}\n", ["6:32 E051 'item' exists only inside a step with for_each"]),
        (
            "  a: {prompt: {system: '{{ q }}', user: x}}\n",
            ["6:28 E052 the untrusted input 'q' cannot stand in a system message"],
        ),
        ("  a: {prompt: {}}\n", ["6:15 E055 the prompt has no message: give it 'user', or 'messages'"]),
    ],
)
def test_a_mistake_is_found_at_its_line(tmp_path: Path, steps: str, expected: list[str]) -> None:
    assert found(BASE + "steps:\n" + steps, tmp_path) == expected


def test_a_file_without_steps_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    assert found(BASE + "steps: {}\n", tmp_path) == ["1:1 E070 the pipeline has no steps"]
    assert found(BASE, tmp_path) == ["1:1 E070 the pipeline has no steps"]


def test_a_trusted_input_may_stand_in_a_system_message_and_a_loop_over_it_too(tmp_path: Path) -> None:
    text = BASE.replace("default: hello", "default: hello, trusted: true") + (
        "steps: {a: {for_each: '[q]', prompt: {system: '{{ q }} {{ item }}', user: x}}}\n"
    )
    assert found(text, tmp_path) == []
    assert found(text.replace(", trusted: true", ""), tmp_path)[0].split()[1] == "E052"


def test_a_prompt_that_two_steps_use_is_reported_once(tmp_path: Path) -> None:
    text = BASE + "prompts: {p: {user: '{{ nope }}'}}\nsteps: {a: {prompt: p}, b: {prompt: p}}\n"
    assert found(text, tmp_path) == ["5:25 E051 'nope' is not defined"]


def test_a_prompt_is_written_in_place_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("# user\nhello {{ nope }}\n")
    text = BASE + "prompts: {p: {user: x, file: p.md}}\nsteps: {a: {prompt: p}}\n"
    assert found(text, tmp_path) == ["5:30 E055 a prompt is written in place or in a file, not both"]


def test_a_problem_in_a_prompt_file_stands_at_the_files_own_line(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("---\nparams: {max_tokens: 5}\n---\n# user\nhello\n  {{ nope }}\n")
    (only,) = compile_text(BASE + "prompts: {p: {file: p.md}}\nsteps: {a: {prompt: p}}\n", tmp_path).diagnostics
    assert (only.code, Path(only.file).name, only.line) == ("E051", "p.md", 6)


@pytest.mark.parametrize(
    "front", ["params: 3", "user: hello", "parms: {}", "params: {a: 1", "tools: [{description: no name}]"]
)
def test_front_matter_that_is_none_is_an_error_in_the_prompt_file(tmp_path: Path, front: str) -> None:
    (tmp_path / "p.md").write_text(f"---\n{front}\n---\nhello\n")
    made = compile_text(BASE + "prompts: {p: {file: p.md}}\nsteps: {a: {prompt: p}}\n", tmp_path)
    assert made.program is None
    assert {Path(each.file).name for each in made.diagnostics} == {"p.md"}
    assert min(each.line for each in made.diagnostics) >= 2


def test_params_of_the_step_win_over_the_prompts_and_these_over_the_files(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("---\nparams: {max_tokens: 5, temperature: 1, top_p: 1}\n---\nhello\n")
    text = BASE + (
        "prompts: {p: {file: p.md, params: {temperature: 0.5, top_p: 0.5}}}\n"
        "steps: {a: {prompt: p, params: {top_p: 0.1}}}\n"
    )
    (step,) = program(text, tmp_path).steps
    assert step.params == {"max_tokens": 5, "temperature": 0.5, "top_p": 0.1}


INNER = "version: 1\ninputs: {topic: {type: string}}\nsteps: {r: {type: render, template: '{{ topic }}'}}\n"


def test_another_files_inputs_are_checked_where_they_are_given(tmp_path: Path) -> None:
    text = (
        BASE
        + "steps:\n  a: {type: pipeline, file: inner.yaml}\n"
        + "  b: {type: pipeline, file: inner.yaml, inputs: {topc: x}}\n"
    )
    assert found(text, tmp_path, inner=INNER) == [
        "6:6 E069 inner.yaml needs the input 'topic'",
        "7:6 E069 inner.yaml needs the input 'topic'",
        "7:50 E043 inner.yaml has no input 'topc'",
    ]


@pytest.mark.parametrize(
    ("file", "code"),
    [("case.yaml", "E046"), ("../other.yaml", "E033"), ("/etc/hostname", "E033"), ("gone.yaml", "E035")],
)
def test_another_file_is_one_of_the_project_and_not_this_one(tmp_path: Path, file: str, code: str) -> None:
    text = BASE + f"steps: {{a: {{type: pipeline, file: {file}}}}}\n"
    assert [line.split()[1] for line in found(text, tmp_path)] == [code]


def test_files_that_run_each_other_are_named_along_the_way(tmp_path: Path) -> None:
    inner = "version: 1\nsteps: {r: {type: pipeline, file: case.yaml}}\n"
    (only,) = compile_text(BASE + "steps: {a: {type: pipeline, file: inner.yaml}}\n", tmp_path, inner=inner).diagnostics
    assert only.message == "pipelines contain each other: case.yaml → inner.yaml → case.yaml"
    assert Path(only.file).name == "inner.yaml"


def test_what_is_wrong_in_another_file_is_reported_there_and_once(tmp_path: Path) -> None:
    inner = "version: 1\nsteps: {r: {type: render, template: '{{ nope }}'}}\n"
    text = BASE + "steps: {a: {type: pipeline, file: inner.yaml}, b: {type: pipeline, file: inner.yaml}}\n"
    (only,) = compile_text(text, tmp_path, inner=inner).diagnostics
    assert (only.code, Path(only.file).name, only.line) == ("E051", "inner.yaml", 2)


@pytest.mark.parametrize(
    ("output", "streamed", "passes"),
    [
        ("", "b", "b"),
        ("output: '{{ steps.a.text }}'\n", "a", "a"),
        ("output: {text: '{{ steps.a.text }}', n: '{{ 1 }}'}\n", "a", "a"),
        ("output: 'Answer: {{ steps.a.text }}'\n", None, "a"),
        ("output: '{{ steps.a.text }}{{ steps.b.text }}'\n", None, "b"),
        ("output: {n: '{{ 1 }}'}\n", None, "b"),
    ],
)
def test_the_step_whose_deltas_are_the_text_streams(
    tmp_path: Path, output: str, streamed: str | None, passes: str
) -> None:
    made = program(BASE + "steps: {a: {prompt: {user: x}}, b: {prompt: {user: x}}}\n" + output, tmp_path)
    assert (made.streamed, made.passes) == (streamed, passes)


def test_a_loop_never_streams(tmp_path: Path) -> None:
    assert program(BASE + "steps: {a: {for_each: '[1]', prompt: {user: x}}}\n", tmp_path).streamed is None


def test_the_hash_changes_with_the_file_and_its_prompts_and_not_with_the_folder(tmp_path: Path) -> None:
    text = BASE + "prompts: {p: {file: p.md}}\nsteps: {a: {prompt: p}}\n"
    hashes = []
    for name, prompt, more in (
        ("x", "hello", ""),
        ("y", "hello", ""),
        ("z", "bye", ""),
        ("w", "hello", "deadline: 5s\n"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "p.md").write_text(prompt)
        hashes.append(program(text + more, folder).hash)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_the_hashes_change_with_the_files_that_steps_run_and_their_prompts(tmp_path: Path) -> None:
    outer = BASE + "steps: {a: {type: pipeline, file: inner.yaml}}\n"
    inner = BASE + "prompts: {p: {file: p.md}}\nsteps: {a: {prompt: p}}\n"
    made = []
    for text, prompt in ((inner, "hello"), (inner, "bye"), (inner + "deadline: 5s\n", "hello")):
        (tmp_path / "inner.yaml").write_text(text)
        (tmp_path / "p.md").write_text(prompt)
        made.append(program(outer, tmp_path))
    assert len({each.hash for each in made}) == 3
    first, worded, settled = (each.prompts for each in made)
    assert first != worded
    assert first == settled


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("user: hello", "user: bye"),
        ("texts: [hello]", "texts: [bye]"),
        ("template: hello", "template: bye"),
        ("q: hello", "q: bye"),
    ],
)
def test_the_hash_of_the_prompts_counts_all_templates_whose_text_reaches_a_target(
    tmp_path: Path, old: str, new: str
) -> None:
    (tmp_path / "inner.yaml").write_text(BASE + "steps: {a: {prompt: {user: x}}}\n")
    text = BASE + (
        "steps:\n  a: {prompt: {user: hello}}\n  b: {type: embed, texts: [hello]}\n"
        "  c: {type: render, template: hello}\n  d: {type: pipeline, file: inner.yaml, inputs: {q: hello}}\n"
    )
    hashes = {program(each, tmp_path).prompts for each in (text, text + "deadline: 5s\n", text.replace(old, new))}
    assert len(hashes) == 2
