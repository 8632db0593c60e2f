"""The causal story: every attempt and every wait once, and each because of what."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import repro_kit
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from repro_kit import REGISTRY

import wizard_dsl as wizard
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.core import events as e
from wizard_dsl.core.run import Transcript
from wizard_dsl.observe.story import story, tell
from wizard_dsl.observe.story_lines import WAITS
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Script, Scripted

FILE = repro_kit.FILE.replace("n: {type: integer, minimum: 3}, ", "")


def compiled(folder: Path, *sets: str, text: str = FILE) -> Compiled:
    path = folder / "case.yaml"
    path.write_text(text)
    found = compile_file(path, REGISTRY, Sources(env={}, sets=sets))
    assert found.program is not None, found.diagnostics
    return found


def play(
    case: Compiled, scripts: dict[str, list[Any]], *, runs: int = 1, pause: float = 0.0, stream: bool = False,
    deadline: str | None = None, cancel: float | None = None,
) -> list[tuple[wizard.Result, Transcript]]:  # fmt: skip
    async def main() -> list[tuple[wizard.Result, Transcript]]:
        made: dict[str, Script] = {}

        def provide(plan: Any, context: Any) -> Any:
            script = made.setdefault(plan.name, Script(plan.name, scripts.get(plan.name, [])))
            return Scripted(script, context.clock)

        found = []
        async with running(case, REGISTRY, seed=1, provide=provide) as pipeline:
            for _ in range(runs):
                begun = pipeline.stream if stream else pipeline.start
                async with begun(q="hi", deadline=deadline) as answer:
                    if cancel is not None:
                        await asyncio.sleep(cancel)
                        await answer.cancel()
                    with contextlib.suppress(wizard.WizardError):
                        await answer.finish()
                    found.append((answer.result, answer.transcript))
                await asyncio.sleep(pause)
        return found

    return virtual.run(main())


def told(case: Compiled, scripts: dict[str, list[Any]], **how: Any) -> str:
    return story(*play(case, scripts, **how)[-1])


def test_a_fallback_after_retries(tmp_path: Path) -> None:
    text = told(compiled(tmp_path), {"a": [503, 503, 503], "b": [{"reply": "yes", "delay": "3s"}]})
    assert text.startswith("run ")
    assert "of case: answered by b after " in text
    assert "Attempt 1 asked a first: 503 server after 0.0 ms." in text
    assert "because a server failure is repeated after a back-off." in text
    assert "Attempt 3 asked a again, because attempt 2 failed with server" in text
    assert "a was given up after 3 attempts: no attempts are left." in text
    assert "Attempt 4 asked b instead, because a failed with server: answered after 3.0 s" in text
    assert re.search(r"^Of \d+\.\d s, attempts took 3\.0 s and waits \d+\.\d s\.$", text, re.MULTILINE)
    assert text.endswith("See also\n  read `wizard explain server`")


def test_a_hedge(tmp_path: Path) -> None:
    case = compiled(tmp_path, "chains.default.strategy={type: hedged, after: 3s}")
    text = told(case, {"a": [{"reply": "late", "delay": "60s"}], "b": [{"reply": "soon", "delay": "1s"}]})
    assert "Attempt 1 asked a first: cancelled after 4.0 s, because b answered first." in text
    assert "Attempt 2 asked b besides, because a had not answered after 3.0 s: answered after 1.0 s" in text


def test_a_429_with_retry_after(tmp_path: Path) -> None:
    text = told(compiled(tmp_path), {"a": [{"status": 429, "retry_after": "1500ms"}, "yes"]})
    assert "Attempt 1 asked a first: 429 rate_limited after 0.0 ms" in text
    assert "Waited 1.5 s, because a asked for 1.5 s." in text
    assert "Attempt 2 asked a again, because attempt 1 failed with rate_limited: answered" in text


def test_an_open_breaker_is_said_to_have_opened_and_when(tmp_path: Path) -> None:
    case = compiled(
        tmp_path, "chains.default.policies.circuit_breaker.failure_threshold=2",
        "chains.default.policies.retry=off",
    )  # fmt: skip
    first, second, third = play(case, {"a": [503, 503], "b": ["x", "y", "z"]}, runs=3)
    assert "breaker" not in story(*first)
    assert "The breaker of a opened, because too many attempts failed, the last of them attempt 1 with " in story(
        *second
    )
    assert "a was skipped, because its breaker was open before this run began." in story(*third)
    assert "Attempt 1 asked b instead, because a was skipped" in story(*third)


def test_a_breaker_that_opens_within_the_run(tmp_path: Path) -> None:
    case = compiled(
        tmp_path, "chains.default.policies.circuit_breaker.failure_threshold=2", "chains.default.targets=[a]"
    )
    text = told(case, {"a": [503, 503]})
    assert "The breaker of a opened, because too many attempts failed, the last of them attempt 2 with server" in text
    assert "a was given up after 2 attempts: its breaker opened." in text


def test_a_mid_stream_cut(tmp_path: Path) -> None:
    text = told(compiled(tmp_path), {"a": [{"reply": "one two three", "cut_after": 2}]}, stream=True)
    assert ": failed with mid_stream after" in text.splitlines()[0]
    assert "Attempt 1 asked a first: mid_stream after 0.0 ms, after it had begun to answer (" in text
    assert "failed with mid_stream, for a part of the answer was given out already: `on_mid_stream_error` says" in text
    assert "`wizard explain mid_stream`" in text


def test_a_cache_hit_and_the_miss_before_it(tmp_path: Path) -> None:
    miss, hit = play(compiled(tmp_path, "chains.default.policies.cache=1h"), {"a": ["yes"]}, runs=2, pause=12.0)
    assert re.search(r"The cache had no answer under key [0-9a-f]{8}, so the chain was asked\.", story(*miss))
    assert re.search(r"The answer was stored in the cache for (5\d min|1 h|1 h \d min) \(key", story(*miss))
    assert re.search(r"The cache answered, so nobody was asked \(key [0-9a-f]{8}, stored 12\.0 s before\)", story(*hit))
    assert "answer (chain default): no attempts" in story(*hit)


def test_a_budget_stop(tmp_path: Path) -> None:
    text = told(compiled(tmp_path, "budgets.run=$0.0000001", "chains.default.targets=[a]"), {"a": ["yes"]})
    assert ": failed with budget after" in text.splitlines()[0]
    assert "What to do\n  raise the budget, lower max_tokens, or add a cheaper target\n" in text
    assert "`wizard explain budget`" in text


def test_what_the_deadline_did(tmp_path: Path) -> None:
    text = told(compiled(tmp_path), {"a": [503, {"reply": "x", "delay": "1m"}]}, deadline="5s")
    assert "Attempt 2 asked a again, because attempt 1 failed with server: deadline after " in text
    assert ": failed with deadline after 5.0 s" in text.splitlines()[0]
    short = told(compiled(tmp_path), {"a": [{"status": 503, "delay": "1s"}], "b": ["x"]}, deadline="2s")
    assert "the deadline is too near for another one" in short


def test_a_repair(tmp_path: Path) -> None:
    case = compiled(tmp_path, "steps.answer.output={schema: {type: object}}")
    text = told(case, {"a": ["no json", "{}"]})
    assert "Attempt 2 asked a for a repair, because the output of a was not as declared: answered" in text


def test_costs_are_told_by_attempt_and_in_all(tmp_path: Path) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 10}
    case = compiled(tmp_path, "steps.answer.output={schema: {type: object}, repairs: 0}")
    text = told(case, {"a": [{"reply": "x", "usage": usage}], "b": [{"reply": {}, "usage": usage}]})
    assert "answered after 0.0 ms, 1000 + 10 tokens, $0.0020." in text
    assert "answer (chain default): 2 attempts, $0.0040" in text
    assert "Paid: $0.0020 to a, $0.0020 to b." in text
    assert "What c cost is not known." in told(compiled(tmp_path, "chains.default.targets=[c]"), {"c": ["x"]})


def test_a_wait_that_nothing_followed_is_said_to_be_one(tmp_path: Path) -> None:
    text = told(compiled(tmp_path, "chains.default.policies.retry={base: 9s, jitter: none}"), {"a": [503]}, cancel=2.0)
    assert "Began to wait 9.0 s, which nothing followed, because a server failure is repeated after a back-off." in text
    assert ": cancelled after 2.0 s" in text.splitlines()[0]


def test_each_step_and_item_has_a_chapter_of_its_own(tmp_path: Path) -> None:
    case = compiled(
        tmp_path,
        text=FILE.replace("steps: {", "steps: {\n  parts: {prompt: {user: '{{ item }}'}, for_each: '[1, 2]'},\n"
        "  last: {prompt: {user: x}, when: \"q == 'no'\"},\n  ")
    )  # fmt: skip
    found = tell(*play(case, {"a": ["1", "2", "3"]})[0])
    assert [each.place for each in found.chapters] == ["last", "answer", "parts[0]", "parts[1]"]
    assert [line.text for line in found.chapters[0].lines] == ["The step was skipped."]


def test_no_key_is_ever_told(tmp_path: Path) -> None:
    body = '{"error": {"message": "your key sk-aaaabbbbccccddddeeee is wrong"}}'
    text = told(compiled(tmp_path), {"a": [{"status": 401, "body": body}]})
    assert "is wrong" in text
    assert "sk-aaaa" not in text


def test_why_a_target_was_not_asked_is_said_in_words(tmp_path: Path) -> None:
    case = compiled(tmp_path, "chains.default.policies.rate_limit={rate: 1/minute, burst: 1, max_wait: 0s}")
    text = told(case, {"a": ["x"], "b": ["y"]}, runs=2)
    assert re.search(
        r"The limit \S*rate_limit had no room, and would have some in 60\.0 s, so the call was refused", text
    )
    text = told(compiled(tmp_path, "chains.default.policies.retry=off"), {"a": [{"status": 429, "retry_after": "60s"}],
                                                                        "b": ["y"]})  # fmt: skip
    assert "a said rate limited, so nobody calls it for 60.0 s." in text
    text = told(compiled(tmp_path), {"a": [{"status": 429, "retry_after": "4m"}], "b": ["y"]})
    assert "a was given up after 1 attempt: it asks to wait 4 min, which is more than is waited for." in text
    text = told(compiled(tmp_path, "steps.answer.output={schema: {enum: [1]}, repairs: 0}"), {"a": ["x"], "b": ["1"]})
    assert "The output of a was not as declared ($: json)." in text


def test_a_budget_that_no_target_fits_is_told_once_for_each(tmp_path: Path) -> None:
    prices = [f"providers.{name}.models={{{name}: {{prices: {{input: $1, output: $2}}}}}}" for name in "abc"]
    text = told(compiled(tmp_path, "budgets.run=$0.00000001", *prices), {"a": ["x"], "b": ["x"]})
    skips = [line.split("  ")[-1] for line in text.splitlines() if "skipped" in line or "was next" in line]
    assert skips == [f"{name} was skipped, because a call would not fit the budget." for name in "abc"]


def test_a_breaker_that_hedges_opened_says_that_its_target_was_too_slow(tmp_path: Path) -> None:
    case = compiled(
        tmp_path, "chains.default.strategy={type: hedged, after: 1s}",
        "chains.default.policies.circuit_breaker={minimum_calls: 2}",
    )  # fmt: skip
    slow = {"reply": "late", "delay": "9s"}
    _, second = play(case, {"a": [slow, slow], "b": ["x", "y"]}, runs=2)
    assert "The breaker of a opened, because too many attempts were overtaken, attempt 1 the last of them" in story(
        *second
    )


def test_why_nothing_more_was_tried_is_said(tmp_path: Path) -> None:
    text = told(compiled(tmp_path), {"a": [401]})
    assert "The step failed with auth, which is neither repeated nor passed on to another target." in text
    item = {"status": 503, "headers": {"x-should-retry": "false"}}
    text = told(compiled(tmp_path), {"a": [item], "b": ["x"]})
    assert "Attempt 1 asked a first: 503 server after 0.0 ms, which the provider says is not to be repeated." in text
    assert "Attempt 2 asked b instead, because a failed with server" in text


ITEMS = st.sampled_from([
    "yes", 503, 401, {"status": 429, "retry_after": "1s"}, {"status": 429, "retry_after": "400s"}, {"refuse": True},
    {"status": 503, "retry_after": "2s"}, {"reply": "slow", "delay": "9s"}, {"reply": "a b c", "cut_after": 1},
    {"reply": "a b", "stall_after": 1}, {"reply": ""}, {"reply": "never", "delay": "1h"},
])  # fmt: skip
SCRIPT = st.lists(ITEMS, min_size=12, max_size=12)
SHAPES = [
    (),
    ("chains.default.strategy={type: hedged, after: 2s}",),
    ("chains.default.strategy={type: parallel, n: 2}",),
    ("chains.default.policies.circuit_breaker={failure_threshold: 2, reset_timeout: 5s}", "deadline=30s"),
    ("chains.default.policies.rate_limit={rate: 1/s, burst: 1}", "chains.default.policies.cache=1h"),
    ("chains.default.on_rate_limit={wait_up_to: 30s}", "chains.default.policies.concurrency=1"),
    ("chains.default.on_mid_stream_error=restart", "chains.default.policies.timeout={first_chunk: 3s, idle: 2s}"),
    ("steps.answer.output={schema: {enum: [yes]}}",),
]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[Compiled]:
    return [compiled(tmp_path_factory.mktemp("shape"), *sets) for sets in SHAPES]


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(st.integers(0, len(SHAPES) - 1), SCRIPT, SCRIPT, SCRIPT, st.booleans())
def test_every_attempt_and_every_wait_is_told_exactly_once(
    shapes: list[Compiled], shape: int, a: list[Any], b: list[Any], c: list[Any], stream: bool
) -> None:
    for result, transcript in play(shapes[shape], {"a": a, "b": b, "c": c}, runs=2, pause=1.0, stream=stream):
        found = tell(result, transcript)
        lines = [line for chapter in found.chapters for line in chapter.lines]
        attempts = [line for line in lines if line.what == "attempt"]
        assert sorted(line.attempt or 0 for line in attempts) == list(range(1, len(result.attempts) + 1))
        text = found.render()
        for number, row in enumerate(result.attempts, 1):
            assert text.count(f"Attempt {number} asked {row.target}") == 1
        waits = [event for _, _, event in transcript.events if isinstance(event, WAITS)]
        assert len([line for line in lines if line.what == "wait"]) == len(waits)
        assert len(re.findall(r"  (?:Waited|Began to wait) ", text)) == len(waits)
        assert {type(event) for _, _, event in transcript.events} <= set(e.EVENTS)
