"""W157: turns that a limit never has, for the steps of a run or for the second attempt of a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry

ONE = "six: {prompt: {user: Hi}}"
TWO = "one: {prompt: {user: Hi}},\ntwo: {prompt: {user: Hi}}"
LOOP = "one: {prompt: {user: Hi}},\ntwo: {for_each: \"['a']\", prompt: {user: '{{ item }}'}}"
MAYBE = 'one: {prompt: {user: Hi}},\ntwo: {when: "1 > 0", prompt: {user: Hi}}'
AFTER = f'zero: {{when: "1 > 0", prompt: {{user: Hi}}}},\none: {{needs: {{zero: ran}}, prompt: {{user: Hi}}}},\n{ONE}'
REPAIRED = "one: {prompt: {user: Hi},\noutput: {schema: {type: object},\nrepairs: 2}}"
UNREPAIRED = "one: {prompt: {user: Hi},\noutput: {schema: {type: object},\nrepairs: 0}}"


def found(
    folder: Path, policies: str, steps: str = ONE, *, chain: str = "targets: [a]", deadline: str = "10m"
) -> list[str]:
    """`W157 line → related lines`. The deadline stands in line 2, the policies begin in line 5, one a line; then the
    chain, and the steps."""
    text = f"version: 1\ndeadline: {deadline}\nproviders: {{a: {{type: mock}}, b: {{type: mock, model: b}}}}\n"
    text += f"policies: {{default: {{\n{policies}}}}}\nchains: {{default: {{{chain}}}}}\nsteps: {{\n{steps}}}\n"
    file = folder / "p.yaml"
    file.write_text(text)
    made = compile_file(file, Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    told = [each for each in lint(made) if each.code == "W157"]
    return [f"{each.code} {each.line}" + "".join(f" → {other.line}" for other in each.related) for each in told]


RARE = "rate: 1/hour, burst: 1"


@pytest.mark.parametrize(
    ("policies", "steps", "warnings"),
    [
        (f"admission: {{global: {{{RARE}}}}}", TWO, ["W157 5 → 9 → 2"]),
        (f"admission: {{pipeline: {{{RARE}}}}}", TWO, ["W157 5 → 9 → 2"]),
        (f"admission: {{session: {{{RARE}}}}}", TWO, ["W157 5 → 9 → 2"]),
        ('admission: {pipeline: {windows: ["1/hour"]}}', TWO, ["W157 5 → 9 → 2"]),
        ('admission: {pipeline: {windows: ["5 tokens/hour"]}}', TWO, []),
        ("admission: {pipeline: {rate: 1/hour, burst: 2}}", TWO, []),
        ("admission: {pipeline: {rate: 6/hour, burst: 1}}", TWO, []),  # the second after ten minutes, at the deadline
        ("admission: {pipeline: {rate: 5/hour, burst: 1}}", TWO, ["W157 5 → 9 → 2"]),
        (f"admission: {{pipeline: {{{RARE}}}}}", ONE, []),
        (f"admission: {{pipeline: {{{RARE}}}}}", LOOP, []),
        (f"admission: {{pipeline: {{{RARE}}}}}", MAYBE, []),
        (f"admission: {{pipeline: {{{RARE}}}}}", AFTER, []),
        (f"admission: {{pipeline: {{{RARE}}}}}, cache: {{}}", TWO, []),
        (f"rate_limit: {{{RARE}}}", TWO, ["W157 5 → 9 → 2"]),
        (f"rate_limit: {{{RARE}}}", LOOP, []),
        ("rate_limit: {rate: 1/minute, burst: 1}", TWO, []),
    ],
)
def test_a_run_with_more_steps_than_turns(policies: str, steps: str, warnings: list[str], tmp_path: Path) -> None:
    assert found(tmp_path, policies, steps) == warnings


def test_other_targets_have_turns_of_their_own(tmp_path: Path) -> None:
    limit = f"rate_limit: {{{RARE}}}"
    assert found(tmp_path, limit, TWO, chain="targets: [a, b]") == []
    free = "targets: [a, {provider: b, policies: {rate_limit: off}}]"
    assert found(tmp_path, limit, TWO, chain=free) == []
    assert found(tmp_path, limit, TWO + ",\nthree: {prompt: {user: Hi}}", chain="targets: [a, b]") == [
        "W157 5 → 10 → 2"
    ]


@pytest.mark.parametrize(
    ("policies", "more", "warnings"),
    [
        (f"rate_limit: {{{RARE}}},\nretry: {{max_attempts: 3}}", {}, ["W157 6 → 5 → 2"]),
        (f"rate_limit: {{{RARE}}},\nretry: {{max_attempts: 1}}", {}, []),
        (f"rate_limit: {{{RARE}}}", {}, []),  # the attempts are built in
        (f"rate_limit: {{{RARE}}},\nretry: {{max_attempts: 3}}", {"deadline": "61m"}, []),
        ('rate_limit: {windows: ["1/hour"]},\nretry: {max_attempts: 3}', {}, ["W157 6 → 5 → 2"]),
        ('rate_limit: {windows: ["2/hour"]},\nretry: {max_attempts: 3}', {}, []),
        # a repeat begins at most total + delay + max_wait after the first attempt
        (f"rate_limit: {{{RARE},\nmax_wait: 1m}}, timeout: 5m,\nretry: {{max_attempts: 3}}", {"deadline": "2h"},
            ["W157 7 → 5 → 6"]),
        (f"rate_limit: {{{RARE},\nmax_wait: 1m}}, timeout: {{total: off}},\nretry: {{max_attempts: 3}}",
            {"deadline": "2h"}, []),
        (f"rate_limit: {{{RARE},\nmax_wait: 55m}}, timeout: 5m,\nretry: {{max_attempts: 3}}", {"deadline": "2h"}, []),
        (f"rate_limit: {{{RARE},\nmax_wait: 1m}}, timeout: 5m,\nretry: {{max_attempts: 3}}",
            {"deadline": "2h", "chain": "targets: [a], on_rate_limit: {wait_up_to: 55m, max_retry_after: 1h}"}, []),
        (f"rate_limit: {{{RARE},\nmax_wait: 1m}}, timeout: 5m,\nretry: {{max_attempts: 3}}",
            {"deadline": "2h", "chain": "targets: [a], on_mid_stream_error: restart"}, []),
    ],
)  # fmt: skip
def test_a_repeat_without_a_turn(policies: str, more: dict[str, str], warnings: list[str], tmp_path: Path) -> None:
    assert found(tmp_path, policies, **more) == warnings


def test_a_repair_without_a_turn(tmp_path: Path) -> None:
    assert found(tmp_path, f"rate_limit: {{{RARE}}}", REPAIRED) == ["W157 10 → 5 → 2"]
    assert found(tmp_path, f"rate_limit: {{{RARE}}}", UNREPAIRED) == []
    assert found(tmp_path, f"rate_limit: {{{RARE}}}", REPAIRED, deadline="2h") == []
    swift = f"rate_limit: {{{RARE},\nmax_wait: 0s}}, timeout: 5m"
    assert found(tmp_path, swift, REPAIRED, deadline="2h") == ["W157 11 → 5 → 6"]
    one_of_two = "targets: [a, {provider: b, policies: {rate_limit: off}}]"
    assert found(tmp_path, f"rate_limit: {{{RARE}}}", REPAIRED, chain=one_of_two) == []
