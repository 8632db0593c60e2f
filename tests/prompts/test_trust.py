from __future__ import annotations

import pytest

from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.template import Template, compile_template
from wizard_dsl.prompts.trust import item_is_trusted, untrusted_in_system

TRUSTED = frozenset({"language"})


def found(source: str) -> list[tuple[int, int | None, str]]:
    made = compile_template(source, first_line=3)
    assert isinstance(made, Template)
    return [(each.line, each.column, each.name) for each in untrusted_in_system(made, TRUSTED)]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ticket }}",
        "{{ ticket|upper }}",
        "{{ 'x' ~ ticket }}",
        "{% set a = ticket %}{{ a }}",
        "{% set a %}{{ ticket }}{% endset %}",
        "{% for c in ticket %}{{ c }}{% endfor %}",
        "{% if ticket %}a{% endif %}",
        "{% with t = ticket %}{{ t }}{% endwith %}",
        "{% macro m(a=ticket) %}{{ a }}{% endmacro %}{{ m() }}",
        "{% macro m(ticket=ticket) %}{{ ticket }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{{ ticket }}{% endmacro %}{{ m() }}",
        "{% filter default(ticket) %}{% endfilter %}",
        "{{ {'a': 1}[ticket] }}",
        "{% if 0 %}{% set ticket = 'safe' %}{% endif %}{{ ticket }}",
        "{% if 0 %}{% set ticket = 'a' %}{% elif 0 %}{% set ticket = 'b' %}{% endif %}{{ ticket }}",
        "{{ ticket }}{% set ticket = 1 %}",
        "{% for ticket in [1] %}{% endfor %}{{ ticket }}",
        "{{ language if ticket else language }}",
    ],
)
def test_every_way_of_an_untrusted_input_into_a_system_message_is_found(source: str) -> None:
    assert "ticket" in {name for _, _, name in found(source)}


@pytest.mark.parametrize(
    "source",
    [
        "Answer in {{ language|upper }}.",
        "{% for i in range(3) %}{{ i }}{% endfor %}",
        "{{ index }}",
        "{% set ticket = 'mine' %}{{ ticket }}",
        "{% if steps.a.skipped %}x{% endif %}{{ steps.a.served_by }}{{ steps.a.usage.input_tokens }}",
        "{# ticket #}ticket",
    ],
)
def test_trusted_inputs_and_our_own_facts_are_allowed(source: str) -> None:
    assert found(source) == []


def test_the_place_is_that_of_the_file() -> None:
    assert found("a\nb {{ ticket }}") == [(4, 6, "ticket")]


@pytest.mark.parametrize(
    "source", ["{{ steps.a.text }}", "{{ steps.a }}", "{{ steps['a'].json.x }}", "{{ steps }}", "{{ item }}"]
)
def test_outputs_of_steps_and_items_are_untrusted(source: str) -> None:
    assert len(found(source)) == 1


def test_the_message_says_why_and_what_to_do() -> None:
    made = compile_template("{{ ticket }}{{ steps.a.text }}")
    assert isinstance(made, Template)
    mine, step = untrusted_in_system(made, TRUSTED)
    assert "'ticket' cannot stand in a system message" in mine.message
    assert mine.suggestion is not None and "`trusted: true`" in mine.suggestion
    assert "steps.a" in step.message and "a model wrote it" in step.message
    assert step.suggestion == "move it to a user message"


@pytest.mark.parametrize(
    ("source", "trusted"),
    [("['a', 'b']", True), ("language", True), ("range(3)", True), ("ticket.parts", False), ("steps.a.json", False)],
)
def test_an_item_is_as_trusted_as_its_list(source: str, trusted: bool) -> None:
    made = compile_expression(source)
    assert isinstance(made, Expression)
    assert item_is_trusted(made, TRUSTED) is trusted
