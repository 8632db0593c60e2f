"""Where the project root and the files of the layers are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.spec.project import Project, find_project, layer_files, user_config


def test_the_root_is_the_nearest_wizard_yaml_else_git_else_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "repo" / "team" / "pipelines"
    folder.mkdir(parents=True)
    pipeline = folder / "a.yaml"
    pipeline.touch()
    (tmp_path / "repo" / ".git").mkdir()
    assert find_project(pipeline) == Project(tmp_path / "repo", None)
    shared = tmp_path / "repo" / "team" / "wizard.yaml"
    shared.touch()
    assert find_project(pipeline) == Project(shared.parent, shared)
    assert find_project(folder) == Project(shared.parent, shared)
    (folder / "wizard.yaml").mkdir()
    assert find_project(pipeline).file == shared


def test_a_file_in_no_project_has_its_own_folder(tmp_path: Path) -> None:
    assert find_project(tmp_path / "none" / "a.yaml") == Project(tmp_path / "none", None)


def test_a_file_reached_through_the_folder_above_is_of_its_own_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "wizard.yaml").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert find_project(Path("../there/a.yaml")) == Project(tmp_path / "there", None)


def test_the_user_config_is_named_or_found(tmp_path: Path) -> None:
    config = tmp_path / "xdg" / "wizard" / "config.yaml"
    home = tmp_path / ".config" / "wizard" / "config.yaml"
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert user_config(env) is None
    for path in (config, home):
        path.parent.mkdir(parents=True)
        path.touch()
    assert user_config(env) == config
    assert user_config({"HOME": str(tmp_path)}) == home
    assert user_config({"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}) == home
    assert user_config({**env, "WIZARD_CONFIG": "/none.yaml"}) == Path("/none.yaml")
    assert user_config({**env, "WIZARD_CONFIG": ""}) is None
    assert user_config({}) is None


def test_files_are_listed_from_the_lowest_layer_up(tmp_path: Path) -> None:
    for name in ("wizard.yaml", "a.yaml", "o.yaml", "u.yaml"):
        (tmp_path / name).touch()
    env = {"WIZARD_CONFIG": str(tmp_path / "u.yaml")}
    project = find_project(tmp_path / "a.yaml")
    names = [(name, path.name) for name, path in layer_files(tmp_path / "a.yaml", project, [tmp_path / "o.yaml"], env)]
    assert names == [("user", "u.yaml"), ("project", "wizard.yaml"), ("pipeline", "a.yaml"), ("overlay", "o.yaml")]


def test_the_project_file_run_as_a_pipeline_stands_once(tmp_path: Path) -> None:
    (tmp_path / "wizard.yaml").touch()
    path = tmp_path / "wizard.yaml"
    assert layer_files(path, find_project(path), [], {}) == [("pipeline", path)]
