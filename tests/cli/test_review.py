"""wizard review: one comment for a pull request, from the files of its head."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from cli_kit import Ran, Wizard
from git_kit import begin, commit, git

from wizard_dsl.analysis import review_text

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-review.md"
OPENAI = """\
  openai:
    type: openai
    api_key: "${env:OPENAI_API_KEY}"
    models: {gpt-4o-mini: {prices: {input: $0.15, output: $0.60}}}
"""


@pytest.fixture
def project(wizard: Wizard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `wizard init` writes, with a model that costs something, on `main`; a branch `work` is checked out."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert wizard("init").code == 0
    shared = Path("wizard.yaml").read_text().replace("targets: [local]", "targets: [openai/gpt-4o-mini]")
    Path("wizard.yaml").write_text(shared.replace("\npolicies:\n", f"{OPENAI}\npolicies:\n"))
    tests = Path("pipelines/hello.test.yaml").read_text()
    Path("pipelines/hello.test.yaml").write_text(tests.replace("{local: ", '{"openai/*": '))
    assert wizard("test", "--update").code == 0
    begin()
    commit()
    git("switch", "--quiet", "--create", "work")
    return folder


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))
    commit()


def reviewed(wizard: Wizard, *more: str) -> tuple[Ran, dict]:
    ran = wizard("review", "main", "work", *more, "--format", "json")
    return ran, json.loads(ran.out)


def test_a_commit_that_triples_retries_is_a_comment_with_attempts_cost_and_the_line(
    project: Path, wizard: Wizard
) -> None:
    edit("wizard.yaml", "max_attempts: 3", "max_attempts: 9")
    code, out, err = wizard("review", "main", "work", "--format", "markdown")
    assert (code, err) == (0, "") and out.startswith(f"{review_text.MARKER}\n## Wizard: 1 of 1 pipeline changes")
    line = next(n for n, text in enumerate(Path("wizard.yaml").read_text().splitlines(), 1) if "max_attempts" in text)
    assert f"| worst-case attempts | 3 | **9** | greet.retry (`wizard.yaml:{line}`) |" in out
    cost = next(each for each in out.splitlines() if each.startswith("| worst-case cost"))
    assert "**" in cost and f"(`wizard.yaml:{line}`)" in cost
    assert f"- retry.max\\_attempts on default: 3 → 9 (`wizard.yaml:{line}`)" in out
    assert "**tests**: 2 run, none broken" in out
    told = out.partition("<details>")[0].rstrip("\n")
    assert told in PAGE.read_text()
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_what_does_not_change_is_not_looked_at(project: Path, wizard: Wizard) -> None:
    edit("wizard.yaml", "total: 60s", "total: 1m")
    ran, found = reviewed(wizard)
    assert ran.code == 0 and found["tests"] == {"run": 0, "broken": [], "invalid": False} and found["untested"] == []
    assert "tests: none is about what changed" in wizard("review", "main", "work").out


def test_a_test_that_breaks_is_told_and_is_1(project: Path, wizard: Wizard) -> None:
    edit("wizard.yaml", "max_attempts: 3", "max_attempts: 1")
    ran, found = reviewed(wizard)
    assert ran.code == 1
    (broken,) = found["tests"]["broken"]
    assert (broken["test"], broken["file"]) == ("a failure is repeated", "pipelines/hello.test.yaml")
    assert broken["line"] > 0 and broken["why"] and str(Path(tempfile.gettempdir())) not in ran.out
    assert "a failure is repeated" in wizard("review", "main", "work", "--format", "markdown").out


def test_tests_run_on_the_files_of_the_head_and_not_on_those_that_lie_here(project: Path, wizard: Wizard) -> None:
    edit("prompts/hello.md", "friendly", "grumpy")
    ran, found = reviewed(wizard)  # the approved snapshot has the old prompt
    assert ran.code == 1 and [each["test"] for each in found["tests"]["broken"]] == ["somebody is greeted"]
    assert wizard("test", "--update").code == 0
    assert reviewed(wizard)[0].code == 1
    commit()
    assert reviewed(wizard)[0].code == 0


def test_a_test_file_that_changed_is_run_though_its_pipeline_did_not(project: Path, wizard: Wizard) -> None:
    edit("pipelines/hello.test.yaml", "contains: Ada", "contains: Bob")
    ran, found = reviewed(wizard)
    assert ran.code == 1 and found["tests"]["run"] == 2 and len(found["tests"]["broken"]) == 1


def test_paths_limit_the_tests_that_changed_too(project: Path, wizard: Wizard) -> None:
    edit("pipelines/hello.test.yaml", "contains: Ada", "contains: Bob")
    commit(other__fresh_yaml="version: 1\nsteps: {say: {type: render, template: Hello}}\n")
    assert reviewed(wizard, "other")[1]["tests"]["run"] == 0
    ran, found = reviewed(wizard, "pipelines/hello.test.yaml")
    assert ran.code == 1 and found["pipelines"] == [] and found["tests"]["run"] == 2
    assert "there is no pipeline or test at 'prompts'" in wizard("review", "main", "work", "prompts").err


def test_a_test_is_run_though_only_its_overlay_changed(project: Path, wizard: Wizard) -> None:
    Path("pipelines/once.overlay.yaml").write_text("policies: {default: {retry: 3}}\n")
    edit(
        "pipelines/hello.test.yaml",
        "  a failure is repeated:\n",
        "  a failure is repeated:\n    overlay: once.overlay.yaml\n",
    )
    git("branch", "--force", "main", "work")
    edit("pipelines/once.overlay.yaml", "retry: 3", "retry: 1")
    ran, found = reviewed(wizard)
    assert ran.code == 1 and [each["test"] for each in found["tests"]["broken"]] == ["a failure is repeated"]
    assert found["overlays"] == ["pipelines/once.overlay.yaml"]
    out = wizard("review", "main", "work", "--format", "markdown").out
    assert (
        "\n\npipelines/once.overlay.yaml differs, too: --overlay pipelines/once.overlay.yaml shows what it does\n\n"
        in out
    )
    out = wizard("review", "main", "work", "--format", "markdown", "--overlay", "pipelines/once.overlay.yaml").out
    assert "| worst-case attempts | 3 | **1** | greet.retry (`pipelines/once.overlay.yaml:1`) |" in out
    assert "differs, too" not in out


def test_tests_of_what_runs_a_changed_file_are_run_on_files_that_references_name(project: Path, wizard: Wizard) -> None:
    Path("pipelines/limit.txt").write_text("40s\n")
    edit("pipelines/hello.yaml", "\nsteps:", '\ndeadline: "${file:limit.txt}"\nsteps:')
    for name, inner in (("middle", "hello"), ("outer", "middle")):
        step = f"{{type: pipeline, file: {inner}.yaml}}"
        Path(f"pipelines/{name}.yaml").write_text(f"version: 1\nsteps: {{in: {step}}}\n")
    case = 'targets: {"openai/*": [Hello!]}, expect: {text: Hallo!}'
    Path("pipelines/outer.test.yaml").write_text(f"version: 1\npipeline: outer.yaml\ntests: {{it: {{{case}}}}}\n")
    commit()
    git("branch", "--force", "main", "work")
    edit("wizard.yaml", "total: 60s", "total: 30s")
    ran, found = reviewed(wizard, "pipelines/hello.yaml")
    assert ran.code == 1 and found["tests"]["run"] == 3
    assert [each["file"] for each in found["tests"]["broken"]] == ["pipelines/outer.test.yaml"]


def test_a_worst_case_that_stays_is_one_line(project: Path, wizard: Wizard) -> None:
    edit("wizard.yaml", "{max_attempts: 3}", "{max_attempts: 3, base: 2s}")
    out = wizard("review", "main", "work", "--format", "markdown").out
    assert "The worst case of a run stays: attempts 3, latency 10m, cost \\$0.00065, tokens 3,819, calls" in out
    assert "| worst-case" not in out


def test_a_test_that_breaks_stands_in_the_title(project: Path, wizard: Wizard) -> None:
    edit("pipelines/hello.yaml", "greet:", "welcome:")
    out = wizard("review", "main", "work", "--format", "markdown").out
    assert out.splitlines()[1].endswith("1 pipeline changes in behaviour, 1 test breaks")


def test_what_no_test_has_seen_is_told_of_what_changed(project: Path, wizard: Wizard) -> None:
    edit("wizard.yaml", "max_attempts: 3", "max_attempts: 9")
    (untested,) = reviewed(wizard)[1]["untested"]
    assert untested["pipeline"] == "pipelines/hello.yaml" and 0 < untested["covered"] < untested["possible"]
    assert any(node.endswith(".retry") and name == "gave_up" for node, name, _ in untested["outcomes"])


def test_a_new_pipeline_without_a_test_is_said(project: Path, wizard: Wizard) -> None:
    text = "version: 1\nsteps: {greet: {prompt: {user: Hello}}}\n"
    commit(pipelines__fresh_yaml=text)
    ran, found = reviewed(wizard)
    assert ran.code == 0 and found["without_tests"] == ["pipelines/fresh.yaml"]
    assert "pipelines/fresh.yaml has no test" in wizard("review", "main", "work").out


def test_a_name_cannot_leave_its_place_in_the_comment(project: Path, wizard: Wizard) -> None:
    text = "version: 1\nproviders: {m: {type: mock}}\nchains: {default: {targets: [m]}}\n"
    name = "`a|b\n## @everybody`.yaml"
    Path(name).write_text(f"{text}steps: {{say: {{prompt: {{user: Hello}}}}}}\n")
    commit()
    git("branch", "--force", "main", "work")
    edit(name, "targets: [m]", "targets: [m], policies: {retry: 5}")
    out = wizard("review", "main", "work", "--format", "markdown").out
    assert "\n#### `` `a|b ## @everybody`.yaml ``\n" in out and "\n## @" not in out
    assert "| worst-case attempts | 3 | **5** | say.retry (``" in out and "a\\|b ## @everybody`.yaml:3" in out


def test_a_head_that_is_broken_is_3(project: Path, wizard: Wizard) -> None:
    edit("pipelines/hello.yaml", "prompt: hello", "prompt: helo")
    ran, found = reviewed(wizard)
    assert ran.code == 3 and found["pipelines"][0]["state"] == "broken"
    assert [each["file"] for each in found["tests"]["broken"]] == ["pipelines/hello.test.yaml"]
    out = wizard("review", "main", "work", "--format", "markdown").out
    assert "timeout\n\n**tests**: 0 run, 1 broken\n" in out
    edit("pipelines/hello.yaml", "name: hello", "name: hallo")
    assert wizard("review", "work~1", "work").code == 3


def test_a_revision_that_is_none_is_2(project: Path, wizard: Wizard) -> None:
    code, out, err = wizard("review", "mian", "work")
    assert (code, out) == (2, "") and "git knows no revision 'mian'; did you mean 'main'?" in err


def test_a_comment_that_is_too_long_is_cut_and_says_so(
    project: Path, wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit("wizard.yaml", "max_attempts: 3", "max_attempts: 9")
    monkeypatch.setattr(review_text, "_LONGEST", 1500)
    out = wizard("review", "main", "work", "--format", "markdown").out
    assert len(out) < 1700 and out.count("<details>") == out.count("</details>")
    assert "the comment is cut here; `wizard review` prints all of it" in out
    monkeypatch.setattr(review_text, "_LONGEST", 400)
    out = wizard("review", "main", "work", "--format", "markdown").out
    assert out.startswith(review_text.MARKER) and "\n\n**tests**: 2 run, none broken\n" in out
    assert "retry.max" not in out and "<details>" not in out and out.count("is cut here") == 2
