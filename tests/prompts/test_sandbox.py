"""A template reaches its values and nothing else, and ends within its allowance."""

from __future__ import annotations

import pytest

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.prompts.template import Template, bind, compile_template

VALUES = {"text": "abc", "xs": [1, 2, 3], "doc": {"k": "v"}, "n": 7}


#: Small in memory, without end when walked.
DEEP_LIST = "{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}"
TALL_TUPLE = "{% set ns = namespace(t=(1, 2)) %}{% for i in range(99999) %}{% set ns.t = (ns.t,) %}{% endfor %}"
DEEP_TUPLE = "{% set ns = namespace(t=(1, 2)) %}{% for i in range(99) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}"


def outcome(source: str, values: dict[str, object] | None = None) -> str:
    """The rendered text, or `error: …` where the template is refused or fails."""
    made = compile_template(source)
    if isinstance(made, list):
        return f"error: {made[0].message}"
    try:
        return made.render(bind(VALUES if values is None else values))
    except StepFailed as error:
        return f"error: {error.message}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ text|attr('__class__') }}",
        "{{ xs|map(attribute='__class__')|list }}",
        "{{ [text]|map('attr', '__class__')|list }}",
        "{{ xs|groupby('__class__') }}",
        "{{ range.__globals__ }}",
        "{{ range.__init__.__globals__['os'] }}",
        "{{ dict.__base__ }}",
        "{{ dict.mro() }}",
        "{{ dict.fromkeys(xs) }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ self.__init__ }}",
        "{{ super() }}",
        "{% macro m() %}{% endmacro %}{{ m.__func__ }}",
        "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
        "{% macro m() %}{% endmacro %}{{ m._environment }}",
        "{% for x in xs %}{{ loop.__class__ }}{% endfor %}",
        "{% for x in xs %}{{ loop._iterator }}{% endfor %}",
        "{{ '{0.__class__}'.format(text) }}",
        "{{ '{x.__class__}'.format_map({'x': text}) }}",
        "{{ ['{0.__class__}']|map('format', text)|first }}{{ ''.__class__ }}",
        "{{ text.format }}",
        "{{ text.encode() }}",
        "{{ xs.append(4) }}",
        "{{ xs.clear() }}",
        "{{ doc.update({'a': 1}) }}",
        "{{ doc.pop('k') }}",
        "{{ doc.setdefault('a', 1) }}",
        "{{ (1).__class__ }}",
        "{{ none.__class__ }}",
        "{{ n.to_bytes(9) }}",
        "{% set ns = namespace() %}{{ ns.__init__ }}",
        "{{ xs|random }}",
        "{{ text|safe }}",
        "{{ xs|map('!charge')|list }}{{ ''.__class__ }}",
    ],
)
def test_a_known_way_out_is_an_error(source: str) -> None:
    values = {name: (list(each) if isinstance(each, list) else each) for name, each in VALUES.items()}
    assert outcome(source, values).startswith("error: ")
    assert values == VALUES


@pytest.mark.parametrize(
    "source",
    [
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block b %}{% endblock %}",
        "{% autoescape true %}{% endautoescape %}",
    ],
)
def test_a_template_is_one_text(source: str) -> None:
    made = compile_template(source)
    assert isinstance(made, list)
    assert [each.kind for each in made] == ["refused"]
    assert made[0].column == 4


@pytest.mark.parametrize(
    "source",
    [
        "{{ range(10**9) }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ [1] * 10**9 }}",
        "{{ 2 ** (10**9) }}",
        "{{ 9**999**9 }}",
        "{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(99) %}"
        "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
        DEEP_LIST + "{{ ns.a }}",
        "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}"
        "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
        DEEP_TUPLE + "{{ {ns.t: 1} }}",
        DEEP_TUPLE + "{{ doc[ns.t] }}",
        DEEP_LIST + "{{ ns.a|upper }}",
        DEEP_LIST + "{{ '%s' % ns.a }}",
        DEEP_LIST + "{{ ns.a|unique }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%(a)1000000000d' % {'a': 1} }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 'a'|center(10**9) }}",
        "{{ 'a'.center(10**9) }}",
        "{{ 'a'.ljust(10**9) }}",
        "{{ 'a'.rjust(10**9) }}",
        "{{ 'a'.zfill(10**9) }}",
        "{{ 'a'.expandtabs(10**9) }}",
        "{{ 'a\\nb'|indent(10**9) }}",
        "{{ ('a' * 99999)|replace('a', 'b' * 99999) }}",
        "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
        "{{ ('a' * 99999).join('b' * 99999) }}",
        "{{ ('a' * 99999)|join('b' * 99999) }}",
        "{{ ('a' * 999999)|wordwrap(1) }}",
        "{{ xs|batch(10**9, 0) }}",
        "{{ xs|slice(10**9) }}",
        "{{ xs|tojson(10**9) }}",
        "{{ 1.5|round(10**9, 'ceil') }}",
        "{{ range(9999)|map('string')|map('center', 999999)|list }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}"
        "{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) if range(99999)|list|length == 0 %}{% endfor %}",
        "{% for a in range(99999) %}{{ ('ab' * 99999)[1:]|length }}{% endfor %}",
        "{% for a in range(99999) %}{{ 'x' in 'ab' * 99999 }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(99) }}",
        "{% for x in [xs] recursive %}{{ loop([x, x]) }}{% endfor %}",
        "{{ lipsum(n=10**6) }}",
        "{% macro m() %}{% endmacro %}{% for a in range(99999) %}{{ m(*range(99999)) }}{% endfor %}",
        "{% for a in range(99999) %}{% set b = [" + "1," * 9999 + "] %}{% endfor %}",
        DEEP_LIST + "{{ ns.a is upper }}",
        "{{ ('b' * 999999)|trim('a' * 999999) }}",
        "{{ ('b' * 999999).strip('a' * 999999) }}",
        "{{ ('a' * 999999).rfind('b' + 'a' * 499999) }}",
        "{{ ('1' * 99999)|int(base=2) }}",
        "{% for a in range(99999) %}{{ (' ' * 99999)|float }}{% endfor %}",
        TALL_TUPLE + "{{ {ns.t: 1} }}",
        TALL_TUPLE + "{{ ns.t in {} }}",
        TALL_TUPLE + "{{ doc.get(ns.t) }}",
        TALL_TUPLE + "{{ [ns.t]|unique }}",
        TALL_TUPLE + "{{ dict([(ns.t, 1)]) }}",
        TALL_TUPLE + "{{ doc[ns.t] }}",
        TALL_TUPLE + "{{ ns.t == ns.t }}",
        TALL_TUPLE + "{{ [ns.t]|select('in', {}) }}",
        TALL_TUPLE + "{{ ns.t }}",
    ],
)
def test_what_would_take_too_long_or_too_much_memory_is_an_error(source: str) -> None:
    assert outcome(source).startswith("error: ")


def test_macro_text_in_a_loop_is_paid_for() -> None:
    body = "x" * 100_000
    source = "{% macro m() %}" + body + "{% endmacro %}{% for i in range(99999) %}{% set y = m() %}{% endfor %}"
    assert "more work" in outcome(source)


def test_the_same_template_always_ends_the_same_way() -> None:
    source = "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"
    assert outcome(source) == outcome(source)


def test_each_rendering_has_its_own_allowance() -> None:
    made = compile_template("{{ ('a' * 999999)|length }} ")
    assert isinstance(made, Template)
    scope = bind({})
    assert [made.render(scope) for _ in range(30)] == ["999999 "] * 30


def test_a_negative_amount_gives_no_work_back() -> None:
    source = "{% for i in range(99999) %}{{ xs|map('!charge')|list|length }}{{ 'a'.ljust(-10**8) }}{% endfor %}"
    assert "more work" in outcome(source, {"xs": [-(10**9)] * 50})


def test_the_output_has_a_limit_of_its_own() -> None:
    made = compile_template("{{ text }}{{ text }}", limit=5, where="prompts.p.user")
    assert isinstance(made, Template)
    with pytest.raises(StepFailed, match="6 characters; at most 5") as caught:
        made.render(bind(VALUES))
    assert caught.value.where == "prompts.p.user"


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "-" * 5000 + "1 }}",
        "{{ " + "+".join("1" * 1000) + " }}",
        "{{ dict(a=1, a=2) }}",
        "{% if 1 %}" * 150 + "{% endif %}" * 150,
        "{% for i in xs %}" * 15 + "{% endfor %}" * 15,
        "{{ [" * 2000,
        "{{ " + "(" * 90 + "1" + " == 1)" * 90 + " }}",
        "{{ " + "9" * 6000 + " }}",
        "x" * (1 << 20) + "y",
    ],
)
def test_a_template_too_deep_or_too_large_to_compile_is_one_syntax_problem(source: str) -> None:
    made = compile_template(source)
    assert isinstance(made, list)
    assert [each.kind for each in made] == ["syntax"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ text.upper() }} {{ text|upper|center(7) }}", "ABC   ABC  "),
        ("{{ doc.items()|list }} {{ doc.keys() }} {{ doc.get('z', 1) }}", '[["k", "v"]] ["k"] 1'),
        ("{% for x in xs %}{{ loop.index }}{{ ',' if not loop.last }}{% endfor %}", "1,2,3"),
        ("{% for x in xs if x > 1 %}{{ x }}{% else %}-{% endfor %}", "23"),
        ("{% for x in [] %}{% else %}-{% endfor %}", "-"),
        ("{% set j = joiner('+') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}", "1+2+3"),
        ("{% macro m(a, b=2) %}<{{ a }}{{ b }}{{ caller() }}>{% endmacro %}{% call m(1) %}c{% endcall %}", "<12c>"),
        ("{{ ' a '|trim }}{{ 'xax'|trim('x') }}{{ 'xax'.strip('x') }}{{ '-a'.lstrip('-') }}", "aaaa"),
        ("{% filter upper %}{{ text }}{% endfilter %}", "ABC"),
        ("{% for x in [[1, [2]]] recursive %}{{ loop(x) if x is sequence else x }}{% endfor %}", "12"),
        ("{{ '%s of %d' % ('one', 2) }} {{ '%(a)s' % {'a': xs} }}", "one of 2 [1, 2, 3]"),
        ("{{ '%05.1f%%' % 2.25 }}", "002.2%"),
        ("{{ '%s-%s'|format(1, none) }}", "1-null"),
        ("{{ xs|batch(2, 0) }} {{ xs|slice(2) }}", "[[1, 2], [3, 0]] [[1, 2], [3]]"),
        ("{{ xs|batch(2) }} {{ xs|batch(3, 0) }} {{ []|batch(2, 0) }}", "[[1, 2], [3]] [[1, 2, 3]] []"),
        ("{{ xs|sum }} {{ [doc]|join(',', attribute='k') }} {{ [{'a': 2}]|sum(attribute='a') }}", "6 v 2"),
        ("{{ 'a\nb\n\nc'|indent(2) }}", "a\n  b\n\n  c"),
        ("{{ 'a\nb'|indent('> ', true) }}", "> a\n> b"),
        ("{{ 'a-b'|replace('-', xs) }} {{ 'aaa'|replace('a', 'b', 1) }}", "a[1, 2, 3]b baa"),
        ("{{ '<a href=\"x\">'|e ~ '<' }}", "&lt;a href=&quot;x&quot;&gt;<"),
        ("{{ doc|tojson }} {{ '<'|tojson }} {{ xs|tojson(indent=1) }}", '{"k": "v"} "<" [\n 1,\n 2,\n 3\n]'),
        ("{{ 2.567|round(1) }} {{ 7 // 2 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 7 % 4 }} {{ 7 - 9 }}", "2.6 3 3.5 1024 3 -2"),
        ("{{ 'the quick fox'|wordwrap(9) }} {{ 'the quick fox'|wordcount }}", "the quick\nfox 3"),
        ("{{ [3, 1]|sort }} {{ xs|map('string')|map('upper') }}", '[1, 3] ["1", "2", "3"]'),
        ("{{ 1.5 * 2 }} {{ xs.count(1) }} {{ xs.index(3) }} {{ {1: 2, none: 3} }}", '3.0 1 2 {"1": 2, "null": 3}'),
        ("{{ xs|select('odd') }} {{ xs|reject('odd') }}", "[1, 3] [2]"),
        ("{{ [doc, {'k': 'w'}]|groupby('k')|map(attribute='grouper') }}", '["v", "w"]'),
        ("{{ 'a' in text }} {{ 2 in xs }} {{ 'z' in doc }}", "true true false"),
        ("{{ n is in [7] }} {{ n is divisibleby 7 }} {{ n is string }}", "true true false"),
        ("{{ text[1:] }} {{ xs[:-1] }} {{ xs[0] }} {{ text[0] }}", "bc [1, 2] 1 a"),
        ("{{ {'a': 1}.a }} {{ dict(a=1) }} {{ range(3) }} {{ (1, 2) }}", '1 {"a": 1} [0, 1, 2] [1, 2]'),
        ("{% with a = n %}{{ a }}{% endwith %}{% set b %}<{{ n }}>{% endset %}{{ b }}", "7<7>"),
    ],
)  # fmt: skip
def test_ordinary_templates_work(source: str, text: str) -> None:
    assert outcome(source) == text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ '%r' % text }}", "use %s"),
        ("{{ 'x'|format(1, a=2) }}", "not both"),
        ("{{ doc|upper|int + 'x' }}", "unsupported operand"),
        ("{{ namespace(a=1) }}", "only JSON values"),
        ("{{ {(1, 2): 3} }}", "key of a JSON object"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ n[0] }}", "a number has no 0"),
        ("{{ xs['a'] }}", "a list has no 'a'"),
        ("{{ doc['z']['y'] }}", "no key 'z'"),
        ("{{ 1.5 * text }}", "can't multiply"),
        ("{{ 2**4095 * 2 - -2**4095 * 2 }}", "4,096 bits"),
        ("{{ text() }}", "not callable"),
        ("{{ text|filesizeformat }}", "could not convert"),
    ],
)
def test_a_mistake_at_run_time_says_what_it_is(source: str, words: str) -> None:
    assert words in outcome(source)


def test_a_long_value_is_cut_in_the_message_of_an_error() -> None:
    assert len(outcome("{{ text|filesizeformat }}", {"text": "x" * 100_000})) < 400
