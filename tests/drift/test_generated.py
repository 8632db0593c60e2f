"""Generated files are committed, up to date, and come out the same each time."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from wizard_dsl.cli.main import VERBS, make_group
from wizard_dsl.core.result import Result
from wizard_dsl.docgen import FILES, __main__, outdated, pages, write
from wizard_dsl.registry import Registry

ROOT = Path(__file__).parents[2]
REGISTRY = Registry(plugins=False)


def test_generated_files_are_up_to_date() -> None:
    assert outdated(ROOT, REGISTRY) == [], "run `make gen` and commit what it changes"


def test_writing_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    assert set(write(tmp_path, REGISTRY)) >= set(FILES)
    assert write(tmp_path, REGISTRY) == []


def test_every_file_ends_in_one_line_break(tmp_path: Path) -> None:
    for name, make in FILES.items():
        text = make(REGISTRY)
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name


def test_the_failure_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wizard_dsl").mkdir()
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["--check"]) == 1
    assert "schemas/pipeline.schema.json is not up to date; run `make gen`" in capsys.readouterr().err
    assert __main__.main([]) == 0
    assert outdated(tmp_path, REGISTRY) == []
    assert __main__.main(["--chekc"]) == 2


def test_every_policy_and_strategy_has_a_page_whose_middle_is_written() -> None:
    assert pages.faults(ROOT, REGISTRY) == []


def test_a_page_that_is_begun_wants_each_of_its_sections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wizard_dsl").mkdir()
    monkeypatch.chdir(tmp_path)
    write(tmp_path, REGISTRY)
    assert __main__.main(["--check"]) == 1
    told = capsys.readouterr().err.splitlines()
    components = 4 + len(REGISTRY.names("policies")) + len(REGISTRY.names("strategies"))
    assert len(told) == components * len(pages.SECTIONS)
    assert "docs/policies/retry.md: write its section 'Patterns'" in told


def test_a_page_without_a_component_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs" / "strategies").mkdir(parents=True)
    (tmp_path / "docs" / "strategies" / "random.md").write_text("# random\n")
    assert pages.faults(tmp_path, REGISTRY) == ["docs/strategies/random.md belongs to no component; remove it"]


def test_what_is_written_by_hand_is_left_alone_and_what_is_generated_is_made_anew(tmp_path: Path) -> None:
    write(tmp_path, REGISTRY)
    path = tmp_path / "docs" / "policies" / "retry.md"
    made = path.read_text()
    ours = made.replace("## Patterns\n", "## Patterns\n\nOurs, with a \\1 in it.\n")
    path.write_text(ours.replace("`max_attempts`", "`attempts`"))
    assert write(tmp_path, REGISTRY) == ["docs/policies/retry.md"]
    assert path.read_text() == ours


def test_keys_of_a_result_never_disappear() -> None:
    made = json.loads(FILES["schemas/result.schema.json"](REGISTRY))
    assert set(made["$defs"]["Result"]["required"]) == set(Result.__struct_fields__)


def test_every_published_schema_has_its_own_address() -> None:
    names = [name for name in FILES if name.startswith("schemas/")]
    ids = {name: json.loads(FILES[name](REGISTRY))["$id"] for name in names}
    assert all(address.endswith(name) for name, address in ids.items())


def test_every_verb_and_each_of_its_options_is_on_the_page() -> None:
    text = FILES["docs/reference/cli.md"](REGISTRY)
    group = make_group()
    for name in VERBS:
        verb = group.commands.get(name) or group.get_command(click.Context(group), name)
        assert verb is not None
        assert f"## wizard {name}" in text
        for parameter in verb.params:
            assert not isinstance(parameter, click.Option) or parameter.opts[0] in text
