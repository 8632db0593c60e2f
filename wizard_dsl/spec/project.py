"""Where the files of a run are: the project root and the documents of its layers, lowest first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from wizard_dsl.spec.layers import LayerName

PROJECT_FILE: Final = "wizard.yaml"
#: How files with a grammar of their own are named.
TEST_ENDINGS: Final = (".test.yaml", ".test.yml")
SCENARIO_ENDINGS: Final = (".sim.yaml", ".sim.yml")


class Project(msgspec.Struct, frozen=True):
    """`root` bounds the paths that files may name; `file` is its `wizard.yaml`, if there is one."""

    root: Path
    file: Path | None


def find_project(path: Path) -> Project:
    """The project of a pipeline file or folder.

    The root is the nearest folder upwards with a wizard.yaml, else with a .git, else the file's own.
    """
    start = os.path.abspath(path)  # `../other/a.yaml` is not below this folder
    folder = start if os.path.isdir(start) else os.path.dirname(start)
    upwards = list(_upwards(folder))
    for each in upwards:
        file = os.path.join(each, PROJECT_FILE)
        if os.path.isfile(file):
            return Project(Path(each), Path(file))
    root = next((each for each in upwards if os.path.exists(os.path.join(each, ".git"))), folder)
    return Project(Path(root), None)


def leaves(name: str, path: Path) -> tuple[str, str]:
    """That a file which `path` names is not in its project, and what to do about it."""
    project = find_project(path)
    hint = "move it into the project" if project.file else "move it, or put a wizard.yaml into a folder above both"
    return f"'{name}' leaves the project {project.root.resolve().name}", hint


def _upwards(folder: str) -> Iterator[str]:
    """A folder, and those above it."""
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def user_config(env: Mapping[str, str]) -> Path | None:
    """The user's own file: the one WIZARD_CONFIG names, whether or not it is there; else config.yaml below
    XDG_CONFIG_HOME or ~/.config, if it is there. An empty WIZARD_CONFIG means none.
    """
    if "WIZARD_CONFIG" in env:
        return Path(env["WIZARD_CONFIG"]) if env["WIZARD_CONFIG"] else None
    base = env.get("XDG_CONFIG_HOME", "")
    home = env.get("HOME", "")
    folder = Path(base) if base.startswith("/") else Path(home) / ".config" if home else None
    path = folder / "wizard" / "config.yaml" if folder else None
    return path if path is not None and os.path.isfile(path) else None


def layer_files(
    pipeline: Path, project: Project, overlays: Sequence[Path], env: Mapping[str, str]
) -> list[tuple[LayerName, Path]]:
    """The files to read, lowest layer first. `wizard.yaml` given as the pipeline itself stands there once."""
    files: list[tuple[LayerName, Path]] = []
    user = user_config(env)
    if user is not None:
        files.append(("user", user))
    if project.file is not None and os.path.realpath(project.file) != os.path.realpath(pipeline):
        files.append(("project", project.file))
    files.append(("pipeline", pipeline))
    files.extend(("overlay", each) for each in overlays)
    return files
