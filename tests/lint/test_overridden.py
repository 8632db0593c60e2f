"""W124 within a set, and W148 of steps: what is overridden wherever it would apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic

FILE = """\
version: 1
providers: {m: {type: mock}}
chains:
  default:
    targets:
      - {provider: m, model: a, policies: {first}}
      - {provider: m, model: b, policies: {second}}
    policies:
      {chain}
  other:
    targets: [m/c]
    policies: {other}
policies:
  shared:
    {set}
steps: {a: {prompt: {user: hi}}, b: {chain: other, prompt: {user: hi}}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(
    own: str, chain: str, other: str = "use: none", first: str = "", second: str = "", **sources: object
) -> list[Diagnostic]:
    parts = {"set": own, "chain": f"{{use: shared, {chain}}}", "other": f"{{{other}}}"}
    text = FILE
    for name, value in {**parts, "first": f"{{{first}}}", "second": f"{{{second}}}"}.items():
        text = text.replace(f"{{{name}}}", value)
    Path("a.yaml").write_text(text)
    made = compile_file("a.yaml", Registry(plugins=False), Sources(env={}, **sources))  # type: ignore[arg-type]
    assert made.program is not None, made.diagnostics
    return [each for each in lint(made) if each.code == "W124"]


def told(*parts: str) -> list[str]:
    return [each.message.partition(" of the policy set ")[0] for each in found(*parts)]


@pytest.mark.parametrize(
    ("own", "parts", "words"),
    [
        ("retry: 4", ("retry: off",), ["retry"]),
        ("retry: off", ("retry: 4",), ["retry off"]),
        ("retry: 4", ("retry: 2",), ["retry"]),
        ("retry: 4", ("retry: 4",), []),  # says the same
        ("timeout: 60s", ("timeout: 1m",), []),
        ("timeout: 60s", ("timeout: 2m",), ["timeout"]),
        ("timeout: off", ("timeout: 2m",), ["timeout off"]),
        ("rate_limit: 60/minute", ("rate_limit: 60/m",), []),
        ("rate_limit: 60/minute", ("rate_limit: 1/s",), []),  # a bucket gains as much
        ("rate_limit: 60/minute", ("rate_limit: 2/s",), ["rate_limit"]),
        ("rate_limit: {windows: [60/minute]}", ("rate_limit: {windows: [1/s]}",), ["rate_limit"]),
        ("rate_limit: {windows: [9/minute]}", ("rate_limit: {windows: [9/m]}",), []),
        ("rate_limit: {windows: [9/minute]}", ("rate_limit: {windows: [8/m]}",), ["rate_limit"]),
        ("retry_budget: {ratio: 10%}", ("retry_budget: {ratio: 10.0%}",), []),
        ("stack: [retry, cache]", ("stack: [cache, retry]",), ["stack"]),
        ("stack: [retry, cache]", ("stack: [retry, cache]",), []),
        ("stack: [retry, cache]", ("retry: 3",), []),
        ("stack: [retry, cache]", ("stack: [cache, retry]", "use: shared"), []),
        ("timeout: {idle: off}", ("timeout: {idle: 9s}",), ["timeout"]),
        ("retry: 4", ("retry: {base: 2s}",), []),
        ("retry: {}", ("retry: {base: 2s}",), []),
        ("retry: {max_attempts: 4, base: 2s}", ("retry: 2",), ["retry.max_attempts 4"]),
        ("retry: {max_attempts: 4, base: 2s}", ("retry: {max_attempts: 2, base: 1s}",), ["retry"]),
        (
            "retry: {retry_on: {auth: true, '404': true}}",
            ("retry: {retry_on: {auth: false}}",),
            ["retry.retry_on.auth true"],
        ),
        ("retry: 4", ("retry: off", "use: shared"), []),
        ("retry: 4", ("retry: off", "use: shared, retry: 2"), ["retry"]),
        ("retry: 4", ("", "use: none", "retry: 2", "retry: off"), ["retry"]),
        ("retry: 4", ("", "use: none", "retry: 2", ""), []),
        ("retry: {base: 2s}", ("retry: off", "use: none", "retry: {}", "retry: {}"), ["retry"]),
        ("cache: 1h", ("cache: {ttl: 2h}",), ["cache"]),
    ],
)
def test_what_every_chain_overrides_is_told(project: Path, own: str, parts: tuple[str, ...], words: list[str]) -> None:
    assert told(own, *parts) == words


def test_the_lines_of_the_setting_and_of_all_that_stands_over_it_are_named(project: Path) -> None:
    (each,) = found("retry: 4", "", "use: shared, retry: off", "retry: 2", "retry: off")
    assert each.line == 15 and [other.line for other in each.related] == [6, 7, 12]
    assert "turns it off or writes something else" in each.message


def test_what_is_set_from_outside_of_the_file_overrides_for_that_run_only(project: Path) -> None:
    assert found("retry: 4", "", sets=["chains.default.policies.retry=off"]) == []
    Path("wizard.yaml").write_text("version: 1\npolicies: {shared: {timeout: 5s}}\n")
    assert [each.message.split()[0] for each in found("retry: 4", "retry: 2, timeout: 4s")] == ["retry"]


STEPS = """\
version: 1
providers: {m: {type: mock}}
chains: {default: {targets: [m/a, {provider: m, model: b, params: {b}}]}, other: {targets: [m/c]}}
prompts: {hi: {user: hi,
  params: {prompt}}}
steps:
  one: {prompt: hi, params: {one}}
  two: {prompt: hi, chain: other, params: {two}}
"""


@pytest.mark.parametrize(
    ("parts", "warnings"),
    [
        ({"prompt": "max_tokens: 5", "one": "max_tokens: 6", "two": "max_tokens: 7"}, [(5, [7])]),
        ({"prompt": "max_tokens: 5", "one": "max_tokens: 6"}, []),
        ({"prompt": "max_tokens: 5", "one": "max_tokens: 6", "two": "max_tokens: 5"}, []),  # one says the same
        ({"one": "max_tokens: 6", "b": "max_tokens: 7"}, []),  # m/a follows it
    ],
)
def test_a_parameter_of_a_prompt_over_which_all_steps_write_is_told(
    project: Path, parts: dict[str, str], warnings: list[tuple[int, list[int]]]
) -> None:
    assert in_steps(STEPS, parts) == warnings


def in_steps(text: str, parts: dict[str, str]) -> list[tuple[int, list[int]]]:
    for name in ("b", "prompt", "one", "two"):
        text = text.replace(f": {{{name}}}", f": {{{parts.get(name, '')}}}")
    Path("a.yaml").write_text(text)
    made = compile_file("a.yaml", Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    return [(each.line, [other.line for other in each.related]) for each in lint(made) if each.code == "W148"]


def test_a_parameter_of_a_step_over_which_all_targets_write_is_told(project: Path) -> None:
    text = STEPS.replace("targets: [m/a, ", "targets: [")
    assert in_steps(text, {"one": "max_tokens: 6", "b": "max_tokens: 7"}) == [(7, [3])]
    assert in_steps(text, {"one": "max_tokens: 6", "b": "max_tokens: 6"}) == []
    admits = "policies: {default: {admission: {global: {windows: [900 tokens/minute]}}}}\n"
    assert in_steps(text + admits, {"one": "max_tokens: 6", "b": "max_tokens: 7"}) == []  # reserves the 6


def test_a_judge_of_the_file_is_told_where_every_step_has_its_own(project: Path) -> None:
    own = "safety: {block_when: \"'a' in text\"}"
    text = STEPS.replace("one}}", f"one}}, {own}}}") + "safety: {block_when: \"'b' in text\"}\n"
    assert in_steps(text, {}) == []
    assert in_steps(text.replace("two}}", f"two}}, {own}}}"), {}) == [(9, [7, 8])]
