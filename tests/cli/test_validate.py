"""wizard validate: findings on stdout, a summary on stderr, and exit codes for CI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import FILES, Wizard
from syrupy.assertion import SnapshotAssertion


def test_a_valid_file_has_no_findings(wizard: Wizard) -> None:
    assert wizard("validate", "triage.yaml") == (0, "", "no findings in 1 file\n")


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_every_mistake_is_reported_in_each_format(wizard: Wizard, approved: SnapshotAssertion, form: str) -> None:
    code, out, _ = wizard("validate", "wrong.yaml", "--format", form)
    assert code == 1
    assert out == approved


def test_the_text_ends_with_a_count_on_stderr(wizard: Wizard) -> None:
    assert wizard("validate", "wrong.yaml", "warned.yaml").err == "3 errors, 1 warning in 2 files\n"


def test_only_the_text_format_has_a_summary(wizard: Wizard) -> None:
    code, out, err = wizard("validate", "wrong.yaml", "--format", "json")
    assert (code, err) == (1, "")
    assert {each["severity"] for each in json.loads(out)} == {"error"}


def test_a_warning_is_a_finding_only_if_strict(wizard: Wizard) -> None:
    lax, strict = wizard("validate", "warned.yaml"), wizard("validate", "--strict", "warned.yaml")
    assert (lax.code, strict.code) == (0, 1)
    assert lax.out == strict.out
    assert "warning[W123]" in lax.out


def test_an_allowed_warning_is_no_finding_and_machines_see_its_reason(wizard: Wizard) -> None:
    text = Path("warned.yaml").read_text()
    Path("allowed.yaml").write_text(text.replace("inputs:", "# wizard: allow W123 because a caller sends it\ninputs:"))
    assert wizard("validate", "--strict", "allowed.yaml") == (0, "", "no findings, 1 allowed in 1 file\n")
    assert wizard("validate", "--strict", "allowed.yaml", "--format", "github").out == ""
    (row,) = json.loads(wizard("validate", "allowed.yaml", "--format", "json").out)
    assert (row["code"], row["severity"], row["allowed"]) == ("W123", "warning", "a caller sends it")
    (result,) = json.loads(wizard("validate", "allowed.yaml", "--format", "sarif").out)["runs"][0]["results"]
    assert result["suppressions"] == [{"kind": "inSource", "status": "accepted", "justification": "a caller sends it"}]


def test_a_comment_that_allows_nothing_is_a_finding_if_strict(wizard: Wizard) -> None:
    text = Path("warned.yaml").read_text()
    Path("odd.yaml").write_text(text.replace("inputs:", "# wizard: allow W123\ninputs:"))
    code, out, err = wizard("validate", "--strict", "odd.yaml")
    assert (code, err) == (1, "2 warnings in 1 file\n")
    assert "warning[W190]" in out and "warning[W123]" in out


MISSPELT = "version: 1\nproviders: {local: {type: mock}}\nchains: {default: {targets: [local], stratgy: cheapest}}\n"
MISSPELT += "steps: {answer: {promt: {user: Hello}}}   # kept\n"


def test_fix_mends_the_file_says_so_and_reports_what_is_left(wizard: Wizard) -> None:
    Path("odd.yaml").write_text(MISSPELT)
    code, out, err = wizard("validate", "--fix", "odd.yaml")
    assert err.splitlines() == [
        "odd.yaml:3:38 mended[E021] 'stratgy' is now 'strategy'",
        "odd.yaml:4:18 mended[E021] 'promt' is now 'prompt'",
        "1 warning in 1 file",
    ]
    assert (code, out.split()[1]) == (0, "warning[W136]")
    assert Path("odd.yaml").read_text() == MISSPELT.replace("stratgy", "strategy").replace("promt", "prompt")


def test_diff_shows_the_same_and_writes_nothing(wizard: Wizard) -> None:
    Path("odd.yaml").write_text(MISSPELT)
    code, out, _ = wizard("lint", "--diff", "odd.yaml")
    assert code == 1
    assert "-steps: {answer: {promt: {user: Hello}}}   # kept\n" in out
    assert "+steps: {answer: {prompt: {user: Hello}}}   # kept\n" in out
    (row,) = json.loads(wizard("validate", "--diff", "--fix", "odd.yaml", "--format", "json").out)
    assert (row["file"], row["diff"], [each["code"] for each in row["fixes"]]) == ("odd.yaml", out, ["E021", "E021"])
    assert Path("odd.yaml").read_text() == MISSPELT
    assert wizard("validate", "--diff", "triage.yaml") == (0, "", "")
    assert wizard("validate", "--diff", "odd.yaml", "--format", "sarif").code == 2


def test_fix_keeps_a_link_and_the_rights_of_its_file(wizard: Wizard) -> None:
    Path("real.yaml").write_text(MISSPELT)
    Path("real.yaml").chmod(0o640)
    Path("link.yaml").symlink_to("real.yaml")
    wizard("validate", "--fix", "link.yaml")
    assert Path("link.yaml").is_symlink()
    assert "prompt" in Path("real.yaml").read_text()
    assert Path("real.yaml").stat().st_mode & 0o777 == 0o640


def test_a_file_that_may_not_be_written_is_told_and_stays(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("odd.yaml").write_text(MISSPELT)
    monkeypatch.setattr("os.access", lambda path, mode, **how: mode != os.W_OK)
    code, _, err = wizard("validate", "--fix", "odd.yaml")
    assert (code, "cannot write odd.yaml: Permission denied" in err) == (2, True)
    assert Path("odd.yaml").read_text() == MISSPELT


def test_many_files_are_looked_at_by_several_processes_with_the_same_findings(
    wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("many").mkdir()
    texts = [Path(name).read_text() for name in ("warned.yaml", "triage.yaml", "wrong.yaml")]
    for number in range(60):
        Path(f"many/p{number:02}.yaml").write_text(texts[number % 3].replace("version: 1", f"version: 1  # {number}"))
    monkeypatch.setattr("wizard_dsl.cli._looking_at_once._cores", lambda: 2)
    monkeypatch.setenv("WIZARD_PLUGINS", "")
    at_once = wizard("validate", "many", "--format", "json")
    monkeypatch.setattr("wizard_dsl.cli.validate.MANY", 1000)
    assert at_once == wizard("validate", "many", "--format", "json")
    assert len({row["file"] for row in json.loads(at_once.out)}) == 40


def test_lint_is_the_same_command(wizard: Wizard) -> None:
    assert wizard("lint", "wrong.yaml") == wizard("validate", "wrong.yaml")


def test_without_paths_the_working_directory_is_looked_at(wizard: Wizard) -> None:
    code, out, err = wizard("validate")
    assert code == 1
    assert {line.partition(":")[0] for line in out.splitlines()} == {"wrong.yaml", "warned.yaml"}
    assert err.endswith("in 8 files\n")


def test_verbose_names_what_is_looked_at_and_what_is_not(wizard: Wizard) -> None:
    Path("project/compose.yaml").write_text("services: {}\n")
    Path("project/ask.sim.yaml").write_text(
        "version: 1\npipeline: pipelines/ask.yaml\nload: {rate: 1/s, duration: 10s}\n"
    )
    Path("project/.hidden").mkdir()
    Path("project/.hidden/broken.yaml").write_text("version: 1\nsteps: [\n")
    code, _, err = wizard("validate", "-v", "project")
    assert code == 0
    assert err.splitlines() == [
        "project/ask.sim.yaml: simulation",
        "project/wizard.yaml: project",
        "project/pipelines/ask.yaml: pipeline",
        "project/compose.yaml: not looked at",
        "no findings in 3 files",
    ]


def test_a_misspelt_version_does_not_hide_a_file_in_a_folder(wizard: Wizard) -> None:
    Path("project/pipelines/odd.yaml").write_text("verison: 1\nchains: {}\nsteps: {}\n")
    code, out, _ = wizard("validate", "project")
    assert code == 1
    assert "odd.yaml" in out


@pytest.mark.parametrize("name", ["ask.yaml", "wizard.yaml", "fast.overlay.yaml"])
def test_each_kind_of_file_has_its_own_schema(wizard: Wizard, name: str) -> None:
    Path(name).write_text("chains: {default: {target: [local]}}\n")
    code, out, _ = wizard("validate", name)
    assert code == 1
    assert "E021" in out
    assert ("'version' is missing" in out) == (name == "ask.yaml")


def test_a_project_file_is_not_blamed_for_what_one_pipeline_leaves_unused(wizard: Wizard) -> None:
    assert wizard("validate", "project").code == 0
    assert wizard("validate", "--strict", "project").out == ""


@pytest.mark.parametrize("arguments", [["nothing.yaml"], ["empty"], ["one.yaml", "nothing.yaml"]])
def test_nothing_to_look_at_is_wrong_usage(wizard: Wizard, arguments: list[str]) -> None:
    Path("empty").mkdir()
    code, out, err = wizard("validate", *arguments)
    assert (code, out) == (2, "")
    assert "there is no" in err


def test_a_test_file_is_held_against_its_pipeline(wizard: Wizard) -> None:
    Path("ask.test.yaml").write_text("version: 1\npipeline: one.yaml\ntests: {a: {targets: {'x/*': [503]}}}\n")
    code, out, _ = wizard("validate", "ask.test.yaml")
    assert code == 1
    assert "ask.test.yaml:3:23 error[E082] no target is called 'x/*'" in out


def test_a_byte_order_mark_does_not_hide_a_file(wizard: Wizard) -> None:
    Path("marked").mkdir()
    Path("marked/one.yaml").write_bytes(b"\xef\xbb\xbf" + Path("one.yaml").read_bytes())
    assert wizard("validate", "marked").err == "no findings in 1 file\n"


def test_a_link_to_nowhere_is_a_finding(wizard: Wizard) -> None:
    Path("project/pipelines/gone.yaml").symlink_to("nowhere.yaml")
    code, out, _ = wizard("validate", "project")
    assert code == 1
    assert "gone.yaml: error[E001]" in out
    assert wizard("validate", "project/pipelines/gone.yaml").code == 1


def test_a_file_named_twice_is_reported_once(wizard: Wizard) -> None:
    assert wizard("validate", "wrong.yaml", "./wrong.yaml", ".").out.count("max_attempts") == 1


def test_configurations_of_other_tools_are_no_pipelines(wizard: Wizard) -> None:
    folder = Path("others")
    folder.mkdir()
    other = "prompts: [Hello]\nproviders: [openai:gpt-4o]\ntests: [{vars: {}}]\n"
    (folder / "promptfooconfig.yaml").write_text(other)
    (folder / "versionless.yaml").write_text("steps: {a: {prompt: {user: Hello}}}\nproviders: {m: {type: mock}}\n")
    (folder / "misspelt.yaml").write_text("version: 1\nprompts: {a: {user: Hello}}\n")
    out = wizard("validate", "others").out
    assert {line.partition(":")[0] for line in out.splitlines()} == {"others/versionless.yaml", "others/misspelt.yaml"}
    assert wizard("validate", "others/promptfooconfig.yaml").code == 1


def test_a_directory_that_is_called_like_a_file_is_looked_into(wizard: Wizard) -> None:
    Path("folder.yaml").mkdir()
    assert wizard("validate", "folder.yaml").code == 2


def test_no_environment_is_needed(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIZARD_RETRY_MAX_ATTEMPTS", "99")
    assert wizard("validate", "triage.yaml").code == 0


def test_a_valid_file_needs_neither_network_nor_schema_library() -> None:
    program = (
        "import sys\nfrom wizard_dsl.cli.main import main\n"
        "try:\n    main(['validate', 'triage.yaml'])\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
        "print(sorted({'aiohttp', 'jsonschema', 'diskcache', 'loguru', 'genai_prices', 'rich'} & sys.modules.keys()))\n"
    )
    env = {**os.environ, "WIZARD_PLUGINS": ""}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=FILES, env=env, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
