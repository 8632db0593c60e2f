"""The command line as a user has it: arguments in; exit code, stdout and stderr out. Each test has a folder of its
own, with a copy of `files/`, an empty home and none of the variables that matter."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from cli_kit import FILES, Ran, Wizard
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from wizard_dsl.cli.main import main


class TextFile(SingleFileSnapshotExtension):
    """One snapshot, one text file: a diff reads like the output."""

    file_extension = "txt"
    _write_mode = WriteMode.TEXT


@pytest.fixture
def approved(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(TextFile)


@pytest.fixture
def wizard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wizard:
    """Runs a command in a copy of `files/`."""
    work = tmp_path / "work"
    shutil.copytree(FILES, work)
    monkeypatch.chdir(work)
    for name in [each for each in os.environ if each.startswith("WIZARD_") or each.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WIZARD_PLUGINS", "")

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def ask(wizard: Wizard, request: pytest.FixtureRequest) -> None:
    """The pipeline and the tests of the module, as `ask.yaml` and `ask.test.yaml`."""
    Path("ask.yaml").write_text(request.module.PIPELINE)
    Path("ask.test.yaml").write_text(request.module.TESTS)


@pytest.fixture
def own_project(wizard: Wizard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own with nothing in it, where the commands run."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "wizard.yaml").write_text("version: 1\n")
    return folder
