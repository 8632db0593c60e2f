"""Files with a grammar of their own: one loader for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import UNSET, Meta, UnsetType

from wizard_dsl.core.component import Duration
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.testing.documents import Grammar, read, schema_of


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part."""

    wait: Annotated[Duration, Meta(description="how long")] = "0s"
    count: Annotated[int, Meta(ge=1, description="how many")] = 1
    end: Annotated[str | None, Meta(description="null: none")] | UnsetType = UNSET
    note: Annotated[str, Meta(description="words")] | None = None
    value: Annotated[Any, Meta(description="anything")] = UNSET


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file."""

    version: int
    parts: dict[str, Part] = {}
    steps: list[int | Part] = []


GRAMMAR = Grammar(kind="part", title="Parts", struct=File, endings=(".part.yaml", ".part.yml"))


def told(text: str) -> str:
    return render_text(read("x.part.yaml", GRAMMAR, text=text).diagnostics)


def test_a_right_file_is_its_struct() -> None:
    found = read("x.part.yaml", GRAMMAR, text="version: 1\nparts: {a: {wait: 2s, end: null, value: null}}")
    assert found.ok
    assert found.value == File(version=1, parts={"a": Part(wait="2s", end=None, value=None)})


def test_everything_that_is_wrong_is_told_at_its_place_with_what_was_meant() -> None:
    assert told(
        "version: 1\nparts:\n  a: {wiat: 2s}\n  b: {count: 0, wait: 3}\nsteps: [1, {count: x}]\nstops: []\n"
    ) == (
        "x.part.yaml:3:7 error[E021] unknown key 'wiat' in parts.a; did you mean 'wait'?\n"
        "x.part.yaml:4:14 error[E026] parts.b.count wants a whole number of at least 1, not 0\n"
        "x.part.yaml:4:23 error[E024] parts.b.wait wants a duration with its unit, such as 30s, not 3; "
        "did you mean 3s?\n"
        "x.part.yaml:5:20 error[E022] steps[1].count wants a whole number of at least 1, not 'x'\n"
        "x.part.yaml:6:1 error[E021] unknown key 'stops' in the file; did you mean 'steps'?\n"
    )


def test_what_is_right_in_a_wrong_file_can_still_be_looked_at() -> None:
    found = read("x.part.yaml", GRAMMAR, text="version: 1\nparts: {a: {count: 0, wait: 2s}}\nsteps: [1, x, 2]\n")
    assert not found.ok
    assert found.value == File(version=1, parts={"a": Part(wait="2s")}, steps=[1, 2])


def test_a_key_without_a_value_is_a_mistake_unless_null_means_something() -> None:
    assert told("version: 1\nparts: {a: {note: , end: }}\n") == (
        "x.part.yaml:2:19 error[E022] parts.a.note wants a text, not nothing; give it a value, or remove the key\n"
    )


def test_a_whole_number_may_be_written_as_3_0_as_in_the_schema() -> None:
    found = read("x.part.yaml", GRAMMAR, text="version: 1\nparts: {a: {count: 3.0}}\n")
    assert found.ok and found.value is not None
    assert found.value.parts["a"].count == 3


@pytest.mark.parametrize("text", ["", "- a\n", "version: 1\nversion: 1\n", "a: [\n"])
def test_what_is_no_document_is_told_and_has_no_value_that_could_be_used(text: str) -> None:
    found = read("x.part.yaml", GRAMMAR, text=text)
    assert not found.ok
    assert found.diagnostics


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = read(tmp_path / "gone.part.yaml", GRAMMAR)
    assert found.value is None
    assert [each.code for each in found.diagnostics] == ["E001"]


def test_the_schema_says_the_same_as_the_struct() -> None:
    schema = schema_of(GRAMMAR)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith("/part.schema.json")
    wait = {"description": "how long", "default": "0s", "type": "string"}
    assert wait.items() <= schema["$defs"]["Part"]["properties"]["wait"].items()
    valid = Draft202012Validator(schema).is_valid
    assert valid({"version": 1, "parts": {"a": {"end": None}}})
    assert not valid({"version": 1, "parts": {"a": {"note": None}}})
    assert not valid({"version": 1, "parts": {"a": {"count": 0}}})


def test_a_file_is_of_a_kind_by_its_name() -> None:
    assert GRAMMAR.owns(Path("a/x.part.yml"))
    assert not GRAMMAR.owns(Path("a/part.yaml"))
    assert GRAMMAR.name_of(Path("a/x.part.yaml")) == "x"


@pytest.mark.parametrize(
    "text",
    ["parts: {a: {value: [null]}}", "parts: {a: {value: {b: null}}}", "parts: {a: {end: null}}, steps: [{end: }]"],
)
def test_a_null_that_means_something_is_no_mistake(text: str) -> None:
    assert read("x.part.yaml", GRAMMAR, text=f"{{version: 1, {text}}}").ok


def test_a_key_without_a_value_is_found_in_lists_too() -> None:
    assert told("{version: 1, steps: [1, {note: null}]}").startswith("x.part.yaml:1:32 error[E022] steps[1].note")
