"""Small files, compiled in a folder of their own."""

from __future__ import annotations

from pathlib import Path

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.program import Program
from wizard_dsl.registry import Registry

HEAD = """\
version: 1
inputs: {q: {type: string, default: hello}}
providers: {a: {type: mock, model: m}, b: {type: mock, model: n}}
"""
ONE = "steps: {one: {prompt: {user: x}}}\n"
DEFAULT = "chains: {default: {targets: [a]}}\n"


def compile_text(text: str, folder: Path, **others: str) -> Compiled:
    """The file that `text` would be, beside the files `others` (name without ending → text)."""
    for name, other in others.items():
        (folder / f"{name}.yaml").write_text(other, encoding="utf-8")
    path = folder / "case.yaml"
    path.write_text(text, encoding="utf-8")
    return compile_file(path, Registry(plugins=False), Sources(env={}))


def found(text: str, folder: Path, **others: str) -> list[str]:
    """`line:column code message` of each diagnostic."""
    return [
        f"{each.line}:{each.column} {each.code} {each.message}"
        for each in compile_text(text, folder, **others).diagnostics
    ]


def program(text: str, folder: Path, **others: str) -> Program:
    """The program of a file that has no errors."""
    compiled = compile_text(text, folder, **others)
    assert compiled.program is not None, compiled.diagnostics
    return compiled.program
