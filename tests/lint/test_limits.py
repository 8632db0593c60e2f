"""Rules about limits: what each finds, with both lines, and when it stays silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry

STEP = 'steps: {one: {prompt: {user: "Hi"}, params: {max_tokens: 5}}}\n'


def found(folder: Path, *lines: str, providers: str = "a: {type: mock, model: m}", steps: str = STEP) -> list[str]:
    """`code line → related line` of each warning. The chain's policies begin in line 4, one a line."""
    text = f"version: 1\nproviders: {{{providers}}}\nchains: {{default: {{targets: [a], policies: {{use: none,\n"
    text += ",\n".join(lines) + "}}}\n" + steps
    file = folder / "p.yaml"
    file.write_text(text)
    made = compile_file(file, Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    return [f"{each.code} {each.line}" + "".join(f" → {other.line}" for other in each.related) for each in lint(made)]


SLOW = "rate_limit: {rate: 5/minute, burst: 1}"


@pytest.mark.parametrize(
    ("lines", "warnings"),
    [
        ([SLOW, "circuit_breaker: {failure_threshold: 7}"], ["W140 5 → 4"]),
        ([SLOW, "circuit_breaker: {failure_threshold: 6}"], []),
        ([SLOW, "circuit_breaker: {failure_threshold: 7, window: 10m}"], []),
        ([SLOW, "circuit_breaker: {failure_threshold: off, failure_ratio: 50%}"], ["W140 4 → 5"]),
        ([SLOW, "circuit_breaker: {failure_threshold: off, failure_ratio: 50%, minimum_calls: 8}"], ["W140 5 → 4"]),
        ([SLOW, "circuit_breaker: {failure_ratio: 50%, minimum_calls: 80}"], ["W154 5 → 5"]),  # five failures open it
        ([SLOW, "circuit_breaker: {failure_threshold: off, slow_after: 5s, minimum_calls: 80}"], ["W140 5 → 4"]),
        (['rate_limit: {windows: ["2/minute"]}', "circuit_breaker: {failure_threshold: 5}"], ["W140 5 → 4"]),
        (['rate_limit: {windows: ["9000 tokens/minute"]}', "circuit_breaker: {failure_threshold: 50}"], []),
        (["rate_limit: {rate: 1/minute, burst: 1}", "circuit_breaker: {}"], ["W140 4 → 5"]),
        (["rate_limit: {rate: 1/minute, burst: 1, per: chain}", "circuit_breaker: {failure_threshold: 50}"], []),
        (["circuit_breaker: {failure_threshold: 5000}"], []),
    ],
)
def test_w140_a_breaker_that_the_limit_keeps_from_ever_opening(
    lines: list[str], warnings: list[str], tmp_path: Path
) -> None:
    assert found(tmp_path, *lines) == warnings


def test_w140_says_what_is_built_in_and_names_the_window(tmp_path: Path) -> None:
    def said(*lines: str) -> str:
        found(tmp_path, *lines)
        made = compile_file(tmp_path / "p.yaml", Registry(plugins=False), Sources(env={}))
        return next(each.message for each in lint(made))

    assert found(tmp_path, SLOW, "circuit_breaker: {failure_threshold: 7,\nwindow: 50s}") == ["W140 5 → 4 → 6"]
    assert (
        "rate_limit (rate 5/minute, burst 1) lets at most 6 attempts through in its window of 60s (built-in)"
        in said(SLOW, "circuit_breaker: {failure_threshold: 7}")
    )
    assert "rate_limit (rate 0.1/s, burst 20 (built-in))" in said(
        "rate_limit: {rate: 0.1/s}", "circuit_breaker: {failure_threshold: 700}"
    )


def test_w140_knows_what_goes_through_the_limit_of_a_provider(tmp_path: Path) -> None:
    slow = "a: {type: mock, model: m, policies: {rate_limit: {rate: 5/minute, burst: 1}}}"
    assert found(tmp_path, "circuit_breaker: {failure_threshold: 7}", providers=slow) == ["W140 4 → 2"]
    breaker = "a: {type: mock, model: m, policies: {circuit_breaker: {failure_threshold: 7}}}"
    assert found(tmp_path, SLOW, providers=breaker) == []


TOKENS = 'rate_limit: {windows: ["9000 tokens/minute"]}'
BARE = "steps: {one: {prompt: {user: Hi}}}\n"


@pytest.mark.parametrize(
    ("line", "steps", "warnings"),
    [
        (TOKENS, BARE, ["W141 5 → 4"]),
        (TOKENS, STEP, []),
        (TOKENS, "steps: {one: {prompt: {user: Hi, params: {max_tokens: 5}}}}\n", []),
        (TOKENS, "steps: {one: {type: render, template: Hi}, two: {prompt: {user: Hi}}}\n", ["W141 5 → 4"]),
        ('rate_limit: {windows: ["60/minute"]}', BARE, []),
        ('admission: {session: {windows: ["9000 tokens/minute"]}}', BARE, ["W141 5 → 4"]),
        ('admission: {session: {windows: ["60/minute"]}}', BARE, []),
        (f"concurrency: 4, {TOKENS}", BARE, ["W141 5 → 4"]),
    ],
)
def test_w141_no_max_tokens_under_a_limit_of_llm_tokens(
    line: str, steps: str, warnings: list[str], tmp_path: Path
) -> None:
    assert found(tmp_path, line, steps=steps) == warnings


def asks(params: str = "max_tokens: 5", user: str = "Hi", inputs: str = "") -> str:
    """A step in line 5, its params in line 6, over these inputs."""
    return f'steps: {{one: {{prompt: {{user: "{user}"}},\nparams: {{{params}}}}}}}\ninputs: {{{inputs}}}\n'


SMALL = 'rate_limit: {windows: ["100 tokens/minute"]}'
LONG = "q: {type: string, maxLength: 400}"


@pytest.mark.parametrize(
    ("line", "steps", "warnings"),
    [
        (SMALL, asks("max_tokens: 101"), ["W143 6 → 4 → 5"]),
        (SMALL, asks("max_tokens: 99"), []),
        (SMALL, asks("max_tokens: 100"), ["W143 6 → 4 → 5"]),  # "Hi" is a token
        (SMALL, asks("max_tokens: 101", user="{{ q }}", inputs="q: {type: string}"), ["W143 6 → 4"]),
        (SMALL, asks("max_tokens: 100", user="{{ q }}", inputs="q: {type: string}"), []),
        (SMALL, asks("max_tokens: 1", user="{{ q }}", inputs=LONG), ["W143 6 → 4 → 5"]),
        (SMALL, asks("max_tokens: 1", user="{{ q }}", inputs=LONG.replace("400", "396")), []),
        (SMALL, asks("max_tokens: 1", user="{{ q[:9] }}", inputs=LONG), []),
        (SMALL, asks("max_tokens: 1", user="{{ q }}", inputs="q: {enum: [a, b]}"), []),
        (SMALL, asks("max_tokens: 100", user="{{ q }}", inputs="q: {enum: [a, bcdef]}"), ["W143 6 → 4 → 5"]),
        (SMALL, asks("max_tokens: 1", user="{{ q }}", inputs=LONG.replace("}", ", pattern: ^a$}")), []),
        (SMALL, asks(""), ["W141 5 → 4", "W143 5 → 4"]),  # token_estimate alone is above it
        (SMALL.replace("minute", "s") + ", concurrency: 2", asks("max_tokens: 101"), ["W143 6 → 4 → 5"]),
        ('admission: {session: {windows: ["100 tokens/minute"]}}', asks("max_tokens: 200"), ["W143 6 → 4 → 5"]),
        ('rate_limit: {windows: ["100/minute"]}', asks("max_tokens: 101"), []),
    ],
)
def test_w143_a_call_that_no_window_ever_holds(line: str, steps: str, warnings: list[str], tmp_path: Path) -> None:
    assert found(tmp_path, line, steps=steps) == warnings


def test_w143_knows_the_max_tokens_of_a_target_and_the_longest_answer_of_its_model(tmp_path: Path) -> None:
    known = "a: {type: mock, model: m, models: {m: {max_output: 4000}}}"
    assert found(tmp_path, SMALL, providers=known, steps=asks("")) == ["W141 5 → 4", "W143 5 → 4"]
    limit = "policies: {default: {rate_limit: {windows: [100 tokens/minute]}}}\n"
    chain = "chains: {default: {targets: [a,\n{provider: a, model: n, params: {max_tokens: 400}}]}}\n"
    path = tmp_path / "p.yaml"
    path.write_text(f"version: 1\nproviders: {{a: {{type: mock, model: m}}}}\n{chain}{limit}{STEP}")
    made = compile_file(path, Registry(plugins=False), Sources(env={}))
    told = [(each.line, [other.line for other in each.related]) for each in lint(made) if each.code == "W143"]
    assert told == [(4, [5, 6])]


ESTIMATE = '{windows: ["5000 tokens/minute"], token_estimate: 90}'
LIMITS = [f"admission: {{global: {ESTIMATE}}}", f"rate_limit: {ESTIMATE}"]


@pytest.mark.parametrize(
    ("lines", "steps", "warnings"),
    [
        (LIMITS[:1], asks(), ["W142 4 → 6"]),
        (LIMITS[1:], asks(), ["W142 4 → 6"]),
        (LIMITS[:1], asks(""), ["W141 5 → 4"]),
        (LIMITS[1:], asks(""), ["W141 5 → 4"]),
        (LIMITS[:1], 'steps: {e: {type: embed, texts: ["a"]}}\n', ["W142 4 → 5"]),
        ([LIMITS[1].replace(", token_estimate: 90", "")], asks(), []),
    ],
)
def test_w142_an_estimate_that_no_call_needs(lines: list[str], steps: str, warnings: list[str], tmp_path: Path) -> None:
    assert found(tmp_path, *lines, steps=steps) == warnings


def test_w142_an_estimate_that_another_step_needs_or_no_target(tmp_path: Path) -> None:
    two = asks().replace("}}\n", "}, two: {prompt: {user: Hi}}}\n")
    assert not any(each.startswith("W142") for each in found(tmp_path, LIMITS[0], steps=two))
    model = "a: {type: mock, model: m, models: {m: {max_output: 9}}}"
    assert "W142 4 → 3" in found(tmp_path, LIMITS[1], steps=asks(""), providers=model)
    told = found(tmp_path, LIMITS[0], steps=asks(""), providers=model)  # nobody knows who answers
    assert not any(each.startswith("W142") for each in told)


@pytest.mark.parametrize(
    ("lines", "warnings"),
    [
        (["admission: {global: {rate: 5/s},", " session: {rate: 5/s}}"], ["W142 5 → 4"]),
        (["admission: {global: {rate: 5/s},", " session: {rate: 4/s}}"], []),
        (["admission: {global: {rate: 5/s, burst: 20},", " pipeline: {rate: 9/s, burst: 9}}"], []),
        (
            ['admission: {global: {windows: ["60/minute"]},', ' session: {windows: ["90/minute", "5000/day"]}}'],
            [],
        ),
        (['admission: {global: {windows: ["60/minute"]},', ' session: {windows: ["90/minute"]}}'], ["W142 5 → 4"]),
        (["deadline: 20s,", "rate_limit: {max_wait: 30s}"], ["W142 5 → 4"]),
        (["deadline: 20s,", "rate_limit: {max_wait: 20s}"], []),
        (["concurrency: {limit: 4, max_wait: 11m}"], ["W142 4"]),
        (["deadline: 20s,", "admission: {pipeline: {max_wait: 30s}}"], ["W142 5 → 4"]),
        (["rate_limit: {burst: 5,", ' windows: ["60/minute"]}'], ["W142 4 → 5"]),
        (["admission: {session: {rate: 5/s,", ' windows: ["60/minute"]}}'], ["W142 4 → 5"]),
        (['rate_limit: {windows: ["60/minute", "9000/hour"]}'], ["W113 4"]),
        (['rate_limit: {windows: ["60/minute", "100/s"]}'], ["W113 4"]),
        (['rate_limit: {windows: ["60/minute", "30/minute"]}'], ["W113 4"]),
        (["rate_limit: {rate: 5/s, warn_at: 101%}"], ["W113 4"]),
        (["rate_limit: {rate: 5/s, warn_at: 100%}"], []),
        (['rate_limit: {windows: ["60/minute", "3000/hour", "9000 tokens/hour"]}'], []),
    ],
)
def test_w142_limits_and_keys_without_effect(lines: list[str], warnings: list[str], tmp_path: Path) -> None:
    assert found(tmp_path, "\n".join(lines)) == warnings


@pytest.mark.parametrize(
    ("own", "outer", "warnings"),
    [
        ("rate_limit: {rate: 20/s, burst: 30}", "rate_limit: {rate: 10/s, burst: 20}", ["W142 4 → 2"]),
        ("rate_limit: {rate: 20/s, burst: 10}", "rate_limit: {rate: 10/s, burst: 20}", []),
        ("concurrency: 8", "concurrency: 8", ["W142 4 → 2"]),
        ("concurrency: {adaptive: {max: 100}}", "concurrency: 8", []),
        ("concurrency: 4", "concurrency: 8", []),
        ("concurrency: 4", "rate_limit: 1/s", []),
        ('rate_limit: {windows: ["90/minute"]}', "rate_limit: 1/s", []),
    ],
)
def test_w142_a_target_whose_provider_is_as_strict(own: str, outer: str, warnings: list[str], tmp_path: Path) -> None:
    assert found(tmp_path, own, providers=f"a: {{type: mock, model: m, policies: {{{outer}}}}}") == warnings


@pytest.mark.parametrize(
    ("policy", "warnings"),
    [
        ("rate_limit: {rate: 10/s, per: chain}", ["W142 2"]),
        ("rate_limit: {rate: 10/s, per: endpoint}", ["W142 2"]),
        ("concurrency: {limit: 8, per: chain}", ["W142 2"]),
        ("circuit_breaker: {failure_threshold: 3, per: chain}", ["W154 2"]),
        ("rate_limit: {rate: 10/s}", []),
    ],
)
def test_per_has_no_effect_under_a_provider(policy: str, warnings: list[str], tmp_path: Path) -> None:
    assert found(tmp_path, "retry: 2", providers=f"a: {{type: mock, model: m, policies: {{{policy}}}}}") == warnings


def test_what_a_set_says_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\nproviders: {a: {type: mock, model: m}}\npolicies: {slow: {rate_limit: {max_wait: 1h}}}\n"
        "chains: {default: {targets: [a], policies: {use: slow}}, other: {targets: [a], policies: {use: slow}}}\n"
        "steps: {one: {prompt: {user: Hi}}, two: {prompt: {user: Hi}, chain: other}}\n"
    )
    made = compile_file(file, Registry(plugins=False), Sources(env={}))
    assert [f"{each.code} {each.line}" for each in lint(made)] == ["W142 3"]


@pytest.mark.parametrize(
    ("first", "second", "warnings"),
    [
        ("rate_limit: 5/s", "rate_limit: {burst: 5}", ["W142 5 → 3", "W142 6 → 3"]),
        ("rate_limit: {per: endpoint}", "rate_limit: off", []),
        ("rate_limit: {windows: []}", "rate_limit: {rate: 5/s, windows: []}", []),
    ],
)
def test_a_rate_over_the_windows_of_a_set_says_nothing(
    first: str, second: str, warnings: list[str], tmp_path: Path
) -> None:
    providers = "a: {type: mock, model: m}, b: {type: mock, model: n}"
    targets = f"[{{provider: a, policies: {{{first}}}}},\n{{provider: b, policies: {{{second}}}}}]"
    file = tmp_path / "p.yaml"
    file.write_text(
        f"version: 1\nproviders: {{{providers}}}\npolicies: {{default: {{rate_limit: {{windows: [60/minute]}}}}}}\n"
        f"chains: {{default: {{targets:\n{targets}}}}}\nsteps: {{one: {{prompt: {{user: Hi}}}}}}\n"
    )
    made = compile_file(file, Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    told = [f"{each.code} {each.line} → {each.related[0].line}" for each in lint(made) if each.code == "W142"]
    assert told == warnings


def test_a_rate_of_a_set_acts_where_one_chain_has_no_windows(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\nproviders: {a: {type: mock, model: m}}\npolicies: {slow: {rate_limit: 1/s}}\n"
        "chains: {default: {targets: [a], policies: {use: slow, rate_limit: {windows: [60/minute], per: chain}}},\n"
        " other: {targets: [a], policies: {use: slow, rate_limit: {per: chain}}}}\n"
        "steps: {one: {prompt: {user: Hi}}, two: {prompt: {user: Hi}, chain: other}}\n"
    )
    made = compile_file(file, Registry(plugins=False), Sources(env={}))
    assert lint(made) == []


def test_two_breakers_before_one_target_are_no_limits(tmp_path: Path) -> None:
    provider = "a: {type: mock, model: m, policies: {circuit_breaker: {failure_threshold: 1}}}"
    assert found(tmp_path, "circuit_breaker: {reset_timeout: 1s}", providers=provider) == []
