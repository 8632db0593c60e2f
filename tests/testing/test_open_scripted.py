"""Pipeline files under scripted targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import NoScript, open_scripted

FILE = """
version: 1
providers: {a: {type: mock}, b: {type: openai, api_key: "${env:KEY}"}}
chains: {default: {targets: [a/one, a/two, b/three]}}
steps: {answer: {prompt: {user: x}}}
"""


def test_each_target_plays_a_script_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(FILE)

    async def main() -> None:
        async with open_scripted(path, {"a/*": [404], "b/*": ["never"]}, env={"KEY": "test"}) as (pipeline, played):
            async with pipeline.start() as stream:
                with pytest.raises(Exception, match="404"):
                    await stream.finish()
            assert [len(script.calls) for script in played.values()] == [1, 0, 0]
            assert list(played) == ["a/one", "a/two", "b/three"]

    virtual.run(main())


def test_a_target_without_a_script_is_named(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(FILE)

    async def main() -> None:
        with pytest.raises(NoScript, match="no script for target b/three; there are scripts for a/\\*"):
            async with open_scripted(path, {"a/*": ["x"]}, env={"KEY": "test"}):
                pass

    virtual.run(main())
