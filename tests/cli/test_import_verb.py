"""wizard import: a configuration of another tool becomes a file that validates and runs, and every setting is told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_kit import Wizard

CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: sk-a-literal-key}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
router_settings:
  fallbacks: [{gpt-4o: [claude]}]
  nmu_retries: 2
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wizard: Wizard) -> Path:
    """A configuration in a folder of its own, where the commands run."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def test_the_file_goes_to_stdout_and_the_findings_to_stderr(config: Path, wizard: Wizard) -> None:
    ran = wizard("import", "--from", "litellm", "config.yaml")
    assert ran.code == 0
    assert ran.out.startswith("# Imported by `wizard import --from litellm` from config.yaml")
    assert "config.yaml:8:3 dropped router_settings.nmu_retries: unknown key 'nmu_retries'" in ran.err
    assert "8 settings: " in ran.err.splitlines()[-1]
    assert "sk-a-literal-key" not in ran.out + ran.err


def test_what_is_written_validates_and_runs(config: Path, wizard: Wizard) -> None:
    assert wizard("import", "--from", "litellm", "config.yaml", "-o", "routes.yaml").out == ""
    assert wizard("validate", "routes.yaml").code == 0
    ran = wizard("run", "routes.yaml", "--mock", "-i", "prompt=Hello", "-i", "model=claude", "--format", "json")
    assert json.loads(ran.out)["steps"]["claude"]["served_by"] == "anthropic/claude-sonnet-4-5"


def test_machines_get_one_document(config: Path, wizard: Wizard) -> None:
    ran = wizard("import", "--from", "litellm", "config.yaml", "--format", "json")
    told = json.loads(ran.out)
    assert ran.err == ""
    assert told["counts"] == {"mapped": 6, "approximated": 1, "dropped": 1}
    assert [each["ending"] for each in told["files"]] == [".yaml"]
    assert told["findings"][-1] | {"why": ""} == {
        "file": "config.yaml",
        "line": 8,
        "column": 3,
        "setting": "router_settings.nmu_retries",
        "outcome": "dropped",
        "to": None,
        "why": "",
    }


def test_the_difference_is_shown_and_can_be_played_again(config: Path, wizard: Wizard) -> None:
    ran = wizard("import", "--from", "litellm", "config.yaml", "-o", "routes.yaml", "--show-difference")
    assert ran.code == 0
    assert "the difference: openai/gpt-4o answers 503 for two of five minutes" in ran.err
    assert "attempts on what is down" in ran.err
    assert wizard("validate", ".").code == 0
    assert wizard("fmt", "--check", "routes.yaml", "routes.sim.yaml", "routes.documented.yaml").code == 0
    played = wizard("simulate", "routes.sim.yaml", "--compare", "routes.documented.yaml", "--seeds", "1", "--jobs", "1")
    assert played.code == 0
    assert "routes.documented.yaml" in played.out


def test_the_difference_is_for_machines_too(config: Path, wizard: Wizard) -> None:
    ran = wizard("import", "--from", "litellm", "config.yaml", "--show-difference", "--format", "json")
    told = json.loads(ran.out)["difference"]
    assert [each["ending"] for each in told["files"]] == [".documented.yaml", ".sim.yaml"]
    assert {"measure", "documented", "imported"} == set(told["rows"][0])


def test_a_source_that_routes_nothing_has_no_difference_to_show(config: Path, wizard: Wizard) -> None:
    (config / "promptfooconfig.yaml").write_text(EVALUATION)
    ran = wizard("import", "--from", "promptfoo", "promptfooconfig.yaml", "--show-difference")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no difference to show" in ran.err


EVALUATION = """\
prompts: ["Tweet about {{topic}}"]
providers: [openai:gpt-4o-mini]
tests:
  - vars: {topic: bananas}
    assert: [{type: icontains, value: bananas}]
"""


def test_an_evaluation_becomes_a_pipeline_and_its_tests(config: Path, wizard: Wizard) -> None:
    (config / "promptfooconfig.yaml").write_text(EVALUATION)
    ran = wizard("import", "--from", "promptfoo", "promptfooconfig.yaml", "-o", "tweet.yaml")
    assert ran.code == 0
    assert "wizard test --record missing" in ran.err
    assert wizard("validate", "tweet.yaml").code == 0
    assert wizard("run", "tweet.yaml", "--mock", "-i", "topic=bananas").code == 0
    tests = (config / "tweet.test.yaml").read_text()
    assert "cassette: tweet.cassette.jsonl" in tests
    (config / "tweet.test.yaml").write_text(
        tests.replace("cassette: tweet.cassette.jsonl", "targets: {'*': [I like bananas]}")
    )
    assert wizard("test", "tweet.test.yaml").code == 0


def test_tests_that_exist_are_not_changed_either(config: Path, wizard: Wizard) -> None:
    (config / "promptfooconfig.yaml").write_text(EVALUATION)
    (config / "tweet.test.yaml").write_text("mine")
    ran = wizard("import", "--from", "promptfoo", "promptfooconfig.yaml", "-o", "tweet.yaml")
    assert ran.code == 2
    assert "tweet.test.yaml is there already" in ran.err
    assert not (config / "tweet.yaml").exists()


def test_nothing_that_exists_is_changed(config: Path, wizard: Wizard) -> None:
    ran = wizard("import", "--from", "litellm", "config.yaml", "-o", "config.yaml")
    assert ran.code == 2
    assert "config.yaml is there already, and is not changed" in ran.err
    assert (config / "config.yaml").read_text() == CONFIG


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("config.yaml",), 2, "Missing option '--from'"),
        (("--from", "litelm", "config.yaml"), 2, "'litelm' is not "),
        (("--from", "litellm", "nowhere.yaml"), 3, "nowhere.yaml: error[E001] the file cannot be read"),
        (("--from", "litellm", "."), 3, "error[E002] this is a directory"),
        (("--from", "litellm", "other.yaml"), 3, "there is no list 'model_list' in the file (other.yaml:1)"),
        (("--from", "litellm", "config.yaml", "-o", "routes.json"), 2, "they end in .yaml or .yml"),
        (("--from", "litellm", "config.yaml", "-o", "no/routes.yaml"), 2, "there is no folder no"),
    ],
)
def test_wrong_use_is_told(config: Path, wizard: Wizard, arguments: tuple[str, ...], code: int, said: str) -> None:
    (config / "other.yaml").write_text("version: 1\n")
    ran = wizard("import", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


@pytest.mark.parametrize(("content", "said"), [("", "E020] the file is empty"), ("- a\n", "E022] a configuration is")])
def test_what_is_no_mapping_is_told_without_advice_for_our_own_files(
    config: Path, wizard: Wizard, content: str, said: str
) -> None:
    (config / "odd.yaml").write_text(content)
    for source in ("litellm", "portkey", "promptfoo"):
        ran = wizard("import", "--from", source, "odd.yaml")
        assert ran.code == 3 and said in ran.err and "version: 1" not in ran.err


def test_stdin_is_a_file_too(config: Path, wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    def stdin(text: str) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))

    stdin(CONFIG)
    ran = wizard("import", "--from", "litellm", "-", "-o", "routes.yaml")
    assert ran.code == 0
    assert "stdin:8:3 dropped router_settings.nmu_retries" in ran.err
    assert wizard("validate", "routes.yaml").code == 0
    stdin("model_list: [")
    ran = wizard("import", "--from", "litellm", "-")
    assert (ran.code, ran.out) == (3, "") and "stdin:2:1 error[E008] not valid YAML" in ran.err


def test_a_new_file_that_has_errors_is_no_success(config: Path, wizard: Wizard) -> None:
    """As one that has more values than a file may have."""
    deployment = "  - {{model_name: m{0}, litellm_params: {{model: openai/m{0}, api_key: os.environ/K{0}}}}}\n"
    (config / "many.yaml").write_text("model_list:\n" + "".join(map(deployment.format, range(4500))))
    ran = wizard("import", "--from", "litellm", "many.yaml", "-o", "routes.yaml")
    assert ran.code == 3
    assert "error[E007] the file has more than 100,000 values" in ran.err
    told = wizard("import", "--from", "litellm", "many.yaml", "--format", "json")
    assert (told.code, [each["code"] for each in json.loads(told.out)["diagnostics"]]) == (3, ["E007"])


def test_what_the_new_file_allows_is_not_told(config: Path, wizard: Wizard) -> None:
    (config / "promptfooconfig.yaml").write_text(EVALUATION.replace("4o-mini]", "4o-mini, groq:llama-3.3-70b]"))
    ran = wizard("import", "--from", "promptfoo", "promptfooconfig.yaml")
    assert "wizard: allow W121" in ran.out
    assert "warning[W121]" not in ran.err
