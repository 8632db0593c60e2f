"""The mock: the same seed gives the same bytes, and everything a real provider does can be asked of it."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

import msgspec
import pytest
from provider_kit import HELLO, drive

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Scope
from wizard_dsl.providers.mock import MOCK


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


@pytest.mark.parametrize(
    ("config", "path", "says"),
    [
        ({"reply": [{}, {"match": "(", "reply": "x"}]}, ("reply", 1, "match"), "'(' is no regular expression"),
        ({"latency": {"median": "2s", "p99": "1s"}}, ("latency",), "a median of 2s and a p99 of 1s"),
        ({"latency": {"median": "0s", "p99": "1s"}}, ("latency",), "a median of 0s"),
        ({"error_rate": {"503": "60%", "cut": "60%"}}, ("error_rate",), "the error rates are 120% in all"),
        ({"error_rate": {"503": "60%"}, "status": 429}, ("status",), "status 429 says nothing"),
    ],
)
def test_settings_that_make_no_sense_are_told_with_their_place(config, path, says):
    ((found, sentence, suggestion),) = MOCK.refuse(msgspec.convert(config, MOCK.config))
    assert found == path and says in sentence and suggestion


def test_settings_that_make_sense_are_not_refused():
    config = {**RULES, "latency": {"median": "1s", "p99": "1s"}, "error_rate": {"503": "60%", "cut": "40%"}}
    assert not MOCK.refuse(msgspec.convert(config, MOCK.config))


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


async def outcomes(bench, runs=400, **options):
    """What becomes of one attempt in each of many runs: `ok`, or the kind and status."""
    found = Counter()
    for number in range(runs):
        try:
            await bench.read(scope=Scope(run_id="r", number=number), **options)
            found["ok"] += 1
        except WizardError as error:
            found[error.kind, getattr(error, "status", None)] += 1
    return found


def test_an_error_rate_for_each_way_to_fail():
    found = mock({"error_rate": {"429": "20%", "503": "10%", "connect": "10%", "cut": "10%"}}, outcomes)
    assert set(found) == {"ok", ("rate_limited", 429), ("server", 503), ("connect", None), ("server", None)}
    assert 60 < found["rate_limited", 429] < 100
    assert all(25 < found[kind] < 60 for kind in (("server", 503), ("connect", None), ("server", None)))


@pytest.mark.parametrize("commit", ["content", "end"])
def test_a_cut_breaks_the_answer_off_half_way(commit):
    async def use(bench):
        seen = []
        with pytest.raises(WizardError, match="broke off") as caught:
            async with await bench.open(commit=commit) as response:
                async for delta in response.deltas():
                    seen.append(delta.text)
        return caught.value.kind, "".join(seen)

    config = {"reply": "0123456789", "chunk": 2, "error_rate": {"cut": "100%"}}
    assert mock(config, use) == (("mid_stream", "012345") if commit == "content" else ("server", ""))


def test_a_latency_is_drawn_from_its_distribution_anew_for_each_attempt():
    async def use(bench):
        took = []
        for number in range(500):
            for used in range(2):
                begun = bench.clock.now()
                await bench.read(scope=Scope(run_id="r", number=number), used=used)
                took.append(bench.clock.now() - begun)
        return sorted(took)

    config = {"latency": {"median": "800ms", "p99": "4s"}}
    took = mock(config, use)
    assert took == mock(config, use)
    assert len(set(took)) == 1000
    assert took[500] == pytest.approx(0.8, rel=0.1) and took[990] == pytest.approx(4, rel=0.25) and took[0] > 0


def test_variants_share_the_runs_by_weight_and_a_run_keeps_its_own():
    async def use(bench):
        return [
            [(await bench.read(scope=Scope(run_id="r", number=number), used=used)).text for used in range(2)]
            for number in range(500)
        ]

    rows = mock({"reply": [{"reply": [{"reply": "A", "weight": 3}, {"reply": "B"}]}]}, use)
    assert all(first == second for first, second in rows)
    assert 0.7 < sum(first == "A" for first, _ in rows) / 500 < 0.8


def test_a_schema_gets_an_instance_of_it():
    schema = {"type": "object", "required": ["topic"], "properties": {"topic": {"enum": ["billing", "bug"]}}}

    async def use(bench):
        return await bench.read(msgspec.structs.replace(HELLO, schema=schema))

    answer = mock({}, use)
    assert msgspec.json.decode(answer.text)["topic"] in ("billing", "bug")


def embedded(config, *texts):
    async def use(bench):
        return (await bench.read(Request(kind="embed", texts=texts))).embeddings

    return mock(config, use)


def test_vectors_have_length_one_and_belong_to_their_text():
    first, second, third = embedded({}, "a", "b", "a")
    assert first == third != second
    assert len(first) == 64 and math.isclose(sum(value * value for value in first), 1.0)
    assert len(embedded({"dimensions": 256}, "", "?!")[1]) == 256


def test_texts_with_words_in_common_are_near_each_other():
    question, near, far = embedded({}, "Where is my invoice?", "The invoice is wrong", "Sunny weather tomorrow")

    def product(one, other):
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert product(question, near) > 0.3 > product(question, far)


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
    "config",
    [
        {"latency": "5"},
        {"latency": {"median": "1s"}},
        {"error_rate": "0.5"},
        {"error_rate": {"200": "5%"}},
        {"error_rate": {"stall": "5%"}},
        {"status": 200},
        {"chunk": 0},
        {"dimensions": 0},
        {"reply": 5},
        {"reply": [{"reply": [{"reply": "x", "weight": 0}]}]},
        {"replay": "x"},
    ],
)
def test_a_wrong_setting_is_no_config(config):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(config, MOCK.config)
