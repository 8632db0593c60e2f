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
            other = "version: 1\nsteps: {say: {type: render, template: Hello}}\n"
            path.write_text(other if name == "gone" else text.replace("1h", "2h") if path.match("new/*/*") else text)
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
    error = "work is broken: error[E043] there is no chain 'writr'; did you mean 'writer'?  p/reply.yaml:14\n"
    assert error in out
    assert "main has\n    step reply (generate, asks writer)\n    chain writer: first, second · cache >" in out


def test_a_file_that_both_sides_break_alike_is_no_change_and_is_counted(repository: Path, wizard: Wizard) -> None:
    broken = EDITED.replace("chain: writer", "chain: writr")
    commit(p__reply_yaml=broken)
    commit(p__reply_yaml=f"# said\n{broken}")
    said = "no change in behaviour in 1 pipeline; neither side of 1 can be compiled\n"
    assert wizard("diff", "HEAD~1", "HEAD")[:2] == (0, said)


def test_what_a_broken_file_runs_is_looked_for_beside_it(repository: Path, wizard: Wizard) -> None:
    outer = 'version: 1\nsteps: {facts: {type: pipeline, file: reply.yaml, inputs: {ticket: "x"}}}\n'
    commit(p__outer_yaml=f"{outer}stps: {{}}\n")
    commit(p__outer_yaml=outer)
    code, out, _ = wizard("diff", "HEAD~1", "HEAD", "p/outer.yaml", "--format", "json")
    assert code == 3
    assert [(each["name"], each["state"]) for each in json.loads(out)["pipelines"]] == [
        ("p/outer.yaml", "broken"),
        ("p/reply.yaml", "same"),
    ]


def test_a_file_that_is_called_otherwise_is_compared_with_what_it_was(repository: Path, wizard: Wizard) -> None:
    git("mv", "p", "q")
    Path("q/reply.yaml").write_text(EDITED.replace("1h", "2h"))
    commit()
    code, out, _ = wizard("diff", "HEAD~1", "HEAD")
    assert code == 0 and out.startswith(
        "p/reply.yaml → q/reply.yaml\n  cache\n    cache.ttl on writer: 1h → 2h  q/reply.yaml:9"
    )
    assert "  state\n    the file p/reply.yaml is called q/reply.yaml now  q/reply.yaml\n" in out
    (found,) = json.loads(wizard("diff", "HEAD~1", "--format", "json").out)["pipelines"]
    assert (found["was"], found["name"], found["state"]) == ("p/reply.yaml", "q/reply.yaml", "changed")


def test_a_file_that_was_removed_here_is_gone(repository: Path, wizard: Wizard) -> None:
    Path("p/reply.yaml").unlink()
    for words in (["HEAD", "p/reply.yaml"], ["HEAD:p/reply.yaml", "p/reply.yaml"], ["HEAD"]):
        code, out, _ = wizard("diff", *words)
        assert code == 0 and out.startswith("p/reply.yaml: is gone; ")
    assert "git knows no revision 'p/never.yaml'" in wizard("diff", "HEAD", "p/never.yaml").err


OVERLAY = "policies: {default: {retry: 3}}\nchains: {writer: {policies: {retry: 4}}}\n"


@pytest.fixture
def overlaid(repository: Path, wizard: Wizard) -> Path:
    """A commit that brings an overlay, and one that changes it."""
    commit(deploy__live_overlay_yaml=OVERLAY.replace("retry: 4", "retry: 2"))
    Path("deploy/live_overlay.yaml").rename("deploy/live.overlay.yaml")
    commit()
    Path("deploy/live.overlay.yaml").write_text(OVERLAY.replace("retry: 4", "retry: 8"))
    commit()
    return repository


def test_an_overlay_lies_over_both_sides_as_each_of_them_has_it(
    overlaid: Path, wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = ("--overlay", "deploy/live.overlay.yaml")
    code, out, err = wizard("diff", "HEAD~1", "HEAD", *over)
    assert (code, err) == (0, "")
    assert "retry.max_attempts on writer: 2 → 8  deploy/live.overlay.yaml:2\n" in out
    assert "worst-case attempts: 4 → 16, from reply.retry  deploy/live.overlay.yaml:2\n" in out
    monkeypatch.chdir("deploy")
    assert wizard("diff", "HEAD~1", "--overlay", "live.overlay.yaml").out == out


def test_an_overlay_that_one_side_lacks_is_said(overlaid: Path, wizard: Wizard) -> None:
    over = ("--overlay", "deploy/live.overlay.yaml")
    code, out, err = wizard("diff", "main", "HEAD", *over)
    assert code == 0 and err == "main has no deploy/live.overlay.yaml: it is compared without\n"
    assert "retry.max_attempts on writer: 2 → 8  deploy/live.overlay.yaml:2\n" in out
    markdown = wizard("diff", "main", "HEAD", *over, "--format", "markdown").out
    assert markdown.startswith("### Behaviour: `main without deploy/live.overlay.yaml` → `HEAD`\n")
    code, out, err = wizard("diff", "main", "HEAD", "--overlay", "deploy/liev.overlay.yaml")
    assert (code, out) == (2, "") and "there is no overlay 'deploy/liev.overlay.yaml', in main or in HEAD" in err


def test_an_overlay_that_changes_and_lies_over_nothing_is_named(overlaid: Path, wizard: Wizard) -> None:
    said = "deploy/live.overlay.yaml differs, too: --overlay deploy/live.overlay.yaml shows what it does\n"
    assert wizard("diff", "HEAD~1", "HEAD").out == f"no change in behaviour in 1 pipeline\n{said}"
    assert said.replace("_", "\\_") in wizard("diff", "HEAD~1", "HEAD", "--format", "markdown").out
    assert json.loads(wizard("diff", "HEAD~1", "--format", "json").out)["overlays"] == ["deploy/live.overlay.yaml"]
    assert "differs" not in wizard("diff", "HEAD~1", "HEAD", "--overlay", "deploy/live.overlay.yaml").out
    Path("deploy/live.overlay.yaml").write_text(f"# said\n{Path('deploy/live.overlay.yaml').read_text()}")
    assert "differs" not in wizard("diff", "HEAD").out


def test_an_overlay_from_elsewhere_and_a_setting_lie_over_both_sides(
    repository: Path, wizard: Wizard, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text("chains: {writer: {policies: {cache: off}}}\n")
    found = changes(wizard("diff", "main", "--overlay", str(tmp_path / "own.yaml"), "--format", "json").out)
    assert not any("cold" in each for each in found)
    found = changes(wizard("diff", "main", "--set", "chains.writer.policies.retry=5", "--format", "json").out)
    assert not any("retry" in each for each in found) and "step reply: the prompt changes" in found


def test_files_of_a_submodule_are_those_of_the_commit_that_a_revision_names(
    repository: Path, wizard: Wizard, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git("-C", str(library), "init", "--quiet", "--initial-branch=main")
    for words in ("Say it.", "Shout it."):
        (library / "reply.md").write_text(f"# user\n\n{words} {{{{ ticket }}}}\n")
        git("-C", str(library), "add", "--all")
        git("-C", str(library), "commit", "--quiet", "--message", words)
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "p/lib")
    git("-C", "p/lib", "checkout", "--quiet", "HEAD~1")
    commit(p__reply_yaml=PIPELINE.replace("prompts/reply.md", "lib/reply.md"))
    git("-C", "p/lib", "checkout", "--quiet", "main")
    commit()
    for words in (["HEAD~1", "HEAD"], ["HEAD~1"]):
        (found,) = json.loads(wizard("diff", *words, "--format", "json").out)["pipelines"]
        (prompt,) = [each for each in found["changes"] if each["section"] == "prompts"]
        assert (prompt["file"], prompt["detail"][1:]) == (
            "p/lib/reply.md",
            ["-Say it. {{ ticket }}", "+Shout it. {{ ticket }}"],
        )
    git("submodule", "--quiet", "deinit", "--force", "p/lib")
    assert "neither side of 1 can be compiled" in wizard("diff", "HEAD~1", "HEAD").out


def test_a_shallow_clone_is_told_how_to_get_the_rest(
    repository: Path, wizard: Wizard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("clone", "--quiet", "--depth=1", "--branch=work", repository.as_uri(), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    for word in ("main", "HEAD~1", "main...HEAD"):
        code, _, err = wizard("diff", word)
        assert code == 2 and "this clone is shallow: fetch the whole history (in GitHub Actions: fetch-depth: 0)" in err
    git("fetch", "--quiet", "--depth=1", "origin", "main")
    code, _, err = wizard("diff", "FETCH_HEAD...HEAD")
    assert code == 2 and "no commit in common; this clone is shallow" in err
    assert wizard("diff", "FETCH_HEAD").code == 0


def test_why_git_refuses_is_told(repository: Path, wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".git/config").write_text("[core\n")
    code, _, err = wizard("diff", "HEAD")
    assert code == 2 and "git cannot be asked: fatal: bad config line 1" in err


def test_what_a_file_says_that_a_reference_names_counts(repository: Path, wizard: Wizard) -> None:
    text = EDITED.replace("cache: 1h", 'cache: "${file:ttl.txt}"').replace(
        "name: reply", 'deadline: "${file:long.txt}"'
    )
    commit(p__reply_yaml=text, **{"p/ttl.txt": "1h\n", "p/long.txt": "40s\n"})
    commit(**{"p/ttl.txt": "2h\n"})
    for words in (["HEAD~1", "HEAD"], ["HEAD~1"]):
        found = json.loads(wizard("diff", *words, "--format", "json").out)["pipelines"][0]["changes"]
        assert [(each["sentence"], each["line"]) for each in found] == [("cache.ttl on writer: another value", 9)]


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
    assert code == 2 and "main and apart have no commit in common; main..apart compares them as they are" in err


def test_without_a_repository_a_word_that_is_no_path_is_told(wizard: Wizard) -> None:
    code, _, err = wizard("diff", "nowhere.yaml", "one.yaml")
    assert code == 2 and "there is no file or folder 'nowhere.yaml', and " in err and "is in no git repository" in err
