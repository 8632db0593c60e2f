"""No rendering is larger than what the walk over its template says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.core.size import Size, mapping_of, of_schema, of_value
from wizard_dsl.prompts.expression import compile_expression
from wizard_dsl.prompts.size import expression_size, template_size
from wizard_dsl.prompts.template import bind, compile_template

SCHEMAS: dict[str, Any] = {
    "text": {"type": "string", "maxLength": 12},
    "word": {"enum": ["yes", "no", 'a "quoted" one']},
    "number": {"type": "integer", "minimum": -9, "maximum": 1000},
    "texts": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 4}},
    "row": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 5},
            "tags": {"type": "array", "maxItems": 2, "items": {"const": 1}},
        },
        "additionalProperties": False,
    },
    "maybe": {"type": ["string", "null"], "maxLength": 3},
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=12),
    "word": st.sampled_from(SCHEMAS["word"]["enum"]),
    "number": st.integers(-9, 1000),
    "texts": st.lists(st.text(max_size=4), max_size=3),
    "row": st.fixed_dictionaries({"name": st.text(max_size=5)}),
    "maybe": st.none() | st.text(max_size=3),
}
NAMES = {name: of_schema(schema, name, ("inputs", name)) for name, schema in SCHEMAS.items()}

BOUNDED = [
    "fixed, ü",
    "{{ text }}",
    "a {{ text }} b {{ word }} {{ number }}",
    "{{ text | upper }}{{ text | lower }}{{ text | title }}{{ text | capitalize }}",
    "{{ text | tojson }} {{ texts | tojson }} {{ word | tojson }}",
    "{{ texts | tojson(2) }} {{ row.name | tojson(indent=8) }}",
    "{{ text | e }}{{ text | urlencode }}{{ text | trim }}{{ text | string }}",
    "{{ text | truncate(3) }} {{ text | truncate(5, true, '…') }} {{ text | truncate }}",
    "{{ text | center(30) }}{{ text | indent(3, true, true) }}{{ text | indent('>>', first=true) }}",
    "{{ text | wordwrap(2) }} {{ text | replace('a', 'bcd') }} {{ text | replace('', '--') }}",
    "{{ text | length }} {{ texts | count }} {{ text | wordcount }} {{ number | abs }} {{ word | length * 3 }}",
    "{{ texts }} {{ texts | join(', ') }} {{ texts | join }} {{ texts | first }}",
    "{{ texts | sort | reverse | list }} {{ texts | unique | list }} {{ text | list }}",
    "{{ texts | map('upper') | join('-') }} {{ texts | map('length') | list }}",
    "{% for each in texts %}- {{ loop.index }}: {{ each }}\n{% else %}none{% endfor %}",
    "{% for each in texts if each %}{{ loop.last }} {{ each ~ '!' }}{% endfor %}",
    "{% for a in texts %}{% for b in texts %}{{ a }}{{ b }}{% endfor %}{% endfor %}",
    "{% for letter in text %}[{{ letter }}]{% endfor %}",
    "{% for key in row %}{{ key }}={{ row[key] if key == 'name' }}{% endfor %}",
    "{% if text %}{{ text }}{% elif maybe %}{{ maybe }} and more{% else %}-{% endif %}",
    "{% set both = text ~ word %}{{ both }}{{ both }}",
    "{% if number > 3 %}{% set kind = text %}{% else %}{% set kind = 'none' %}{% endif %}{{ kind }}",
    "{% set block %}<{{ text }}>{% endset %}{{ block }}{{ block }}",
    "{% filter upper %}x {{ text }}{% endfilter %}",
    "{% with a = text, b = number %}{{ a }}{{ b }}{% endwith %}",
    "{% macro bold(what, by='*') %}{{ by }}{{ what }}{{ by }}{% endmacro %}{{ bold(text) }}{{ bold(word, '_') }}",
    "{{ text[0:2] }} {{ texts[:1] }} {{ text[:4] }} {{ 'abc'[1] }}",
    "{{ text + word }} {{ texts + ['x'] }} {{ 'ab' * 3 }} {{ number + 1 }} {{ -number }} {{ number / 7 }}",
    "{{ number ** 2 }} {{ number // 2 }} {{ 5 - number }} {{ 0.1 + 0.2 }}",
    "{{ number > 3 }} {{ text in texts }} {{ not text }} {{ text is string }}",
    "{{ maybe or word }} {{ maybe and word }} {{ text if number else word }} {{ text if false }}",
    "{{ maybe | default('nothing', true) }} {{ maybe | d(word) }}",
    "{{ {'a': text, 'b': [number, true, none]} }} {{ [text, 1] }} {{ dict(a=text) }}",
    "{{ text.upper() }} {{ text.strip() }} {{ text.replace('a', 'bb') }} {{ text.split() }} {{ text.split('a') }}",
    "{% for i in range(4) %}{{ i }}{{ text }}{% endfor %}",
    "{{ row.name }} {{ row['name'] }}",
    "{{ (text | tojson) | tojson }} {{ (texts ~ text) | tojson }} {{ (row ~ '') | tojson }}",
    "{{ row | list }} {{ row | join('/') }} {{ row | first }} {{ row | sort | join }} {{ row | map('upper') | join }}",
    "{{ texts[:1:-1] }} {{ text[:1:-1] }}",
    "{% if number %}{% macro m() %}{{ text }}{% endmacro %}{% else %}{% macro m() %}{% endmacro %}{% endif %}{{ m() }}",
    "{% macro m() %}{{ text }}{% endmacro %}{% for text in texts %}{{ m() }}{% endfor %}",
    "{% macro m() %}{{ text }}{% endmacro %}{% with text = '' %}{{ m() }}{% endwith %}",
    "{% set x = '' %}{% macro m() %}{{ x }}{% endmacro %}{% set x = text %}{% for x in texts %}{{ m() }}{% endfor %}",
    "{% macro m() %}{{ text }}{% endmacro %}{% macro n(text) %}{{ m() }}{% endmacro %}{{ n('') }}",
    "{% macro m() %}{{ text }}{% endmacro %}{% macro n() %}{% set text = '' %}{{ m() }}{% endmacro %}{{ n() }}",
    "{% for x in texts %}{% macro m() %}{{ x }}{% endmacro %}{% with x = '' %}{{ m() }}{% endwith %}{% endfor %}",
    "{{ texts | max }} {{ texts | last }}" ,
]  # fmt: skip


def size_of(text: str) -> Size:
    template = compile_template(text, where="prompts.p.user")
    assert not isinstance(template, list), template
    return template_size(template, NAMES, ("prompts", "p"))


@pytest.mark.parametrize("text", BOUNDED)
@settings(max_examples=20, deadline=None)
@given(values=st.fixed_dictionaries(VALUES))
def test_no_rendering_is_larger_than_its_size(text: str, values: dict[str, Any]) -> None:
    template = compile_template(text)
    assert not isinstance(template, list)
    size = size_of(text)
    assert size.text.bounded, size.text.reason
    try:
        made = template.render(bind(values))
    except Exception:
        return  # an empty list has no first element
    assert len(made.encode("utf-8", "surrogatepass")) <= size.text.value


@settings(max_examples=100, deadline=None)
@given(values=st.fixed_dictionaries(VALUES))
def test_no_value_is_larger_than_its_schema_allows(values: dict[str, Any]) -> None:
    for name, value in values.items():
        exact, most = of_value(value), NAMES[name]
        assert exact.text.value <= most.text.value
        assert exact.json.value <= most.json.value
        assert exact.count.value <= most.count.value
        assert exact.json.value == len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ text * number }}", "line 1 of it: how often a text is repeated"),
        ("\n{{ text.zfill(9) }}", "line 2 of it: the method 'zfill'"),
        ("{% for each in free %}x{% endfor %}", "a loop, and free has no maxItems"),
        ("{{ '%s' | format(text) }}", "line 1 of it: the filter 'format'"),
        ("{% set ns = namespace(a='') %}{% set ns.a = ns.a ~ text %}{{ ns.a }}", "a namespace"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "a call of 'm'"),
        ("{{ anything.some.key }}", "anything has no type"),
    ],
)
def test_what_cannot_be_bounded_says_why_and_where(text: str, reason: str) -> None:
    names = NAMES | {"free": of_schema({"type": "array", "items": {"const": "x"}}, "free", ("inputs", "free"))}
    names["anything"] = of_schema({}, "anything", ("inputs", "anything"))
    template = compile_template(text, where="prompts.p.user")
    assert not isinstance(template, list), template
    size = template_size(template, names, ("prompts", "p"))
    assert not size.text.bounded
    assert reason in size.text.reason
    assert size.text.at


def test_the_place_of_a_figure_is_the_setting_that_would_bound_it() -> None:
    free = of_schema({"type": "string"}, "input 'q'", ("inputs", "q"))
    template = compile_template("Hello {{ q | upper }}, {{ q }}")
    assert not isinstance(template, list)
    assert template_size(template, {"q": free}, ("prompts", "p")).text.at == ("inputs", "q")


@pytest.mark.parametrize(
    ("schema", "bytes"),
    [
        ({"type": "string", "maxLength": 10}, 40),
        ({"enum": ["a", "bcd"]}, 3),
        ({"const": "ü"}, 2),
        ({"type": "boolean"}, 5),
        ({"type": "null"}, 5),
        ({"type": "array", "maxItems": 2, "items": {"const": 1}}, 8),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, 5),
        ({"allOf": [{"type": "string", "maxLength": 5}], "type": "string"}, 20),
        ({"anyOf": [{"const": "a"}, {"const": "abc"}]}, 3),
    ],
)
def test_a_schema_bounds_its_values(schema: dict[str, Any], bytes: int) -> None:
    assert of_schema(schema, "x", ()).text.value == bytes


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "string"}, "x has no maxLength"),
        ({"type": "string", "pattern": "^a$"}, "x has no maxLength"),
        ({}, "x has no type"),
        ({"$ref": "#/a"}, "x has no type"),
        ({"type": "array", "items": {"type": "boolean"}}, "x has no maxItems"),
        ({"type": "array", "maxItems": 3}, "an item of x may be anything"),
        ({"type": "object", "properties": {"a": {"const": 1}}}, "x may have other keys"),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, "x.a has no type"),
    ],
)
def test_what_a_schema_leaves_open_is_named(schema: dict[str, Any], reason: str) -> None:
    size = of_schema(schema, "x", ("inputs", "x"))
    assert not size.text.bounded
    assert size.text.reason.startswith(reason)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("texts", 3),
        ("[1, 2]", 2),
        ("texts + texts", 6),
        ("texts[:2]", 2),
        ("range(5) | list", 5),
        ("text.split('ab')", 7),
    ],
)
def test_an_expression_has_at_most_so_many_items(text: str, count: int) -> None:
    expression = compile_expression(text)
    assert not isinstance(expression, list)
    assert expression_size(expression, NAMES).count.value == count


def test_the_keys_of_one_of_two_values_may_be_asked_for() -> None:
    both = of_value({"a": 1}).or_else(of_value({"a": 22, "b": "x"}))
    assert both.fields["a"].text.value == 2
    assert both.fields["b"].text.value == 1
    open_ended = of_schema({"type": "object", "properties": {"a": {"const": 1}}}, "x", ())
    either = open_ended.or_else(mapping_of({"b": of_value(1)}))
    assert "b" not in either.fields
    assert either.is_open


# -- any template -----------------------------------------------------------------------------------------

FILTERS = (
    "abs", "capitalize", "center(9)", "count", "default('-')", "d(texts, true)", "dictsort", "e", "filesizeformat",
    "first", "float", "indent(2, true, true)", "int", "items", "join", "join(', ')", "join(word)", "last", "length",
    "list", "lower", "map('upper') | list", "map('tojson') | list", "max", "min", "replace('a', 'ß')", "reverse",
    "replace('', word)", "round", "select | list", "sort", "string", "title", "tojson", "tojson(2)", "trim",
    "truncate(3)", "truncate", "unique", "upper", "urlencode", "wordcount", "wordwrap(3)",
)  # fmt: skip
ENDINGS = (
    "[0]", "[-1]", "[:2]", "[1:3]", "[:2:-1]", "[number]", "['name']", ".name", ".upper()", ".split()", ".split('a')",
    ".items()", ".strip()", ".replace('a', 'bb')",
)  # fmt: skip
SIGNS = ("~", "+", "-", "*", "/", "//", "**", "%", "==", "in", "and", "or")


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} | {})".format, inner, st.sampled_from(FILTERS)),
        st.builds("({}){}".format, inner, st.sampled_from(ENDINGS)),
        st.builds("({} {} {})".format, inner, st.sampled_from(SIGNS), inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{'k': {}, 'é': {}}}".format, inner, inner),
        st.builds("m({}, b={})".format, inner, inner),
    )


LEAVES = st.sampled_from([*SCHEMAS, "other", "2", "1.5", "'a\\n\"b'", "none", "true", "loop.index", "range(3)", "each"])
EXPRESSIONS = st.recursive(LEAVES, _combined, max_leaves=6)
SHOWN = st.builds("{{{{ {} }}}}".format, EXPRESSIONS)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{} {}".format, inner, inner),
        st.builds("{{% for each in {} %}}<{}>{{% else %}}none{{% endfor %}}".format, EXPRESSIONS, inner),
        st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, EXPRESSIONS, inner, inner),
        st.builds("{{% set other = {} %}}{}".format, EXPRESSIONS, inner),
        st.builds("{{% if {} %}}{{% set other = {} %}}{{% endif %}}{}".format, EXPRESSIONS, EXPRESSIONS, inner),
        st.builds("{{% set other %}}{}{{% endset %}}{}".format, inner, inner),
        st.builds("{{% filter upper %}}{}{{% endfilter %}}".format, inner),
        st.builds("{{% macro m(a, b='-') %}}{{{{ a }}}}{{{{ b }}}}{}{{% endmacro %}}{}".format, inner, inner),
        st.builds("{{% with other = {} %}}{}{{% endwith %}}".format, EXPRESSIONS, inner),
    )


@settings(max_examples=150, deadline=None)
@given(text=st.recursive(SHOWN, _nested, max_leaves=4), values=st.fixed_dictionaries(VALUES))
def test_whatever_a_template_does_no_rendering_is_larger(text: str, values: dict[str, Any]) -> None:
    template = compile_template(text)
    if isinstance(template, list):
        return
    values = {**values, "other": "o", "each": "e"}
    exact = template_size(template, {name: of_value(value) for name, value in values.items()}).text
    declared = template_size(template, {**NAMES, "other": of_value("o"), "each": of_value("e")}).text
    try:
        made = len(template.render(bind(values)).encode("utf-8", "surrogatepass"))
    except StepFailed:
        return
    assert made <= exact.value
    assert made <= declared.value


def test_what_is_nested_deeply_or_calls_itself_is_not_followed_for_ever() -> None:
    deep: Any = "x"
    for _ in range(80):
        deep = {"a": deep, "b": 1}
    size = of_value(deep).or_else(of_value({"a": deep, "b": deep})).grown(4 / 3)
    assert size.json.value >= len(json.dumps({"a": deep, "b": deep}))
    calls = "{{ m() }}" * 9
    template = compile_template(f"{{% macro m() %}}{calls}{{% endmacro %}}{calls}", where="prompts.p.user")
    assert not isinstance(template, list)
    assert "a call of 'm'" in template_size(template, {}).text.reason
    many = "".join(f"{{% macro m{n + 1}() %}}{f'{{{{ m{n}() }}}}' * 9}{{% endmacro %}}" for n in range(9))
    template = compile_template(f"{{% macro m0() %}}x{{% endmacro %}}{many}{{{{ m9() }}}}", where="prompts.p.user")
    assert not isinstance(template, list)
    assert not template_size(template, {}).text.bounded
