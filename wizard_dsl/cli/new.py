"""wizard new: a pipeline, its first test, or a complete package of a plug-in, to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import msgspec
from click.shell_completion import CompletionItem

from wizard_dsl.cli._output import as_json, format_option
from wizard_dsl.cli._program import compiled_offline
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._scaffold import Written, filled, report, write
from wizard_dsl.cli._variables import STAND_IN, referenced
from wizard_dsl.spec.document import NAME_PATTERN
from wizard_dsl.spec.grammar import DOTTED_PATTERN
from wizard_dsl.spec.project import PROJECT_FILE, find_project
from wizard_dsl.spec.source import load_file
from wizard_dsl.testing.cases import Options, Programs, root_of
from wizard_dsl.testing.starting import first_test
from wizard_dsl.testing.testfile import TEST_FILE

_OWN_SECTIONS = """\
providers:
  local: {type: embedded}  # a small model in this process: no key, no network

chains:
  default: {targets: [local]}

"""


def _files(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The pipeline of a test is a file; all else has a name that is new."""
    return [CompletionItem(typed, type="file")] if context.params.get("what") == "test" else []


@click.command("new", short_help="Write a pipeline, a test, a policy, a provider or a lint rule to start from.")
@click.argument("what", type=click.Choice(["pipeline", "test", "policy", "provider", "rule"]))
@click.argument("name", shell_complete=_files)
@click.option("--in", "folder", type=click.Path(path_type=Path, file_okay=False), help="Where to write it.")
@format_option("text", "json")
def command(what: str, name: str, folder: Path | None, form: str) -> int:
    """Write a pipeline file, or the package of a plug-in, called NAME; or tests of the pipeline file NAME.

    NAME of a plug-in's policy, provider or rule has a dot, as in acme.pace; the package has a test that passes. Tests
    of triage.yaml go to triage.test.yaml beside it, and pass: a run in which all goes well, and one in which a target
    is away, every target scripted. Nothing that exists is changed.
    """
    try:
        files = _written(what, name, folder)
    except OSError as error:
        raise click.UsageError(f"cannot write {error.filename}: {error.strerror}") from None
    if form == "json":
        click.echo(as_json([msgspec.structs.asdict(each) for each in files]), nl=False)
    else:
        click.echo(report(files), nl=False)
    return 0


def _written(what: str, name: str, folder: Path | None) -> list[Written]:
    if what == "pipeline":
        return _pipeline(name, folder)
    if what == "test":
        return [_first_test(Path(name), folder)]
    return _package(what, name, folder or Path())


def _first_test(pipeline: Path, folder: Path | None) -> Written:
    if TEST_FILE.owns(pipeline):
        raise click.UsageError(f"{pipeline} is a test file itself; name the pipeline that it is about")
    path = (pipeline.parent if folder is None else folder) / f"{pipeline.stem}{TEST_FILE.endings[0]}"
    _free(path)
    if not pipeline.resolve().is_relative_to(root_of(path)):
        told = f"a test in {path.parent} may not name {pipeline}, which is outside of its project"
        raise click.UsageError(f"{told}; leave --in out, or write {PROJECT_FILE} above both")
    offline, _ = compiled_offline(pipeline, (), ())
    env = referenced(offline, os.environ)
    registry = registry_of()
    compiled = Programs(registry).compiled(pipeline, Options(env))
    unset = [each for each in env if not os.environ.get(each)]
    if compiled.program is None and unset:
        click.echo(f"not set, so that '{STAND_IN}' stands for it: {', '.join(unset)}", err=True)
    schema = _schema(find_project(pipeline).root, "test", path.parent)
    return write(path, first_test(compiled, registry, target=path, pipeline=pipeline, env=env, schema=schema))


def _schema(root: Path, kind: str, folder: Path) -> str:
    """Where the schema of a file in `folder` is, for its editor."""
    return Path(os.path.relpath(root / "schemas" / f"{kind}.schema.json", folder)).as_posix()


def _pipeline(name: str, folder: Path | None) -> list[Written]:
    if not re.fullmatch(NAME_PATTERN, name):
        raise click.UsageError(f"'{name}' is not a good name: small letters, digits and underscores, a letter first")
    project = find_project(folder or Path())
    if folder is None:
        folder = Path("pipelines") if Path("pipelines").is_dir() else Path()
    path = folder / f"{name}.yaml"
    _free(path)
    schema = _schema(project.root, "pipeline", folder)
    values = {"name": name, "schema": schema, "shared": _shared(project.file)}
    return [write(path, filled("pipeline/pipeline.yaml", values))]


def _shared(project_file: Path | None) -> str:
    """The sections a pipeline needs and the project file does not bring."""
    brought = load_file(project_file).data.get("chains") if project_file is not None else None
    return "" if isinstance(brought, dict) and "default" in brought else _OWN_SECTIONS


def _package(what: str, kind: str, folder: Path) -> list[Written]:
    if not re.fullmatch(DOTTED_PATTERN, kind):
        word = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_") or "pace"
        hint = f"write wizard new {what} acme.{word}, with the name of your organisation for acme"
        raise click.UsageError(f"'{kind}' is not a plug-in's name, which has a dot; {hint}")
    module = f"wizard_{kind.replace('.', '_')}"
    values = {
        "kind": kind,
        "module": module,
        "distribution": module.replace("_", "-"),
        "constant": re.sub(r"\W", "_", kind).upper(),
        "title": "".join(part.capitalize() for part in re.split(r"[._]", kind)),
        "variable": f"{kind.partition('.')[0].upper()}_API_KEY",
    }
    base = folder / values["distribution"]
    _free(base)
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}.py": "module.py",
        f"tests/test_{module}.py": "test.py",
    }
    return [write(base / path, filled(f"{what}/{template}", values)) for path, template in places.items()]


def _free(path: Path) -> None:
    if path.exists():
        raise click.UsageError(f"{path} exists; choose another name, or another folder with --in")
