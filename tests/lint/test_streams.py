"""W134 and W135: settings of streams that hurt, or that another one leaves without effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry

RESTART = "{targets: [local], on_mid_stream_error: restart}"
WATCHED = "{targets: [local], policies: {timeout: {idle: 9s}}}"
RESTART_OF_TWO = "{targets: [local, local/b], on_mid_stream_error: restart"


def file(chain: str = "{targets: [local]}", steps: str = "answer: {prompt: {user: Hello}}", more: str = "") -> str:
    return f"version: 1\nproviders: {{local: {{type: mock}}}}\nchains: {{default: {chain}}}\nsteps:\n  {steps}\n{more}"


def found(text: str, folder: Path) -> list[tuple[int, str, list[int]]]:
    """Line, code and the other lines of each warning."""
    path = folder / "a.yaml"
    path.write_text(text)
    made = compile_file(path, Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    return [(each.line, each.code, [other.line for other in each.related]) for each in lint(made)]


SCHEMA = "answer: {prompt: {user: Hello}, output: {schema: {type: object}}}"
TWO = "a: {prompt: {user: x}}\n  b: {prompt: {user: '{{ steps.a.text }}'}, chain: other}"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(), []),
        (file(RESTART), []),
        (file(more="stream: {when_full: error, buffer: 9}\n"), []),
        (file(more="stream: {when_full: drop_oldest}\n"), [(6, "W134", [5])]),
        (file(more="output: '{{ steps.answer.text }}'\nstream: {when_full: drop_oldest}\n"), [(7, "W134", [6])]),
        (file(more="output: {text: '{{ steps.answer.text }}', n: '1'}\nstream: {when_full: drop_oldest}\n"), []),
        (file(more="output: 'so: {{ steps.answer.text }}'\nstream: {when_full: drop_oldest}\n"), [(7, "W135", [6])]),
        (file(more="stream: {buffer: 9}\n"), [(6, "W135", [])]),
        (file(more="stream:\n  buffer: 9\n  when_full: block\n"), [(7, "W135", [8])]),
        (file(RESTART.replace("restart", "buffer"), more="stream: {when_full: error}\n"), [(6, "W135", [3])]),
        (file(steps=SCHEMA, more="stream: {when_full: error}\n"), [(6, "W135", [5])]),
        (file(RESTART, SCHEMA), [(3, "W135", [5])]),
        (file(RESTART, more="safety: {block_when: text == ''}\n"), [(3, "W135", [6])]),
        (file(RESTART, "answer: {prompt: {user: Hello}, safety: {block_when: text == ''}}"), [(3, "W135", [5])]),
        (file(more="safety: {block_when: text == ''}\nstream: {when_full: error}\n"), [(7, "W135", [6])]),
        (file(RESTART, more="output: 'so: {{ steps.answer.text }}'\n"), [(3, "W135", [6])]),
        (file(WATCHED, SCHEMA), [(3, "W135", [5])]),
        (file(WATCHED), []),
        (file(WATCHED.replace("targets", "on_mid_stream_error: buffer, targets")), [(3, "W135", [3])]),
        (file(WATCHED.replace("idle: 9s", "idle: off"), SCHEMA), []),
        (file(WATCHED.replace("idle", "first_chunk"), SCHEMA), [(3, "W135", [5])]),
        (file(WATCHED, more="output: 'so: {{ steps.answer.text }}'\n"), [(3, "W135", [6])]),
        (file(f"{WATCHED}, other: {{targets: [local]}}", TWO), [(3, "W135", [6])]),
        (file(f"{{targets: [local]}}, other: {WATCHED}", TWO), []),
        (file(f"{RESTART}, other: {{targets: [local]}}", TWO), [(3, "W135", [6])]),
        (file(f"{{targets: [local]}}, other: {RESTART}", TWO), []),
        (file("{targets: [local], fallback_on: {mid_stream: true}}"), [(3, "W135", [])]),
        (file("{targets: [local], on_mid_stream_error: fail, fallback_on: {mid_stream: false}}"), [(3, "W135", [3])]),
        (file("{targets: [local], policies: {retry: {retry_on: {mid_stream: false}}}}"), [(3, "W135", [])]),
        (file("{targets: [{provider: local, policies: {retry: {backoff: {mid_stream: none}}}}]}"), [(3, "W135", [])]),
        (file(RESTART_OF_TWO + ", policies: {retry: {retry_on: {mid_stream: false}}}}"), []),
    ],
)  # fmt: skip
def test_warnings_name_both_lines(text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path) -> None:
    assert found(text, tmp_path) == warnings
