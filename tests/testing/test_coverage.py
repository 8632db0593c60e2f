"""Policy coverage: what counts, what is put together, and how it is told."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from outcome_kit import BARE, Driver, Scenario, named, played

from wizard_dsl.compiler.outcomes import MID_STREAM, sites
from wizard_dsl.compiler.outcomes import STEP as STEPS
from wizard_dsl.testing.coverage import Observed, Observer, Possible, Share, exercised, measure, possible, total
from wizard_dsl.testing.coverage_html import as_html
from wizard_dsl.testing.coverage_report import as_data, as_text

RETRY = Possible("chains.default.targets[0].retry", "gave_up", "no attempts were left", "local", "retry")
TRIED = Possible("chains.default.targets[0].retry", "first_try", "the first attempt answered", "local", "retry")
STEP = Possible("steps.answer", "ran", "the step ran to its end")


def outcomes(folder: Path, scenario: Scenario) -> set[str]:
    program, _ = played(folder, scenario)
    return named(program, {(each.path, each.name) for each in possible(program)})


def of(component: str, found: set[str]) -> set[str]:
    return {each.removeprefix(f"{component}.") for each in found if each.startswith(f"{component}.")}


def chain(**policies: Any) -> dict[str, Any]:
    return {"policies": {**BARE, **policies}}


def test_what_a_config_can_never_do_does_not_count(tmp_path: Path) -> None:
    one = outcomes(tmp_path, Scenario({"a": ["yes"]}, chain(retry=1, cache={}, circuit_breaker={})))
    assert of("retry", one) == {"first_try", "not_repeated", "gave_up"}
    assert of("cache", one) == {"miss", "hit", "shared"}
    assert "probed" not in of("circuit_breaker", one)
    more = outcomes(
        tmp_path, Scenario({"a": ["yes"]}, chain(retry=2, cache={"negative": "9s", "single_flight": False}))
    )
    assert {"after_retry", "waited"} <= of("retry", more)
    assert of("cache", more) == {"miss", "hit", "error_again"}


def test_neighbours_and_rules_of_the_chain_decide_too(tmp_path: Path) -> None:
    alone = outcomes(tmp_path, Scenario({"a": ["yes"]}, chain(retry=2)))
    assert not of("retry", alone) & {"breaker_opened", "budget_exhausted", "unpaid"}
    assert not of("sequential", alone) & {"fallback", "stopped", "recovered"}
    among = outcomes(tmp_path, Scenario({"a": ["yes"], "b": []}, chain(retry=2, circuit_breaker={}, retry_budget={})))
    assert {"breaker_opened", "budget_exhausted"} <= of("retry", among)
    assert {"fallback", "stopped", "recovered"} <= of("sequential", among)


def test_what_is_not_streamed_has_no_outcomes_of_a_stream(tmp_path: Path) -> None:
    streamed = Scenario({"a": ["{}"]}, chain(timeout={}))
    assert of("timeout", outcomes(tmp_path, streamed)) == {"connect", "first_chunk", "idle", "total"}
    held = Scenario({"a": ["{}"]}, chain(timeout={}), {"output": {"schema": {"type": "object"}}})
    found = outcomes(tmp_path, held)
    assert of("timeout", found) == {"connect", "total"} and not of("on_mid_stream_error", found)


def test_a_limit_beyond_the_deadline_can_cut_nothing(tmp_path: Path) -> None:
    limits = {"timeout": {"total": "60s", "connect": "70s"}}
    assert of("timeout", outcomes(tmp_path, Scenario({"a": ["yes"]}, chain(**limits)))) == {
        "first_chunk",
        "idle",
        "total",
    } - {"first_chunk"}
    hurried = chain(**limits, deadline="50s")
    assert of("timeout", outcomes(tmp_path, Scenario({"a": ["yes"]}, hurried))) == {"idle"}


def test_a_chain_that_no_step_asks_does_not_count(tmp_path: Path) -> None:
    spare = Scenario({"a": ["yes"]}, file={"chains": {"default": {"targets": ["a/m"]}, "spare": {"targets": ["a/m"]}}})
    program, _ = played(tmp_path, spare)
    assert not [each.path for each in sites(program) if each.path.startswith("chains.spare")]


def test_one_state_is_one_node_and_what_happens_in_either_chain_counts_for_it(tmp_path: Path) -> None:
    async def drive(driver: Driver) -> None:
        await driver.run()

    both = {"targets": ["a/m"], "policies": {**BARE, "circuit_breaker": 1}}
    steps = {
        "one": {"prompt": {"user": "1"}, "chain": "first", "on_error": "skip"},
        "two": {"prompt": {"user": "2 {{ steps.one.text }}"}, "chain": "second"},
    }
    shared = Scenario(
        {"a": ["yes", 503]}, file={"chains": {"first": both, "second": both}, "steps": steps}, drive=drive
    )
    program, events = played(tmp_path, shared)
    breakers = {each.path for each in possible(program) if each.path.endswith("circuit_breaker")}
    assert breakers == {"chains.first.targets[0].circuit_breaker"}
    assert ("chains.first.targets[0].circuit_breaker", "opened") in exercised(program, events)


def test_a_step_in_a_loop_counts_as_its_step(tmp_path: Path) -> None:
    loop = {"for_each": "question.split(' ')", "prompt": {"user": "{{ item }}"}}
    schema = {"output": {"schema": {"type": "object"}, "repairs": 0}, "on_error": "skip"}
    program, events = played(tmp_path, Scenario({"a": ["no"]}, step={**loop, **schema}))
    assert ("steps.answer.output", "broken") in exercised(program, events)


def test_what_another_file_does_is_not_counted_here(tmp_path: Path) -> None:
    inner = Scenario({"a": ["yes"]}).document()
    (tmp_path / "inner.yaml").write_text(json.dumps(inner))
    outer = {
        "steps": {
            "sub": {"type": "pipeline", "file": "inner.yaml"},
            "last": {"prompt": {"user": "{{ steps.sub.text }}"}},
        }
    }
    program, events = played(tmp_path, Scenario({"a": ["yes", 401]}, file=outer))
    seen = exercised(program, events)
    assert ("steps.sub", "ran") in seen and ("steps.last", "ran") not in seen
    assert ("chains.default.sequential", "primary") not in seen, "the inner file's chain has the same name"


def test_tests_are_put_together_by_file_and_node() -> None:
    first = Observed("a.yaml", "one", (TRIED, RETRY, STEP), frozenset({(TRIED.path, "first_try"), (STEP.path, "ran")}))
    again = Observed("a.yaml", "two", (TRIED, RETRY, STEP), frozenset({(STEP.path, "ran")}))
    other = Observed("b.yaml", "three", (STEP,), frozenset())
    a, b = measure([first, again, other])
    assert [node.path for node in a.nodes] == ["chains.default.targets[0].retry", "steps.answer"]
    assert [each.tests for node in a.nodes for each in node.outcomes] == [("one",), (), ("one", "two")]
    assert (a.share, b.share, total([a, b])) == (Share(2, 3), Share(0, 1), Share(2, 4))


def test_an_observer_tells_what_each_run_made_happen(tmp_path: Path) -> None:
    observer = Observer()
    program, events = played(tmp_path, Scenario({"a": ["yes"]}))
    seen = observer.see(program, "one", events)
    assert seen.exercised == exercised(program, events) and seen.possible == possible(program)
    assert observer.see(program, "two", []).exercised == frozenset()


def test_a_hundred_percent_is_said_of_all_alone() -> None:
    assert str(Share(1999, 2000)) == "1999 of 2000 outcomes (99.9%)"
    assert str(Share(3, 3)) == "3 of 3 outcomes (100%)"
    assert str(Share(0, 0)) == "0 of 0 outcomes (100%)"


MEASURED = measure(
    [
        Observed(
            "/work/a.yaml", "one", (TRIED, RETRY, STEP), frozenset({(TRIED.path, "first_try"), (STEP.path, "ran")})
        ),
        Observed("/work/b.yaml", "it's <b>", (STEP,), frozenset({(STEP.path, "ran")})),
    ]
)


def test_the_text_names_what_was_not_seen() -> None:
    assert as_text(MEASURED, Path("/work")) == (
        "policy coverage\n"
        "  a.yaml: 2 of 3 outcomes (66.6%)\n"
        "    chains.default.targets[0].retry (local)\n"
        "      not seen: gave_up  no attempts were left\n"
        "        try targets: {local: [{status: 503, times: forever}]}\n"
        "  b.yaml: 1 of 1 outcomes (100%)\n"
        "  in all: 3 of 4 outcomes (75%)\n"
    )


def test_the_data_has_every_outcome_and_its_tests() -> None:
    data = as_data(MEASURED, Path("/work"))
    assert (data["covered"], data["possible"], data["share"]) == (3, 4, 0.75)
    retry, step = data["files"][0]["nodes"]
    assert retry["target"] == "local" and step["target"] is None
    assert [(each["name"], each["covered"], each["tests"]) for each in retry["outcomes"]] == [
        ("first_try", True, ["one"]),
        ("gave_up", False, []),
    ]
    assert [each["hint"] for each in retry["outcomes"]] == [
        None,
        "targets: {local: [{status: 503, times: forever}]}",
    ]


def test_the_page_stands_alone_and_says_in_words_what_colours_say() -> None:
    page = as_html(MEASURED, Path("/work"))
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            fetched = {name for name, value in attrs if name in {"src", "href", "onload"} and value and value[0] != "#"}
            assert not fetched, "nothing is fetched"

    Reader().feed(page)
    assert not {"script", "link", "img", "iframe"} & set(tags) and "url(" not in page and "http" not in page
    assert page.count("href='#file-") == page.count("<section id='file-") == 2
    assert page.count("✗ not seen") == 1 and "aria-label='3 of 4 outcomes (75%)'" in page
    assert "it&#x27;s &lt;b&gt;" in page and "<b>" not in page
    assert re.search(r"prefers-color-scheme: dark", page) and "@media print" in page


def test_the_page_names_every_outcome_of_the_rules_that_are_no_component() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "coverage.md").read_text()
    for outcome in (*MID_STREAM, *STEPS):
        assert f"| `{outcome.name}` | {outcome.summary}" in page, f"docs/how-to/coverage.md: {outcome.name}"
