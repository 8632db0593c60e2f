"""The pytest plug-in: collects `*.test.yaml`, one item a case, and gives tests in Python a pipeline to work with.

pytest loads it with every project it is installed beside; until a file or a fixture asks for more, it imports nothing.

Snapshots are syrupy's: `--snapshot-update` approves them, and a case's is the file that `wizard test --update` writes.
A Result that is compared with `snapshot` is written as people read it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from wizard_dsl.testing.bench import ScriptedPipeline, VirtualTime
    from wizard_dsl.testing.cases import Case, Programs, Suite
    from wizard_dsl.testing.scripted import Script
    from wizard_dsl.testing.trying import Outcome

_ENDINGS: Final = (".test.yaml", ".test.yml")
#: What tells one of our files from those of others that end alike: the key that each has, or the grammar that its
#: editor is told of, so that a misspelt key hides no tests.
_OURS: Final = rb"(?m)^pipeline\s*:|^#.*\$schema=\S*\btest\.schema\.json"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A file of tests, where it is one of ours."""
    if not file_path.name.endswith(_ENDINGS) or not re.search(_OURS, file_path.read_bytes()):
        return None
    found: pytest.Collector = TestFile.from_parent(parent, path=file_path)
    return found


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Teach syrupy to write a Result."""
    if config.pluginmanager.hasplugin("syrupy"):
        from wizard_dsl.testing import _syrupy

        config.add_cleanup(_syrupy.teach())


class Invalid(Exception):
    """A test file with errors; its text is what `wizard validate` says."""


class Failed(Exception):
    """A case that does not hold; its text says what was expected, what was, and what happened."""


class TestFile(pytest.Module):
    """A file of tests: a module of pytest, so that fixtures and marks work, that nobody imports."""

    __test__ = False

    def _getobj(self) -> ModuleType:
        return ModuleType(self.path.stem)

    def collect(self) -> Iterator[pytest.Function]:
        """The cases. Raises Invalid where the file has errors."""
        from wizard_dsl.spec.diagnostics import has_errors, ordered, render_text
        from wizard_dsl.testing.trying import collect

        suite = collect(self.path, _programs(self.config))
        if has_errors(suite.found.diagnostics):
            raise Invalid(render_text(ordered(suite.found.diagnostics)))
        for case in suite.cases:
            yield TestCase.of(self, suite, case)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """The diagnostics, without a traceback."""
        return str(excinfo.value).rstrip() if isinstance(excinfo.value, Invalid) else super().repr_failure(excinfo)


class TestCase(pytest.Function):
    """One case."""

    __test__ = False
    case: Case

    @classmethod
    def of(cls, parent: TestFile, suite: Suite, case: Case) -> TestCase:
        """The item of a case; one with a snapshot asks for syrupy's fixture."""

        def plain() -> None:
            _hold(suite, case)

        def kept(snapshot: SnapshotAssertion) -> None:
            _compare(suite, case, _hold(suite, case), snapshot)

        item: TestCase = cls.from_parent(parent, name=case.name, callobj=kept if case.spec.snapshot else plain)
        item.case = case
        return item

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case is written."""
        return self.path, self.case.place.line - 1, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """What is not as it should be, without a traceback of ours."""
        return str(excinfo.value) if isinstance(excinfo.value, Failed) else super().repr_failure(excinfo)


def _hold(suite: Suite, case: Case) -> str | None:
    """The text of a case's snapshot, if it has one. Raises Failed where the case does not hold."""
    from wizard_dsl.testing.trying import try_case

    outcome = try_case(suite, case, snapshots="make")
    if not outcome.passed:
        raise Failed(_told(outcome))
    return outcome.snapshot


def _compare(suite: Suite, case: Case, text: str | None, snapshot: SnapshotAssertion) -> None:
    """Let syrupy compare, or approve. What is not the same twice is never approved. Raises Failed."""
    from wizard_dsl.testing._syrupy import CaseText
    from wizard_dsl.testing.checking import difference
    from wizard_dsl.testing.snapshots import approved, first_difference

    before = approved(case)
    if text != before and (again := _hold(suite, case)) != text:
        differ = first_difference(text or "", again or "")
        raise Failed(f"two runs of this test differ, so no snapshot of it can hold: {differ}")
    if snapshot.use_extension(CaseText) == text:
        return
    if before is None:
        raise Failed("there is no snapshot of this test yet: --snapshot-update writes it")
    diff = difference(before, text or "", "approved", "now")
    raise Failed(f"the snapshot differs: --snapshot-update approves what is now\n{diff}")


def _told(outcome: Outcome) -> str:
    from wizard_dsl.testing.coverage_report import name_of

    lines = []
    if outcome.samples > 1:
        lines.append(f"{outcome.good} of {outcome.samples} samples passed; of the first that did not:")
    for failure in outcome.failures:
        place = failure.place
        lines.append(f"{name_of(place.file, Path.cwd())}:{place.line}:{place.column} {failure.sentence}")
        lines += [failure.diff] if failure.diff else []
    return "\n".join([*lines, *(["", "what happened:", outcome.transcript] if outcome.transcript else [])])


_PROGRAMS = pytest.StashKey[Any]()


def _programs(config: pytest.Config) -> Programs:
    """What is compiled once for all files of the session."""
    if _PROGRAMS not in config.stash:
        from wizard_dsl.registry import Registry
        from wizard_dsl.testing.cases import Programs

        config.stash[_PROGRAMS] = Programs(Registry())
    programs: Programs = config.stash[_PROGRAMS]
    return programs


# -- fixtures -----------------------------------------------------------------------------------------


@pytest.fixture
def virtual_time() -> Iterator[VirtualTime]:
    """A loop in virtual time: `virtual_time.run(main())`, `virtual_time.advance("30s")`, `virtual_time.now`."""
    from wizard_dsl.testing.bench import VirtualTime

    with VirtualTime() as time:
        yield time


@pytest.fixture
def wizard_pipeline(
    request: pytest.FixtureRequest, virtual_time: VirtualTime
) -> Iterator[Callable[..., ScriptedPipeline]]:
    """Opens a pipeline file with scripted targets, in virtual time:

        pipeline = wizard_pipeline("pipelines/triage.yaml", {"*": [503, "a reply"]})
        assert pipeline.run(ticket="…").text == "a reply"

    The path is relative to the test's folder, else to pytest's root. `env` are the variables that the file sees, `seed`
    is that of all chance.
    """
    from wizard_dsl.testing.bench import Bench

    with Bench(virtual_time) as bench:

        def opened(path: str | Path, targets: Any, **options: Any) -> ScriptedPipeline:
            beside = request.path.parent / path
            return bench.open(beside if beside.exists() else request.config.rootpath / path, targets, **options)

        yield opened


@pytest.fixture
def wizard_script() -> Iterator[Callable[..., Script]]:
    """Makes a script of items that several targets may share, and that tells what was asked: `script.calls`. The test
    fails where items are left over at its end."""
    from wizard_dsl.testing.scripted import Script as Made

    made: list[Script] = []

    def script(*items: Any) -> Script:
        made.append(Made("the script", items))
        return made[-1]

    yield script
    left = sum(each.left for each in made)
    if left:
        pytest.fail(f"{left} item{'s' if left > 1 else ''} of the test's scripts left over", pytrace=False)
