"""wizard explain: a page for everything that has a name."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cli_kit import Wizard
from syrupy.assertion import SnapshotAssertion

from wizard_dsl.cli._pages import pages, text_of, words
from wizard_dsl.core.errors import TABLE
from wizard_dsl.docgen.keys import keys_of, shown
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.registry import Registry
from wizard_dsl.spec.codes import CODES
from wizard_dsl.steps.generate import GENERATE


@pytest.mark.parametrize("word", ["E021", "timeout", "rate_limited", "openai", "sequential", "generate"])
def test_a_word_has_its_page(wizard: Wizard, approved: SnapshotAssertion, word: str) -> None:
    code, out, err = wizard("explain", word)
    assert (code, err) == (0, "")
    assert out == approved


def test_a_code_may_be_written_small(wizard: Wizard) -> None:
    assert wizard("explain", "e021").out == CODES["E021"].page()


def test_everything_that_is_listed_has_a_page(wizard: Wizard) -> None:
    registry = Registry(plugins=False)
    for rows in words(registry).values():
        for word, summary in rows:
            found = pages(word, registry)
            assert any(page["summary"] == summary for page in found)
            assert all(text_of(page).startswith(word) for page in found)


def test_without_a_word_everything_is_listed(wizard: Wizard) -> None:
    out = wizard("explain").out
    for word in (*CODES, *TABLE, "retry", "sequential", "ollama", "embed"):
        assert f"  {word} " in out


@pytest.mark.parametrize(
    ("word", "near"),
    [("tiemout", "timeout"), ("E0211", "E021"), ("E0444", "E044"), ("circuit-breaker", "circuit_breaker")],
)
def test_an_unknown_word_gets_the_nearest(wizard: Wizard, word: str, near: str) -> None:
    code, out, err = wizard("explain", word)
    assert (code, out) == (2, "")
    assert f"did you mean '{near}'?" in err


def test_a_word_like_none_is_sent_to_the_list(wizard: Wizard) -> None:
    assert "`wizard explain` lists" in wizard("explain", "zzzzzz").err


def test_json_tells_the_same(wizard: Wizard) -> None:
    kind, policy = json.loads(wizard("explain", "timeout", "--format", "json").out)
    assert (kind["what"], kind["exit_code"]) == ("error kind", 5)
    assert policy["keys"][0] == {
        "name": "connect",
        "takes": "a duration with its unit, above 0, such as 30s or off",
        "default": "5s",
        "description": "to a usable connection",
    }
    assert set(json.loads(wizard("explain", "--format", "json").out)) >= {"codes", "error kinds", "policies"}


def test_a_plug_in_has_a_page() -> None:
    component = msgspec.structs.replace(RETRY, name="acme.retry", summary="Repeats, our way.")
    entry: Any = SimpleNamespace(name="acme.retry", dist=None, load=lambda: component)
    registry = Registry(scan=lambda group: [entry] if group == "policies" else [])
    (page,) = pages("acme.retry", registry)
    assert page["summary"] == "Repeats, our way."
    assert ("acme.retry", "Repeats, our way.") in words(registry)["policies"]


def test_keys_of_a_mapping_are_listed_with_their_path() -> None:
    names = [key.name for key in keys_of(GENERATE.config)]
    assert "output.repairs" in names
    assert "output" not in names


@pytest.mark.parametrize(
    ("default", "text"),
    [(None, "none"), ("", '""'), ("30s", "30s"), (2.0, "2"), (True, "true"), ({}, "{}"), ({"a": [1]}, "{a: [1]}")],
)
def test_a_default_is_shown_as_it_would_be_written(default: Any, text: str) -> None:
    assert shown(default) == text
