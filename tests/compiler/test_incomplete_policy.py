"""A policy with a key that has no default, as plug-ins may have."""

from __future__ import annotations

from pathlib import Path

from compiler_kit import HEAD, ONE
from msgspec.structs import replace

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.component import PolicyConfig
from wizard_dsl.policies.deadline import DEADLINE
from wizard_dsl.registry import BUILT_INS, Registry


class Quota(PolicyConfig, frozen=True):
    """A key nobody defaults."""

    limit: int


def codes(policies: str, folder: Path) -> list[tuple[int, str]]:
    quota = replace(DEADLINE, name="quota", config=Quota, scalar="")
    registry = Registry(plugins=False, built_in={**BUILT_INS, "policies": {**BUILT_INS["policies"], "quota": quota}})
    path = folder / "case.yaml"
    path.write_text(f"{HEAD}chains: {{default: {{targets: [a], policies: {policies}}}}}\n{ONE}")
    return [(each.line, each.code) for each in compile_file(path, registry, Sources(env={})).diagnostics]


def test_a_key_that_no_place_gives_is_a_diagnostic(tmp_path: Path) -> None:
    assert codes("{quota: {}}", tmp_path) == [(4, "E071")]
    assert codes("{quota: {limit: 3}}", tmp_path) == []


def test_a_key_that_is_wrong_is_not_missing_as_well(tmp_path: Path) -> None:
    assert codes("{quota: {limit: x}}", tmp_path) == [(4, "E022")]
    assert codes("{deadline: {after: 0s}}", tmp_path) == [(4, "E026")]
    assert codes("{deadline: {after: 0s}, quota: {}}", tmp_path) == [(4, "E026"), (4, "E071")]
