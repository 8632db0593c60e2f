"""The tools whose configurations can be imported, each with what reads a file of its."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.litellm import import_litellm
from wizard_dsl.analysis.importing.portkey import import_portkey
from wizard_dsl.analysis.importing.promptfoo import import_promptfoo
from wizard_dsl.analysis.importing.reading import read_foreign


def _litellm(path: Path, name: str) -> Imported:
    return import_litellm(read_foreign(path))


def _promptfoo(path: Path, name: str) -> Imported:
    return import_promptfoo(read_foreign(path), path.parent, name)


def _portkey(path: Path, name: str) -> Imported:
    return import_portkey(read_foreign(path))


#: By the word that the command line has for them: what makes of a file, and a name for the new files, an import. Each
#: raises SpecError for a file that is none of its tool's.
SOURCES: Final[Mapping[str, Callable[[Path, str], Imported]]] = {
    "litellm": _litellm,
    "promptfoo": _promptfoo,
    "portkey": _portkey,
}
