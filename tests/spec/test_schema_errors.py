"""Every violation of a schema: all at once, each once, in words, at the most specific place."""

from __future__ import annotations

from typing import Any

import pytest

from wizard_dsl.spec.diagnostics import Diagnostic, render_text
from wizard_dsl.spec.schema_errors import schema_findings
from wizard_dsl.spec.source import load_text

REFERENCE = {"type": "string", "pattern": r"\$\{"}


def or_reference(**node: Any) -> dict[str, Any]:
    return {"anyOf": [node, REFERENCE]}


DURATION = {
    "type": "string", "pattern": r"^(?:off|[0-9]+(?:ms|s|m))$|\$\{", "x-unit": "duration", "x-words": ["off"],
}  # fmt: skip
RETRY = {
    "anyOf": [
        {"type": "integer"},
        {"const": "off"},
        {
            "type": "object",
            "properties": {
                "max_attempts": or_reference(type="integer", minimum=1, maximum=10),
                "base": DURATION,
                "kind": {"enum": ["exponential", "linear"]},
                "ratio": {"type": "string", "pattern": "^[0-9]+%$", "x-unit": "ratio"},
                "jitter": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"enum": ["full", "equal"]}]},
            },
            "additionalProperties": False,
        },
    ]
}
OPENAI = {
    "properties": {
        "api_key": {"type": "string", "pattern": r"^\$\{", "x-secret": True, "x-env": "OPENAI_API_KEY"},
        "base_url": {"type": "string"},
    }
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["version", "steps"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": 1},
        "name": {"type": "string", "minLength": 2, "maxLength": 5},
        "stream": or_reference(type="boolean"),
        "inputs": {
            "type": "object",
            "propertyNames": {"allOf": [{"pattern": "^[a-z][a-z0-9_]*$"}, {"not": {"enum": ["text"]}}]},
        },
        "providers": {
            "additionalProperties": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"enum": ["openai", "mock"], "x-code": "E042"}},
                "allOf": [
                    {"if": {"properties": {"type": {"const": "openai"}}, "required": ["type"]}, "then": OPENAI},
                    {
                        "if": {"properties": {"type": {"const": "mock"}}, "required": ["type"]},
                        "then": {"properties": {"seed": or_reference(type="integer")}},
                    },
                ],
                "unevaluatedProperties": False,
            },
        },
        "policies": {"type": "object", "additionalProperties": {"$ref": "#/$defs/set"}},
        "kinds": {"propertyNames": {"enum": ["retry", "cache"], "x-code": "E060"}},
        "chain": {
            "type": "object",
            "required": ["targets"],
            "dependentRequired": {"after": ["strategy"]},
            "not": {"required": ["a", "b"]},
            "x-says": "a chain takes a or b, not both",
            "properties": {
                "targets": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 3,
                    "uniqueItems": True,
                    "items": {
                        "anyOf": [
                            {"type": "string"},
                            {
                                "type": "object",
                                "required": ["provider"],
                                "properties": {"provider": {"type": "string"}},
                                "additionalProperties": False,
                            },
                        ]
                    },
                },
            },
        },
        "steps": {"type": "object"},
        "pool": {"allOf": [{"$ref": "#/$defs/pool"}]},
        "size": {"allOf": [{"type": "number", "exclusiveMinimum": 0}], "description": "of the pool"},
    },
    "$defs": {
        "pool": {"properties": {"size": {"$ref": "#/properties/size"}, "wait": {"$ref": "#/$defs/a~1b"}}},
        "a/b": {"type": "boolean"},
        "set": {
            "type": "object",
            "properties": {"retry": RETRY, "timeout": {"type": "object", "properties": {"idle": DURATION}}},
            "additionalProperties": False,
            "x-unknown-code": "E060",
        },
    },
}


def check(text: str, *secret: tuple[str | int, ...], whole: bool = False) -> list[Diagnostic]:
    source = load_text(text if whole else f"version: 1\nsteps: {{}}\n{text}", "t.yaml")
    assert not source.diagnostics
    return schema_findings(SCHEMA, source.data, source, lambda path: path in secret)


def retry(text: str) -> str:
    (found,) = check(f"policies: {{default: {{retry: {text}}}}}")
    message = render_text([found]).partition(" error")[2].rstrip()
    return message.replace("policies.default.retry", "R")


def test_a_valid_document_has_no_finding() -> None:
    assert check("policies: {a: {retry: {max_attempts: '${env:N}', base: off}}}\nstream: '${env:S}'") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{max_attempts: 11}", "[E026] R.max_attempts wants a whole number from 1 to 10, not 11"),
        ("{max_attempts: many}", "[E022] R.max_attempts wants a whole number from 1 to 10, not 'many'"),
        ("{max_attempts: '3'}", "[E022] R.max_attempts wants a whole number from 1 to 10, not '3'; remove the quotes"),
        ("{max_attempts: 2.5}", "[E022] R.max_attempts wants a whole number from 1 to 10, not 2.5"),
        ("{max_attempts: true}", "[E022] R.max_attempts wants a whole number from 1 to 10, not true"),
        ("{max_attempts: [1]}", "[E022] R.max_attempts wants a whole number from 1 to 10, not a list"),
        ("{max_attempts: }", "[E022] R.max_attempts wants a whole number from 1 to 10, not nothing; "
         "give it a value, or remove the key"),
        ("{base: 30}", "[E024] R.base wants a duration with its unit, such as 30s or off, not 30; did you mean 30s?"),
        ("{base: 30 s}", "[E024] R.base wants a duration with its unit, such as 30s or off, not '30 s'; "
         "did you mean 30s?"),
        ("{base: soon}", "[E024] R.base wants a duration with its unit, such as 30s or off, not 'soon'"),
        ("{base: none}", "[E065] R.base wants a duration with its unit, such as 30s or off, not 'none'; "
         "write off to switch it off"),
        ("{ratio: 0.2}", "[E024] R.ratio wants a ratio with its unit, such as 20%, not 0.2; did you mean 20%?"),
        ("{ratio: 20}", "[E024] R.ratio wants a ratio with its unit, such as 20%, not 20; did you mean 20%?"),
        ("{kind: expo}", "[E025] R.kind wants one of exponential, linear, not 'expo'; did you mean 'exponential'?"),
        ("{jitter: ful}", "[E025] R.jitter wants a number from 0 to 1 or one of full, equal, not 'ful'; "
         "did you mean 'full'?"),
        ("{jitter: 2}", "[E026] R.jitter wants a number from 0 to 1 or one of full, equal, not 2"),
        ("{max_attempt: 3}", "[E021] unknown key 'max_attempt' in R; did you mean 'max_attempts'?"),
        ("{zzz: 3}", "[E021] unknown key 'zzz' in R; known here: base, jitter, kind, max_attempts, ratio"),
        ("[3]", "[E022] R wants a whole number or off or a mapping, not a list"),
        ("none", "[E065] R wants a whole number or off or a mapping, not 'none'; write off to switch it off"),
        ("false", "[E065] R wants a whole number or off or a mapping, not false; write off to switch it off"),
        ("on", "[E025] R wants a whole number or off or a mapping, not 'on'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_finding_in_words(text: str, expected: str) -> None:
    assert retry(text) == expected


def test_ten_mistakes_are_ten_findings_each_at_its_place() -> None:
    text = """\
version: 2
steeps: {}
stream: yes
inputs: {Text: {}, text: {}}
providers:
  a: {type: opnai, api_key: sk-123}
  b: {type: openai, api_key: sk-123, base_ulr: x}
  d: {}
policies:
  default:
    retries: 3
"""
    found = check(text, whole=True)
    assert [(each.code, each.line, each.column) for each in found] == [
        ("E025", 1, 10), ("E021", 2, 1), ("E022", 3, 9), ("E040", 4, 10), ("E041", 4, 20), ("E042", 6, 13),
        ("E034", 7, 30), ("E021", 7, 38), ("E023", 8, 6), ("E060", 11, 5),
    ]  # fmt: skip
    assert "sk-123" not in render_text(found) and all("sk-" not in str(each.value) for each in found)
    assert "OPENAI_API_KEY" in str(found[6].suggestion)
    assert found[3].suggestion == "call it 'text'"


def test_a_misspelt_key_that_is_required_is_one_finding() -> None:
    (found,) = check("chain: {targetz: [a]}")
    assert (found.code, found.path, found.suggestion) == ("E021", ("chain", "targetz"), "did you mean 'targets'?")
    (found,) = check("chain: {strategy: a}")
    assert (found.code, found.suggestion) == ("E023", "add 'targets: …', a list with at least 1 entry")
    (found,) = check("chain: {targets: [{provder: a}]}")
    assert (found.code, found.path, found.suggestion) == (
        "E021", ("chain", "targets", 0, "provder"), "did you mean 'provider'?",
    )  # fmt: skip


def test_a_key_of_another_type_of_provider_is_unknown() -> None:
    (found,) = check("providers: {a: {type: mock, api_key: x}}")
    assert found.suggestion == "known here: seed, type"


def test_a_missing_key_stands_at_its_mapping() -> None:
    (found,) = check("chain:\n  after: 3\n  targets: [a]\n")
    assert (found.code, found.line, found.message) == ("E023", 4, "'strategy' is missing in chain beside 'after'")
    both = check("version: 1", whole=True)
    assert [(each.line, each.message) for each in both] == [(1, "'steps' is missing in the file")]


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("chain: {targets: []}", "chain.targets wants at least 1 entry, not 0", 18),
        ("chain: {targets: [a, b, c, d]}", "chain.targets wants at most 3 entries, not 4", 18),
        ("chain: {targets: [a, b, a]}", "chain.targets[2] stands in the list twice", 25),
        ("name: x", "name wants a text with at least 2 characters, not 'x'", 7),
    ],
)
def test_too_few_and_too_many(text: str, message: str, column: int) -> None:
    (found,) = check(text)
    assert (found.code, found.message, found.column) == ("E028", message, column)


@pytest.mark.parametrize(
    ("text", "message", "suggestion"),
    [
        ("name: 3", "name wants a text with at least 2 characters, not 3", "put it in quotes"),
        ("chain: {targets: a}", "chain.targets wants a list with at least 1 entry, not 'a'", "put it in brackets"),
        ("size: 0", "size wants a number above 0, not 0", None),
        ("pool: {size: 0}", "pool.size wants a number above 0, not 0", None),
        ("pool: {wait: on}", "pool.wait wants true or false, not 'on'", "did you mean true?"),
        ("steps2: 3", "unknown key 'steps2' in the file", "did you mean"),
    ],
)
def test_references_in_the_schema_are_followed(text: str, message: str, suggestion: str | None) -> None:
    (found,) = check(text)
    assert found.message == message
    assert (found.suggestion or "").startswith(suggestion or "") and bool(found.suggestion) == bool(suggestion)


def test_the_schema_may_have_its_own_sentence() -> None:
    (found,) = check("chain: {targets: [a], a: 1, b: 2}")
    assert (found.code, found.message) == ("E029", "a chain takes a or b, not both")


def test_names_out_of_a_list_are_offered() -> None:
    (found,) = check("kinds: {retrys: 1}")
    assert (found.code, found.message) == ("E060", "unknown policy kind 'retrys' in kinds")
    assert found.suggestion == "did you mean 'retry'?"


def test_a_secret_value_is_never_shown() -> None:
    for text in ("name: sk-live-1234", "stream: sk-live-1234", "version: sk-live-1234"):
        key = text.partition(":")[0]
        lines = "steps: {}\n" if key == "version" else "version: 1\nsteps: {}\n"
        (found,) = check(lines + text, (key,), whole=True)
        assert "sk-" not in f"{found}"
        assert found.value is None


def test_a_value_is_shown_shortened() -> None:
    (found,) = check(f"name: {'x' * 500}")
    assert len(found.message) < 140
    assert found.value is not None and len(found.value) <= 60


def test_a_flood_of_errors_is_cut_in_document_order() -> None:
    found = check("".join(f"k{n}: 1\n" for n in range(20_000)))
    assert [each.line for each in found] == list(range(3, 104))
    assert found[-1].code == "E018"


def test_a_schema_that_points_outside_is_never_fetched() -> None:
    source = load_text("a: 1", "t.yaml")
    with pytest.raises(Exception, match="Unresolvable"):
        schema_findings({"$ref": "http://127.0.0.1:9/x"}, source.data, source)


SHARED: dict[str, Any] = {
    "type": "object",
    "required": ["wait", "size", "odd"],
    "properties": {"size": {"allOf": [{"$ref": "#/$defs/size"}]}, "wait": {"$ref": "#/$defs/a~1b"}, "odd": True},
    "allOf": [{"$ref": "#/$defs/more"}],
    "unevaluatedProperties": False,
    "$defs": {
        "size": {"type": "number", "exclusiveMinimum": 0},
        "a/b": {"anyOf": [{"$ref": "#/$defs/word"}, {"$ref": "#/$defs/gone/away"}]},
        "word": {"enum": ["now", "later"]},
        "gone": {},
        "more": {
            "properties": {"extra": {"type": "integer"}, "color": {}},
            "patternProperties": {"^x_": {}},
            "propertyNames": {"maxLength": 70},
            "dependentSchemas": {"color": {"properties": {"shade": {}}}},
        },
    },
}


def shared(text: str) -> list[str]:
    source = load_text(text, "t.yaml")
    return [f"{each.message}; {each.suggestion}" for each in schema_findings(SHARED, source.data, source)]


def test_a_missing_key_says_what_its_schema_wants_behind_references() -> None:
    assert shared("x_a: 1") == [
        "'odd' is missing in the file; add 'odd: …'",
        "'size' is missing in the file; add 'size: …', a number above 0",
        "'wait' is missing in the file; add 'wait: …', one of now, later",
    ]


def test_keys_of_the_schemas_that_apply_are_known() -> None:
    (found,) = shared("{size: 1, wait: now, odd: 1, colour: 2, color: 1, shade: 3, x_y: 1}")
    assert found == "unknown key 'colour' in the file; did you mean 'color'?"


def test_two_causes_of_one_failed_part_are_not_reported_twice() -> None:
    (found,) = shared("{size: 1, wait: now, odd: 1, extra: x}")
    assert found == "extra wants a whole number, not 'x'; None"


def test_a_name_too_long_is_shown_shortened() -> None:
    found = shared("{size: 1, wait: now, odd: 1, x_" + "y" * 500 + ": 1}")
    assert len(found) == 1 and len(found[0]) < 250
