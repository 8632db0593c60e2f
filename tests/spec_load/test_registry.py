"""The registry: built-ins by name, plug-ins by entry point, problems as values."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from wizard_dsl.core.component import PolicyConfig, PolicyType
from wizard_dsl.registry import BUILT_INS, Registry
from wizard_dsl.spec.load import load


class Entry:
    """An entry point of a package called acme."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.dist = SimpleNamespace(name="acme")
        self._value = value

    def load(self) -> Any:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


def renamed(name: str) -> PolicyType:
    deadline = Registry().policy("deadline")
    assert deadline is not None
    return PolicyType(
        name=name,
        summary=deadline.summary,
        rung=deadline.rung,
        scope=deadline.scope,
        config=deadline.config,
        build=deadline.build,
        bound=deadline.bound,
        scalar=deadline.scalar,
    )


def registry(*entries: Entry) -> tuple[Registry, list[str]]:
    asked: list[str] = []

    def scan(group: str) -> Iterable[Entry]:
        asked.append(group)
        return entries if group == "policies" else ()

    return Registry(scan=scan), asked


@pytest.mark.parametrize("group", sorted(BUILT_INS))
def test_every_built_in_loads_and_calls_itself_as_it_is_called(group: Any) -> None:
    made = Registry(plugins=False)
    find = {
        "policies": made.policy,
        "strategies": made.strategy,
        "providers": made.provider,
        "stores": made.store,
        "steps": made.step,
        "lint_rules": made.rule,
    }[group]
    for name in made.names(group):
        found = find(name)
        assert found is not None
        assert found.name == name


def test_what_the_compiler_adds_is_found_and_not_listed() -> None:
    made = Registry(plugins=False)
    assert made.policy("contract") is not None
    assert made.policy("on_rate_limit") is not None
    assert {"contract", "on_rate_limit"}.isdisjoint(made.names("policies"))


def test_an_unknown_name_is_none() -> None:
    assert Registry(plugins=False).policy("retries") is None


def test_nothing_is_scanned_until_a_dotted_name_is_asked_for() -> None:
    made, asked = registry()
    made.policy("retry")
    made.all_policies()
    assert asked == []
    made.policy("acme.redact")
    made.policy("acme.other")
    assert asked == ["policies"]


def test_a_plug_in_is_found_by_its_dotted_name() -> None:
    made, _ = registry(Entry("acme.redact", renamed("acme.redact")))
    found = made.policy("acme.redact")
    assert found is not None
    assert found.name == "acme.redact"
    assert made.all_policies(plugins=True)[-1] is found
    assert made.problems == ()


def test_plug_ins_can_be_turned_off() -> None:
    entry = Entry("acme.redact", renamed("acme.redact"))
    assert Registry(plugins=False, scan=lambda group: [entry]).policy("acme.redact") is None


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Entry("acme.redact", ImportError("no module named nothing")), "ImportError: no module named nothing"),
        (Entry("acme.redact", renamed("acme.other")), "calls itself acme.other"),
        (Entry("acme.redact", object()), "it is a object, not a PolicyType"),
        (Entry("redact", renamed("redact")), "needs a dot"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_a_problem_naming_its_package(entry: Entry, reason: str) -> None:
    made, _ = registry(entry)
    assert made.policy("acme.redact") is None
    (problem,) = made.problems
    assert problem.distribution == "acme"
    assert reason in problem.reason


def test_two_packages_with_one_name_are_a_problem() -> None:
    made, _ = registry(Entry("acme.a", renamed("acme.a")), Entry("acme.a", renamed("acme.a")))
    made.policy("acme.a")
    assert "another package" in made.problems[0].reason


TEXT = """\
version: 1
providers: {local: {type: mock}}
policies: {default: {acme.redact: %s}}
chains: {default: {targets: [%s]}}
steps: {answer: {prompt: {user: Hello}}}
"""


def findings(made: Registry, policy: str, target: str = "local") -> list[tuple[str, str]]:
    loaded = load("no-such-folder/p.yaml", registry=made, text=TEXT % (policy, target))
    return [(each.code, each.message) for each in loaded.diagnostics]


def test_the_config_of_an_installed_plug_in_is_checked_like_any_other() -> None:
    made, _ = registry(Entry("acme.redact", renamed("acme.redact")))
    assert findings(made, "{after: 10s}") == []
    assert findings(made, "10s") == []
    assert findings(made, "{aftr: 10s}") == [
        ("E021", "unknown key 'aftr' in policies.default[\"acme.redact\"]"),
    ]


class DatedConfig(PolicyConfig, frozen=True):
    since: datetime.date = datetime.date(2026, 1, 1)


def test_what_only_conversion_refuses_is_reported_in_its_words() -> None:
    made, _ = registry(Entry("acme.dated", replace(renamed("acme.dated"), config=DatedConfig, scalar="")))
    text = (TEXT % ("{}", "local")).replace("acme.redact: {}", "acme.dated: {since: yesterday}")
    loaded = load("no-such-folder/p.yaml", registry=made, text=text)
    (found,) = loaded.diagnostics
    assert (found.code, found.path[-1], found.line) == ("E022", "since", 3)


def test_a_plug_in_may_need_keys_that_another_place_gives() -> None:
    required = msgspec.defstruct("Required", [("words", list[str])], bases=(PolicyConfig,), frozen=True, kw_only=True)
    made, _ = registry(Entry("acme.redact", replace(renamed("acme.redact"), config=required, scalar="")))
    assert findings(made, "{}") == []
    assert [code for code, _ in findings(made, "{words: 3}")] == ["E022"]


def test_an_installed_plug_in_stands_only_where_its_scope_allows() -> None:
    made, _ = registry(Entry("acme.redact", renamed("acme.redact")))
    target = "{provider: local, policies: {acme.redact: {}}}"
    assert [code for code, _ in findings(made, "{}", target)] == ["E061"]


def test_a_plug_in_that_does_not_load_is_a_diagnostic_naming_its_package() -> None:
    made, _ = registry(Entry("acme.redact", RuntimeError("it is broken")))
    ((code, message),) = findings(made, "{}")
    assert code == "E047"
    assert "of the package acme does not load" in message
    assert "it is broken" in message
