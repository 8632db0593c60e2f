"""Whatever text and values come: our errors or a result, and values are data."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.promptfile import PromptFile, parse_prompt_file
from wizard_dsl.prompts.template import Template, bind, compile_template

VALUES: dict[str, Any] = {
    "a": "x{{ b }}",
    "b": [1, "{% z %}", None],
    "c": {"k": {"items": 2.5}},
    "steps": {"s": {"text": ""}},
}
WORDS = r"""
{{ }} {% %} {# #} {%- -%} a b c steps.s.text . | ~ + - * ** / // % ( ) [ ] { } , : = == != < in is not and or
if else elif endif for endfor set endset macro m endmacro call endcall filter endfilter with endwith raw endraw
recursive loop caller upper join map tojson default replace indent round batch format first sort groupby
'k' '%s' '\n' 1 2 9 1.5 none true defined odd range namespace joiner self __class__ items keys
"""
TOKENS = st.sampled_from(WORDS.split())
TEXTS = st.one_of(
    st.text(max_size=60), st.lists(TOKENS, max_size=14).map(" ".join), st.lists(TOKENS, max_size=8).map("".join)
)
WRAPPED = st.lists(TOKENS, min_size=1, max_size=8).map(lambda tokens: "{{ " + " ".join(tokens) + " }}")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(TEXTS | WRAPPED)
def test_any_text_is_a_template_or_problems_and_renders_or_fails_as_a_step(source: str) -> None:
    made = compile_template(source)
    if isinstance(made, list):
        assert made
        assert all(each.line >= 1 and (each.column is None or each.column >= 1) for each in made)
        return
    with suppress(StepFailed):
        assert isinstance(made.render(bind(VALUES)), str)
        json.dumps(made.value(bind(VALUES)))


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_any_text_is_an_expression_or_problems(source: str) -> None:
    made = compile_expression(source)
    if isinstance(made, Expression):
        with suppress(StepFailed):
            json.dumps(made.evaluate(bind(VALUES)))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="#- \n\ruserSYSTEM\\x", max_size=80))
def test_any_text_is_a_prompt_file_or_problems(text: str) -> None:
    made = parse_prompt_file(text)
    if isinstance(made, PromptFile):
        assert all(each.text.strip() for each in made.sections)
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert all(each.first_line <= len(lines) for each in made.sections)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_a_value_comes_through_unchanged_and_prints_as_json(value: Any) -> None:
    single, text = compile_template("{{ v }}"), compile_template("{{ v }}{{ '' }}")
    assert isinstance(single, Template) and isinstance(text, Template)
    scope = bind({"v": value})
    assert single.value(scope) == value
    rendered = text.render(scope)
    assert rendered == value if isinstance(value, str) else json.loads(rendered) == value


@settings(max_examples=100, deadline=None)
@given(st.lists(TOKENS, max_size=10).map("".join))
def test_text_in_a_value_is_never_rendered(value: str) -> None:
    made = compile_template("<{{ v }}{% for x in [v] %}{{ x }}{% endfor %}{{ v ~ '' }}>")
    assert isinstance(made, Template)
    assert made.render(bind({"v": value, **VALUES})) == f"<{value * 3}>"
