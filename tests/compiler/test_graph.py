"""Orders and cycles of steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wizard_dsl.compiler.graph import cycles, straight, topological


def test_steps_keep_their_order_where_the_edges_allow_it() -> None:
    assert topological({"a": [], "b": ["c"], "c": [], "d": ["a"]}) == ["a", "c", "b", "d"]


def test_a_cycle_has_no_order_and_is_named_along_its_edges() -> None:
    needs = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"], "e": []}
    assert topological(needs) is None
    assert cycles(needs) == [["a", "b", "c"]]


def test_a_step_that_needs_itself_is_a_cycle() -> None:
    assert cycles({"a": ["a"]}) == [["a"]]


def test_two_cycles_are_both_found() -> None:
    assert cycles({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}) == [["a", "b"], ["c", "d"]]


def test_a_line_is_straight_and_a_fork_is_not() -> None:
    assert straight(["a", "b", "c"], {"a": [], "b": ["a"], "c": ["b"]})
    assert not straight(["a", "b", "c"], {"a": [], "b": ["a"], "c": ["a"]})


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), max_size=6))
def test_there_is_an_order_or_a_cycle_never_both(edges: dict[str, list[str]]) -> None:
    needs = {name: [need for need in found if need in edges] for name, found in edges.items()}
    order = topological(needs)
    found = cycles(needs)
    assert (order is None) == bool(found)
    for cycle in found:
        assert all(after in needs[before] for before, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    if order is not None:
        assert all(order.index(need) < order.index(name) for name in order for need in needs[name])
