"""A file of two targets, and its plan with what a test changes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from wizard_dsl.analysis.plan import Plan, plan_of
from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.compiler.program import Program
from wizard_dsl.registry import Registry

REGISTRY = Registry(plugins=False)
PRICED = {"prices": {"input": "$1", "output": "$10"}}
FILE: dict[str, Any] = {
    "version": 1,
    "inputs": {"q": {"type": "string", "maxLength": 100, "trusted": True}},
    "providers": {
        "a": {"type": "mock", "model": "m", "models": {"m": {**PRICED, "max_output": 50}}},
        "b": {"type": "mock", "model": "n", "models": {"n": {**PRICED, "max_output": 20}}},
    },
    "policies": {"default": {"timeout": "10s", "retry": {"max_attempts": 2, "base": "1s", "jitter": "none"}}},
    "chains": {"default": {"targets": ["a", "b"], "on_rate_limit": {"max_retry_after": "0s"}}},
    "steps": {"s": {"prompt": {"user": "{{ q }}"}}},
    "deadline": "1h",
}


def compiled(tmp_path: Path, changes: dict[str, Any], others: dict[str, dict[str, Any]] | None = None) -> Program:
    for name, document in (others or {}).items():
        (tmp_path / name).write_text(yaml.safe_dump({**FILE, **document}), encoding="utf-8")
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump({**FILE, **changes}), encoding="utf-8")
    made = compile_file(path, REGISTRY, Sources())
    assert made.program is not None, made.diagnostics
    return made.program


def planned(tmp_path: Path, **changes: Any) -> Plan:
    return plan_of(compiled(tmp_path, changes))


def step(**keys: Any) -> dict[str, Any]:
    return {"prompt": {"user": "{{ q }}"}, **keys}
