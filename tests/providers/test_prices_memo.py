"""What the price library said is kept between processes, and only ever saves time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wizard_dsl.core.target import Facts, Prices, Tier
from wizard_dsl.providers import _prices_memo as memo

FACTS = Facts(context=1000, prices=Prices(1.5, 2.0, 0.1, (Tier(200_000, 3.0, 4.0),)))
ASKS = """
import sys
from wizard_dsl.providers._prices import library
print(library("openai", "gpt-4o-mini"), "genai_prices" in sys.modules)
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "wizard" / "prices.json"


def test_what_is_kept_is_recalled_as_it_was(kept: Path) -> None:
    memo.keep("a/b", FACTS)
    memo.keep("a/unknown", Facts())
    assert (memo.recall("a/b"), memo.recall("a/unknown"), memo.recall("a/c")) == (FACTS, Facts(), None)
    assert [each.name for each in kept.parent.iterdir()] == ["prices.json"]


def test_a_second_process_does_not_import_the_library(kept: Path) -> None:
    def said() -> list[str]:
        command = [sys.executable, "-c", ASKS]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rsplit(maxsplit=1)

    first, second = said(), said()
    assert (first[1], second[1]) == ("True", "False") and first[0] == second[0] and "prices=Prices(" in first[0]


def test_another_library_is_asked_anew(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo.keep("a/b", FACTS)
    monkeypatch.setattr(memo, "_library", lambda: "another")
    assert memo.recall("a/b") is None
    memo.keep("a/c", FACTS)
    assert (memo.recall("a/b"), memo.recall("a/c")) == (None, FACTS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"library": 1, "facts": {}}', '{"facts": {"a/b": 1}}', "\xff\xfe"])
def test_a_damaged_file_is_passed_over_and_replaced(kept: Path, text: str) -> None:
    kept.parent.mkdir()
    kept.write_bytes(text.encode("latin-1"))
    assert memo.recall("a/b") is None
    memo.keep("a/b", FACTS)
    assert memo.recall("a/b") == FACTS


def test_where_nothing_can_be_kept_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    memo.keep("a/b", FACTS)
    assert memo.recall("a/b") is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    memo.keep("a/b", FACTS)
    assert memo.recall("a/b") is None


def test_the_file_does_not_grow_for_ever(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "_MOST", 3)
    for number in range(5):
        memo.keep(f"a/{number}", FACTS)
    assert [memo.recall(f"a/{number}") is not None for number in range(5)] == [False, False, False, True, True]
