"""Keys stay out of everything that leaves: messages, bodies, headers, whatever a provider makes of them."""

from __future__ import annotations

import msgspec
import pytest
from provider_kit import Bench, drive, json_reply

from wizard_dsl.core.errors import WizardError
from wizard_dsl.providers._secrets import hide, spellings
from wizard_dsl.providers.gemini import GEMINI
from wizard_dsl.providers.presets import OPENAI
from wizard_dsl.testing.transport import Reply

KEY = "sk-proj-AbCdEfGhIjKlMnOpQrStUvWxYz012345/+x=="
TOKEN = "tok-1234567890abcdefghij"
SECRETS = spellings((KEY, f"Bearer {TOKEN}", "abcd", None, ""))


@pytest.mark.parametrize(
    "said",
    [
        KEY,
        f"({KEY})({KEY})",
        KEY[:-3],
        KEY[5:],
        f"{KEY[:20]}****{KEY[-13:]}",
        KEY.replace("/", "\\/"),
        "https://x/?key=sk-proj-AbCdEfGhIjKlMnOpQrStUvWxYz012345%2F%2Bx%3D%3D",
        f"Bearer {TOKEN}",
        f"the token {TOKEN} is unknown",
        TOKEN[:-1],
    ],
)
def test_a_secret_is_hidden_in_any_spelling_and_in_long_pieces(said):
    left = hide(said, SECRETS)
    assert "***" in left
    for secret in (KEY, TOKEN):
        assert not any(secret[start : start + 12] in left for start in range(len(secret) - 12))


def test_a_short_secret_is_hidden_where_it_stands_alone_and_tears_no_words():
    assert hide("the key abcd, not abcde", SECRETS) == "the key ***, not abcde"


def test_what_is_no_secret_stays():
    assert hide("sk-proj-***: no such key; Bearer expected", SECRETS) == "sk-proj-***: no such key; Bearer expected"


CONFIG = {"api_key": KEY, "headers": {"x-token": f"Bearer {TOKEN}"}}
REPLIES = [
    json_reply({"error": {"message": f"bad key {KEY} for {TOKEN}", "code": KEY}}, status=401),
    json_reply({"error": {"message": f"bad key {KEY[:22]}…"}}, status=500),
    json_reply({"error": {"message": f"no such model at {TOKEN}"}}),
    Reply(status=302, headers={"location": f"https://example.com/?key={KEY}"}),
    Reply(body=b"<p>" + b"x" * 1980 + KEY.encode() + b"</p>"),
    Reply(body=f'{{"choices": [{{"message": {{"content": "x"}}, "index": "{KEY}"}}]}}'.encode()),
    Reply(status=500, headers={"x-echo": f"Bearer {TOKEN}"}, body=KEY.encode()),
]


@pytest.mark.parametrize("reply", REPLIES, ids=range(len(REPLIES)))
@pytest.mark.parametrize("type", [OPENAI, GEMINI], ids=lambda type: type.name)
@pytest.mark.parametrize("stream", [False, True])
def test_no_error_shows_what_a_provider_repeats_of_the_key(type, reply, stream):
    async def use(bench: Bench):
        with pytest.raises(WizardError) as caught:
            await (bench.stream() if stream else bench.read())
        return caught.value

    error = drive(type, CONFIG, [reply], use)
    shown = f"{error!r} {error} {error.body} {dict(error.headers)} {error.request_id} {error.to_json()}"
    for secret in (KEY, TOKEN):
        assert secret[:14] not in shown and secret[-14:] not in shown


def test_headers_of_an_answer_that_repeat_the_key_are_hidden_in_the_result():
    async def use(bench: Bench):
        return await bench.read()

    answer = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    completion = drive(OPENAI, CONFIG, [json_reply(answer, x_echo=KEY, x_other="kept")], use)
    assert completion.headers["x-echo"] == "***" and completion.headers["x-other"] == "kept"
    assert KEY not in repr(completion)


@pytest.mark.parametrize("base", ["https://user:password@example.com/v1", "https://key@example.com"])
def test_a_base_url_with_a_name_and_password_is_no_config(base):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"base_url": base}, OPENAI.config)


@pytest.mark.parametrize("base", ["http://[::1]:8080/v1", "http://x.internal:80", "https://x/a@b/c"])
def test_other_base_urls_stay_configs(base):
    assert msgspec.convert({"base_url": base}, OPENAI.config).base_url == base
