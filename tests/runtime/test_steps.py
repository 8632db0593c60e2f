"""The step graph: order, conditions, loops, errors, other files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from run_kit import CHAIN, HEAD, compiled, play

from wizard_dsl.core.errors import DeadlineExceeded, InputInvalid, StepFailed, WizardError
from wizard_dsl.core.events import AttemptStarted, RunEnded, StepEnded
from wizard_dsl.core.result import Result
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual


async def once(pipeline: Pipeline) -> Result:
    return await pipeline.run()


def result_of(text: str, folder: Path, **scripts: list[Any]) -> Result:
    return play(HEAD + CHAIN + text, folder, scripts, once)[0]


def test_a_step_sees_the_answer_of_another_and_runs_after_it(tmp_path: Path) -> None:
    text = """
steps:
  second: {prompt: {user: "got {{ steps.first.text }}"}}
  first: {prompt: {user: "{{ q }}"}}
output: "{{ steps.second.text }}"
"""
    result, scripts = play(HEAD + CHAIN + text, tmp_path, {"a": ["one", "two"]}, once)
    assert result.text == "two"
    assert [request.messages[-1].text for request, _ in scripts["a"].calls] == ["hello", "got one"]


def test_independent_steps_run_at_once(tmp_path: Path) -> None:
    text = """
steps:
  x: {prompt: {user: x}}
  y: {prompt: {user: y}}
  z: {type: render, template: "{{ steps.x.text }}+{{ steps.y.text }}"}
"""
    slow = {"reply": "ok", "delay": "3s"}
    result = result_of(text, tmp_path, a=[slow, slow])
    assert result.text == "ok+ok"
    assert result.elapsed == 3


def test_a_false_condition_skips_and_dependents_still_run(tmp_path: Path) -> None:
    text = """
steps:
  a: {prompt: {user: x}, when: q == 'no'}
  b: {type: render, template: "[{{ steps.a.text }}]{{ steps.a.json }}{{ steps.a.skipped }}"}
  c: {type: render, template: never, needs: {a: ran}}
  d: {type: render, template: "{{ steps.b.text }}", needs: [c]}
"""
    result = result_of(text, tmp_path, a=[])
    assert result.text == "[]nulltrue"
    assert result.steps["a"].skipped
    assert result.steps["c"].skipped


def test_a_loop_keeps_input_order_and_bounds_its_concurrency(tmp_path: Path) -> None:
    text = """
steps:
  each: {for_each: "[3, 1, 2]", concurrency: 2, prompt: {user: "{{ item }}/{{ index }}"}}
"""
    script = [{"reply": "slow", "delay": "5s"}, {"reply": "quick", "delay": "1s"}, {"reply": "last", "delay": "1s"}]
    result, scripts = play(HEAD + CHAIN + text, tmp_path, {"a": script}, once)
    assert result.text == "slow\nquick\nlast"
    assert [request.messages[-1].text for request, _ in scripts["a"].calls] == ["3/0", "1/1", "2/2"]
    assert result.elapsed == 5
    assert [item.text for item in result.steps["each"].items or []] == ["slow", "quick", "last"]


def test_on_error_is_per_item(tmp_path: Path) -> None:
    text = """
steps:
  each: {for_each: "['x', 'y']", concurrency: 1, prompt: {user: "{{ item }}"}, on_error: skip}
  all: {type: render, template: "{{ steps.each.items[0].error.kind }} {{ steps.each.items[1].text }}"}
"""
    result = result_of(text, tmp_path, a=[400, "fine"])
    assert result.text == "invalid_request fine"
    assert result.steps["each"].items is not None
    assert result.steps["each"].items[0].skipped


def test_a_condition_that_looks_at_the_item_skips_items(tmp_path: Path) -> None:
    text = """
steps:
  each: {for_each: "[1, 2, 3]", when: item > 1, concurrency: 1, prompt: {user: "{{ item }}"}}
"""
    result = result_of(text, tmp_path, a=["two", "three"])
    assert [item.skipped for item in result.steps["each"].items or []] == [True, False, False]


def test_a_default_stands_in_for_a_failed_step(tmp_path: Path) -> None:
    text = """
steps:
  one: {prompt: {user: x}, on_error: {default: {topic: none}}}
  two: {type: render, template: "{{ steps.one.json.topic }}"}
"""
    result = result_of(text, tmp_path, a=[400])
    assert result.ok
    assert result.text == "none"
    assert result.steps["one"].error is not None
    assert result.steps["one"].error.kind == "invalid_request"


def test_a_failed_step_fails_the_run_and_the_result_says_how_far_it_came(tmp_path: Path) -> None:
    text = """
steps:
  one: {prompt: {user: x}}
  two: {prompt: {user: "{{ steps.one.text }}"}}
"""
    with pytest.raises(WizardError) as caught:
        result_of(text, tmp_path, a=["fine", 401])
    assert caught.value.kind == "auth"
    result = caught.value.result
    assert not result.ok
    assert result.partial
    assert result.steps["one"].text == "fine"
    assert [attempt.kind for attempt in result.attempts] == ["ok", "auth"]
    assert result.error.kind == "auth"


def test_a_failing_sibling_cancels_what_runs_at_once(tmp_path: Path) -> None:
    text = """
steps:
  slow: {prompt: {user: x}}
  bad: {prompt: {user: y}}
  end: {type: render, template: "{{ steps.slow.text }}{{ steps.bad.text }}"}
"""
    with pytest.raises(WizardError) as caught:
        result_of(text, tmp_path, a=[{"reply": "late", "delay": "50s"}, {"status": 401, "delay": "1s"}])
    assert caught.value.result.elapsed == 1
    assert [attempt.kind for attempt in caught.value.result.attempts] == ["cancelled", "auth"]


def test_a_missing_key_in_a_template_fails_with_its_line(tmp_path: Path) -> None:
    text = """
steps:
  one: {type: render, template: '{{ {"a": 1} }}'}
  two:
    type: render
    template: |
      line one
      {{ steps.one.json.b }}
"""
    with pytest.raises(StepFailed, match="line 2"):
        result_of(text, tmp_path, a=[])


def test_the_run_deadline_cuts_a_hanging_step(tmp_path: Path) -> None:
    text = """
steps: {one: {prompt: {user: x}}}
deadline: 5s
"""
    with pytest.raises(DeadlineExceeded) as caught:
        result_of(text, tmp_path, a=[{"reply": "never", "delay": "1h"}])
    assert caught.value.result.elapsed == 5
    assert caught.value.result.attempts[0].kind == "deadline"


def test_a_callers_deadline_tightens_the_files(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> float:
        with pytest.raises(DeadlineExceeded):
            await pipeline.run(deadline="2s")
        with pytest.raises(DeadlineExceeded) as caught:
            await pipeline.run(deadline=3)
        return float(caught.value.result.elapsed)

    text = HEAD + CHAIN + "steps: {one: {prompt: {user: x}}}\n"
    hang = {"reply": "never", "delay": "1h"}
    assert play(text, tmp_path, {"a": [hang, hang]}, work)[0] == 3


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, r"input 'n' is missing \(how many\)"),
        ({"n": "three"}, "it is a string, not integer"),
        ({"n": 12}, "12 is greater than the maximum of 10"),
        ({"n": 1, "t": "x" * 20}, "it has 20 characters; at most 10 are allowed"),
        ({"n": 1, "m": 2}, "there is no input 'm'"),
        ({"n": 1, "lang": "fr"}, "it is none of en, de"),
    ],
)
def test_inputs_that_do_not_fit_name_the_input_and_what_it_is_for(
    tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    text = """
version: 1
inputs:
  n: {type: integer, maximum: 10, description: how many}
  t: {type: string, maxLength: 10, default: ""}
  lang: {type: string, enum: [en, de], default: en}
steps: {one: {type: render, template: "{{ n }}"}}
"""

    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(InputInvalid, match=sentence):
            await pipeline.run(inputs=given)

    play(text, tmp_path, {}, work)


def test_another_file_runs_as_a_step_with_the_same_ledger(tmp_path: Path) -> None:
    inner = """
version: 1
inputs: {topic: {type: string}}
providers: {c: {type: mock, model: z}}
chains: {default: {targets: [c]}}
steps: {facts: {prompt: {user: "about {{ topic }}"}}}
output: {text: "{{ steps.facts.text }}", n: "{{ 3 }}"}
"""
    (tmp_path / "inner.yaml").write_text(inner)
    text = """
steps:
  sub: {type: pipeline, file: inner.yaml, inputs: {topic: "{{ q }}"}}
  end: {type: render, template: "{{ steps.sub.text }} {{ steps.sub.json.n }}"}
"""
    result, _ = play(HEAD + CHAIN + text, tmp_path, {"a": [], "c": ["a fact"]}, once)
    assert result.text == "a fact 3"
    assert [attempt.step for attempt in result.attempts] == ["sub/facts"]
    assert len(result.steps["sub"].attempts) == 1


def test_embeddings_are_the_json_of_their_step(tmp_path: Path) -> None:
    text = HEAD + CHAIN + "steps: {v: {type: embed, texts: ['{{ q }}', two]}}\noutput: {v: '{{ steps.v.json }}'}\n"
    result = mocked(text, tmp_path)
    assert len(result.output["v"]) == 2
    assert all(isinstance(number, float) for number in result.output["v"][0])


def test_a_calls_own_deadline_is_an_error_like_others_while_the_run_has_time(tmp_path: Path) -> None:
    text = """
policies: {default: {deadline: 5s}}
steps:
  one: {prompt: {user: x}, on_error: skip}
  two: {type: render, template: "after {{ steps.one.skipped }}"}
"""
    result = result_of(text, tmp_path, a=[{"reply": "never", "delay": "1h"}])
    assert (result.text, result.elapsed) == ("after true", 5)
    assert result.steps["one"].error is not None
    assert result.steps["one"].error.kind == "deadline"


def test_the_runs_deadline_ends_it_whatever_on_error_says(tmp_path: Path) -> None:
    text = """
deadline: 5s
steps:
  one: {prompt: {user: x}, on_error: skip}
  two: {type: render, template: after}
"""
    with pytest.raises(DeadlineExceeded):
        result_of(text, tmp_path, a=[{"reply": "never", "delay": "1h"}])


def test_a_failed_step_took_the_time_it_took(tmp_path: Path) -> None:
    with pytest.raises(WizardError) as caught:
        result_of("steps: {one: {prompt: {user: x}}}\n", tmp_path, a=[{"status": 401, "delay": "3s"}])
    assert caught.value.result.steps["one"].elapsed == 3


def test_a_failed_loop_keeps_the_items_that_were_made(tmp_path: Path) -> None:
    text = 'steps: {each: {for_each: "[1, 2, 3]", concurrency: 1, prompt: {user: "{{ item }}"}}}\n'
    with pytest.raises(WizardError) as caught:
        result_of(text, tmp_path, a=["fine", 401])
    step = caught.value.result.steps["each"]
    assert [(item.text, item.skipped, item.error and item.error.kind) for item in step.items] == [
        ("fine", False, None),
        ("", False, "auth"),
        ("", True, None),
    ]
    assert step.error.kind == "auth"


def test_the_first_failure_of_steps_that_run_at_once_is_the_runs(tmp_path: Path) -> None:
    text = """
steps:
  loop: {for_each: "[1, 2]", prompt: {user: "{{ item }}"}}
  late: {prompt: {user: y}}
  end: {type: render, template: "{{ steps.loop.text }}{{ steps.late.text }}"}
"""
    script = [{"status": 404, "delay": "2s"}, {"status": 403, "delay": "1s"}, {"status": 400, "delay": "2s"}]
    with pytest.raises(WizardError) as caught:
        result_of(text, tmp_path, a=script)
    assert caught.value.kind == "auth"
    steps = caught.value.result.steps
    assert {name: step.error.kind for name, step in steps.items()} == {"loop": "auth", "late": "cancelled"}
    assert [item.error.kind for item in steps["loop"].items] == ["auth", "cancelled"]


def test_a_deadline_with_parallel_steps_books_each_attempt_as_cut_by_it(tmp_path: Path) -> None:
    text = """
deadline: 5s
steps:
  x: {prompt: {user: x}}
  y: {prompt: {user: y}}
  z: {type: render, template: "{{ steps.x.text }}{{ steps.y.text }}"}
"""
    hang = {"reply": "never", "delay": "1h"}
    with pytest.raises(DeadlineExceeded) as caught:
        result_of(text, tmp_path, a=[hang, hang])
    assert [attempt.kind for attempt in caught.value.result.attempts] == ["deadline", "deadline"]


def test_every_line_of_a_loop_over_another_file_names_its_item(tmp_path: Path) -> None:
    inner = """
version: 1
inputs: {topic: {type: string}}
providers: {c: {type: mock, model: z}}
chains: {default: {targets: [c]}}
steps: {facts: {for_each: "[1]", prompt: {user: "{{ topic }}"}}}
"""
    (tmp_path / "inner.yaml").write_text(inner)
    text = """
steps:
  sub: {type: pipeline, file: inner.yaml, for_each: "['x', 'y']", concurrency: 1, inputs: {topic: "{{ item }}"}}
  subs: {type: render, template: "{{ steps.sub.text }}"}
"""

    async def work(pipeline: Pipeline) -> None:
        async with pipeline.start() as run:
            result = await run.finish()
        assert [(row.step, row.item) for row in result.attempts] == [("sub[0]/facts", 0), ("sub[1]/facts", 0)]
        assert len(result.steps["sub"].attempts) == 2
        assert result.steps["subs"].attempts == []
        places = {place for _, place, event in run.transcript.events if isinstance(event, AttemptStarted)}
        assert places == {"sub[0]/facts[0]", "sub[1]/facts[0]"}

    play(HEAD + CHAIN + text, tmp_path, {"a": [], "c": ["one", "two"]}, work)


def test_a_file_that_two_steps_run_has_one_retry_budget(tmp_path: Path) -> None:
    inner = """
version: 1
inputs: {}
providers: {c: {type: mock, model: z}}
policies: {default: {retry: {jitter: none}, retry_budget: {ratio: 0%, floor: 0.1/s}, circuit_breaker: off}}
chains: {default: {targets: [c]}}
steps: {one: {prompt: {user: x}}}
"""
    (tmp_path / "inner.yaml").write_text(inner)
    text = """
steps:
  first: {type: pipeline, file: inner.yaml, on_error: skip}
  second: {type: pipeline, file: inner.yaml, on_error: skip, needs: [first]}
"""
    result, _ = play(HEAD + CHAIN + text, tmp_path, {"a": [], "c": [503, 503, 503]}, once)
    assert [row.step for row in result.attempts] == ["first/one", "first/one", "second/one"]


def test_a_hit_uses_nothing_and_says_what_was_saved(tmp_path: Path) -> None:
    text = """
policies: {default: {cache: 1h}}
steps:
  one: {prompt: {user: x}}
  two: {prompt: {user: x}, needs: [one]}
"""
    script = {"reply": "hello", "usage": {"input_tokens": 7, "output_tokens": 3}}
    result = result_of(text, tmp_path, a=[script])
    first, second = result.steps["one"], result.steps["two"]
    assert (first.saved, first.cached, len(first.attempts)) == (None, False, 1)
    assert second.cached
    assert second.attempts == []
    assert (second.usage.input_tokens, second.usage.output_tokens) == (0, 0)
    assert second.saved is not None
    assert (second.saved.input_tokens, second.saved.output_tokens) == (7, 3)
    assert result.usage.output_tokens == 3


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (float("nan"), "nan"),
        ({"a": [float("inf")]}, "inf"),
        ("caf\udce9", "surrogate"),
        ({1: 2}, "keys"),
        ([{1, 2}], "set"),
        (b"bytes", "bytes"),
    ],
)
def test_an_input_that_is_no_json_is_refused(tmp_path: Path, value: Any, what: str) -> None:
    text = "version: 1\ninputs: {v: {}}\nsteps: {one: {type: render, template: '{{ v }}'}}\n"

    async def work(pipeline: Pipeline) -> None:
        with pytest.raises(InputInvalid, match=what):
            await pipeline.run(v=value)
        assert (await pipeline.run(v=(1, "ä"))).steps["one"].json == [1, "ä"]

    play(text, tmp_path, {}, work)


def test_a_result_is_the_same_json_whichever_way_it_is_asked_for(tmp_path: Path) -> None:
    text = (
        "version: 1\nsteps: {one: {type: render, template: '{{ 1e308 * 10 }}'}}\noutput: {v: '{{ steps.one.json }}'}\n"
    )
    result = play(text, tmp_path, {}, once)[0]
    assert json.loads(result.encode()) == result.to_json()
    assert result.to_json()["output"] == {"v": None}


def test_a_deadline_that_cuts_a_held_back_stream_is_one_in_every_line(tmp_path: Path) -> None:
    inner = """
version: 1
providers: {a: {type: mock, model: m}}
chains: {default: {targets: [a]}}
steps: {f: {prompt: {user: x}}}
"""
    (tmp_path / "inner.yaml").write_text(inner)

    async def work(pipeline: Pipeline) -> None:
        async with pipeline.stream() as stream:
            with pytest.raises(DeadlineExceeded):
                async for _ in stream:
                    await asyncio.sleep(20)
        told = [event.kind for _, _, event in stream.transcript.events if isinstance(event, StepEnded | RunEnded)]
        assert told == ["deadline"] * 4
        assert stream.result.elapsed == 5

    text = HEAD + CHAIN + "deadline: 5s\nsteps: {s: {type: pipeline, file: inner.yaml}}\n"
    play(text, tmp_path, {"a": [{"reply": "a b c d", "chunk_every": "1s"}]}, work)


def test_a_cache_that_a_stack_puts_under_the_retry_stands_there(tmp_path: Path) -> None:
    text = """
version: 1
providers: {a: {type: mock, model: m}}
chains: {default: {targets: [a], policies: {cache: 1h, stack: [retry, cache]}}}
steps: {one: {prompt: {user: x}}}
"""

    async def work(pipeline: Pipeline) -> tuple[str, list[bool]]:
        results = [await pipeline.run(), await pipeline.run()]
        return pipeline.ladder("default"), [result.steps["one"].cached for result in results]

    (ladder, cached), scripts = play(text, tmp_path, {"a": [503, "once"]}, work)
    assert ladder == "sequential > retry > cache > circuit_breaker > timeout"
    assert cached == [False, True]
    assert len(scripts["a"].calls) == 2


def test_a_failed_run_leaves_with_its_result_and_transcript(tmp_path: Path) -> None:
    with pytest.raises(WizardError) as caught:
        result_of("steps: {one: {prompt: {user: x}}}\n", tmp_path, a=[401])
    assert caught.value.transcript.attempts[0].kind == "auth"
    assert caught.value.result.attempts[0].kind == "auth"


@pytest.mark.parametrize(
    ("texts", "vectors"), [('"{{ q }}"', 1), ("\"{{ ['x', 'y', q] }}\"", 3), ('["{{ q }}", two]', 2)]
)
def test_texts_are_one_a_list_or_several_templates(tmp_path: Path, texts: str, vectors: int) -> None:
    text = HEAD + CHAIN + f"steps: {{v: {{type: embed, texts: {texts}}}}}\noutput: '{{{{ steps.v.json | length }}}}'\n"
    assert mocked(text, tmp_path).output == vectors


def test_what_is_no_text_cannot_be_embedded(tmp_path: Path) -> None:
    text = HEAD + CHAIN + "steps: {v: {type: embed, texts: '{{ [q, 3] }}'}}\n"
    with pytest.raises(StepFailed, match="embed wants texts, not int"):
        mocked(text, tmp_path)


def mocked(text: str, folder: Path) -> Result:
    """One run on the mocks that the file itself names."""

    async def main() -> Result:
        async with running(compiled(text, folder), Registry(plugins=False), seed=1) as pipeline:
            return await pipeline.run()

    return virtual.run(main())


def test_a_rendered_text_streams_in_one_piece(tmp_path: Path) -> None:
    async def work(pipeline: Pipeline) -> list[str]:
        async with pipeline.stream() as stream:
            return [delta.text async for delta in stream]

    text = HEAD + 'steps: {r: {type: render, template: "say {{ q }}"}}\n'
    assert play(text, tmp_path, {}, work)[0] == ["say hello"]


def test_the_window_is_checked_with_the_targets_own_parameters(tmp_path: Path) -> None:
    text = """
version: 1
providers: {a: {type: mock, model: m, models: {m: {context: 100}}}, b: {type: mock, model: n}}
chains: {default: {targets: [{provider: a, params: {max_tokens: 200}}, b]}}
steps: {one: {prompt: {user: x}}}
"""
    result, scripts = play(text, tmp_path, {"a": ["no"], "b": ["yes"]}, once)
    assert result.text == "yes"
    assert scripts["a"].calls == []
