"""Rules of third parties: applied, placed, allowed; and what becomes of one that does not load or fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.component import RuleFinding, RuleType
from wizard_dsl.lint.allow import RULE_CODES, with_allowed
from wizard_dsl.lint.plugins import broken_rules
from wizard_dsl.lint.rules import lint
from wizard_dsl.lint.subject import Subject
from wizard_dsl.registry import Registry, installed
from wizard_dsl.spec.diagnostics import Diagnostic, render_sarif
from wizard_dsl.testing.conformance import cases, check, linted

GOOD = """\
version: 1
description: Says hello.
providers: {local: {type: mock}}
chains: {default: {targets: [local]}}
steps: {answer: {prompt: {user: Hello}}}
"""
BAD = GOOD.replace("description: Says hello.\n", "")


def described(subject: Subject) -> Iterator[RuleFinding]:
    if not subject.program.description:
        yield RuleFinding("it has no description", ("chains",), key=True, related=[(("steps",), "the steps")])


RULE = RuleType(
    name="acme.described",
    title="a pipeline without a description",
    explanation="Nobody knows what it is for.",
    bad=BAD,
    good=GOOD,
    check=described,
)


class Entry:
    """What is announced, as `importlib.metadata` tells it."""

    def __init__(self, name: str, what: Any, distribution: str = "acme-rules") -> None:
        self.name, self._what, self.dist = name, what, SimpleNamespace(name=distribution)

    def load(self) -> Any:
        if isinstance(self._what, Exception):
            raise self._what
        return self._what


def registry(*entries: Entry) -> Registry:
    def scan(group: str) -> Iterable[Entry]:
        return entries if group == "lint_rules" else ()

    return Registry(scan=scan)


def judged(folder: Path, text: str, known: Registry) -> list[Diagnostic]:
    file = folder / "p.yaml"
    file.write_text(text)
    compiled = compile_file(file, known, Sources())
    every = [*compiled.diagnostics, *lint(compiled, known), *broken_rules(known.problems)]
    return with_allowed(every, [str(file)], {*RULE_CODES, *(each.name for each in known.rules())})


def test_a_finding_of_a_rule_is_a_warning_with_its_name_as_code(tmp_path: Path) -> None:
    known = registry(Entry("acme.described", RULE))
    (found,) = judged(tmp_path, BAD, known)
    assert (found.code, found.severity, found.line, found.column) == ("acme.described", "warning", 3, 1)
    assert [(each.line, each.message) for each in found.related] == [(4, "the steps")]
    assert judged(tmp_path, GOOD, known) == []


def test_a_rule_sees_no_file_with_errors(tmp_path: Path) -> None:
    known = registry(Entry("acme.described", RULE))
    assert "acme.described" not in {each.code for each in judged(tmp_path, BAD + "odd: 1\n", known)}


def test_code_scanning_calls_it_a_warning(tmp_path: Path) -> None:
    found = judged(tmp_path, BAD, registry(Entry("acme.described", RULE)))
    run = json.loads(render_sarif(found))["runs"][0]
    assert run["results"][0]["level"] == "warning"
    assert run["tool"]["driver"]["rules"][0]["defaultConfiguration"]["level"] == "warning"


def test_a_finding_of_a_rule_is_allowed_by_a_comment(tmp_path: Path) -> None:
    known = registry(Entry("acme.described", RULE))
    comment = "# wizard: allow acme.described because it says hello\nchains:"
    (found,) = judged(tmp_path, BAD.replace("chains:", comment), known)
    assert found.allowed == "it says hello"
    assert [each.code for each in judged(tmp_path, GOOD.replace("chains:", comment), known)] == ["W192"]
    (odd,) = judged(tmp_path, GOOD.replace("chains:", comment.replace("acme.d", "acme.D")), known)
    assert (odd.code, odd.suggestion) == ("W191", "did you mean 'acme.described'?")


def test_a_rule_that_raises_is_told_with_the_package_that_has_it_and_the_others_go_on(tmp_path: Path) -> None:
    def raises(subject: Subject) -> Iterator[RuleFinding]:
        yield from described(subject)
        raise ZeroDivisionError("oh")

    bad = replace(RULE, name="acme.zero", check=raises)
    found = judged(tmp_path, BAD, registry(Entry("acme.zero", bad, "acme-odd"), Entry("acme.described", RULE)))
    assert [each.code for each in found] == ["E099", "acme.described"]
    assert found[0].message == "the rule acme.zero of acme-odd failed: ZeroDivisionError: oh"
    assert (found[0].severity, found[0].line) == ("error", 0)


@pytest.mark.parametrize(
    ("gives", "seen"),
    [
        (lambda subject: ["a text"], "it gives a str, not a RuleFinding"),
        (lambda subject: None, "TypeError"),
        (lambda: [], "TypeError"),
        (lambda subject: [RuleFinding("x", 5)], "TypeError"),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_what_is_no_finding_is_told(tmp_path: Path, gives: Callable[..., Any], seen: str) -> None:
    (found,) = judged(tmp_path, BAD, registry(Entry("acme.odd", replace(RULE, name="acme.odd", check=gives))))
    assert found.code == "E099"
    assert seen in found.message


@pytest.mark.parametrize(
    ("name", "what", "reason"),
    [
        ("acme.gone", ImportError("no module named acme"), "ImportError: no module named acme"),
        ("acme.odd", described, "it is a function, not a RuleType"),
        ("described", RULE, "needs a dot"),
        ("acme.other", RULE, "calls itself acme.described"),
    ],
)
def test_a_rule_that_does_not_load_is_told_once_with_its_package(
    tmp_path: Path, name: str, what: Any, reason: str
) -> None:
    (found,) = judged(tmp_path, GOOD, registry(Entry(name, what)))
    assert (found.code, found.severity, found.file) == ("E099", "error", "acme-rules")
    assert name in found.message and reason in found.message


# -- whether any is installed -----------------------------------------------------------------------------


def test_a_look_into_folders_finds_what_a_scan_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def both() -> tuple[list[EntryPoint], list[Any]]:
        return [*entry_points(group="wizard_dsl.lint_rules")], [*installed("lint_rules")]

    scanned, looked = both()
    assert scanned == looked
    info = tmp_path / "acme_rules-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rules\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[wizard_dsl.lint_rules]\nacme.described = acme_rules:RULE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    scanned, looked = both()
    assert "acme.described" in [each.name for each in looked]
    assert scanned == looked


def test_where_none_is_announced_nothing_is_scanned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    monkeypatch.setattr("importlib.metadata.entry_points", None)
    assert [*installed("lint_rules")] == []


# -- conformance ------------------------------------------------------------------------------------------


def test_a_good_rule_keeps_to_what_all_rules_keep_to() -> None:
    check(RULE)
    assert {each.rule for each in cases(RULE)} == {"page", "finds", "silent", "alone"}
    assert [each.code for each in linted(RULE, BAD)] == ["acme.described"]


def _never(subject: Subject) -> Iterator[RuleFinding]:
    yield from ()


def _fragile(subject: Subject) -> Iterator[RuleFinding]:
    yield from described(subject) if subject.program.chains["default"] else ()


COUNT = iter(range(1000))


def _moody(subject: Subject) -> Iterator[RuleFinding]:
    for each in described(subject):
        yield replace(each, message=f"number {next(COUNT)}")


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        (replace(RULE, name="described"), "page"),
        (replace(RULE, title="Two\nlines"), "page"),
        (replace(RULE, explanation=""), "page"),
        (replace(RULE, check=_never), "finds"),
        (replace(RULE, bad="version: 1\n"), "finds"),
        (replace(RULE, good=BAD), "silent"),
        (replace(RULE, check=_fragile), "alone"),
        (replace(RULE, check=_moody), "alone"),
    ],
)
def test_a_rule_that_does_not_is_told_which_it_breaks(rule: RuleType, broken: str) -> None:
    with pytest.raises(AssertionError, match=f"breaks the rule {broken}"):
        check(rule)
