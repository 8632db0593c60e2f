"""Every example that documentation shows is loaded: those of the declarations, and those that explain a code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.component import Example
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.spec.codes import CODES
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.spec.load import Loaded, load
from wizard_dsl.spec.source import parse_value

REGISTRY = Registry(plugins=False)
#: Warnings whose examples are compiled and linted.
LINTED = ("W181", "W182", "W184", "W185", "W186")
BASE: dict[str, Any] = {
    "version": 1,
    "inputs": {"question": {"type": "string"}, "ticket": {"type": "string"}},
    "providers": {"local": {"type": "mock"}},
    "chains": {"default": {"targets": ["local"]}},
    "steps": {"answer": {"prompt": {"user": "{{ question }}"}}},
}
#: Codes whose example is found without resolving names.
SHAPES = (
    "E021", "E022", "E023", "E024", "E025", "E026", "E028", "E030", "E033", "E034", "E038",
    "E040", "E041", "E042", "E047", "E048", "E049", "E060", "E061", "E062", "E065",
)  # fmt: skip


def loaded(sections: dict[str, Any]) -> Loaded:
    return load("no-such-folder/p.yaml", registry=REGISTRY, text=json.dumps({**BASE, **sections}))


def data(text: str) -> Any:
    value, found = parse_value(text, "example")
    assert not found
    return value


def examples(components: Any) -> list[Any]:
    return [
        pytest.param(each, id=f"{one.name}-{index}") for one in components for index, each in enumerate(one.examples)
    ]


def right(sections: dict[str, Any]) -> None:
    assert render_text(loaded(sections).diagnostics) == ""


@pytest.mark.parametrize("example", examples(REGISTRY.all_policies()))
def test_an_example_of_a_policy_is_right(example: Example) -> None:
    right({"policies": {"default": data(example.yaml)}})


@pytest.mark.parametrize("example", examples(REGISTRY.all_strategies()))
def test_an_example_of_a_strategy_is_right(example: Example) -> None:
    right({"chains": {"default": {"targets": ["local"], **data(example.yaml)}}})


@pytest.mark.parametrize("example", examples(REGISTRY.all_providers()))
def test_an_example_of_a_provider_is_right(example: Example) -> None:
    right({"providers": {"local": data(example.yaml)}})


@pytest.mark.parametrize("example", examples(REGISTRY.all_steps()))
def test_an_example_of_a_step_is_right(example: Example) -> None:
    right({"steps": data(example.yaml)})


@pytest.mark.parametrize("code", SHAPES)
def test_the_wrong_example_of_a_code_has_that_finding(code: str) -> None:
    found = _of_text(CODES[code].bad)
    assert code in {each.code for each in found.diagnostics}, render_text(found.diagnostics)


@pytest.mark.parametrize("code", [each for each in SHAPES if each != "E047"])  # its package is not installed
def test_the_right_example_of_a_code_does_not_have_it(code: str) -> None:
    found = _of_text(CODES[code].good)
    assert code not in {each.code for each in found.diagnostics}, render_text(found.diagnostics)


@pytest.mark.parametrize("code", LINTED)
def test_the_examples_of_a_warning_show_it_wrong_and_right(code: str) -> None:
    assert code in _linted(CODES[code].bad)
    assert code not in _linted(CODES[code].good)


def _linted(sections: str) -> list[str]:
    compiled = compile_file("no-such-folder/p.yaml", REGISTRY, Sources(text=_whole(sections)))
    assert compiled.program is not None, compiled.diagnostics
    return [each.code for each in lint(compiled)]


def _of_text(sections: str) -> Loaded:
    """An example is added to a file that lacks the sections it has."""
    return load("no-such-folder/p.yaml", registry=REGISTRY, text=_whole(sections))


def _whole(sections: str) -> str:
    rest = [f"{key}: {json.dumps(each)}\n" for key, each in BASE.items() if key not in data(sections)]
    return f"{''.join(rest)}{sections}\n"
