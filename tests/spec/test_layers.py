"""Layers: maps merge, the rest replaces, and every value knows where it comes from."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.spec.diagnostics import Place
from wizard_dsl.spec.layers import Layer, LayerName, Merged, Origin, Setting, merge
from wizard_dsl.spec.source import load_text


def layer(name: LayerName, text: str) -> Layer:
    source = load_text(text, f"{name}.yaml")
    assert not source.diagnostics
    return Layer(name, source.data, source)


def flag(path: tuple[str | int, ...], value: Any, how: Any = "set") -> Setting:
    return Setting("flag", "--set x", path, value, how)


BUILT_IN = Layer("built-in", {"policies": {"default": {"retry": {}, "timeout": {}}}})
PROJECT = layer("project", "policies:\n  default:\n    retry: {base: 2s}\nproviders: {a: {type: mock}}\n")
PIPELINE = layer("pipeline", "version: 1\npolicies: {default: {retry: {max_attempts: 5}}}\nlist: [1, 2]\n")


def test_maps_merge_and_the_rest_replaces() -> None:
    top = layer("overlay", "policies: {default: {timeout: 3s}}\nlist: [9]\nproviders: none\n")
    assert merge([BUILT_IN, PROJECT, PIPELINE, top]).data == {
        "policies": {"default": {"retry": {"base": "2s", "max_attempts": 5}, "timeout": "3s"}},
        "providers": "none",
        "version": 1,
        "list": [9],
    }


def test_a_map_over_off_replaces_it() -> None:
    low = layer("project", "retry: off")
    assert merge([low, layer("pipeline", "retry: {base: 1s}")]).data == {"retry": {"base": "1s"}}


def test_every_value_knows_its_layer_and_line() -> None:
    merged = merge([BUILT_IN, PROJECT, PIPELINE])
    retry = ("policies", "default", "retry")
    assert merged.origin_of((*retry, "base")) == Origin("project", "project.yaml", 3, 19)
    assert merged.origin_of((*retry, "max_attempts")) == Origin("pipeline", "pipeline.yaml", 2, 44)
    assert merged.origin_of((*retry, "max_attempts", "below")).layer == "pipeline"
    assert merged.origin_of(("policies", "default", "timeout")) == Origin("built-in", "built-in", 0, 0)
    assert merged.origin_of(("providers", "a", "type")) == Origin("project", "project.yaml", 4, 23)
    assert merged.key_at((*retry, "base")) == Place("project.yaml", 3, 13)
    assert merged.value_at(("list", 1)) == Place("pipeline.yaml", 3, 11)
    assert merged.origins()[("list", 0)] == Origin("pipeline", "pipeline.yaml", 3, 8)
    assert list(merged.origins())[:2] == [(), ("policies",)]


def test_a_value_replaced_and_extended_again_has_the_right_origins() -> None:
    merged = merge(
        [
            layer("project", "a: {b: {c: 1, d: 2}}"),
            layer("pipeline", "a: off"),
            layer("overlay", "a: {b: {d: 3}}"),
        ]
    )
    assert merged.data == {"a": {"b": {"d": 3}}}
    assert merged.origin_of(("a", "b", "d")).layer == "overlay"
    assert merged.origin_of(("a", "b", "c")).layer == "overlay"


def test_null_deletes_in_overlays_only() -> None:
    base = layer("project", "a: {b: 1, c: 2}\nd: 3\n")
    assert merge([base, layer("pipeline", "a: {b: }\nd: ~\n")]).data == {"a": {"b": None, "c": 2}, "d": None}
    merged = merge([base, layer("overlay", "a: {b: }\nd: ~\n")])
    assert (merged.data, merged.diagnostics) == ({"a": {"c": 2}}, ())


def test_no_null_of_an_overlay_stays_behind() -> None:
    merged = merge([layer("project", "a: 1"), layer("overlay", "n: {m: {x: , y: 1}}")])
    assert merged.data == {"a": 1, "n": {"m": {"y": 1}}}
    (found,) = merged.diagnostics
    assert found.message == "n.m.x is deleted and was not there"


def test_a_deletion_of_nothing_is_a_warning_with_a_suggestion() -> None:
    overlay = layer("overlay", "policies:\n  default: {retri: null}\n")
    (found,) = merge([BUILT_IN, overlay]).diagnostics
    assert (found.code, found.severity, found.file, found.line, found.column) == (
        "W101", "warning", "overlay.yaml", 2, 13,
    )  # fmt: skip
    assert found.suggestion == "did you mean 'retry'?"


def test_a_setting_writes_one_value_and_is_its_origin() -> None:
    merged = merge([BUILT_IN, PROJECT, PIPELINE], [flag(("policies", "default", "retry", "base"), "9s")])
    assert merged.data["policies"]["default"]["retry"] == {"base": "9s", "max_attempts": 5}
    assert merged.origin_of(("policies", "default", "retry", "base")) == Origin("flag", "--set x", 0, 0)
    assert merged.origin_of(("policies", "default", "retry", "max_attempts")).layer == "pipeline"
    assert merged.origin_of(("policies", "default", "timeout")).layer == "built-in"
    assert merged.text_at(("policies", "default", "retry", "base"), 1, 1) == Place("--set x", 0, 0)


def test_a_setting_makes_what_is_missing_on_the_way() -> None:
    merged = merge([layer("pipeline", "a: off\nb: {c: 1}")], [flag(("a", "x", "y"), 1), flag(("n", "m"), {"o": 2})])
    assert merged.data == {"a": {"x": {"y": 1}}, "b": {"c": 1}, "n": {"m": {"o": 2}}}
    assert merged.origin_of(("a",)).layer == "flag"
    assert merged.origin_of(("b", "c")).layer == "pipeline"


def test_a_map_set_over_a_map_merges() -> None:
    merged = merge([PIPELINE], [flag(("policies", "default", "retry"), {"base": "1s"})])
    assert merged.data["policies"]["default"]["retry"] == {"max_attempts": 5, "base": "1s"}


def test_a_setting_reaches_into_a_list_by_number_or_its_text() -> None:
    pipeline = layer("pipeline", "targets: [{m: a}, b, c]")
    merged = merge([pipeline], [flag(("targets", 0, "w"), 2), flag(("targets", "1"), "z")])
    assert merged.data == {"targets": [{"m": "a", "w": 2}, "z", "c"]}
    assert [merged.origin_of(("targets", n)).layer for n in (0, 1, 2)] == ["pipeline", "flag", "pipeline"]
    assert merged.origin_of(("targets", 0, "w")).layer == "flag"
    assert merged.value_at(("targets", 2)) == Place("pipeline.yaml", 1, 22)


def test_an_entry_that_is_not_there_is_refused() -> None:
    for path in (("list", 2), ("list", "two"), ("list", "9" * 5000), ("version", 0), ("none", 0)):
        merged = merge([PIPELINE], [flag(path, 1)])
        assert [each.code for each in merged.diagnostics] == ["E037"]
        assert merged.data == PIPELINE.data


def test_enable_leaves_alone_what_is_set_and_turns_on_what_is_off() -> None:
    path = ("policies", "default", "cache")
    for before, after in (("1h", "1h"), ({"ttl": "1h"}, {"ttl": "1h"}), ("off", {}), (False, {}), (None, {})):
        low = Layer("pipeline", {"policies": {"default": {"cache": before}}})
        assert merge([low], [flag(path, {}, "enable")]).data["policies"]["default"]["cache"] == after
    assert merge([Layer("pipeline", {})], [flag(path, {}, "enable")]).data == {"policies": {"default": {"cache": {}}}}


def test_a_template_error_is_placed_in_the_file_it_comes_from() -> None:
    merged = merge([layer("project", "p:\n  user: |\n    one\n    two\n"), layer("pipeline", "version: 1")])
    assert merged.text_at(("p", "user"), 2, 3) == Place("project.yaml", 4, 7)
    assert merged.text_at(("version",), 1, 1) == Place("pipeline.yaml", 1, 10)


TREE = st.recursive(
    st.integers() | st.just("off") | st.none(),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
DOCUMENT = st.dictionaries(st.sampled_from("abc"), TREE, max_size=3)


def plain_merge(base: Any, top: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    return {**base, **{key: plain_merge(base[key], each) if key in base else each for key, each in top.items()}}


def owner_value(merged: Merged, path: tuple[Any, ...]) -> Any:
    part = merged.owner(path)
    assert isinstance(part, Layer)
    value: Any = part.data
    for key in path:
        value = value[key]
    return value


@given(st.lists(DOCUMENT, min_size=1, max_size=4))
def test_merging_is_as_defined_changes_no_layer_and_owners_hold_what_they_own(documents: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(documents)
    merged = merge([Layer("pipeline", each) for each in documents])
    expected: Any = {}
    for each in documents:
        expected = plain_merge(expected, each)
    assert merged.data == expected
    assert documents == before
    for path, _ in merged.origins().items():
        value = merged.data
        for key in path:
            value = value[key]
        if not isinstance(value, dict):
            assert owner_value(merged, path) == value
