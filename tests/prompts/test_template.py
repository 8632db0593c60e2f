from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.core.messages import Usage
from wizard_dsl.prompts.names import Known, Problem
from wizard_dsl.prompts.template import Template, bind, compile_template

KNOWN = Known(inputs=frozenset({"ticket", "language"}), steps=frozenset({"topic", "draft"}))


def template(source: str, **options: object) -> Template:
    made = compile_template(source, **options)  # type: ignore[arg-type]
    assert isinstance(made, Template), made
    return made


def render(source: str, **values: object) -> str:
    return template(source).render(bind(values))


def find_problems(source: str, known: Known) -> list[Problem]:
    made = compile_template(source, known)
    return made if isinstance(made, list) else []


def brief(problems: list[Problem]) -> list[tuple[int, int | None, str, str]]:
    return [(each.line, each.column, each.kind, each.name) for each in problems]


def test_structures_booleans_and_null_print_as_json() -> None:
    values = {"a": {"x": [1, True, None, "ü"]}, "b": False, "c": None, "d": 1.5, "e": "plain"}
    assert (
        render("{{ a }}|{{ b }}|{{ c }}|{{ d }}|{{ e }}", **values)
        == '{"x": [1, true, null, "ü"]}|false|null|1.5|plain'
    )
    assert render("{{ 'is ' ~ b ~ a.x }}", **values) == 'is false[1, true, null, "ü"]'
    assert render("{{ a.x|join('+') }}", **values) == "1+true+null+ü"


def test_a_key_wins_over_a_method_of_the_same_name() -> None:
    steps = {"x": {"json": {"items": [1], "keys": "k", "get": 2}}}
    assert render("{{ steps.x.json.items }} {{ steps.x.json.keys }} {{ steps.x.json.get }}", steps=steps) == "[1] k 2"


def test_data_of_a_struct_is_reached_and_printed_but_not_its_methods() -> None:
    steps = {"x": {"usage": Usage(3, 4)}}
    assert render("{{ steps.x.usage.input_tokens }}", steps=steps) == "3"
    assert msgspec.json.decode(render("{{ steps.x.usage }}", steps=steps))["output_tokens"] == 4
    with pytest.raises(StepFailed):
        render("{{ steps.x.usage.__add__ }}", steps=steps)


def test_a_value_is_never_rendered_again() -> None:
    assert render("{{ a }} {{ b }}", a="{{ b }}{% for", b="{{ a }}") == "{{ b }}{% for {{ a }}"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ nothing }}", "line 1 of the template: 'nothing' is not defined"),
        ("a\n\nb {{ doc.colour }}", "line 3 of the template: no key 'colour'; there is size, shape"),
        ("{{ doc.size.x }}", "a number has no 'x'"),
        ("{{ gone.topic }}", "no 'topic' in null"),
        ("{{ xs[5] }}", "no element 5: the list has 1"),
        ("{{ empty.a }}", "the mapping is empty"),
        ("{{ doc.colour.deeper }}", "no key 'colour'"),
        ("{{ [doc.colour] }}", "no key 'colour'"),
        ("x {{ 'a' ~ doc.colour }}", "no key 'colour'"),
        ("{% if doc.colour %}{% endif %}", "no key 'colour'"),
        ("{% if doc.colour == 1 %}{% endif %}", "no key 'colour'"),
        ("{% for x in doc.colour %}{% endfor %}", "no key 'colour'"),
    ],
)
def test_a_missing_name_or_key_is_an_error_with_its_line(source: str, words: str) -> None:
    values = {"doc": {"size": 1, "shape": 2}, "gone": None, "xs": [1], "empty": {}}
    with pytest.raises(StepFailed) as caught:
        template(source, where="prompts.p.user").render(bind(values))
    assert words in caught.value.message
    assert (caught.value.kind, caught.value.where) == ("input", "prompts.p.user")


def test_a_kind_of_string_counts_as_a_string() -> None:
    kind = type("Kind", (str,), {})
    assert template("{{ a }}").value(bind({"a": [kind("x")]})) == ["x"]
    assert type(template("{{ a }}").value(bind({"a": kind("x")}))) is str


def test_a_missing_key_may_have_a_default() -> None:
    assert (
        render("{{ doc.a|default('-') }}{{ doc.a is defined }}{{ doc['b'] is defined }}", doc={"b": 1}) == "-falsetrue"
    )


def test_an_error_in_a_part_of_a_file_names_the_line_of_the_file() -> None:
    with pytest.raises(StepFailed, match="line 12 of the template"):
        template("a\nb\n{{ x.y }}", first_line=10).render(bind({"x": {}}))
    with pytest.raises(StepFailed, match="line 11 of the template"):
        template("{#\n#}{{ x.y }}", first_line=10).value(bind({"x": {}}))


def test_one_trailing_newline_is_not_part_of_a_template() -> None:
    assert render("a\n") == "a"
    assert render("a\n\n") == "a\n"
    assert template("{{ a }}\n").passthrough


@pytest.mark.parametrize("value", [1, 1.5, True, None, "x", [1, {"a": [None]}], {"a": 1}])
def test_a_single_expression_keeps_the_type_of_its_value(value: object) -> None:
    found = template("{{ a }}").value(bind({"a": value}))
    assert found == value and type(found) is type(value)


def test_a_single_expression_gives_json_types_only() -> None:
    scope = bind({"xs": [1, 2], "d": {"a": 1}})
    assert template("{{ xs|map('string') }}").value(scope) == ["1", "2"]
    assert template("{{ d.items() }}").value(scope) == [["a", 1]]
    assert template("{{ range(2) }}").value(scope) == [0, 1]
    with pytest.raises(StepFailed, match="no key 'z'"):
        template("{{ [d.z] }}").value(scope)
    with pytest.raises(StepFailed, match="only JSON values"):
        template("{{ namespace }}").value(scope)


def test_text_around_an_expression_makes_text() -> None:
    made = template(" {{ a }}")
    assert not made.passthrough
    assert made.value(bind({"a": 1})) == " 1"


@pytest.mark.parametrize(
    ("source", "step"),
    [
        ("{{ steps.reply.text }}", "reply"),
        ("{{ steps['reply'].text }}", "reply"),
        ("{{ steps.reply['text'] }}\n", "reply"),
        ("{{ steps.reply.json }}", None),
        ("{{ steps.reply.text.x }}", None),
        ("{{ steps.reply.text|upper }}", None),
        ("{{ steps.reply.text }}.", None),
        ("{{ steps[name].text }}", None),
        ("{% if 1 %}{{ steps.reply.text }}{% endif %}", None),
    ],
)
def test_a_template_that_is_a_steps_text_is_known_for_streaming(source: str, step: str | None) -> None:
    assert template(source).passthrough_step == step


def test_a_template_without_tags_is_a_constant() -> None:
    assert template("a {# not b #}c").constant == "a c"
    assert template("").constant == "" and template("{{ a }}").constant is None
    assert template("").constant == ""
    assert template("{% raw %}{{ x }}{% endraw %}").constant == "{{ x }}"
    assert template("{{ 1 }}").constant is None


def test_templates_of_one_scope_do_not_see_each_others_names() -> None:
    scope = bind({"a": "outer"})
    assert template("{% set a = 'inner' %}{{ a }}{% macro m() %}{% endmacro %}").render(scope) == "inner"
    assert template("{% if 1 %}{% set a = 'inner' %}{% endif %}{{ a }}").render(scope) == "inner"
    assert template("<{{ a }}>").render(scope) == "<outer>"


def test_a_scope_sees_steps_that_finish_later_and_can_be_narrowed() -> None:
    steps: dict[str, object] = {}
    scope = bind({"steps": steps})
    steps["x"] = {"text": "done"}
    assert template("{{ steps.x.text }}").render(scope) == "done"
    assert template("{{ item }}{{ index }}{{ steps.x.text }}").render(scope.with_values(item="i", index=3)) == "i3done"


def test_an_input_may_have_the_name_of_a_global() -> None:
    assert render("{{ range }}", range="mine") == "mine"


def test_names_and_step_references_are_found() -> None:
    made = template(
        "{{ ticket }}{% for i in steps.topic.json['items'] %}{{ i }}{{ loop.index }}{{ range(2) }}{% endfor %}"
        "{{ steps['draft'].items[0].error }}{{ steps.topic.text }}"
    )
    assert made.names == {"ticket", "steps"}
    assert made.step_refs == {"topic", "draft"}
    assert made.step_fields == {("topic", "json"), ("topic", "text"), ("draft", "items")}


def test_undefined_names_are_found_at_their_line_and_column() -> None:
    source = "Dear ticke,\n\n  {{ ticke }} and {{ ticket }}\n{% if langage == 'de' %}{{ x.y }}{% endif %}\n"
    found = find_problems(source, KNOWN)
    assert brief(found) == [(3, 6, "undefined", "ticke"), (4, 7, "undefined", "langage"), (4, 28, "undefined", "x")]
    assert [each.suggestion for each in found] == ["ticket", "language", None]


def test_columns_are_right_after_windows_line_ends_and_trimmed_space() -> None:
    assert brief(find_problems("a\r\n  {%- if ticket %}\r\n b {{ nope }}{% endif %}", KNOWN)) == [
        (3, 7, "undefined", "nope")
    ]


def test_all_problems_of_a_template_are_found_at_once() -> None:
    source = "{{ a|uper }}\n{{ b is oddd }}\n{{ steps.topik.text }}\n{{ steps.topic.txt }}\n{% include 'x' %}"
    found = find_problems(source, KNOWN)
    assert brief(found) == [
        (1, 4, "undefined", "a"),
        (1, 6, "filter", "uper"),
        (2, 4, "undefined", "b"),
        (2, 9, "test", "oddd"),
        (3, 10, "step", "topik"),
        (4, 16, "field", "txt"),
        (5, 4, "refused", "include"),
    ]
    assert [each.suggestion for each in found] == [None, "upper", None, "odd", "topic", "text", None]


@pytest.mark.parametrize(
    "source",
    [
        "{{ steps }}",
        "{{ steps[ticket].text }}",
        "{% for s in steps %}{% endfor %}",
        "{% set s = steps %}",
        "{{ steps|length }}",
    ],
)
def test_steps_need_a_name_behind_them(source: str) -> None:
    (found,) = find_problems(source, KNOWN)
    assert (found.kind, found.name) == ("step", "steps")
    assert "steps.NAME" in found.message


def test_fields_of_steps_and_of_their_items_are_checked() -> None:
    for field in ("text", "json", "items", "usage", "served_by", "skipped"):
        assert find_problems("{{ steps.topic." + field + " }}", KNOWN) == []
    assert find_problems("{{ steps.topic }}{% set s = steps.topic %}{{ s.text }}", KNOWN) == []
    assert find_problems("{{ steps.topic.items[0].error }}{{ steps.topic.items|length }}", KNOWN) == []
    assert brief(find_problems("{{ steps.topic.error }}", KNOWN)) == [(1, 16, "field", "error")]
    assert brief(find_problems("{{ steps.topic.items[index].usage }}", Known(steps=KNOWN.steps, loop=True))) == [
        (1, 29, "field", "usage")
    ]
    assert brief(find_problems("{{ steps.topic[ticket] }}", KNOWN)) == [(1, 4, "field", "")]


def test_item_and_index_exist_in_a_loop_only() -> None:
    assert brief(find_problems("{{ item }}{{ index }}", KNOWN)) == [
        (1, 4, "undefined", "item"),
        (1, 14, "undefined", "index"),
    ]
    assert find_problems("{{ item }}{{ index }}", Known(loop=True)) == []


@pytest.mark.parametrize(
    "source",
    [
        "{% set a = 1 %}{{ a }}",
        "{% set a, b = [1, 2] %}{{ a }}{{ b }}",
        "{% set a %}x{% endset %}{{ a }}",
        "{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}",
        "{% for k, v in ticket.items() if k %}{{ k }}{{ v }}{{ loop.index }}{% endfor %}",
        "{% macro m(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{{ m }}{% endmacro %}{{ m(1) }}",
        "{% macro m() %}{{ caller(1) }}{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}",
        "{% with a = ticket %}{{ a }}{% endwith %}",
        "{% if ticket %}{% set a = 1 %}{% else %}{% set a = 2 %}{% endif %}{{ a }}",
        "{% if ticket %}{% set a = 1 %}{% endif %}{% if ticket %}{{ a }}{% endif %}",
        "{% filter upper %}{% set a = 1 %}{{ a }}{% endfilter %}",
    ],
)
def test_names_a_template_makes_itself_are_defined(source: str) -> None:
    assert find_problems(source, KNOWN) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{{ a }}{% set a = 1 %}", "a"),
        ("{% for x in ticket %}{% endfor %}{{ x }}", "x"),
        ("{% for x in x %}{% endfor %}", "x"),
        ("{% for x in ticket %}{% set a = 1 %}{% endfor %}{{ a }}", "a"),
        ("{% for x in ticket %}{% else %}{{ loop }}{% endfor %}", "loop"),
        ("{% macro m(a=a) %}{% endmacro %}", "a"),
        ("{% macro m(a) %}{% endmacro %}{{ a }}", "a"),
        ("{% with a = 1 %}{% endwith %}{{ a }}", "a"),
        ("{% with a = 1, b = a %}{% endwith %}", "a"),
        ("{% set a %}{% set b = 1 %}{% endset %}{{ b }}", "b"),
        ("{% set a | f(b) %}{% endset %}".replace("f(b)", "default(b)"), "b"),
        ("{% filter default(a) %}{% endfilter %}", "a"),
        ("{% set q.x = 1 %}", "q"),
        ("{{ ticket[a] }}", "a"),
        ("{{ ticket[a:] }}", "a"),
        ("{{ ticket|default(b=a) }}", "a"),
        ("{{ ticket is eq(a) }}", "a"),
        ("{% if 0 %}{% elif a %}{% endif %}", "a"),
        ("{{ a is defined }}", "a"),
        ("{{ a|default(1) }}", "a"),
        ("{{ self }}", "self"),
        ("{{ super() }}", "super"),
        ("{{ lipsum() }}", "lipsum"),
    ],
)
def test_names_that_are_not_in_scope_where_they_are_used_are_undefined(source: str, name: str) -> None:
    assert [each.name for each in find_problems(source, KNOWN)] == [name]


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("a\n{{ x", 2, "unexpected end"),
        ("a\n\n{% if x %}", 3, "end of template"),
        ("{% endfor %}", 1, "unknown tag 'endfor'"),
        ("{{ }}", 1, "expected"),
        ("a\n{{ 'x }}", 2, "unexpected char"),
        ("{% for loop in ticket %}{% endfor %}", 1, "loop"),
        ("{# never closed", 1, "comment"),
    ],
)
def test_a_syntax_error_has_its_line(source: str, line: int, words: str) -> None:
    (found,) = find_problems(source, KNOWN)
    assert (found.line, found.kind) == (line, "syntax")
    assert words in found.message.lower()


def test_names_can_be_checked_after_compiling() -> None:
    made = template("a\n{{ nope }}", first_line=5)
    assert brief(made.problems(KNOWN)) == [(6, 4, "undefined", "nope")]
    assert made.problems(Known(extra=frozenset({"nope"}))) == []


def test_importing_the_package_does_not_import_jinja2() -> None:
    code = "import sys, wizard_dsl.prompts; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
