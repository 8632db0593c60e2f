"""wizard fmt: which files it writes, how, and what it tells."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_kit import Wizard

ROUGH = "# head\n\nsteps: {a: {prompt: {user: Hi}}}   # s\nversion:   1\n"
GOOD = "# head\n\nversion: 1\nsteps: {a: {prompt: {user: Hi}}}  # s\n"


@pytest.fixture
def rough(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a.yaml").write_text(ROUGH)
    return folder / "a.yaml"


def test_a_file_is_written_and_named_and_the_second_time_nothing_is(wizard: Wizard, rough: Path) -> None:
    assert wizard("fmt", str(rough)) == (0, f"{rough}\n", "1 of 1 file changed\n")
    assert rough.read_text() == GOOD
    assert wizard("fmt", str(rough)) == (0, "", "0 of 1 file changed\n")


def test_check_names_the_files_exits_with_1_and_writes_nothing(wizard: Wizard, rough: Path) -> None:
    assert wizard("fmt", "--check", str(rough.parent)) == (1, f"{rough}\n", "1 of 1 file would change\n")
    assert rough.read_text() == ROUGH
    rough.write_text(GOOD)
    assert wizard("fmt", "--check", str(rough)).code == 0


def test_diff_shows_what_would_change_and_writes_nothing(wizard: Wizard, rough: Path) -> None:
    code, out, _ = wizard("fmt", "--diff", str(rough))
    assert (code, rough.read_text()) == (0, ROUGH)
    assert out.startswith(f"--- {rough}\n+++ {rough}\n@@") and "\n+version: 1\n" in out
    assert wizard("fmt", "--check", "--diff", str(rough))[:2] == (1, out)


def test_line_breaks_alone_are_a_difference_that_is_told(wizard: Wizard, rough: Path) -> None:
    rough.write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert "only line breaks" in wizard("fmt", "--diff", str(rough)).out
    wizard("fmt", str(rough))
    assert rough.read_bytes() == GOOD.encode()


def test_stdin_is_written_to_stdout(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = "tests: {a: {expect: {text: Hi}}}\npipeline: a.yaml\nversion: 1\n"
    for text, wanted in ((ROUGH, GOOD), (tests, "".join(f"{line}\n" for line in tests.splitlines()[::-1]))):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        assert wizard("fmt", "-")[:2] == (0, wanted)
    assert wizard("fmt", "-", "a.yaml").code == 2


def test_a_broken_file_is_told_and_stays_while_the_others_are_written(wizard: Wizard, rough: Path) -> None:
    broken = rough.with_name("b.yaml")
    broken.write_text("version: 1\nsteps: [\n")
    code, out, err = wizard("fmt", str(broken), str(rough))
    assert (code, out) == (3, f"{rough}\n")
    assert f"{broken}:3:1 error[E008]" in err
    assert broken.read_text() == "version: 1\nsteps: [\n"
    assert wizard("fmt", str(rough.parent / "none.yaml")).code == 2


def test_json_is_for_machines(wizard: Wizard, rough: Path) -> None:
    code, out, _ = wizard("fmt", "--check", "--format", "json", str(rough))
    assert code == 1
    assert json.loads(out) == {"files": [{"file": str(rough), "changed": True, "diff": None}], "diagnostics": []}


def test_mode_and_link_stay(wizard: Wizard, rough: Path) -> None:
    rough.chmod(0o640)
    link = rough.with_name("link.yaml")
    link.symlink_to(rough.name)
    wizard("fmt", str(link))
    assert link.is_symlink() and rough.read_text() == GOOD
    assert stat.S_IMODE(rough.stat().st_mode) == 0o640
    assert sorted(os.listdir(rough.parent)) == ["a.yaml", "link.yaml"]


def test_a_file_that_cannot_be_written_is_told_and_nothing_is_left_behind(
    wizard: Wizard, rough: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    code, _, err = wizard("fmt", str(rough))
    assert (code, rough.read_text()) == (2, ROUGH)
    assert "cannot be written: No space left" in err
    assert os.listdir(rough.parent) == ["a.yaml"]


def test_a_file_that_may_not_be_written_stays_while_the_others_are_written(
    wizard: Wizard, rough: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = rough.with_name("a-first.yaml")
    kept.write_text(ROUGH)
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != kept)
    code, out, err = wizard("fmt", str(rough.parent))
    assert (code, out) == (2, f"{rough}\n")
    assert "1 of 2 files changed" in err and f"{kept} cannot be written: Permission denied" in err
    assert (kept.read_text(), rough.read_text()) == (ROUGH, GOOD)


def test_tests_scenarios_and_overlays_have_the_order_of_their_own(wizard: Wizard, tmp_path: Path) -> None:
    files = {
        "a.test.yaml": "tests: {}\ndefaults: {}\npipeline: a.yaml\nversion: 1\n",
        "a.sim.yaml": "expect: {}\nload: {}\ndescription: x\npipeline: a.yaml\nversion: 1\n",
        "a.overlay.yaml": "chains: {}\nproviders: {}\nname: x\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        wizard("fmt", str(tmp_path / name))
        assert (tmp_path / name).read_text().splitlines() == text.splitlines()[::-1]
