"""wizard config: what lies under and over a pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import Wizard
from syrupy.assertion import SnapshotAssertion


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "home" / ".config" / "wizard" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("version: 1\nproviders: {mine: {type: mock}}\n")
    return path


def test_files_settings_and_variables_are_shown(
    wizard: Wizard, approved: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("project")
    monkeypatch.setenv("WIZARD_RETRY_BASE", "3s")
    monkeypatch.setenv("WIZARD_SET__observe__log__level", "INFO")
    code, out, err = wizard("config", "show", "pipelines/ask.yaml")
    assert (code, err) == (0, "")
    assert out.replace(str(Path.cwd()), "…") == approved


def test_the_users_file_is_the_lowest_layer(wizard: Wizard, user_file: Path) -> None:
    ran = wizard("config", "path", "project")
    assert ran.out.splitlines() == [str(user_file), str(Path("project/wizard.yaml").absolute())]
    settings = json.loads(wizard("config", "show", "project", "--format", "json").out)["settings"]
    assert settings["origins"]["providers.mine.type"]["layer"] == "user"


def test_a_users_file_alone_is_shown(wizard: Wizard, user_file: Path) -> None:
    code, out, _ = wizard("config", "show")
    assert code == 0
    assert "project  none" in out
    assert "mine:" in out


def test_without_any_file_only_the_variables_are_shown(wizard: Wizard) -> None:
    code, out, _ = wizard("config", "show")
    assert code == 0
    assert out.startswith("files\n  user     none\n  project  none\n\nvariables\n")
    assert wizard("config", "path").out == ""
    assert json.loads(wizard("config", "path", "--format", "json").out) == {"user": None, "project": None}


def test_all_lists_what_each_variable_sets(wizard: Wizard) -> None:
    out = wizard("config", "show", "--all").out
    assert "WIZARD_RETRY_MAX_ATTEMPTS" in out
    assert "policies.default.retry.max_attempts" in out
    rows = json.loads(wizard("config", "show", "--all", "--format", "json").out)["variables"]
    assert {"name": "WIZARD_ENABLE_RETRY", "is_set": False, "value": None} in [
        {key: row[key] for key in ("name", "is_set", "value")} for row in rows
    ]


def test_what_a_variable_puts_anywhere_is_never_shown(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIZARD_SET__providers__openai__api_key", "sk-do-not-show")
    monkeypatch.setenv("WIZARD_RETRI_BASE", "sk-do-not-show")
    for form in ("text", "json"):
        ran = wizard("config", "show", "project", "--format", form)
        assert "WIZARD_SET__providers__openai__api_key" in ran.out
        assert "do-not-show" not in ran.out + ran.err


def test_a_wrong_settings_file_is_a_finding(wizard: Wizard) -> None:
    Path("project/wizard.yaml").write_text("version: 1\nchainz: {}\n")
    code, out, err = wizard("config", "show", "project")
    assert code == 1
    assert "\nsettings\n" not in out
    assert "did you mean 'chains'?" in err


def test_a_path_that_is_not_there_is_wrong_usage(wizard: Wizard) -> None:
    assert wizard("config", "show", "nothing.yaml").code == 2
    assert wizard("config", "path", "nothing.yaml").code == 2
