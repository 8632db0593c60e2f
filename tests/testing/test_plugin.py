"""The pytest plug-in: test files are collected, and tests in Python get pipelines to work with."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from wizard_dsl.testing import _syrupy
from wizard_dsl.testing.bench import Bench, VirtualTime
from wizard_dsl.testing.result_text import readable
from wizard_dsl.testing.trying import collect, try_case

pytest_plugins = ["pytester"]

#: Where this package is not installed with its entry point, the plug-in is named; where it is, pytest loads it once.
NAMED = [] if entry_points(group="pytest11", name="wizard") else ["-p", "wizard_dsl.testing.plugin"]

ASK = """
version: 1
inputs: {question: {type: string, default: Why?}}
providers: {local: {type: mock}}
chains: {default: {targets: [local]}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""
TESTS = """
version: 1
pipeline: ask.yaml
tests:
  answers: {targets: {local: ["yes"]}, expect: {text: "yes"}}
  each of them:
    for_each: [{name: one, expect: {text: "1"}}, {name: two, expect: {text: "2"}}]
    targets: {local: ["1"]}
"""
WRONG = "version: 1\npipeline: ask.yaml\ntests: {one: {targetz: {}}}\n"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # syrupy would leave its report to somebody else
    pytester.makefile(".yaml", ask=ASK)
    pytester.makefile(".test.yaml", ask=TESTS)
    return pytester


@pytest.fixture(autouse=True)
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that a run imports is here before: pytest in pytest forgets what was imported meanwhile, and some modules
    cannot be imported twice."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "ask.yaml").write_text(ASK)
    (folder / "ask.test.yaml").write_text(TESTS)
    (folder / "bad.test.yaml").write_text(WRONG)
    suite = collect(folder / "ask.test.yaml")
    assert collect(folder / "bad.test.yaml").found.diagnostics
    assert try_case(suite, suite.cases[0]).passed and _syrupy.ResultWriter
    with VirtualTime() as time, Bench(time) as bench:
        assert readable(bench.open(folder / "ask.yaml", {"*": [503, "yes"]}).run())


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    off = [
        part for name in ("randomly", "cov", "hypothesispytest", "xdist", "asyncio") for part in ("-p", f"no:{name}")
    ]
    return project.runpytest_inprocess(*NAMED, *off, *arguments)


def test_each_case_is_an_item_and_a_failed_one_says_what_happened(project: pytest.Pytester) -> None:
    result = run(project, "-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "ask.test.yaml::answers PASSED*",
            "ask.test.yaml::each of them ?one? PASSED*",
            "ask.test.yaml::each of them ?two? FAILED*",
            'ask.test.yaml:6:*text: expected "2", was "1"',
            "what happened:",
            "*local: attempt 1",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*plugin.py*")


def test_cases_are_chosen_as_all_tests_are(project: pytest.Pytester) -> None:
    run(project, "-k", "answers").assert_outcomes(passed=1, deselected=2)
    run(project, "ask.test.yaml::answers").assert_outcomes(passed=1)


def test_a_file_with_errors_says_where_and_what(project: pytest.Pytester) -> None:
    project.makefile(".test.yaml", bad=WRONG)
    result = run(project, "bad.test.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bad.test.yaml:3:15 error?E021? unknown key 'targetz' *did you mean 'targets'?"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_files_of_others_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makefile(".test.yaml", theirs="suite: something else\nx: [")
    pytester.makefile(".yaml", ask=ASK)
    run(pytester).assert_outcomes()


def test_a_misspelt_pipeline_hides_no_file_whose_editor_is_told_the_grammar(project: pytest.Pytester) -> None:
    schema = "# yaml-language-server: $schema=../schemas/test.schema.json\n"
    project.makefile(".test.yaml", bad=schema + "version: 1\npipelin: ask.yaml\ntests: {a: {}}\n")
    result = run(project, "bad.test.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bad.test.yaml:3:1 error?E021? unknown key 'pipelin' *did you mean 'pipeline'?"])


def test_a_test_in_python_gets_a_pipeline_in_virtual_time(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from wizard_dsl.core.errors import WizardError

        def test_waits(wizard_pipeline, virtual_time):
            pipeline = wizard_pipeline("ask.yaml", {"local": [503, 503, 503, "yes"]})
            with pytest.raises(WizardError) as failed:
                pipeline.run(question="Why?")
            assert failed.value.kind == "server" and len(failed.value.result.attempts) == 3
            before = virtual_time.now
            virtual_time.advance("10m")
            assert virtual_time.now == before + 600
            assert pipeline.run().text == "yes"
            assert len(pipeline.scripts["local"].calls) == 4

        def test_awaits(wizard_pipeline, virtual_time):
            pipeline = wizard_pipeline("ask.yaml", {"*": ["one", "two"]})

            async def both():
                return [await pipeline.pipeline.run(), await pipeline.pipeline.run()]

            assert [each.text for each in virtual_time.run(both())] == ["one", "two"]
        """
    )
    run(project, "-k", "waits").assert_outcomes(passed=2, deselected=3)


def test_what_is_left_of_a_script_fails_the_test(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_leaves(wizard_pipeline, wizard_script):
            script = wizard_script("yes", "and more", "still more")
            assert wizard_pipeline("ask.yaml", {"*": script}).run().text == "yes"
            assert script.calls[0][0].messages[0].text == "Why?"
        """
    )
    result = run(project, "-k", "leaves")
    result.assert_outcomes(passed=1, errors=1, deselected=3)
    result.stdout.fnmatch_lines(["2 items of the test's scripts left over"])


def test_a_result_is_written_as_people_read_it_and_compared(project: pytest.Pytester) -> None:
    path = project.makepyfile(
        """
        def test_result(wizard_pipeline, snapshot):
            result = wizard_pipeline("ask.yaml", {"*": [503, "REPLY"]}, seed=7).run()
            assert result == snapshot
            assert {"result": result} == snapshot
        """
    )
    asked = (path.name, "--snapshot-update")
    run(project, *asked).assert_outcomes(passed=1)
    kept = (project.path / "__snapshots__" / f"{path.stem}.ambr").read_text()
    assert "  text:\n    REPLY\n  attempts:\n    answer  local  503 server  at 0.000 s" in kept
    assert "run_id" not in kept and "hash" not in kept
    run(project, path.name).assert_outcomes(passed=1)
    path.write_text(path.read_text().replace("REPLY", "ANSWER"))
    result = run(project, path.name)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*-*REPLY", "*+*ANSWER"])
    run(project, *asked).assert_outcomes(passed=1)
    run(project, path.name).assert_outcomes(passed=1)


SHOWN = """
version: 1
pipeline: ask.yaml
tests:
  it's asked: {targets: {local: ["yes"]}, snapshot: true}
"""


def test_a_snapshot_is_the_file_that_the_command_writes_and_is_approved_here_too(project: pytest.Pytester) -> None:
    project.makefile(".test.yaml", ask=SHOWN)
    kept = project.path / "__snapshots__" / "ask.test"
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["there is no snapshot of this test yet: --snapshot-update writes it"])
    run(project, "--snapshot-update").assert_outcomes(passed=1)
    (path,) = kept.iterdir()
    suite = collect(project.path / "ask.test.yaml")
    assert try_case(suite, suite.cases[0]).passed, "wizard test finds it, and it is the same"
    assert path.read_text() == try_case(suite, suite.cases[0], snapshots="make").snapshot
    run(project).assert_outcomes(passed=1)
    (project.path / "ask.yaml").write_text(ASK.replace("{{ question }}", "{{ question }} Be brief."))
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the snapshot differs: *", "*-*Why?", "*+*Why? Be brief."])
    result.stdout.no_fnmatch_line("*Traceback*")
    run(project, "--snapshot-update").assert_outcomes(passed=1)
    assert "Be brief." in path.read_text()


def test_a_snapshot_of_no_test_is_told_and_removed(project: pytest.Pytester) -> None:
    project.makefile(".test.yaml", ask=SHOWN)
    project.makepyfile("def test_other(snapshot): assert 1 == snapshot")
    run(project, "--snapshot-update").assert_outcomes(passed=2)
    (kept,) = (project.path / "__snapshots__" / "ask.test").iterdir()
    stale = kept.with_name("of-no-test.txt")
    stale.write_text("gone")
    assert run(project).ret == 1
    run(project, "--snapshot-update").assert_outcomes(passed=2)
    assert kept.exists() and not stale.exists()


def test_importing_the_plug_in_imports_nothing_of_weight() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import wizard_dsl.testing.plugin; "
        "print(sorted(set(sys.modules) - before))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert eval(told.stdout) == ["wizard_dsl", "wizard_dsl.testing", "wizard_dsl.testing.plugin"]
