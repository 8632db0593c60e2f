"""Pipeline files under scripted targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.testing import virtual
from wizard_dsl.testing.pipelines import NoScript, open_scripted
from wizard_dsl.testing.scripted import Script

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
        async with open_scripted(path, {"a/*": [404], "b/*": ["never"]}) as (pipeline, played):
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
            async with open_scripted(path, {"a/*": ["x"]}):
                pass

    virtual.run(main())


def test_nothing_outlives_it(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    kept = "state: .wizard/state.db\npolicies: {default: {cache: {ttl: 1h, store: disk}}}\nbudgets: {day: $1}\n"
    path.write_text(FILE + kept)

    async def main() -> int:
        async with open_scripted(path, {"*": ["x"]}) as (pipeline, played):
            await pipeline.run()
            return len(played["a/one"].calls)

    assert [virtual.run(main()), virtual.run(main())] == [1, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_misspelt_key_of_an_item_is_told_with_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r"is no script item: unknown key 'stats'; did you mean 'status'\?"):
        Script("a", [{"stats": 503}])
