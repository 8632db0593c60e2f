"""wizard migrate: the version that a file says, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import Wizard

from wizard_dsl.cli.fmt import laid_out
from wizard_dsl.spec.migration import LATEST, STEPS, migrated, refusal
from wizard_dsl.spec.source import load_text

BODY = "# why\nsteps: {a: {prompt: {user: Hi}}}  # kept\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BODY, BODY.replace("steps", "version: 1\nsteps", 1)),
        (f"version: 1\n{BODY}", f"version: 1\n{BODY}"),
        (f'version: "1"  # one\n{BODY}', f"version: 1  # one\n{BODY}"),
        (f"version: 1.0\n{BODY}", f"version: 1\n{BODY}"),
        (f"version:  # none\n{BODY}", f"version: 1  # none\n{BODY}"),
        (f"version: null\n{BODY}", f"version: 1\n{BODY}"),
        (f"{BODY}version: !!str 1\n", f"{BODY}version: 1\n"),
        ("{steps: {version: 3}}\n", "{version: 1, steps: {version: 3}}\n"),
        ("{steps: {version: 3}, version: '1'}\n", "{steps: {version: 3}, version: 1}\n"),
        ("  steps: {}\n  chains: {}\n", "  version: 1\n  steps: {}\n  chains: {}\n"),
        ("steps: {}\r\n", "version: 1\r\nsteps: {}\r\n"),
    ],
)
def test_what_says_no_version_says_1_and_everything_else_stays(before: str, after: str) -> None:
    source = load_text(before, "a.yaml")
    assert refusal(source) is None
    assert migrated(source) == after
    assert load_text(after, "a.yaml").data["version"] == 1
    assert migrated(load_text(after, "a.yaml")) == after
    if laid_out(source, "pipeline") == before:
        assert laid_out(load_text(after, "a.yaml"), "pipeline") == after


def test_there_is_a_step_from_each_version_to_the_next() -> None:
    assert LATEST == len(STEPS) == 1


def test_a_folder_is_migrated_and_what_needs_no_version_stays(wizard: Wizard, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("a.yaml", "wizard.yaml", "a.overlay.yaml"):
        (folder / name).write_text(BODY + "chains: {}\n")
    assert wizard("migrate", "--check", str(folder)).code == 1
    assert wizard("migrate", "--diff", str(folder)).out.count("\n+version: 1\n") == 1
    assert wizard("migrate", str(folder))[:2] == (0, f"{folder / 'a.yaml'}\n")
    assert wizard("migrate", "--check", str(folder)).code == 0
    assert "version" not in (folder / "wizard.yaml").read_text()


def test_a_later_version_is_told_with_what_to_upgrade(wizard: Wizard, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"version: 2\n{BODY}")
    code, _, err = wizard("migrate", str(path))
    assert code == 3
    assert f"{path}:1:10 error[E025] the file is of version 2" in err and "pip install --upgrade wizard-dsl" in err


@pytest.mark.parametrize("version", ["one", "true", "0", "-1", "[1]", "1.5", "'2'"])
def test_what_is_no_version_is_told(version: str) -> None:
    found = refusal(load_text(f"version: {version}\n{BODY}", "a.yaml"))
    assert found is not None and found.message.startswith("version wants 1, not ")


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2", "the file is of version 2, and this wizard knows none above 1; upgrade it: pip install --upgrade wiz"),
        ("'1'", "version wants 1, not '1'; `wizard migrate` writes it as it has to be"),
    ],
)
def test_what_reads_a_file_says_what_to_do_about_its_version(
    wizard: Wizard, tmp_path: Path, version: str, said: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"version: {version}\n{BODY}chains: {{default: {{targets: [local]}}}}\n")
    for verb in ("validate", "plan"):
        ran = wizard(verb, str(path))
        assert ran.code in (1, 3) and f"a.yaml:1:10 error[E025] {said}" in ran.out + ran.err


def test_a_variable_in_place_of_the_version_is_not_shown(
    wizard: Wizard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_OURS", "a-secret")
    path = tmp_path / "a.yaml"
    path.write_text(f"version: '${{env:OF_OURS}}'\n{BODY}")
    ran = wizard("run", str(path))
    assert ran.code == 3 and "a-secret" not in ran.out + ran.err
