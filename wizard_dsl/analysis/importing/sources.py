"""The tools whose configurations can be imported, each with what reads a file of its."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.litellm import import_litellm
from wizard_dsl.analysis.importing.reading import read_foreign


def _litellm(path: Path) -> Imported:
    return import_litellm(read_foreign(path))


#: By the word that the command line has for them. Each raises SpecError for a file that is none of its tool's.
SOURCES: Final[Mapping[str, Callable[[Path], Imported]]] = {"litellm": _litellm}
