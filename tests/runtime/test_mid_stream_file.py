"""`on_mid_stream_error` in a file: what the API's consumers see, and what the result holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_kit import HEAD, play

from wizard_dsl.core.errors import StreamBroken
from wizard_dsl.core.messages import Delta
from wizard_dsl.core.result import Result
from wizard_dsl.runtime.pipeline import Pipeline

CUT: dict[str, Any] = {"reply": "one two three", "cut_after": 2}


def file(mode: str, more: str = "") -> str:
    chain = f"chains: {{default: {{targets: [a, b], on_mid_stream_error: {mode}{more}}}}}\n"
    return HEAD + chain + 'steps: {answer: {prompt: {user: "{{ q }}"}}}\n'


def shown(deltas: list[Delta]) -> str:
    return "".join("⟲" * each.reset + each.text for each in deltas)


async def by_callback(pipeline: Pipeline) -> tuple[str, Result]:
    seen: list[Delta] = []
    result = await pipeline.run(on_delta=seen.append)
    return shown(seen), result


async def by_iterator(pipeline: Pipeline) -> tuple[str, Result]:
    async with pipeline.stream() as stream:
        seen = [delta async for delta in stream]
    return shown(seen), stream.result


@pytest.mark.parametrize("ask", [by_callback, by_iterator])
@pytest.mark.parametrize(
    ("mode", "seen", "text"),
    [("restart", "one two⟲all of it", "all of it"), ("continue", "one twoall of it", "one twoall of it")],
)
def test_consumers_see_the_break_and_the_result_holds_the_final_text(
    tmp_path: Path, ask: Any, mode: str, seen: str, text: str
) -> None:
    for scripts, served in (({"a": [CUT, "all of it"], "b": []}, "a"), ({"a": [CUT] * 3, "b": ["all of it"]}, "b")):
        (heard, result), _ = play(file(mode), tmp_path, scripts, ask)
        assert result.ok and result.text == result.steps["answer"].text
        assert result.served_by == served
        if served == "a":
            assert (heard, result.text) == (seen, text)
            assert [row.kind for row in result.attempts] == ["mid_stream", "ok"]
        assert result.usage.output_tokens == sum(row.usage.output_tokens for row in result.attempts if row.usage)


def test_buffer_shows_nothing_of_an_answer_that_breaks(tmp_path: Path) -> None:
    (heard, result), _ = play(file("buffer"), tmp_path, {"a": [CUT, "all of it"], "b": []}, by_iterator)
    assert (heard, result.text) == ("all of it", "all of it")
    assert [row.kind for row in result.attempts] == ["server", "ok"]


def test_a_run_that_is_not_streamed_is_asked_as_ever(tmp_path: Path) -> None:
    async def ask(pipeline: Pipeline) -> Result:
        return await pipeline.run()

    for mode in ("restart", "continue", "buffer"):
        result, _ = play(file(mode), tmp_path, {"a": [CUT, "all of it"], "b": []}, ask)
        assert result.text == "all of it"
        assert [row.kind for row in result.attempts] == ["server", "ok"]


def test_an_answer_that_cannot_be_saved_ends_with_what_the_reader_has(tmp_path: Path) -> None:
    async def ask(pipeline: Pipeline) -> StreamBroken:
        with pytest.raises(StreamBroken) as caught:
            await by_iterator(pipeline)
        return caught.value

    text = file("restart", ", policies: {retry: 1}")
    error, _ = play(text, tmp_path, {"a": [CUT], "b": [{"reply": "x y", "cut_after": 1}]}, ask)
    assert (error.kind, error.exit_code, error.result.text) == ("mid_stream", 5, "x")
    assert [row.kind for row in error.result.attempts] == ["mid_stream", "mid_stream"]


def test_a_step_that_only_feeds_another_is_never_restarted_before_eyes(tmp_path: Path) -> None:
    text = HEAD + (
        "chains: {default: {targets: [a], on_mid_stream_error: restart}}\n"
        "steps:\n  first: {prompt: {user: x}}\n  second: {prompt: {user: '{{ steps.first.text }}'}}\n"
    )
    scripts = {"a": [CUT, "facts", CUT, "the answer"], "b": []}
    (heard, result), _ = play(text, tmp_path, scripts, by_iterator)
    assert heard == "one two⟲the answer"
    assert [row.kind for row in result.attempts] == ["server", "ok", "mid_stream", "ok"]
