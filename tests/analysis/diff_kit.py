"""What tests of `wizard diff` share: one rich pipeline, and what is told of an edit of it."""

from __future__ import annotations

from pathlib import Path

from wizard_dsl.analysis.diff import Diff, Side, compare
from wizard_dsl.analysis.diff_changes import Change
from wizard_dsl.registry import Registry

REGISTRY = Registry(plugins=False)

RICH = """\
version: 1
name: triage
inputs:
  ticket: {type: string, maxLength: 800}
  language: {type: string, enum: [en, de], default: en, trusted: true}
providers:
  openai: {type: openai, api_key: "${env:OPENAI_API_KEY}", policies: {rate_limit: {rate: 10/s}}}
  claude: {type: anthropic, api_key: "${env:ANTHROPIC_API_KEY}", headers: {x-team: "${env:TEAM}"}}
  local: {type: mock, model: tiny}
policies:
  default:
    cache: {ttl: 1h}
    retry: {max_attempts: 3, base: 1s}
    timeout: {first_chunk: 20s}
chains:
  cheap: {targets: [local]}
  writer:
    on_rate_limit: {wait_up_to: 2s}
    policies: {deadline: 45s}
    targets:
      - openai/gpt-4o
      - {provider: claude, model: claude-sonnet-4-5, params: {max_tokens: 800}, policies: {retry: {max_attempts: 2}}}
      - local
prompts:
  classify:
    system: Sort the ticket.
    user: "{{ ticket }}"
    params: {temperature: 0}
steps:
  topic:
    prompt: classify
    chain: cheap
    output: {schema: {type: object, properties: {topic: {enum: [bug, bill]}}}, repairs: 1}
  reply:
    prompt: {user: "Answer in {{ language }}: {{ ticket }} is about {{ steps.topic.json.topic }}"}
    chain: writer
    when: steps.topic.json.topic != 'spam'
output: {text: "{{ steps.reply.text }}"}
budgets: {day: {limit: $20}}
"""


def edited(text: str, *edits: tuple[str, str]) -> str:
    """`text` with each first string, which stands in it once, replaced by the second."""
    for old, new in edits:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


def diff_of(folder: Path, old: str, new: str) -> Diff:
    """The difference of two texts, as `old/p.yaml` and `new/p.yaml`."""
    sides = []
    for name, text in (("old", old), ("new", new)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "p.yaml").write_text(text)
        sides.append(Side(name, {"p.yaml": folder / name / "p.yaml"}, folder / name))
    return compare(*sides, REGISTRY)


def told(folder: Path, *edits: tuple[str, str], text: str = RICH) -> list[Change]:
    """What is told of edits that leave both sides whole."""
    (pipeline,) = diff_of(folder, text, edited(text, *edits)).pipelines
    assert pipeline.state in {"same", "changed"}, pipeline
    return list(pipeline.changes)


def sentences(changes: list[Change], section: str | None = None) -> list[str]:
    return [each.sentence for each in changes if section is None or each.section == section]
