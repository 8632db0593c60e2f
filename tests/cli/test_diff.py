"""wizard diff on the command line: files, folders and git revisions; text, JSON and Markdown; exit codes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from cli_kit import Wizard
from git_kit import begin, commit, git
from syrupy.assertion import SnapshotAssertion

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "diff.md"
PIPELINE = """\
version: 1
name: reply
inputs: {ticket: {type: string, maxLength: 800}}
providers:
  first: {type: mock, model: tiny}
  second: {type: mock, model: small}
chains:
  writer:
    policies: {cache: 1h, retry: {max_attempts: 2}}
    targets: [first, second]
prompts:
  reply: {file: prompts/reply.md}
steps: {reply: {prompt: reply, chain: writer}}
"""
PROMPT = "# system\n\nAnswer briefly.\n\n# user\n\n{{ ticket }}\n"
EDITED = PIPELINE.replace("max_attempts: 2}", "max_attempts: 6}").replace(
    "    targets:", "    fallback_on: {auth: true}\n    targets:"
)


@pytest.fixture
def repository(wizard: Wizard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One commit on `main`, and one on `work`, which is checked out; temporary files go to a folder of their own."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    begin()
    commit(p__reply_yaml=PIPELINE, p__prompts__reply_md=PROMPT, notes_yaml="a: 1\n")
    git("switch", "--quiet", "--create", "work")
    commit(p__reply_yaml=EDITED, p__prompts__reply_md=PROMPT.replace("briefly", "at length"))
    return folder


def changes(out: str) -> list[str]:
    return [each["sentence"] for pipeline in json.loads(out)["pipelines"] for each in pipeline["changes"]]


def test_two_files_are_compared(wizard: Wizard) -> None:
    Path("a.yaml").write_text(PIPELINE.replace("{file: prompts/reply.md}", "{user: '{{ ticket }}'}"))
    Path("b.yaml").write_text(Path("a.yaml").read_text().replace("1h", "60m"))
    code, out, err = wizard("diff", "a.yaml", "b.yaml", "--exit-code")
    assert (code, out, err) == (0, "no change in behaviour in 1 pipeline\n", "")
    Path("b.yaml").write_text(Path("a.yaml").read_text().replace("1h", "2h"))
    code, out, err = wizard("diff", "a.yaml", "b.yaml")
    assert (code, err) == (0, "")
    assert out == (
        "a.yaml → b.yaml\n  cache\n    cache.ttl on writer: 1h → 2h  b.yaml:9\n\n1 of 1 pipeline changes in behaviour\n"
    )
    assert wizard("diff", "a.yaml", "b.yaml", "--exit-code").code == 1


def test_folders_are_compared_by_the_paths_in_them(wizard: Wizard) -> None:
    text = PIPELINE.replace("{file: prompts/reply.md}", "{user: '{{ ticket }}'}")
    for folder, files in {"old": ("same", "gone", "deep/changed"), "new": ("same", "fresh", "deep/changed")}.items():
        for name in files:
            path = Path(folder, f"{name}.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("1h", "2h") if folder == "new" and "changed" in name else text)
    code, out, _ = wizard("diff", "old", "new", "--format", "json")
    found = {each["name"]: each["state"] for each in json.loads(out)["pipelines"]}
    states = {"deep/changed.yaml": "changed", "fresh.yaml": "added", "gone.yaml": "removed", "same.yaml": "same"}
    assert code == 0 and found == states


def test_revisions_are_compared_without_a_checkout(
    repository: Path, wizard: Wizard, approved: SnapshotAssertion
) -> None:
    Path("p/reply.yaml").write_text("neither side looks here\n")
    code, out, err = wizard("diff", "main...work")
    assert (code, err) == (0, "")
    assert out == approved
    assert f"```text\n{out}```" in PAGE.read_text()
    assert wizard("diff", "main", "work").out == out == wizard("diff", "main..").out
    assert list(Path(tempfile.gettempdir()).iterdir()) == [] and git("status", "--short") == "M p/reply.yaml"


def test_as_markdown_it_is_a_comment(repository: Path, wizard: Wizard, approved: SnapshotAssertion) -> None:
    assert wizard("diff", "main...HEAD", "--format", "markdown").out == approved


def test_three_dots_begin_where_both_parted(repository: Path, wizard: Wizard) -> None:
    git("switch", "--quiet", "main")
    commit(p__reply_yaml=PIPELINE.replace("cache: 1h", "cache: 3h"))
    since, across = (changes(wizard("diff", f"main{dots}work", "--format", "json").out) for dots in ("...", ".."))
    assert not any("cache.ttl" in each for each in since)
    assert "cache.ttl on writer: 3h → 1h" in across


def test_a_revision_alone_is_compared_with_what_lies_here(repository: Path, wizard: Wizard) -> None:
    assert wizard("diff", "HEAD").out == "no change in behaviour in 1 pipeline\n"
    Path("p/prompts/reply.md").write_text(PROMPT)
    assert "step reply: the prompt changes" in changes(wizard("diff", "HEAD", "--format", "json").out)
    Path("ignored").mkdir()
    Path(".gitignore").write_text("ignored\n")
    Path("ignored/x.yaml").write_text(PIPELINE)
    assert [each["name"] for each in json.loads(wizard("diff", "HEAD", "--format", "json").out)["pipelines"]] == [
        "p/reply.yaml"
    ]


def test_a_file_in_a_revision_is_compared_with_another_one(
    repository: Path, wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_root = changes(wizard("diff", "main:p/reply.yaml", "work:p/reply.yaml", "--format", "json").out)
    assert "retry.max_attempts on writer: 2 → 6" in from_root
    with_file = wizard("diff", "main:p/reply.yaml", "p/reply.yaml", "--format", "json").out
    assert changes(with_file) == from_root
    monkeypatch.chdir("p")
    assert changes(wizard("diff", "main:./reply.yaml", "--format", "json").out) == from_root
    assert changes(wizard("diff", "main", "reply.yaml", "--format", "json").out) == from_root
    assert changes(wizard("diff", "main:p", "work:p", "--format", "json").out) == from_root


def test_paths_limit_revisions(repository: Path, wizard: Wizard) -> None:
    commit(q__other_yaml=PIPELINE.replace("{file: prompts/reply.md}", "{user: '{{ ticket }}'}"))
    names = [
        each["name"] for each in json.loads(wizard("diff", "main", "work", "q", "--format", "json").out)["pipelines"]
    ]
    assert names == ["q/other.yaml"]
    code, _, err = wizard("diff", "main", "work", "elsewhere")
    assert code == 2 and "there is no pipeline at 'elsewhere', in main or in work" in err


def test_a_revision_without_the_file_is_said(repository: Path, wizard: Wizard) -> None:
    commit(p__second_yaml=PIPELINE)
    code, out, _ = wizard("diff", "main:p/second.yaml", "work:p/second.yaml")
    assert code == 0 and out.startswith("p/second.yaml: a new pipeline; main:p/second.yaml does not have it\n")
    code, out, _ = wizard("diff", "work", "main")
    assert "p/second.yaml: is gone; main does not have it\n  work has\n    step reply (generate, asks writer)\n" in out
    code, _, err = wizard("diff", "main:no.yaml", "work:no.yaml")
    assert code == 2 and "neither main:no.yaml nor work:no.yaml is there" in err


def test_a_broken_side_is_3_and_the_other_one_is_shown(repository: Path, wizard: Wizard) -> None:
    commit(p__reply_yaml=EDITED.replace("chain: writer", "chain: writr"))
    code, out, _ = wizard("diff", "main", "work")
    assert code == 3
    assert "p/reply.yaml: broken in work\n" in out
    assert "work is broken: p/reply.yaml:14:39 error[E043] there is no chain 'writr'; did you mean 'writer'?" in out
    assert "main has\n    step reply (generate, asks writer)\n    chain writer: first, second · cache >" in out


def test_a_project_file_and_links_count_as_they_did_in_the_revision(repository: Path, wizard: Wizard) -> None:
    Path("p/linked.yaml").symlink_to("reply.yaml")
    Path("p/out.yaml").symlink_to("/etc/hostname")
    commit(wizard_yaml="policies: {default: {timeout: {total: 40s}}}\n")
    before = git("rev-parse", "HEAD")
    commit(wizard_yaml="policies: {default: {timeout: {total: 50s}}}\n")
    code, out, _ = wizard("diff", before, "HEAD", "--format", "json")
    found = {each["name"]: each for each in json.loads(out)["pipelines"]}
    assert code == 0 and sorted(found) == ["p/linked.yaml", "p/reply.yaml"]
    for each in found.values():
        (change,) = [one for one in each["changes"] if one["section"] == "behaviour"]
        assert change["sentence"] == "timeout.total on writer: 40s → 50s"
        assert (change["file"], change["line"]) == ("wizard.yaml", 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mian"], "git knows no revision 'mian'; did you mean 'main'?"),
        (["mian...work"], "git knows no revision 'mian'; did you mean 'main'?"),
        (["p/reply.yaml"], "there is nothing to compare p/reply.yaml with: wizard diff OLD NEW"),
        (["main:p", "work:p/reply.yaml"], "are a file and a folder; compare two of a kind"),
        (["p/reply.yaml", "p/reply.yaml", "p"], "'p' is one too many: there are two sides already"),
        (["main", "work", "../.."], "../.. lies outside of the repository"),
    ],
)
def test_sides_that_make_no_sense_are_told(repository: Path, wizard: Wizard, words: list[str], said: str) -> None:
    code, out, err = wizard("diff", *words)
    assert (code, out) == (2, "") and said in err


def test_histories_without_a_commit_in_common_are_told(repository: Path, wizard: Wizard) -> None:
    git("switch", "--quiet", "--orphan", "apart")
    commit()
    code, _, err = wizard("diff", "main...apart")
    assert code == 2 and "main and apart have no commit in common" in err


def test_without_a_repository_a_word_that_is_no_path_is_told(wizard: Wizard) -> None:
    code, _, err = wizard("diff", "nowhere.yaml", "one.yaml")
    assert code == 2 and "there is no file or folder 'nowhere.yaml', and " in err and "is in no git repository" in err
