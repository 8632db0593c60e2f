"""Code is made of a template when it is first rendered, unless making it may fail."""

from __future__ import annotations

import pytest

from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.template import Template, bind, compile_template

SCOPE = bind({"a": "x", "n": 2, "list": [1, 2]})


def template(source: str) -> Template:
    made = compile_template(source)
    assert isinstance(made, Template), made
    return made


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ a }}", "x"),
        (
            "It is {{ a | upper }}, {% if n > 1 and not a == 'y' %}{{ list[0] }}{% else %}none{% endif %}.",
            "It is X, 1.",
        ),
        ("{{ 'ü' ~ a ~ (n + 1) }}", "üx3"),
    ],
)
def test_a_plain_template_has_no_code_before_it_is_rendered(source: str, text: str) -> None:
    made = template(source)
    assert "_code" not in vars(made)
    assert made.render(SCOPE) == text
    assert "_code" in vars(made)
    assert made.render(SCOPE) == text


def test_an_expression_has_none_before_it_is_evaluated() -> None:
    made = compile_expression("a == 'x' and n in list")
    assert isinstance(made, Expression)
    assert "_code" not in vars(made)
    assert made.evaluate(SCOPE) is True


@pytest.mark.parametrize(
    "source",
    [
        "{% for each in list %}{% set loop = 1 %}{% endfor %}",
        "{% macro m(a, a) %}{% endmacro %}{{ m(1) }}",
        "{% for loop in list %}{{ loop }}{% endfor %}",
        "{{ a | replace(old='x', old='y') }}",
    ],
)
def test_a_fault_that_only_making_code_notices_is_told_before_anything_is_rendered(source: str) -> None:
    assert isinstance(compile_template(source), list)
