from __future__ import annotations

import pytest

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.prompts.expression import Expression, compile_expression
from wizard_dsl.prompts.names import Known
from wizard_dsl.prompts.template import bind

KNOWN = Known(inputs=frozenset({"ticket", "result"}), steps=frozenset({"topic"}))


def expression(source: str) -> Expression:
    made = compile_expression(source, where="steps.reply.when")
    assert isinstance(made, Expression), made
    return made


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("steps.topic.json.topic != 'spam'", True),
        ("ticket", "t"),
        ("  ticket\n  and 1 > 2  ", False),
        ("steps.topic.json.list|map('string')", ["1", "2"]),
        ("steps.topic.json", {"topic": "bug", "list": [1, 2]}),
        ("none", None),
        ("(1, 2)", [1, 2]),
        ("result", "r"),
        ("'}}'", "}}"),
        ("not (attempts | selectattr('kind', 'eq', 'auth') | list and served_by)", True),
    ],
)
def test_an_expression_gives_its_value_as_json_types(source: str, value: object) -> None:
    scope = bind(
        {
            "ticket": "t",
            "result": "r",
            "steps": {"topic": {"json": {"topic": "bug", "list": [1, 2]}}},
            "attempts": [{"kind": "ok"}],
            "served_by": "x",
        }
    )
    assert expression(source).evaluate(scope) == value


@pytest.mark.parametrize("source", ["doc.topc", "doc.topc == 'spam'", "not doc.topc", "doc.topc or 1", "[doc.topc]"])
def test_a_missing_key_is_an_error_also_in_a_condition(source: str) -> None:
    with pytest.raises(StepFailed, match="line 1 of the expression: no key 'topc'; there is topic") as caught:
        expression(source).evaluate(bind({"doc": {"topic": 1}}))
    assert caught.value.where == "steps.reply.when"


def test_an_expression_has_limits_too() -> None:
    with pytest.raises(StepFailed, match="more work"):
        expression("'a' * 10**9").evaluate(bind({}))


def test_names_and_steps_are_known() -> None:
    made = expression("steps.topic.json.a and ticket and range(2)")
    assert (made.names, made.step_refs) == ({"steps", "ticket"}, {"topic"})
    assert made.step_fields == {("topic", "json")}


def test_problems_have_line_and_column() -> None:
    found = compile_expression("ticket and\n  tickt == steps.topik.text|uper", KNOWN)
    assert isinstance(found, list)
    assert [(each.line, each.column, each.kind, each.suggestion) for each in found] == [
        (2, 3, "undefined", "ticket"),
        (2, 18, "step", "topic"),
        (2, 29, "filter", "upper"),
    ]
    assert [each.name for each in expression("nope").problems(KNOWN)] == ["nope"]


@pytest.mark.parametrize(
    "source",
    [
        "",
        "  ",
        "a b",
        "a ==",
        "{{ ticket }}",
        "'a",
        "1 }} {{ 2",
        "a = 1",
        "(" * 5000,
        "{% if 1 %}",
        "(" * 90 + "1" + " == 1)" * 90,
        "dict(a=1, a=2)",
    ],
)
def test_what_is_no_expression_is_one_syntax_problem(source: str) -> None:
    found = compile_expression(source, KNOWN)
    assert isinstance(found, list)
    assert [each.kind for each in found] == ["syntax"]


def test_braces_around_an_expression_are_named() -> None:
    found = compile_expression("{{ ticket }}", KNOWN)
    assert isinstance(found, list)
    assert found[0].suggestion == "write the expression without braces"


def test_the_longest_expression_is_named() -> None:
    assert isinstance(compile_expression("1" * ((1 << 20) + 1)), list)
