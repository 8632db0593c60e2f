"""The tools whose configurations can be imported, each with what makes an import of a file of its."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from wizard_dsl.analysis.importing.findings import Imported
from wizard_dsl.analysis.importing.litellm import import_litellm
from wizard_dsl.analysis.importing.portkey import import_portkey
from wizard_dsl.analysis.importing.promptfoo import import_promptfoo
from wizard_dsl.spec.source import Source


def _litellm(source: Source, folder: Path, name: str) -> Imported:
    return import_litellm(source)


def _portkey(source: Source, folder: Path, name: str) -> Imported:
    return import_portkey(source)


#: By the word that the command line has for them: what makes of a file that was read, the folder of the files that it
#: names, and a name for the new files, an import. Each raises SpecError for a file that is none of its tool's.
SOURCES: Final[Mapping[str, Callable[[Source, Path, str], Imported]]] = {
    "litellm": _litellm,
    "promptfoo": import_promptfoo,
    "portkey": _portkey,
}
