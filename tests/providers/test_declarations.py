"""The declarations of providers: their examples convert, their imports stay light, their prices are known."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from provider_kit import Bench

from wizard_dsl.core.messages import Usage
from wizard_dsl.core.target import Facts
from wizard_dsl.providers._prices import library
from wizard_dsl.providers.anthropic import ANTHROPIC
from wizard_dsl.providers.cohere import COHERE
from wizard_dsl.providers.embedded import EMBEDDED
from wizard_dsl.providers.gemini import GEMINI
from wizard_dsl.providers.mock import MOCK
from wizard_dsl.providers.ollama import OLLAMA
from wizard_dsl.providers.openai_compatible import OPENAI_COMPATIBLE
from wizard_dsl.providers.openai_responses import OPENAI_RESPONSES
from wizard_dsl.providers.presets import PRESETS
from wizard_dsl.spec.source import load_text
from wizard_dsl.testing import virtual

TYPES = (ANTHROPIC, COHERE, EMBEDDED, GEMINI, MOCK, OLLAMA, OPENAI_COMPATIBLE, OPENAI_RESPONSES, *PRESETS)
CASES = [(type, example) for type in TYPES for example in type.examples]


@pytest.mark.parametrize(("type", "example"), CASES, ids=lambda value: getattr(value, "name", None) or value.title)
def test_each_example_is_a_config_of_its_type(type, example):
    section = load_text(example.yaml, "example").data
    assert section.pop("type") == type.name
    section.pop("model", None)
    config = msgspec.convert(section, type.config)
    assert type.endpoint(config)
    if type is not EMBEDDED:

        async def build():
            Bench(type, section)

        virtual.run(build())


def test_names_are_unique_and_every_type_has_an_example():
    assert len({type.name for type in TYPES}) == len(TYPES)
    assert all(type.examples and type.summary for type in TYPES)


def test_a_key_is_marked_as_a_secret_in_the_schema():
    schema = msgspec.json.schema(ANTHROPIC.config)
    properties = schema["$defs"]["AnthropicConfig"]["properties"]
    assert "x-secret" in str(properties["api_key"])


def test_importing_the_protocols_imports_neither_aiohttp_nor_asyncio():
    modules = [
        *("anthropic", "cohere", "embedded", "gemini", "mock", "ollama"),
        *("openai_compatible", "openai_responses", "presets", "_prices"),
    ]
    script = (
        "import sys\n"
        + "".join(f"import wizard_dsl.providers.{name}\n" for name in modules)
        + "print([name for name in ('aiohttp', 'asyncio', 'genai_prices', 'xllamacpp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_prices_are_those_of_a_plain_request():
    facts = library("openai", "gpt-4o-mini")
    assert facts.context == 128_000
    assert facts.prices.cost(Usage(1_000_000, 1_000_000)) == pytest.approx(0.75)
    assert library("openai", "gpt-4o-mini") is facts


@pytest.mark.parametrize(("prices", "model"), [("openai", "no-such-model"), ("no-such-list", "gpt-4o")])
def test_what_the_library_does_not_know_is_unknown(prices, model):
    assert library(prices, model) == Facts()


@pytest.mark.parametrize("type", [type for type in TYPES if type.prices], ids=lambda type: type.name)
def test_each_type_names_a_list_that_exists(type):
    from genai_prices.data import providers

    assert type.prices in {each.id for each in providers}


def test_prices_by_the_hour_are_the_dearest_and_longer_requests_have_those_of_their_tier():
    assert library("deepseek", "deepseek-chat").prices.output == pytest.approx(1.1)
    prices = library("google", "gemini-2.5-pro").prices
    assert (prices.input, prices.at(200_001).input) == (1.25, 2.5)
    assert prices.cost(Usage(200_000, 1000)) == pytest.approx(0.26)
    assert prices.cost(Usage(200_001, 1000, 200_001)) == pytest.approx(0.065, rel=1e-3)
