"""wizard init: begin a project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from wizard_dsl.cli._output import as_json, format_option
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.cli._scaffold import Written, filled, report, write
from wizard_dsl.docgen.schemas import of_test
from wizard_dsl.spec.schema import for_kind
from wizard_dsl.testing.snapshots import path_of
from wizard_dsl.testing.trying import collect, try_case

#: Where each file goes, and the template it comes from.
FILES = {
    "wizard.yaml": "init/wizard.yaml",
    "pipelines/hello.yaml": "init/hello.yaml",
    "prompts/hello.md": "init/hello.md",
    "pipelines/hello.test.yaml": "init/hello.test.yaml",
}
IGNORED = ".wizard/"


@click.command("init", short_help="Begin a project here.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@format_option("text", "json")
def command(folder: Path, form: str) -> int:
    """Write wizard.yaml, a first pipeline with its prompt and tests, and the schemas for editors into FOLDER.

    Nothing that exists is changed, but for .gitignore, which gets a line.
    """
    try:
        files = _files(folder)
    except OSError as error:
        raise click.UsageError(f"cannot write {error.filename}: {error.strerror}") from None
    if form == "json":
        click.echo(as_json([msgspec.structs.asdict(each) for each in files]), nl=False)
        return 0
    hello = folder / "pipelines" / "hello.yaml"
    click.echo(report(files), nl=False)
    click.echo(f"Try it: wizard run {hello} --mock, then without --mock on the embedded model.", err=True)
    click.echo(f"Test it: wizard test {folder}, or pytest.", err=True)
    click.echo("After an upgrade: wizard schema > schemas/pipeline.schema.json, for your editor.", err=True)
    return 0


def _files(folder: Path) -> list[Written]:
    written = [write(folder / path, filled(template)) for path, template in FILES.items()]
    for kind in ("pipeline", "project"):
        schema = as_json(for_kind(kind, registry_of(), plugins=True))
        written.append(write(folder / "schemas" / f"{kind}.schema.json", schema))
    written.append(write(folder / "schemas" / "test.schema.json", as_json(of_test())))
    (tests,) = (each for each in written if each.path.endswith(".test.yaml"))
    return [*written, *_approved(tests), _ignore(folder / ".gitignore")]


def _approved(tests: Written) -> Iterator[Written]:
    """Approve the snapshots of tests that were written just now, where they fit what is there."""
    suite = collect(tests.path)
    if tests.state != "new" or not suite.found.ok:
        return
    for case in suite.cases:
        if try_case(suite, case, snapshots="update").written:
            yield Written(str(path_of(case)), "new")


def _ignore(path: Path) -> Written:
    """Add our folder for caches to the files that git ignores."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if any(line.strip().rstrip("/").lstrip("/") == IGNORED.rstrip("/") for line in text.splitlines()):
        return Written(str(path), "kept")
    gap = "" if not text or text.endswith("\n") else "\n"
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{gap}{IGNORED}\n")
    return Written(str(path), "added" if text else "new")
