"""W154, W155, W156 and W159: what never acts, and what does not fit the deadline."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic

MINE = {"W154", "W155", "W156", "W159"}
FILE = """\
version: 1
providers: {m: {type: mock}}
chains:
  default:
    targets: [m/a, m/b]
    {chain}
policies:
  default:
    deadline: 30s
    {policies}
steps: {answer: {prompt: {user: hi}}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(policies: str = "", chain: str = "") -> list[Diagnostic]:
    Path("a.yaml").write_text(FILE.replace("{policies}", policies).replace("{chain}", chain))
    made = compile_file("a.yaml", Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    return [each for each in lint(made) if each.code in MINE]


def codes(policies: str = "", chain: str = "") -> list[str]:
    return [f"{each.line} {each.code}" for each in found(policies, chain)]


def test_nothing_is_said_about_what_the_file_does_not_set(project: Path) -> None:
    assert codes("timeout: 20s") == []


@pytest.mark.parametrize(
    ("breaker", "warnings"),
    [
        ("{slow_ratio: 50%}", ["10 W154"]),
        ("{slow_ratio: 50%, slow_after: off}", ["10 W154"]),
        ("{slow_ratio: 50%, slow_after: 5s}", []),
        ("{minimum_calls: 5}", ["10 W154"]),
        ("{minimum_calls: 5, failure_ratio: 50%}", []),
        ("{minimum_calls: 5, slow_after: 5s}", []),
        ("{failure_threshold: 3}", []),
    ],
)
def test_a_ratio_of_what_cannot_be_slow_is_pointed_out(project: Path, breaker: str, warnings: list[str]) -> None:
    assert codes(f"circuit_breaker: {breaker}") == warnings


OFF = "connect: false, timeout: false, server: false, malformed_response: false"


@pytest.mark.parametrize(
    ("breaker", "warnings"),
    [
        (f"{{failure_threshold: 3,\n      trip_on: {{{OFF}, mid_stream: false}}}}", ["11 W154 → 10"]),
        (f"{{trip_on: {{{OFF}, mid_stream: false}}}}", ["10 W154"]),
        (f"{{trip_on: {{{OFF}}}}}", []),  # a broken stream still counts
        (f"{{trip_on: {{{OFF}, mid_stream: false, rate_limited: true}}}}", []),
        (f"{{trip_on: {{{OFF}, mid_stream: false, '503': true}}}}", []),
        (f"{{slow_after: 5s, trip_on: {{{OFF}, mid_stream: false}}}}", []),
    ],
)
def test_a_breaker_that_nothing_trips_is_pointed_out(project: Path, breaker: str, warnings: list[str]) -> None:
    told = found(f"circuit_breaker: {breaker}")
    assert [f"{each.line} {each.code}" + "".join(f" → {o.line}" for o in each.related) for each in told] == warnings


def test_a_breaker_that_nothing_trips_acts_behind_hedges(project: Path) -> None:
    breaker = f"circuit_breaker: {{trip_on: {{{OFF}, mid_stream: false}}}}"
    assert codes(breaker, "strategy: {type: hedged, after: 1s}") == []


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ("'true'", "always true: every answer is refused"),
        ("1 == 2", "never true: no answer is refused"),
        ("\"'http'\"", "always true"),
        ("\"'http' in text\"", None),
        ("json is none", None),
        ("1 // 0 == 1", None),
    ],
)
def test_a_judge_that_looks_at_nothing_is_pointed_out(project: Path, judge: str, words: str | None) -> None:
    head = "version: 1\nproviders: {m: {type: mock}}\nchains: {default: {targets: [m/a]}}\n"
    whole = f"steps: {{answer: {{prompt: {{user: hi}}}}}}\nsafety:\n  block_when: {judge}\n"
    own = f"steps:\n  answer:\n    prompt: {{user: hi}}\n    safety: {{block_when: {judge}}}\n"
    for text, line in ((whole, 6), (own, 7)):
        Path("a.yaml").write_text(head + text)
        warnings = lint(compile_file("a.yaml", Registry(plugins=False), Sources(env={})))
        assert [(each.line, each.code) for each in warnings] == ([] if words is None else [(line, "W155")])
        assert words is None or words in warnings[0].message


def test_a_slow_ratio_acts_behind_hedges(project: Path) -> None:
    assert codes("circuit_breaker: {slow_ratio: 50%}", "strategy: {type: hedged, after: 1s}") == []


def test_it_names_the_line_of_the_other_culprit(project: Path) -> None:
    (each,) = found("circuit_breaker: {slow_ratio: 50%}", "strategy: sequential")
    assert [(other.line, other.message) for other in each.related] == [(6, "the chain that it serves is not hedged")]


def test_a_providers_own_breaker_is_looked_at(project: Path) -> None:
    Path("a.yaml").write_text(
        "version: 1\nproviders:\n  m:\n    type: mock\n    policies:\n      circuit_breaker: {slow_ratio: 50%}\n"
        "chains: {default: {targets: [m/a]}}\nsteps: {answer: {prompt: {user: hi}}}\n"
    )
    made = compile_file("a.yaml", Registry(plugins=False), Sources(env={}))
    assert [(each.line, each.code) for each in lint(made)] == [(6, "W154")]


@pytest.mark.parametrize(
    ("retry", "words"),
    [
        ("when: 'true'", "always true"),
        ("when: 'false'", "never true"),
        ("when: attempt < 99", "always true"),
        ("when: attempt > 9", "never true"),
        ("when: error.kind == 'auth'", "never true"),
        ("retry_on: {auth: true}, when: error.kind == 'server'", "never true for auth"),
        ("retry_on: {'404': true}, when: error.status == 503", "never true for 404"),
        ("retry_on: {auth: true}, when: error.kind == 'auth'", None),
        ("retry_on: {auth: true}, when: error.status == 503", None),
        ("when: error.status == 503", None),
        ("when: error.status >= 500", None),
        ("when: attempt < 2", None),  # the number of attempts is not the file's
        ("max_attempts: 5, when: attempt < 2", "max_attempts 5 is never reached: retry.when repeats nothing after"),
        ("max_attempts: 5, when: attempt != 3 or error.kind == 'auth'", "repeats nothing after attempt 3"),
        ("max_attempts: 5, when: attempt < 2 or error.kind == 'server'", None),
        ("max_attempts: 2, when: attempt < 2", "always true"),
        ("max_attempts: 3, when: attempt >= 5", "never true"),
        ("max_attempts: 3, when: attempt >= 2", "never true for attempt 1"),
        ("max_attempts: 5, when: attempt < 2 and error.status == 503", None),
        ("retry_on: {'404': true}, when: error.kind == 'not_found'", None),
        ("backoff: {timeout: linear}, when: error.kind == 'server'", "backoff.timeout never acts"),
        ("backoff: {server: linear}, when: error.kind == 'server'", None),
        ("backoff: {rate_limited: none}, when: error.kind == 'server'", None),  # it blocks for that long
        ("backoff: {timeout: linear}, when: error.status == 503", None),
        ("when: \"'later' in error.message\"", None),
        ("when: error.kind.no.such == 1", None),
    ],
)
def test_a_predicate_that_decides_nothing_is_pointed_out(project: Path, retry: str, words: str | None) -> None:
    warnings = found(f"retry: {{{retry}}}")
    assert [each.code for each in warnings] == ([] if words is None else ["W155"])
    assert words is None or words in warnings[0].message


def test_the_line_of_retry_on_is_named(project: Path) -> None:
    (each,) = found("retry:\n      retry_on: {auth: true}\n      when: error.kind == 'server'")
    assert each.line == 12 and [other.line for other in each.related] == [11]


@pytest.mark.parametrize(
    ("when", "lines"), [("attempt < 2", [10, 12]), ("attempt >= 5", [12, 10]), ("attempt < 9", [12, 10])]
)
def test_predicate_and_max_attempts_are_both_named(project: Path, when: str, lines: list[int]) -> None:
    (each,) = found(f"retry: {{max_attempts: 3,\n      base: 1s,\n      when: {when}}}")
    assert [each.line, *(other.line for other in each.related)] == lines


@pytest.mark.parametrize(
    ("second", "warnings"),
    [
        ("{use: many, retry: {when: attempt < 2}}", [8]),
        ("{use: many}", []),
        ("{}", [8]),
    ],
)
def test_max_attempts_of_a_set_is_reached_where_one_chain_has_no_such_predicate(
    project: Path, second: str, warnings: list[int]
) -> None:
    Path("a.yaml").write_text(
        "version: 1\nproviders: {m: {type: mock}}\nsteps: {a: {prompt: {user: hi}}}\nchains:\n"
        "  default: {targets: [m/a], policies: {use: many, retry: {when: attempt < 2}}}\n"
        f"  other: {{targets: [m/b], policies: {second}}}\n"
        "policies:\n  many: {retry: {max_attempts: 5}}\n"
    )
    made = compile_file("a.yaml", Registry(plugins=False), Sources(env={}))
    assert [each.line for each in lint(made) if each.code == "W155"] == warnings


def test_a_predicate_may_admit_broken_streams_where_they_are_resumed(project: Path) -> None:
    resumed = "on_mid_stream_error: restart"
    assert codes("retry: {when: error.kind == 'mid_stream'}", resumed) == []
    assert codes("retry: {when: error.kind == 'mid_stream'}") == ["10 W155"]


@pytest.mark.parametrize(
    ("rule", "warnings"),
    [
        ("{wait_up_to: 31s}", ["6 W156"]),
        ("{wait_up_to: 30s}", []),
        ("{max_retry_after: 60s}", ["6 W156"]),
        ("{then: fail}", []),
        ("45s", ["6 W156"]),
    ],
)
def test_a_wait_above_the_deadline_is_pointed_out(project: Path, rule: str, warnings: list[str]) -> None:
    made = found(chain=f"on_rate_limit: {rule}")
    assert [f"{each.line} {each.code}" for each in made] == warnings
    assert all([other.line for other in each.related] == [9] for each in made)


@pytest.mark.parametrize(
    ("policies", "warnings"),
    [
        ("retry: {max_attempts: 5, base: 2s}", ["10 W159"]),  # 2 + 4 + 8 + 16 s, twice
        ("retry: {max_attempts: 3, base: 5s}", []),  # 5 + 10 s, twice: just fits
        ("retry: {base: 5001ms}", ["10 W159"]),
        ("retry: 2\n    timeout: {first_chunk: 5s}", []),
        ("retry: 3\n    timeout: {first_chunk: 5s}", ["10 W159"]),
        ("retry: 2\n    timeout: {first_chunk: 29s, total: 6s}", []),  # no attempt takes longer than it may as a whole
        ("timeout: {first_chunk: 29s}", []),  # the number of attempts is not the file's
        ("retry: {max_attempts: 5, base: 2s, backoff: {server: linear}}", ["10 W159"]),  # 2 + 4 + 6 + 8 s, twice
        ("retry: {max_attempts: 5, base: 2s, backoff: {server: immediate}}", ["10 W159"]),
        ("retry: {max_attempts: 5, base: 2s, backoff: {server: none}}", []),
    ],
)
def test_a_ladder_longer_than_the_deadline_is_pointed_out(project: Path, policies: str, warnings: list[str]) -> None:
    made = found(policies)
    assert [f"{each.line} {each.code}" for each in made] == warnings
    assert all([other.line for other in each.related] == [9] for each in made)


@pytest.mark.parametrize(
    ("strategy", "targets", "warnings"),
    [
        ("sequential", 2, ["W159"]),
        ("{type: parallel, n: 2}", 2, []),
        ("{type: parallel, n: 2}", 3, ["W159"]),
        ("{type: hedged, after: 2s}", 2, []),
        ("{type: hedged, after: 11s}", 2, []),  # 11 + 19 s: just fits
        ("{type: hedged, after: 12s}", 2, ["W159"]),
        ("{type: hedged, after: 2s}", 3, ["W159"]),  # the third begins when the first is over
        ("hedged", 2, ["W159"]),  # there is no p95 yet
    ],
)
def test_targets_that_run_beside_each_other_take_the_time_of_one(
    tmp_path: Path, strategy: str, targets: int, warnings: list[str]
) -> None:
    names = ", ".join(f"m/{name}" for name in "abc"[:targets])
    path = tmp_path / "a.yaml"
    path.write_text(
        f"version: 1\nproviders: {{m: {{type: mock}}}}\nsteps: {{a: {{prompt: {{user: x}}}}}}\n"
        f"chains: {{default: {{targets: [{names}], strategy: {strategy}, policies: {{concurrency: 5, deadline: 30s,\n"
        "  retry: {max_attempts: 3, base: 2s, multiplier: 1}, timeout: {first_chunk: 5s, total: 20s}}}}\n"
    )
    made = compile_file(path, Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    assert [each.code for each in lint(made) if each.code == "W159"] == warnings


def test_attempts_that_a_predicate_never_lets_come_about_take_no_time(project: Path) -> None:
    assert codes("retry: {max_attempts: 5, base: 2s, when: attempt < 2}") == ["10 W155"]


@pytest.mark.parametrize(
    ("retry", "lines", "words"),
    [
        (
            "retry:\n      max_attempts: 5\n      base: 2s",
            [9, 12],
            "(30s of delays between 5 attempts, for one target)",
        ),
        ("retry: {base: 5001ms}", [9], "of delays between 3 (built-in) attempts, for one target)"),
        ("retry: {max_attempts: 6}", [9], "(31s of delays (built-in) between 6 attempts, for one target)"),
    ],
)
def test_the_parts_of_a_ladder_are_shown_and_which_of_them_are_built_in(
    project: Path, retry: str, lines: list[int], words: str
) -> None:
    (each,) = found(retry)
    assert [other.line for other in each.related] == lines and words in each.message


@pytest.mark.parametrize(
    ("policies", "chain", "warnings"),
    [
        ("circuit_breaker: off", "when_all_open: probe_first", ["6 W154"]),
        ("circuit_breaker: {failure_threshold: off}", "when_all_open: probe_first", ["6 W154"]),
        ("circuit_breaker: 3", "when_all_open: probe_first", []),
        ("circuit_breaker: off", "when_all_open: fail", []),
    ],
)
def test_a_probe_of_what_has_no_breaker_is_told_with_both_lines(
    policies: str, chain: str, warnings: list[str], project: Path
) -> None:
    said = found(policies, chain)
    assert [f"{each.line} {each.code}" for each in said] == warnings
    assert [other.line for each in said for other in each.related] == ([10] if warnings else [])


@pytest.mark.parametrize(("after", "warnings"), [("30s", ["6 W156"]), ("29s", []), ("p95", [])])
def test_a_hedge_that_would_begin_after_the_deadline_is_told_with_both_lines(
    after: str, warnings: list[str], project: Path
) -> None:
    said = found(chain=f"strategy: {{type: hedged, after: {after}}}")
    assert [f"{each.line} {each.code}" for each in said] == warnings
    assert [other.line for each in said for other in each.related] == ([9] if warnings else [])
