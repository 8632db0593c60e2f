"""`wizard run --stats`: what was counted, as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import FILES, Wizard


def test_what_was_counted_is_written_as_json(wizard: Wizard, tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    code, out, _ = wizard(
        "run", str(FILES / "one.yaml"), "--mock", "-i", "question=x", "--seed", "1", "--stats", str(path)
    )
    assert code == 0 and "runs" not in out
    assert json.loads(path.read_text())["runs"] == {"started": 1, "ok": 1, "failed": {}, "active": 0}


@pytest.mark.parametrize("path", ["-", "no/such/folder/stats.json"])
def test_where_statistics_cannot_be_written_is_said(wizard: Wizard, path: str) -> None:
    code, _, err = wizard("run", str(FILES / "one.yaml"), "--mock", "-i", "question=x", "--stats", path)
    assert code == 2 and "--stats" in err
