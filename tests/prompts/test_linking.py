"""Code is made of a template when it is first rendered, unless making it may fail."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.nodes import Node

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.prompts.environment import ENVIRONMENT, parse
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.names import Known
from wizard_dsl.prompts.parsed import compile_parsed
from wizard_dsl.prompts.simple import parts_of
from wizard_dsl.prompts.template import Scope, Template, bind, compile_template
from wizard_dsl.prompts.trees import every, tree_of

SCOPE = bind({"a": "x", "n": 2, "list": [1, 2]})


def template(source: str) -> Template:
    made = compile_template(source)
    assert isinstance(made, Template), made
    return made


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ a | string }}.", "x."),
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
    parts = parts_of(text)
    if parts is not None:
        made = tree_of(parts)
        found = ENVIRONMENT.parse(text)
        assert made == found
        assert [(type(each), each.lineno) for each in every(made)] == [
            (type(each), each.lineno) for each in found.find_all(Node)
        ]


VALUES = {
    "a": "x", "n": 3, "f": 0.1, "yes": True, "no": False, "null": None, "list": [1, "a"], "map": {"k": "ö"},
    "huge": 10**5000, "long": 10**80, "nan": float("nan"), "empty": "", "range": "mine", "loop": "l",
}  # fmt: skip
NAMES = [*(f"{{{{ {name} }}}}" for name in (*VALUES, "missing", "dict", "joiner")), "a", "\n", "ö ", "\ud800", "}}"]


def outcome(made: Template, scope: Scope) -> list[object]:
    """What rendering comes to, and what the value is."""
    found: list[object] = []
    for work in (made.render, made.value):
        try:
            found.append(work(scope))
        except StepFailed as error:
            found.append(error.message)
    return found


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(NAMES), max_size=5).map("".join), st.sampled_from([3, 1000]))
def test_values_are_put_in_as_jinja_puts_them(text: str, limit: int) -> None:
    known = Known(frozenset({*VALUES, "missing"}))
    made = compile_template(text, known, limit=limit, where="here", first_line=4)
    theirs = compile_parsed(text, known, limit=limit, where="here", first_line=4)
    if isinstance(made, Template) and isinstance(theirs, Template):
        assert msgspec.structs.replace(made.shape, parts=None) == theirs.shape
        assert outcome(made, bind(VALUES)) == outcome(theirs, bind(VALUES))
    else:
        assert made == theirs


def test_a_long_text_is_work_whoever_puts_it_in() -> None:
    made = compile_template("{{ a }}{{ a }}", limit=1 << 30)
    assert isinstance(made, Template)
    assert made.render(bind({"a": "x" * (1 << 22)})) == "x" * (1 << 23)
    with pytest.raises(StepFailed, match="more work than a template may do"):
        made.render(bind({"a": "x" * (1 << 24)}))


def test_a_text_that_is_too_long_is_not_made_first() -> None:
    made = compile_template("{{ a }}" * 100)
    assert isinstance(made, Template)
    scope = bind({"a": "x" * (1 << 19)})
    tracemalloc.start()
    try:
        with pytest.raises(StepFailed, match="more work than a template may do"):
            made.render(scope)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", ["", "text", "{{ a }}", "{{ a }} of {{ n }}", "{{ a | upper }}", "{{ b"])
def test_jinja_is_imported_for_what_is_more_than_text_and_names(source: str) -> None:
    program = (
        "import sys\nfrom wizard_dsl.prompts.template import Scope, Template, bind, compile_template\n"
        "made = compile_template(sys.argv[1])\n"
        "if isinstance(made, Template):\n    made.render(bind({'a': 'x', 'n': 2}))\n"
        "print('jinja2' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program, source], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(source in {"{{ a | upper }}", "{{ b"})


def test_what_is_more_than_names_is_for_the_parser() -> None:
    simple = {piece for piece in PIECES if parts_of(piece) is not None}
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
