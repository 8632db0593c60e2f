"""A test file held against its pipeline: whatever it names has to be there, and whatever it compares with has to be
readable. Everything that is wrong is found at once, before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from wizard_dsl.compiler.names import subprograms, targets_of
from wizard_dsl.core.errors import InputInvalid
from wizard_dsl.observe.facts import ERROR_FACTS, NAMES, STEP_FACTS
from wizard_dsl.observe.log import event_names
from wizard_dsl.prompts.expression import Expression
from wizard_dsl.prompts.names import Known
from wizard_dsl.runtime.breakers import breaker_names
from wizard_dsl.runtime.inputs import Inputs
from wizard_dsl.spec.diagnostics import DocPath, has_errors, meant, ordered, sentence, show_value
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.project import leaves
from wizard_dsl.testing.against_checks import playable, readable, share
from wizard_dsl.testing.cases import Assertion, Case, Options, PlannedRun, Suite, root_of
from wizard_dsl.testing.expecting import expression_of

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import Program
    from wizard_dsl.testing.against_cassettes import Cassettes

#: Names that log lines have: of all our events.
LOGGED: Final = event_names()


def hold_against(suite: Suite) -> None:
    """Report all that does not fit the pipeline, in `suite.found.report`."""
    if suite.found.value is None or not _is_there(suite):
        return
    for name, test in suite.found.value.tests.items():
        share(test.pass_rate, ("tests", name, "pass_rate"), suite.found.report)
    work = _Against(suite)
    for case in suite.cases:
        work.case(case)


def _is_there(suite: Suite) -> bool:
    """Whether the pipeline is a file of the project."""
    assert suite.found.value is not None
    name, report = suite.found.value.pipeline, suite.found.report
    path = (suite.file.parent / name).resolve()
    if not path.is_relative_to(root_of(suite.file)):
        message, hint = leaves(name, suite.file)
        report.add("E033", message, ("pipeline",), suggestion=hint)
    elif not path.is_file():
        others = [each.name for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        near = meant(path.name, [each for each in others if not each.endswith((".test.yaml", ".test.yml"))])
        report.add("E035", f"there is no file '{name}'", ("pipeline",), suggestion=near)
    else:
        return True
    return False


class _Against:
    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.report = suite.found.report
        self.whole = not has_errors(self.report.found)
        self._told: set[bytes] = set()
        self._inputs: dict[int, Inputs] = {}

    @cached_property
    def _cassettes(self) -> Cassettes:
        from wizard_dsl.testing.against_cassettes import Cassettes

        return Cassettes(self.suite.file, self.report, self.suite.programs)

    def case(self, case: Case) -> None:
        program = self._program(case) if self._overlays_are_there(case) else None
        if program is None:
            return
        self._patterns(case, program)
        if case.cassette is not None:
            self._cassettes.check(case.cassette, self._at(case, "cassette"), self.suite.compiled(case))
        for run in case.runs:
            for assertion in (*run.assertions, run.outcomes):
                if assertion is not None:
                    self._assertion(assertion, program)
        self._names_of_inputs(case, program)
        for index, run in enumerate(case.runs):
            self._values(case, run, index, program)

    # -- the pipeline -------------------------------------------------------------------------------

    def _program(self, case: Case) -> Program | None:
        """The program under the options of a case; without one, why is told, once for each set of options."""
        chain = case.options.chain
        plain = msgspec.structs.replace(case.options, chain=None)
        compiled = self.suite.programs.compiled(case.pipeline, plain)
        if compiled.program is None:
            self._failed(compiled, case, plain)
            return None
        if chain is not None and chain not in compiled.program.chains:
            at = self._at(case, "chain")
            hint = meant(chain, compiled.program.chains)
            self._tell("E081", f"the pipeline has no chain {show_value(chain)}", at, suggestion=hint)
            return None
        if chain is not None:
            compiled = self.suite.compiled(case)
            if compiled.program is None:
                self._failed(compiled, case, case.options)
        return compiled.program

    def _overlays_are_there(self, case: Case) -> bool:
        """Whether each is a file of the project; those that are not are told."""
        if not case.options.overlays:
            return True
        root = root_of(case.file)
        wrong = [each for each in case.options.overlays if not _is_in(Path(each), root)]
        for each in wrong:
            written = os.path.relpath(each, case.file.parent)
            at = self._at(case, "overlay")
            if Path(each).resolve().is_relative_to(root):
                self._tell("E035", f"there is no file '{written}'", at)
            else:
                message, hint = leaves(written, case.file)
                self._tell("E033", message, at, suggestion=hint)
        return not wrong

    def _failed(self, compiled: Compiled, case: Case, options: Options) -> None:
        key = msgspec.json.encode(options, order="sorted")
        if key in self._told:
            return
        self._told.add(key)
        errors = ordered(each for each in compiled.diagnostics if each.severity == "error")
        at: DocPath = ("pipeline",)
        if options.overlays or options.sets or options.chain:
            at = next(
                (at for each in ("set", "overlay", "chain") if (at := self._at(case, each)) != case.path), case.path
            )
        count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
        self._tell("E080", f"{case.pipeline.name} has {count}: {sentence(errors[0])}", at)
        self.report.found.extend(each for each in errors if each.line)

    def _at(self, case: Case, key: str) -> DocPath:
        """Where a key that a case has is written: in its row, its test, or the defaults; else the test."""
        for above in (case.row, case.path, ("defaults",)):
            if above is not None and (*above, key) in self.suite.found.source.positions:
                return (*above, key)
        return case.path

    # -- targets and inputs -------------------------------------------------------------------------

    def _patterns(self, case: Case, program: Program) -> None:
        names = sorted(targets_of(program))
        for script in case.scripts:
            playable(script.items, script.path, self.report)
            if not any(fnmatchcase(name, script.pattern) for name in names):
                self._no_target(script.pattern, names, script.path, key=True)

    def _no_target(self, pattern: str, names: list[str], path: DocPath, *, key: bool = False) -> None:
        message = f"no target is called {show_value(pattern)}"
        self._tell("E082", message, path, key=key, suggestion=meant(pattern, names))

    def _names_of_inputs(self, case: Case, program: Program) -> None:
        layers: list[tuple[DocPath, Iterable[str]]] = [
            (above, self._keys((*above, "inputs"))) for above in (("defaults",), case.path, case.row) if above
        ]
        layers += [
            ((*case.path, "runs", index), self._keys((*case.path, "runs", index, "inputs")))
            for index in range(len(case.runs))
        ]
        for above, names in layers:
            for name in names:
                if name not in program.inputs:
                    hint = meant(name, program.inputs) or "this pipeline takes no inputs"
                    self._tell(
                        "E081",
                        f"the pipeline has no input {show_value(name)}",
                        (*above, "inputs", name),
                        key=True,
                        suggestion=hint,
                    )

    def _keys(self, path: DocPath) -> Iterator[str]:
        value = value_in(self.suite.found.source.data, path)
        yield from value if isinstance(value, dict) else ()

    def _values(self, case: Case, run: PlannedRun, index: int, program: Program) -> None:
        """The values of a run against the declarations, unless the test expects them to be refused."""
        expected = next((each.wanted for each in run.assertions if each.key == "error"), None)
        kind = getattr(expected, "kind", expected)
        refused = run.outcomes is not None and "input" in run.outcomes.wanted
        if kind == "input" or refused or not self.whole:
            return
        given = {name: value for name, value in run.inputs.items() if name in program.inputs}
        inputs = self._inputs.setdefault(id(program), Inputs(program.inputs))
        try:
            inputs.check(given)
        except InputInvalid as error:
            at = self._place_of(case, index, error.where or "")
            self._tell("E083", error.message, at, key=at[-1:] != (error.where,), suggestion=_hint(error))

    def _place_of(self, case: Case, index: int, name: str) -> DocPath:
        runs: DocPath = (*case.path, "runs", index)
        for above in (runs, case.row, case.path, ("defaults",)):
            if above is not None and (*above, "inputs", name) in self.suite.found.source.positions:
                return (*above, "inputs", name)
        return case.row or case.path

    # -- what is expected ---------------------------------------------------------------------------

    def _assertion(self, each: Assertion, program: Program) -> None:
        readable(each.wanted, each.path, self.report)
        if each.key == "served_by" and each.wanted is not None:
            self._served_by(each.wanted, each.path, program)
        elif each.key == "steps":
            self._steps(each, program)
        elif each.key == "breakers":
            names = sorted(breaker_names([program, *subprograms(program)]))
            for pattern in each.wanted:
                if not any(fnmatchcase(name, pattern) for name in names):
                    hint = meant(pattern, names) or "no target has a circuit_breaker"
                    message = f"there is no circuit breaker {show_value(pattern)}"
                    self._tell("E081", message, (*each.path, pattern), key=True, suggestion=hint)
        elif each.key == "logs":
            self._logs(each)
        elif each.key == "output":
            self._outputs(each, program)
        elif each.key == "that":
            self._that(each, program)

    def _served_by(self, pattern: str, path: DocPath, program: Program) -> None:
        names = sorted(targets_of(program))
        if not any(fnmatchcase(name, pattern) for name in names):
            self._no_target(pattern, names, path)

    def _steps(self, each: Assertion, program: Program) -> None:
        names = [step.name for step in program.steps]
        for name, expect in each.wanted.items():
            at = (*each.path, name)
            if name not in names:
                message = f"the pipeline has no step {show_value(name)}"
                self._tell("E081", message, at, key=True, suggestion=meant(name, names))
            elif isinstance(expect.served_by, str):
                self._served_by(expect.served_by, (*at, "served_by"), program)

    def _logs(self, each: Assertion) -> None:
        for name in each.wanted:
            if name not in LOGGED and "." not in name:
                message = f"no event is called {show_value(name)}"
                self._tell("E081", message, (*each.path, name), key=True, suggestion=meant(name, LOGGED))

    def _outputs(self, each: Assertion, program: Program) -> None:
        """The first name of each path, where the pipeline says which outputs there are."""
        paths = getattr(each.wanted, "at", UNSET)
        if paths is UNSET or not isinstance(program.output, Mapping):
            return
        for path in paths:
            name = path.partition(".")[0].partition("[")[0]
            if name not in program.output:
                message = f"the pipeline has no output {show_value(name)}"
                hint = meant(name, program.output)
                self._tell("E081", message, (*each.path, "at", path), key=True, suggestion=hint)

    def _that(self, each: Assertion, program: Program) -> None:
        known = Known(
            inputs=frozenset(program.inputs),
            steps=frozenset(step.name for step in program.steps),
            extra=frozenset(NAMES) - {"steps"},
            fields={"error": ERROR_FACTS},
            step_fields=STEP_FACTS,
        )
        texts = [each.wanted] if isinstance(each.wanted, str) else each.wanted
        for index, text in enumerate(texts):
            at = each.path if isinstance(each.wanted, str) else (*each.path, index)
            made = expression_of(text)
            self.report.template(made.problems(known) if isinstance(made, Expression) else made, at, expression=True)

    def _tell(
        self, code: str, message: str, path: DocPath, *, key: bool = False, suggestion: str | None = None
    ) -> None:
        self.report.add(code, message, path, key=key, suggestion=suggestion)


def _hint(error: InputInvalid) -> str | None:
    return "a test of just that says `expect: {error: input}`" if error.suggestion is None else None


def _is_in(path: Path, root: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(root)
