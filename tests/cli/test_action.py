"""action.yml: its scripts, run as a runner runs them, in a repository with a pull request; `gh` is one of the test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from git_kit import begin, commit, git

from wizard_dsl.analysis.review_text import MARKER

ROOT = Path(__file__).parents[2]
ACTION: Any = yaml.safe_load((ROOT / "action.yml").read_text())
PIPELINE = """\
version: 1
providers: {local: {type: mock, model: tiny}}
chains: {default: {targets: [local], policies: {retry: 2}}}
steps: {say: {prompt: {user: Hello}}}
"""
WIZARD = """#!/bin/sh
exec {python} -m wizard_dsl.cli "$@"
"""
#: Comments are kept in a file, as `api` of GitHub keeps them; a token without rights is refused.
GH = """#!{python}
import json, os, re, sys

if os.environ["GH_TOKEN"] == "of a fork":
    sys.exit("gh: Resource not accessible by integration (HTTP 403)")
words = sys.argv[1:]
comments = json.load(open({store!r}))
path = next(each for each in words if each.startswith("repos/me/here/issues/"))
if "--method" not in words:
    assert path.endswith("/issues/7/comments") and "--paginate" in words
    mark = re.search('startswith."(.*)".', words[words.index("--jq") + 1])[1]
    print("\\n".join(str(each["id"]) for each in comments if each["body"].startswith(mark)))
    sys.exit()
field = words[words.index("--field") + 1]
assert field.startswith("body=@")
body = open(field.removeprefix("body=@")).read()
assert 0 < len(body) <= 65536
if words[words.index("--method") + 1] == "POST":
    assert path.endswith("/issues/7/comments")
    comments.append(dict(id=len(comments) + 40, body=body))
else:
    (found,) = [each for each in comments if path.endswith(f"/issues/comments/{{each['id']}}")]
    found["body"] = body
json.dump(comments, open({store!r}, "w"))
"""


class Runner:
    """Runs the scripts of the action, one after the other, in the working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "comments.json"
        self.store.write_text(json.dumps([{"id": 1, "body": f"I like {MARKER}"}]))
        programs = {"wizard": WIZARD.format(python=sys.executable)}
        programs["gh"] = GH.format(python=sys.executable, store=str(self.store))
        for name, text in programs.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def run(self, name: str, **env: str) -> subprocess.CompletedProcess[str]:
        """One step by its name."""
        (step,) = [each for each in ACTION["runs"]["steps"] if each["name"] == name]
        assert step["shell"] == "bash" and env.keys() == step.get("env", {}).keys()
        files = {each: str(self.folder / each) for each in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        more = {**files, "RUNNER_TEMP": str(self.folder), "GITHUB_REPOSITORY": "me/here"}
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            env={**os.environ, "PATH": path, **more, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def review(self, **env: str) -> str:
        """The exit code of the review."""
        done = self.run("Review", **{"BASE": "main", "HEAD": "work", "PATHS": "", "OPTIONS": "", **env})
        assert done.returncode == 0, done.stderr
        return (self.folder / "GITHUB_OUTPUT").read_text().splitlines()[-1].removeprefix("code=")

    def comment(self, token: str = "of the repository") -> subprocess.CompletedProcess[str]:
        return self.run("Comment", GH_TOKEN=token, NUMBER="7")

    def comments(self) -> list[str]:
        return [each["body"] for each in json.loads(self.store.read_text())]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """In a repository with a branch that repeats more often."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "runner").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    begin()
    commit(p_yaml=PIPELINE)
    git("switch", "--quiet", "--create", "work")
    commit(p_yaml=PIPELINE.replace("retry: 2", "retry: 4"))
    return Runner(tmp_path / "runner")


def test_one_comment_is_written_and_then_written_anew(runner: Runner) -> None:
    assert runner.review() == "0" and runner.comment().returncode == 0
    _, first = runner.comments()
    assert first.startswith(f"{MARKER}\n## Wizard: 1 of 1 pipeline changes") and "| 2 | **4** |" in first
    commit(p_yaml=PIPELINE.replace("retry: 2", "retry: 8"))
    assert runner.review() == "0" and runner.comment().returncode == 0
    other, second = runner.comments()
    assert "| 2 | **8** |" in second and not other.startswith(MARKER)
    assert (runner.folder / "GITHUB_STEP_SUMMARY").read_text() == first + second


def test_a_token_of_a_fork_gets_a_warning_and_the_summary(runner: Runner) -> None:
    runner.review()
    done = runner.comment("of a fork")
    assert done.returncode == 0 and done.stdout.startswith("::warning::The comment cannot be written")
    assert "HTTP 403" in done.stderr and len(runner.comments()) == 1
    assert "worst-case attempts" in (runner.folder / "GITHUB_STEP_SUMMARY").read_text()


def test_a_shallow_checkout_is_completed(runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = git("rev-parse", "main")
    commit()
    url = Path().resolve().as_uri()
    git("clone", "--quiet", "--depth=1", "--branch=work", url, str(tmp_path / "checkout"))
    monkeypatch.chdir(tmp_path / "checkout")
    assert runner.review(BASE=base, HEAD="HEAD") == "0"
    assert "| 2 | **4** |" in (runner.folder / "wizard-review.md").read_text()


def test_a_history_that_cannot_be_fetched_is_told_and_is_2(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = git("rev-parse", "main")
    git("clone", "--quiet", "--depth=1", "--branch=work", Path().resolve().as_uri(), str(tmp_path / "checkout"))
    monkeypatch.chdir(tmp_path / "checkout")
    git("remote", "set-url", "origin", str(tmp_path / "nowhere"))
    done = runner.run("Review", BASE=base, HEAD="HEAD", PATHS="", OPTIONS="")
    assert done.stdout == "::warning::The history cannot be fetched.\n" and "this clone is shallow" in done.stderr
    assert (runner.folder / "GITHUB_OUTPUT").read_text() == "code=2\n"
    (step,) = [each for each in ACTION["runs"]["steps"] if each["name"] == "Comment"]
    written = re.search(r"fromJSON\('(.*)'\)", step["if"])
    assert written is not None and json.loads(written[1]) == ["0", "1", "3"]  # what is a review


def test_paths_and_options_are_taken(runner: Runner) -> None:
    commit(q__r_yaml=PIPELINE)
    assert runner.review(PATHS="q p.yaml", OPTIONS="--set chains.default.policies.retry=3") == "0"
    text = (runner.folder / "wizard-review.md").read_text()
    assert "1 of 2 pipelines changes" in text and "#### `q/r.yaml`" in text


def test_diagnostics_are_sarif_though_there_are_findings(runner: Runner) -> None:
    commit(p_yaml=PIPELINE.replace("retry", "retyr"))
    assert runner.run("Diagnostics", PATHS="").returncode == 0
    (found,) = json.loads((runner.folder / "wizard.sarif").read_text())["runs"]
    place = found["results"][0]["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("p.yaml", 3)


def test_diagnostics_are_of_the_paths_that_are_reviewed(runner: Runner) -> None:
    broken = PIPELINE.replace("retry", "retyr")
    commit(p_yaml=broken, q__r_yaml=broken)
    runner.run("Diagnostics", PATHS="q")
    (found,) = json.loads((runner.folder / "wizard.sarif").read_text())["runs"]
    places = [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in found["results"]]
    assert places == ["q/r.yaml"]


@pytest.mark.parametrize("name", ["$(touch pwned)", "x;touch pwned", "a'b", 'a"`touch pwned`', "ünï", "-x", "--help"])
def test_whatever_a_branch_is_called_it_is_a_branch(runner: Runner, name: str) -> None:
    branch = name.replace(" ", "${IFS}")
    git("update-ref", f"refs/heads/{branch}", "work")
    assert runner.review(HEAD=branch) == "0"
    assert "| 2 | **4** |" in (runner.folder / "wizard-review.md").read_text()
    assert not list(Path().glob("pwned*"))


def test_a_name_is_no_option_of_git_when_the_history_is_fetched(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("clone", "--quiet", "--depth=1", "--branch=work", Path().resolve().as_uri(), str(tmp_path / "checkout"))
    monkeypatch.chdir(tmp_path / "checkout")
    assert runner.review(BASE="--upload-pack=touch pwned;git-upload-pack", HEAD="HEAD") == "2"
    assert not Path("pwned").exists()


def test_every_input_is_on_the_page() -> None:
    page = (ROOT / "docs/tutorial-review.md").read_text()
    assert [name for name in ACTION["inputs"] if f"\n| `{name}` |" not in page] == []


def test_the_job_ends_as_the_review_did(runner: Runner) -> None:
    commit(p_yaml=PIPELINE.replace("retry", "retyr"))
    assert runner.review() == "3"
    assert runner.run("Result", CODE="3").returncode == 3 and runner.run("Result", CODE="0").returncode == 0
