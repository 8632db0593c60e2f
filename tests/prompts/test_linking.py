"""Code is made of a template when it is first rendered, unless making it may fail."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.nodes import Node

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.prompts.environment import ENVIRONMENT, parse
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.simple import of_names
from wizard_dsl.prompts.template import Template, bind, compile_template
from wizard_dsl.prompts.trees import every

SCOPE = bind({"a": "x", "n": 2, "list": [1, 2]})


def template(source: str) -> Template:
    made = compile_template(source)
    assert isinstance(made, Template), made
    return made


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ a }}.", "x."),
        ("{% for each in list if each > n - 1 %}{{ loop.index }}:{{ each }}{% else %}-{% endfor %}", "1:2"),
        ("{% for i, each in [(1, a), (2, n)] %}{{ i }}{{ each }}{% endfor %}", "1x22"),
        ("{{ a.replace('x', 'y') }}{{ range(n) | join }}", "y01"),
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


def test_a_name_alone_needs_no_code_at_all() -> None:
    made = template("{{ list }}")
    assert (made.render(SCOPE), made.value(SCOPE)) == ("[1, 2]", [1, 2])
    assert "_code" not in vars(made)
    with pytest.raises(StepFailed, match="line 1 of the template: 'b' is not defined"):
        template("{{ b }}").render(SCOPE)


@pytest.mark.parametrize("loops", range(9))
def test_code_is_made_of_whatever_is_not_too_deep(loops: int) -> None:
    ifs = 80
    while True:
        begin = "{% for a in list %}" * loops + "{% if a %}" * ifs
        made = compile_template(begin + "{{ a }}." + "{% endif %}" * ifs + "{% endfor %}" * loops)
        if not isinstance(made, Template):
            break
        ifs += 1
        assert "_code" not in vars(made)
    assert ifs > 80 and "nested too deeply" in made[0].message
    begin = "{% for a in list %}" * loops + "{% if a %}" * (ifs - 1)
    deepest = template(begin + "{{ a }}." + "{% endif %}" * (ifs - 1) + "{% endfor %}" * loops)
    assert deepest.render(bind({"a": "x", "list": ["x"]})) == "x."


PIECES = [
    "{{ a }}", "{{a.b}}", "{{\ta.b.c }}", "{{ true }}", "{{ a.not }}", "{{ none.x }}", "{{ and }}", "{{ loop }}",
    "{{ é }}", "{{ a b }}", "{{- a }}", "{{ a -}}", "{{ a\n}}", "{{ 1 }}", "{% if a %}x{% endif %}", "{# c #}", "}}",
    "{", "}", "\n", "\r\n", "\r", "a", "  ", "ö", "#}", "%}", "{{ a }}}", "{{{ a }}}", "{{ a.1 }}", "{{ a . b }}",
    "{{ _x }}", "{{ if }}", "{{ a.b. }}", "\x0b", "\u2028", "\x85", "{{ a" + ".b" * 30 + " }}",
]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_a_text_of_names_is_parsed_as_jinja_parses_it(text: str) -> None:
    made = of_names(text)
    if made is not None:
        found = ENVIRONMENT.parse(text)
        assert made == found
        assert [(type(each), each.lineno) for each in every(made)] == [
            (type(each), each.lineno) for each in found.find_all(Node)
        ]


def test_what_is_more_than_names_is_for_the_parser() -> None:
    simple = {piece for piece in PIECES if of_names(piece) is not None}
    assert {"{{ a }}", "{{a.b}}", "{{\ta.b.c }}", "{{ a.not }}", "{{ a }}}", "a", "}}"} <= simple
    assert simple & {"{{ true }}", "{{- a }}", "{{ 1 }}", "{# c #}", "{{ if }}", "{% if a %}x{% endif %}"} == set()
    assert "nested too deeply" in compile_template("{{ a" + ".b" * 200 + " }}")[0].message  # type: ignore[index]


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n", "a\r\n\r\n", "\ra\rb\r", "} {a} %} #}", "ö\n\n", "{"])
def test_a_text_without_tags_is_what_jinja_makes_of_it(text: str) -> None:
    assert parse(text) == ENVIRONMENT.parse(text)
    assert template(text).render(SCOPE) == ENVIRONMENT.from_string(text).render()


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
        "{% for a, loop in list %}{{ a }}{% endfor %}",
        "{{ dict(a=1, a=2) }}",
        "{{ a | replace(old='x', old='y') }}",
    ],
)
def test_a_fault_that_only_making_code_notices_is_told_before_anything_is_rendered(source: str) -> None:
    assert isinstance(compile_template(source), list)
