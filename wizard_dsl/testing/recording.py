"""Recording the cassettes of tests: each case is run once for real, and what its targets said is kept.

This is the one place where a test sees the process's environment, and of that the keys of its providers alone: a test
that is replayed sees none. The runs take the time that the providers take, and cost what they cost; scripts stay
scripts. A cassette that several cases share is recorded by one after the other, so what they ask in common is asked
once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.core.regex import regex
from wizard_dsl.runtime.runtime import require
from wizard_dsl.testing import _cassette_file as files
from wizard_dsl.testing.cassettes import Cassette, Record
from wizard_dsl.testing.playing import Sample

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry
    from wizard_dsl.testing.cases import Case, Suite

_REFERENCE: Final = regex(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)")


class Recorded(msgspec.Struct, frozen=True):
    """What became of one cassette: exchanges that were made, and that were there."""

    path: Path
    recorded: int
    replayed: int


def record(
    picked: Sequence[tuple[Suite, Case]], how: Record, env: Mapping[str, str] | None = None
) -> Iterator[Recorded]:
    """Record the cassettes of these cases, one after the other: what is missing, or all anew. `env` has the keys
    (default: the process's environment). A cassette is written when all of its cases were run. One that is cut short
    keeps what was added to it, and stays as it was where all of it was to be anew. Raises SpecError where a key is
    missing, or a cassette cannot be used, and OSError."""
    variables = dict(os.environ) if env is None else env
    groups: dict[Path, list[tuple[Suite, Case]]] = {}
    for suite, case in picked:
        if case.cassette is not None:
            groups.setdefault(case.cassette, []).append((suite, case))
    for path, group in groups.items():
        work = _Work(path, how)
        try:
            for suite, case in group:
                work.run(suite, case, variables)
        except BaseException:
            if how == "missing":
                work.write()
            raise
        work.write()
        yield Recorded(path, work.recorded, work.replayed)


class _Work:
    """One cassette, recorded by one case after the other."""

    def __init__(self, path: Path, how: Record) -> None:
        self._path = path
        self._how: Record = how
        self._held: files.Recording | None = None
        self.recorded = 0
        self.replayed = 0

    def run(self, suite: Suite, case: Case, env: Mapping[str, str]) -> None:
        """Run a case for real. What is wrong with it is told when it is tried on the cassette."""
        registry = suite.programs.registry
        compiled = _live(case, suite.compiled(case), registry, env)
        cassette = Cassette(self._path, compiled, record=self._how, held=self._held)
        try:
            with suppress(AssertionError):
                asyncio.run(Sample(case, require(compiled), cassette).play(compiled, registry, case.seed))
        finally:
            self.recorded += cassette.recorded
            self.replayed += cassette.tape.replayed
            self._held = cassette.recording()
        self._how = "missing"

    def write(self) -> None:
        """Nothing is written where nothing was recorded."""
        if self.recorded and self._held is not None:
            files.write(self._path, self._held.header, self._held.lines)


def _live(case: Case, scripted: Compiled, registry: Registry, env: Mapping[str, str]) -> Compiled:
    """The pipeline of a case with its keys from the environment. Raises SpecError where one is missing."""
    options = case.options
    keys = {name: env[name] for name in _keys(scripted, registry) if name in env}
    sources = Sources(overlays=options.overlays, sets=options.sets, env={**options.env, **keys}, chain=options.chain)
    return compile_file(case.pipeline, registry, sources)


def _keys(compiled: Compiled, registry: Registry) -> Iterator[str]:
    """The variables that hold keys of its providers."""
    providers = compiled.loaded.data.get("providers")
    for each in providers.values() if isinstance(providers, dict) else ():
        raw: dict[str, Any] = each if isinstance(each, dict) else {}
        for value in (raw.get("api_key"), *(raw.get("headers") or {}).values()):
            yield from _REFERENCE.findall(value) if isinstance(value, str) else ()
        kind = registry.provider(str(raw.get("type")))
        if kind is not None and kind.key_variable is not None:
            yield kind.key_variable
