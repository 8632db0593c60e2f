"""What is sent: each protocol says the same request in its own words."""

from __future__ import annotations

import msgspec
import pytest
from provider_kit import Bench, drive, json_reply

from wizard_dsl.core.errors import InvalidRequest, Unsupported
from wizard_dsl.core.messages import Image, Message, Request, Text, Tool, ToolCall, message
from wizard_dsl.core.target import Facts
from wizard_dsl.providers.anthropic import ANTHROPIC
from wizard_dsl.providers.cohere import COHERE
from wizard_dsl.providers.gemini import GEMINI
from wizard_dsl.providers.ollama import OLLAMA
from wizard_dsl.providers.openai_compatible import OPENAI_COMPATIBLE
from wizard_dsl.providers.openai_responses import OPENAI_RESPONSES
from wizard_dsl.providers.presets import DEEPSEEK, MISTRAL, OPENAI, PRESETS

PIXEL = "data:image/png;base64,iVBORw0="
PARAMS = {
    "temperature": 0.5,
    "max_tokens": 9,
    "top_p": 0.9,
    "stop": ["END"],
    "seed": 7,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "top_k": 4,
    "reasoning_effort": "low",
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
GROWN = Request(
    messages=(
        message("system", "Be brief."),
        Message("user", (Text("What is this?"), Image(PIXEL))),
        Message("assistant", (Text("I look."),), (ToolCall("c1", "look", '{"at": "it"}'),)),
        Message("tool", (Text('{"seen": 1}'),), tool_call_id="c1"),
        message("user", "And?"),
    ),
    params=PARAMS,
    tools=(Tool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}}),),
    schema=SCHEMA,
)


def sent(type, config, request=GROWN, *, stream=False, **options):
    """(url, headers, body) of the request; the answer is a refusal, which nobody looks at."""

    async def use(bench: Bench):
        with pytest.raises(Exception, match="status 500"):
            await bench.open(request, commit="content" if stream else "end")
        only = bench.transport.sent[0]
        return only.url, only.headers, bench.body

    return drive(type, config, [json_reply({}, status=500)], use, **options)


def test_chat_completions():
    url, headers, body = sent(OPENAI, {"api_key": "sk-1"}, stream=True)
    assert url == "https://api.openai.com/v1/chat/completions"
    assert headers["authorization"] == "Bearer sk-1" and headers["content-type"] == "application/json"
    assert {name: body[name] for name in PARAMS} == PARAMS
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    assert body["messages"][2]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
    ]
    assert body["messages"][3] == {"role": "tool", "content": '{"seen": 1}', "tool_call_id": "c1"}
    assert body["tools"][0]["function"]["parameters"] == GROWN.tools[0].parameters
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {}}, "required": []},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {**SCHEMA, "properties": {"a": {"type": "object"}}},
        {"type": "array", "items": {"type": "object", "properties": {"b": {}}}},
    ],
)
def test_strict_mode_is_not_asked_for_where_the_schema_would_be_refused(schema):
    _, _, body = sent(OPENAI, {"api_key": "sk-1"}, msgspec.structs.replace(GROWN, schema=schema))
    assert body["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize(
    ("type", "model", "name"),
    [
        (OPENAI, "gpt-4o", "max_tokens"),
        (OPENAI, "o3-mini", "max_completion_tokens"),
        (OPENAI, "gpt-5-mini", "max_completion_tokens"),
    ],
)
def test_reasoning_models_of_openai_take_another_name_for_the_limit(type, model, name):
    _, _, body = sent(type, {"api_key": "sk-1"}, model=model)
    assert body[name] == 9 and len({"max_tokens", "max_completion_tokens"} & body.keys()) == 1


def test_quirks_of_presets():
    _, _, body = sent(MISTRAL, {"api_key": "k-1"}, stream=True)
    assert body["random_seed"] == 7 and "seed" not in body and "stream_options" not in body
    _, headers, body = sent(DEEPSEEK, {"api_key": "k-1"})
    assert "response_format" not in body and "idempotency-key" not in headers
    assert "idempotency-key" in sent(OPENAI, {"api_key": "k-1"})[1]


def test_what_nobody_knows_is_passed_through_and_nothing_overrides_the_model():
    request = Request(messages=(message("user", "x"),), params={"logit_bias": {"5": 1}, "model": "other"})
    _, _, body = sent(OPENAI, {"api_key": "k-1"}, request, model="gpt-4o")
    assert body["logit_bias"] == {"5": 1} and body["model"] == "gpt-4o"


def test_azure_takes_its_own_header_and_a_version():
    base = "https://x.openai.azure.com/openai/deployments/d/"
    url, headers, _ = sent(OPENAI_COMPATIBLE, {"base_url": base, "api_key": "k-1", "api_version": "2024-10-21"})
    assert url == f"{base}chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == "k-1" and "authorization" not in headers


def test_a_base_url_is_mandatory_without_a_preset_and_overrides_one():
    with pytest.raises(msgspec.ValidationError, match="base_url"):
        msgspec.convert({}, OPENAI_COMPATIBLE.config)
    config = {"base_url": "http://proxy:8080/openai", "api_key": "k-1"}
    assert sent(OPENAI, config)[0] == "http://proxy:8080/openai/chat/completions"
    assert OPENAI.endpoint(msgspec.convert(config, OPENAI.config)) == "http://proxy:8080/openai"


@pytest.mark.parametrize("base", ["ftp://x", "https://", "x.org/v1", "https://x/v1?key=1", "https://x y"])
def test_a_base_url_that_is_none_is_no_config(base):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"base_url": base}, OPENAI.config)


def test_without_a_key_no_authorization_is_sent():
    _, headers, _ = sent(PRESETS[-1], {})
    assert "authorization" not in headers


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_each_preset_asks_its_own_endpoint(preset):
    url, _, _ = sent(preset, {"api_key": "k-1"})
    assert url == preset.endpoint(preset.config()) + "/chat/completions"
    assert preset.key_variable is None or preset.key_variable.endswith("_API_KEY")


@pytest.mark.parametrize(("begun", "text"), [("Dear Sir,\n\n", "Dear Sir,"), (" \n", ""), ("so", "so")])
def test_anthropic_gets_no_white_space_after_an_answer_that_was_begun(begun, text):
    turns = (message("user", "go \n"), message("assistant", begun))
    _, _, body = sent(ANTHROPIC, {"api_key": "k-1"}, request=Request(messages=turns))
    expected = [{"role": "user", "content": [{"type": "text", "text": "go \n"}]}]
    if text:
        expected.append({"role": "assistant", "content": [{"type": "text", "text": text}]})
    assert body["messages"] == expected


def test_anthropic():
    url, headers, body = sent(ANTHROPIC, {"api_key": "k-1"}, stream=True)
    assert url == "https://api.anthropic.com/v1/messages"
    assert headers["x-api-key"] == "k-1" and headers["anthropic-version"] == "2023-06-01"
    assert body["system"] == "Be brief." and body["stream"] is True and body["max_tokens"] == 9
    assert body["stop_sequences"] == ["END"] and body["top_k"] == 4
    assert not {"seed", "presence_penalty", "frequency_penalty", "reasoning_effort", "output_config"} & body.keys()
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][0]["content"][1]["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": "iVBORw0=",
    }
    assert body["messages"][1]["content"][1] == {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "it"}}
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": '{"seen": 1}'},
        {"type": "text", "text": "And?"},
    ]
    assert body["tools"][0]["input_schema"] == GROWN.tools[0].parameters


def test_anthropic_needs_a_limit_and_takes_a_schema_where_the_facts_say_so():
    request = Request(messages=(message("user", "x"),), schema=SCHEMA, params={"stop": "END"})
    _, _, body = sent(ANTHROPIC, {}, request)
    assert body["max_tokens"] == 4096 and body["stop_sequences"] == ["END"]
    _, _, body = sent(ANTHROPIC, {}, request, facts=Facts(max_output=64000, json_schema=True))
    assert body["max_tokens"] == 64000
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}


def test_responses():
    url, headers, body = sent(OPENAI_RESPONSES, {"api_key": "sk-1"})
    assert url == "https://api.openai.com/v1/responses" and "idempotency-key" in headers
    assert body["max_output_tokens"] == 9 and body["reasoning"] == {"effort": "low"} and body["store"] is False
    assert not {"max_tokens", "seed", "stop", "top_k"} & body.keys()
    assert body["text"]["format"]["schema"] == SCHEMA and body["text"]["format"]["type"] == "json_schema"
    kinds = [item["type"] for item in body["input"]]
    assert kinds == ["message", "message", "message", "function_call", "function_call_output", "message"]
    assert body["input"][1]["content"][1] == {"type": "input_image", "image_url": PIXEL}
    assert body["input"][2]["content"] == [{"type": "output_text", "text": "I look."}]
    assert body["input"][3]["call_id"] == body["input"][4]["call_id"] == "c1"
    assert body["tools"][0]["name"] == "look"


def test_gemini():
    url, headers, body = sent(GEMINI, {"api_key": "k-1"}, stream=True, model="gemini-3-pro")
    base = "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro"
    assert url == f"{base}:streamGenerateContent?alt=sse" and headers["x-goog-api-key"] == "k-1"
    settings = body["generationConfig"]
    assert settings["maxOutputTokens"] == 9 and settings["stopSequences"] == ["END"] and settings["topK"] == 4
    assert settings["responseJsonSchema"] == SCHEMA and settings["responseMimeType"] == "application/json"
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][0]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}}
    called = body["contents"][1]["parts"][1]
    assert called["functionCall"] == {"name": "look", "args": {"at": "it"}} and called["thoughtSignature"]
    assert body["contents"][2]["parts"][0] == {"functionResponse": {"name": "look", "response": {"seen": 1}}}
    assert body["tools"][0]["functionDeclarations"][0]["name"] == "look"
    assert sent(GEMINI, {"api_key": "k-1"}, model="models/gemini-2.5-flash")[0].endswith(
        "gemini-2.5-flash:generateContent"
    )


def test_gemini_keeps_what_stands_beside_the_settings_and_takes_urls_of_images():
    messages = (Message("user", (Image("https://x.org/a.webp?b"),)),)
    request = Request(messages=messages, params={"safetySettings": [1], "thinkingConfig": {"thinkingBudget": 0}})
    _, _, body = sent(GEMINI, {}, request)
    assert body["safetySettings"] == [1] and body["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 0}}
    assert body["contents"][0]["parts"] == [
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.org/a.webp?b"}}
    ]


def test_ollama():
    url, headers, body = sent(OLLAMA, {})
    assert url == "http://localhost:11434/api/chat" and "authorization" not in headers
    assert body["options"]["num_predict"] == 9 and body["options"]["seed"] == 7 and body["think"] == "low"
    assert body["format"] == SCHEMA and body["stream"] is False
    assert body["messages"][1]["images"] == ["iVBORw0="]
    assert body["messages"][2]["tool_calls"] == [{"function": {"name": "look", "arguments": {"at": "it"}}}]
    assert body["messages"][3]["tool_name"] == "look"


def test_ollama_takes_no_url_of_an_image():
    async def use(bench):
        with pytest.raises(Unsupported, match="data: URLs"):
            await bench.read(Request(messages=(Message("user", (Image("https://x.org/a.png"),)),)))
        return bench.transport.sent

    assert drive(OLLAMA, {}, [], use) == []


def test_cohere():
    url, headers, body = sent(COHERE, {"api_key": "k-1"})
    assert url == "https://api.cohere.com/v2/chat" and headers["authorization"] == "Bearer k-1"
    assert (body["p"], body["k"], body["stop_sequences"]) == (0.9, 4, ["END"])
    assert body["response_format"] == {"type": "json_object", "json_schema": SCHEMA}
    assert "reasoning_effort" not in body and body["messages"][3]["tool_call_id"] == "c1"


@pytest.mark.parametrize("url", ["data:image/png,plain", "data:", "data:image/png;base64"])
def test_a_data_url_that_is_not_base64_is_refused_before_it_is_sent(url):
    async def use(bench):
        with pytest.raises(InvalidRequest, match="base64"):
            await bench.read(Request(messages=(Message("user", (Image(url),)),)))

    drive(GEMINI, {}, [], use)


EMBED = Request(kind="embed", texts=("a", "b"))
VECTORS = ((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("type", "path", "answer", "tokens"),
    [
        (
            OPENAI,
            "/v1/embeddings",
            {
                "data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}],
                "usage": {"prompt_tokens": 4},
            },
            4,
        ),
        (GEMINI, ":batchEmbedContents", {"embeddings": [{"values": [1, 0]}, {"values": [0, 1]}]}, None),
        (OLLAMA, "/api/embed", {"embeddings": [[1, 0], [0, 1]], "prompt_eval_count": 4}, 4),
        (
            COHERE,
            "/v2/embed",
            {"embeddings": {"float": [[1, 0], [0, 1]]}, "meta": {"billed_units": {"input_tokens": 4}}},
            4,
        ),
    ],
)
def test_embeddings_keep_the_order_of_the_texts(type, path, answer, tokens):
    async def use(bench):
        completion = await bench.read(EMBED)
        return completion, bench.transport.sent[0].url

    completion, url = drive(type, {"api_key": "k-1"}, [json_reply(answer, x_request_id="r1")], use)
    assert completion.embeddings == VECTORS and completion.finish_reason == "stop" and url.endswith(path)
    assert (completion.usage and completion.usage.input_tokens) == tokens and completion.request_id == "r1"


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"data": []}', b'{"data": [{"embedding": [1]}]}', b'{"data": [7, 8]}']
)
def test_vectors_that_do_not_fit_the_texts_are_malformed(body):
    async def use(bench):
        with pytest.raises(Exception, match="vectors") as caught:
            await bench.read(EMBED)
        return caught.value.kind, bench.transport.aborted

    assert drive(OPENAI, {"api_key": "k-1"}, [json_reply(body)], use) == ("malformed_response", 1)


def test_a_refused_embedding_is_an_error_of_its_kind():
    async def use(bench):
        with pytest.raises(Exception, match="busy") as caught:
            await bench.read(EMBED)
        return caught.value.kind

    assert drive(OPENAI, {}, [json_reply({"error": {"message": "busy"}}, status=503)], use) == "server"
    assert drive(OPENAI, {}, [json_reply({"error": {"message": "busy", "code": 503}})], use) == "server"


@pytest.mark.parametrize("type", [ANTHROPIC, OPENAI_RESPONSES], ids=lambda type: type.name)
def test_a_protocol_without_embeddings_says_so_and_sends_nothing(type):
    async def use(bench):
        with pytest.raises(Unsupported):
            await bench.read(EMBED)
        return bench.transport.sent

    assert drive(type, {}, [], use) == []


@pytest.mark.parametrize(
    "request_",
    [
        Request(messages=(message("user", "half a character: \ud83d"),)),
        Request(messages=(message("user", "x"),), params={"odd": object()}),
    ],
)
def test_what_is_no_json_is_refused_before_it_is_sent(request_):
    async def use(bench):
        with pytest.raises(InvalidRequest, match="cannot be written as JSON") as caught:
            await bench.read(request_)
        return caught.value.sent, bench.transport.sent

    assert drive(OPENAI, {}, [], use) == (False, [])


@pytest.mark.parametrize("type", [ANTHROPIC, GEMINI, OLLAMA], ids=lambda type: type.name)
def test_arguments_that_are_no_json_are_refused_where_the_object_is_sent(type):
    turn = Message("assistant", (), (ToolCall("c1", "look", "{half"),))

    async def use(bench):
        with pytest.raises(InvalidRequest, match="the call 'look' are no JSON"):
            await bench.read(Request(messages=(message("user", "x"), turn)))

    drive(type, {}, [], use)
