"""What a program has by name, with the files that its steps run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import Program


def subprograms(program: Program) -> list[Program]:
    """The programs that its steps run, and theirs."""
    inner = [step.subprogram for step in program.steps if step.subprogram is not None]
    return [each for one in inner for each in (one, *subprograms(one))]


def targets_of(program: Program) -> set[str]:
    """The names of all targets, also of files that its steps run."""
    programs = [program, *subprograms(program)]
    return {target.name for each in programs for chain in each.chains.values() for target in chain.targets}
