"""Test files → cases: defaults, test and row of its table as one, and the pipeline compiled for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os.path import normpath
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.core.units import parse_duration, parse_ratio
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import DocPath, Place
from wizard_dsl.spec.project import find_project
from wizard_dsl.testing.documents import Read, read
from wizard_dsl.testing.testfile import MAX_STEPS, TEST_FILE, Expect, Row, RunSpec, TestFile, TestSpec

#: Keys that are taken whole from whoever says them last.
_SINGLE: Final = ("cassette", "overlay", "chain", "deadline", "session", "principal", "seed", "max_steps")
_LONGEST_NAME: Final = 60


class Assertion(msgspec.Struct, frozen=True):
    """One key of an `expect`: what is looked at, what it has to be, and where that is written."""

    key: str
    wanted: Any
    path: DocPath


class Source(msgspec.Struct, frozen=True):
    """A script: items of a pattern, and where they are written. What is left over of a `shared` one, is not missed."""

    pattern: str
    items: tuple[Any, ...]
    path: DocPath
    shared: bool = False


class PlannedRun(msgspec.Struct, frozen=True):
    """One run of a case, or several alike at once. `after` in seconds; `outcomes` is about all of them together."""

    inputs: Mapping[str, Any]
    assertions: tuple[Assertion, ...]
    outcomes: Assertion | None = None
    after: float = 0.0
    times: int = 1
    deadline: str | None = None
    session: str | None = None
    principal: str | None = None


class Options(msgspec.Struct, frozen=True):
    """What lies over the pipeline of a case: what it is compiled with."""

    env: Mapping[str, str]
    overlays: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    chain: str | None = None


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One case, ready to run. `path` leads to its test in the file, `row` to the row of its table."""

    file: Path
    name: str
    path: DocPath
    place: Place
    pipeline: Path
    options: Options
    scripts: tuple[Source, ...]
    runs: tuple[PlannedRun, ...]
    spec: TestSpec
    cassette: Path | None = None
    seed: int = 0
    max_steps: int = MAX_STEPS
    row: DocPath | None = None

    @property
    def id(self) -> str:
        """`triage.test.yaml::a dead primary is left`: unique among all cases."""
        return f"{self.file}::{self.name}"

    @property
    def pass_rate(self) -> float:
        return parse_ratio(self.spec.pass_rate)


class Programs:
    """Pipelines compiled once for each set of options. With `record`, cassettes are about to be recorded: what is
    there of them is not looked at. `wall` is now, in epoch seconds, by which a cassette is old; None: it does not
    matter."""

    def __init__(self, registry: Registry, *, record: bool = False, wall: float | None = None) -> None:
        self.registry = registry
        self.wall = wall
        self.record = record
        self._compiled: dict[bytes, Compiled] = {}

    def compiled(self, pipeline: Path, options: Options) -> Compiled:
        """The pipeline under these options. Keys of providers are not missed: every target is scripted."""
        key = msgspec.json.encode((str(pipeline), options), order="sorted")
        if key not in self._compiled:
            sources = Sources(
                overlays=options.overlays,
                sets=options.sets,
                env=dict(options.env),
                mock=True,
                chain=options.chain,
            )
            self._compiled[key] = compile_file(pipeline, self.registry, sources)
        return self._compiled[key]


class Suite(msgspec.Struct, frozen=True):
    """A test file that was read: its cases, and all that is wrong with it."""

    file: Path
    cases: tuple[Case, ...]
    found: Read[TestFile]
    programs: Programs

    def compiled(self, case: Case) -> Compiled:
        return self.programs.compiled(case.pipeline, case.options)


def suite_of(path: Path, programs: Programs, *, text: str | None = None) -> Suite:
    """The cases of a test file, not yet held against the pipeline; none where it cannot be read."""
    found = read(path, TEST_FILE, text=text)
    if found.value is None:
        return Suite(path, (), found, programs)
    return Suite(path, tuple(_renamed(_cases(path, found.value, found))), found, programs)


def _renamed(cases: Iterable[Case]) -> Iterator[Case]:
    """Each with a name of its own, also where a test is called as the row of another."""
    taken: set[str] = set()
    for case in cases:
        name = case.name
        while name in taken:
            name += " again"
        taken.add(name)
        yield case if name == case.name else msgspec.structs.replace(case, name=name)


def _cases(path: Path, file: TestFile, found: Read[TestFile]) -> Iterator[Case]:
    for name, test in file.tests.items():
        at: DocPath = ("tests", name)
        if test.for_each is None:
            yield _case(path, file, found, test, (name, at, None))
            continue
        for index, title in enumerate(_titles(test.for_each)):
            yield _case(path, file, found, test, (f"{name} [{title}]", at, index))


def _titles(rows: list[Row]) -> list[str]:
    """A name for each row: its own, else that of its inputs where they are short and tell the rows apart, else its
    number."""
    titles = [row.name or _by_inputs(row.inputs) for row in rows]
    return [
        title if title and titles.count(title) == 1 else str(number) for number, title in enumerate(titles, start=1)
    ]


def _by_inputs(inputs: Mapping[str, Any]) -> str:
    plain = all(isinstance(each, str | int | float | bool) for each in inputs.values())
    title = ", ".join(f"{name}={each}" for name, each in inputs.items()) if plain else ""
    return title if len(title) <= _LONGEST_NAME and title.isprintable() else ""


def _case(
    path: Path, file: TestFile, found: Read[TestFile], test: TestSpec, spot: tuple[str, DocPath, int | None]
) -> Case:
    name, at, index = spot
    row = Row() if index is None or test.for_each is None else test.for_each[index]
    row_at = None if index is None else (*at, "for_each", index)
    layers = [(file.defaults, ("defaults",), True), (test, at, False), (row, row_at or at, False)]
    single = {key: [getattr(each, key) for each, _, _ in layers if getattr(each, key) is not None] for key in _SINGLE}
    last = {key: values[-1] if values else None for key, values in single.items()}
    overlays = last["overlay"] or []
    folder = path.parent
    sets = {key: value for each, _, _ in layers for key, value in each.set.items()}
    base = {key: value for each, _, _ in layers for key, value in each.inputs.items()}
    return Case(
        file=path,
        name=name,
        path=at,
        row=row_at,
        place=found.source.value_at(row_at) if row_at else found.source.key_at(at),
        pipeline=Path(normpath(folder / file.pipeline)),
        options=Options(
            env={key: value for each, _, _ in layers for key, value in each.env.items()},
            overlays=tuple(str(folder / each) for each in ([overlays] if isinstance(overlays, str) else overlays)),
            sets=tuple(f"{key}={msgspec.json.encode(value).decode()}" for key, value in sets.items()),
            chain=last["chain"],
        ),
        scripts=tuple(_scripts(layers)),
        runs=tuple(_runs(test, base, _assertions(test.expect, at), _assertions(row.expect, row_at or at), at, last)),
        spec=test,
        cassette=folder / last["cassette"] if last["cassette"] else None,
        seed=last["seed"] or 0,
        max_steps=last["max_steps"] or MAX_STEPS,
    )


def _scripts(layers: list[tuple[Any, DocPath, bool]]) -> Iterator[Source]:
    """The scripts, those of the row first: the first pattern that matches a target is taken, and one that is written
    again replaces what lies below."""
    taken: set[str] = set()
    for given, at, shared in reversed(layers):
        for pattern, items in given.targets.items():
            if pattern not in taken:
                taken.add(pattern)
                yield Source(pattern, tuple(items), (*at, "targets", pattern), shared)


def _assertions(expect: Expect, at: DocPath) -> dict[str, Assertion]:
    """The keys that are written, in their order."""
    return {
        key: Assertion(key, getattr(expect, key), (*at, "expect", key))
        for key in expect.__struct_fields__
        if getattr(expect, key) is not UNSET
    }


def _runs(
    test: TestSpec,
    base: Mapping[str, Any],
    own: Mapping[str, Assertion],
    rows: Mapping[str, Assertion],
    at: DocPath,
    last: Mapping[str, Any],
) -> Iterator[PlannedRun]:
    specs = test.runs or [RunSpec()]
    for index, spec in enumerate(specs):
        asked = _assertions(spec.expect, (*at, "runs", index))
        if index == len(specs) - 1:
            asked = {**own, **rows, **asked}
        counted = spec.outcomes is not UNSET
        if "error" not in asked and not counted:
            asked["error"] = Assertion("error", None, at)
        yield PlannedRun(
            inputs={**base, **spec.inputs},
            assertions=tuple(asked.values()),
            outcomes=Assertion("outcomes", spec.outcomes, (*at, "runs", index, "outcomes")) if counted else None,
            after=parse_duration(spec.after),
            times=spec.times,
            deadline=spec.deadline or last["deadline"],
            session=spec.session or last["session"],
            principal=spec.principal or last["principal"],
        )


def root_of(path: Path) -> Path:
    """The folder that the paths in a test file may not leave."""
    return find_project(path).root.resolve()
