"""The mock: the same seed gives the same bytes, and everything a real provider does can be asked of it."""

from __future__ import annotations

import asyncio
import math

import msgspec
import pytest
from provider_kit import HELLO, Bench, drive

from wizard_dsl.core.errors import SpecError, WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Scope
from wizard_dsl.providers.mock import MOCK
from wizard_dsl.testing import virtual


def mock(config, use, **options):
    return drive(MOCK, config, [], use, **options)


async def read(bench):
    return await bench.read()


def test_the_same_seed_says_the_same_and_another_something_else():
    texts = [mock({}, read, seed=seed).text for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_an_answer_repeats_nothing_of_the_prompt_but_depends_on_it():
    async def use(bench):
        return [(await bench.read(Request(messages=(message("user", text),)))).text for text in ("zebra", "quagga")]

    first, second = mock({}, use)
    assert first != second and "zebra" not in first


def test_a_stream_and_a_whole_answer_are_the_same():
    async def use(bench):
        deltas, completion = await bench.stream()
        return await bench.read(), completion, [delta.text for delta in deltas if delta.text]

    whole, streamed, pieces = mock({"chunk": 5}, use)
    assert whole == streamed and len(pieces) > 2 and max(map(len, pieces)) == 5
    assert whole.usage.input_tokens > 0 and whole.finish_reason == "stop"


RULES = {
    "reply": [
        {"match": "(?i)refund", "reply": "Five days."},
        {"match": "overload", "status": 503},
        {"match": "too fast", "status": 429},
        {"match": "offline", "refuse": True},
        {"reply": "Thank you."},
    ]
}


def test_rules_answer_by_the_last_user_text():
    async def use(bench):
        asked = [message("user", "overload"), message("assistant", "x"), message("user", "My REFUND?")]
        first = await bench.read(Request(messages=tuple(asked)))
        return first.text, (await bench.read()).text

    assert mock(RULES, use) == ("Five days.", "Thank you.")


@pytest.mark.parametrize("commit", ["content", "end"])
@pytest.mark.parametrize(
    ("text", "kind", "status"),
    [("overload", "server", 503), ("too fast", "rate_limited", 429), ("offline", "connect", None)],
)
def test_rules_fail_as_providers_do(text, kind, status, commit):
    async def use(bench):
        with pytest.raises(WizardError) as caught:
            await bench.open(Request(messages=(message("user", text),)), commit=commit)
        return caught.value.kind, caught.value.status

    assert mock(RULES, use) == (kind, status)


def test_a_rule_that_is_no_regular_expression_is_named_at_link():
    async def main():
        Bench(MOCK, {"reply": [{"match": "(", "reply": "x"}]})

    with pytest.raises(SpecError, match="no regular expression"):
        virtual.run(main())


def test_a_single_reply_needs_no_rule():
    assert mock({"reply": "Hello"}, read).text == "Hello"


def test_latency_is_slept_on_the_clock_of_the_run():
    async def use(bench):
        async with await bench.open(commit="content") as response:
            first = bench.clock.now()
            text = (await response.read()).text
        return first, bench.clock.now(), text

    config = {"reply": "0123456789", "chunk": 5, "latency": "2s", "per_chunk": "1s"}
    assert mock(config, use) == (2.0, 3.0, "0123456789")


def test_the_error_rate_is_drawn_for_each_attempt_and_each_run():
    async def use(bench):
        async def fails(number, used):
            try:
                await bench.read(scope=Scope(run_id="r", number=number), used=used)
            except WizardError:
                return True
            return False

        return [[await fails(number, used) for used in range(3)] for number in range(200)]

    draws = mock({"error_rate": "30%"}, use)
    assert draws == mock({"error_rate": "30%"}, use)
    assert 0.2 < sum(map(sum, draws)) / 600 < 0.4
    assert any(row[0] and not row[1] for row in draws), "a retry has a draw of its own"


def test_a_schema_gets_an_instance_of_it():
    schema = {"type": "object", "required": ["topic"], "properties": {"topic": {"enum": ["billing", "bug"]}}}

    async def use(bench):
        return await bench.read(msgspec.structs.replace(HELLO, schema=schema))

    answer = mock({}, use)
    assert msgspec.json.decode(answer.text)["topic"] in ("billing", "bug")


def test_vectors_have_length_one_and_belong_to_their_text():
    async def use(bench):
        return (await bench.read(Request(kind="embed", texts=("a", "b", "a")))).embeddings

    first, second, third = mock({}, use)
    assert first == third != second
    assert math.isclose(sum(value * value for value in first), 1.0)


def test_aborting_wakes_a_sleeping_stream():
    async def use(bench):
        async with await bench.open(commit="content") as response:
            reader = asyncio.ensure_future(response.read())
            await bench.clock.sleep(1)
            response.abort(WizardError("enough"))
            with pytest.raises(WizardError, match="enough"):
                await reader
            return bench.clock.now()

    assert mock({"reply": "0123456789", "chunk": 5, "per_chunk": "1h"}, use) == 1.0


def test_a_cancelled_read_loses_nothing():
    async def use(bench):
        response = await bench.open(commit="content")
        batches = response.batches()
        first = await anext(batches)
        pending = asyncio.ensure_future(anext(batches))
        await bench.clock.sleep(1)
        assert not pending.done()
        return first[0].text, (await pending)[0].text, bench.clock.now()

    assert mock({"reply": "0123456789", "chunk": 5, "per_chunk": "3s"}, use) == ("01234", "56789", 3.0)


@pytest.mark.parametrize(
    "config", [{"latency": "5"}, {"error_rate": "0.5"}, {"status": 200}, {"chunk": 0}, {"reply": 5}, {"replay": "x"}]
)
def test_a_wrong_setting_is_no_config(config):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(config, MOCK.config)
