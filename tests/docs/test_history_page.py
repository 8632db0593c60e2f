"""The story that the page on the history shows is the one that its run has."""

from __future__ import annotations

import re
from pathlib import Path

from wizard_dsl.observe.story import story
from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import open_scripted

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "history.md"
FILE = """\
version: 1
name: triage
providers:
  openai: {type: openai, api_key: "${env:K}"}
  claude:
    type: anthropic
    api_key: "${env:K}"
    models: {claude-sonnet-4-5: {prices: {input: $3, output: $15}}}
policies: {default: {retry: {jitter: none}}}
chains: {writer: {targets: [openai/gpt-4o, claude/claude-sonnet-4-5]}}
steps: {reply: {chain: writer, prompt: {user: Hello}, params: {max_tokens: 100}}}
"""
SCRIPTS = {
    "openai/gpt-4o": [
        {"status": 503, "delay": "120ms", "body": '{"error": {"message": "overloaded"}}'},
        {"status": 503, "delay": "110ms", "retry_after": "2s"},
        {"status": 503, "delay": "90ms"},
    ],
    "claude/*": [{"reply": "Dear customer", "delay": "3s", "usage": {"input_tokens": 180, "output_tokens": 104}}],
}


def test_the_story_on_the_page_is_told_of_its_run(tmp_path: Path) -> None:
    path = tmp_path / "triage.yaml"
    path.write_text(FILE)

    async def main() -> str:
        async with open_scripted(path, SCRIPTS, env={"K": "test"}) as (pipeline, _):
            async with pipeline.start() as stream:
                await stream.finish()
                return story(stream.result, stream.transcript).replace(stream.result.run_id, "7f3a91c2")

    told = virtual.run(main())
    shown = re.search(r"^```\n(run .*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert shown is not None
    assert shown[1].rstrip("\n") == told
