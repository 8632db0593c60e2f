"""What became of each setting of a source: exactly one finding for each value in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from wizard_dsl.analysis.importing.names import HIDDEN, without_keys
from wizard_dsl.analysis.importing.reading import leaves
from wizard_dsl.spec.diagnostics import DocPath, did_you_mean, show_path
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.source import Source

Outcome = Literal["mapped", "approximated", "dropped"]


class Finding(msgspec.Struct, frozen=True):
    """One value of the source. `to` is where it went in the pipeline file, None where it did not; `why` is None only
    where it means there what it meant here. Values are never shown: one of them could be a key."""

    file: str
    line: int
    column: int
    setting: str
    outcome: Outcome
    to: str | None = None
    why: str | None = None

    def sentence(self) -> str:
        """`config.yaml:12:5 approximated model_list[0].… → providers.…: why`."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        target = f" → {self.to}" if self.to else ""
        return f"{place} {self.outcome} {self.setting}{target}{f': {self.why}' if self.why else ''}"


class Written(msgspec.Struct, frozen=True):
    """One file that came out; `ending` follows the name without its own: `.yaml`, `.test.yaml`."""

    ending: str
    text: str


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """What a routing source documents of its behaviour: `documented` is the pipeline that does so, `source` where it is
    said, `says` where it differs. `down` fail in an outage, for a `share` of their attempts, with calls of `inputs`;
    `limits` are requests a minute of targets. `most` are attempts of one call at most, there and here."""

    documented: str
    source: str
    says: Sequence[str]
    inputs: dict[str, Any]
    down: Sequence[str]
    share: float
    most: tuple[int, int]
    limits: Sequence[int] = ()


class Imported(msgspec.Struct, frozen=True):
    """An import. The first file is the pipeline. `notes` are what no single setting says: defaults of the source that
    the file spells out, and what is left to do."""

    source: str
    files: Sequence[Written]
    findings: Sequence[Finding]
    notes: Sequence[str] = ()
    routing: Routing | None = None

    @property
    def pipeline(self) -> str:
        return self.files[0].text

    def counts(self) -> dict[str, int]:
        """Findings by outcome."""
        outcomes: tuple[Outcome, ...] = ("mapped", "approximated", "dropped")
        return {each: sum(found.outcome == each for found in self.findings) for each in outcomes}


class Ledger:
    """Collects findings. A value is accounted for once: what is said first, stays; what is said of a mapping or a list
    is said of all in it that is not accounted for yet."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._all = list(leaves(source.data)) if source.data else []
        self._found: dict[DocPath, Finding] = {}
        self._below: dict[DocPath, range] = {}
        for number, path in enumerate(self._all):
            for depth in range(len(path) + 1):
                start = self._below.get(path[:depth], range(number, number)).start
                self._below[path[:depth]] = range(start, number + 1)

    def mapped(self, path: DocPath, to: str, why: str | None = None) -> None:
        """It means there what it meant here; `why` says how, where that is not plain."""
        self._note(path, "mapped", to, why)

    def approximated(self, path: DocPath, to: str, why: str) -> None:
        """It is there, and means something a little different."""
        self._note(path, "approximated", to, why)

    def dropped(self, path: DocPath, why: str) -> None:
        """It is not there."""
        self._note(path, "dropped", None, why)

    def unknown(self, path: DocPath, known: Iterable[str]) -> None:
        """A key that no importer knows: kept in the findings, with the key that was probably meant."""
        near = did_you_mean(str(path[-1]), known)
        self.dropped(path, f"unknown key '{path[-1]}'; the importer does not know what it does{_meant(near)}")

    def origin(self, path: DocPath) -> str:
        """`config.yaml:12`, for a comment."""
        return f"{self._source.file.rsplit('/', 1)[-1]}:{self._source.key_at(path).line}"

    def place(self, path: DocPath, names: Mapping[str, str]) -> None:
        """Say where exactly the values below a path went: what stands for a name in `to` is replaced by it."""
        for number in self._below.get(path, ()):
            found = self._found.get(self._all[number])
            if found is not None and found.to is not None:
                to = found.to
                for general, exact in names.items():
                    to = to.replace(general, exact)
                self._found[self._all[number]] = msgspec.structs.replace(found, to=to)

    def findings(self) -> list[Finding]:
        """One for each value, in the order of the file."""
        for path in self._all:
            if path not in self._found:
                self.dropped(path, "the value is not of the form that the setting has")
        return [self._guarded(path) for path in self._all]

    def _guarded(self, path: DocPath) -> Finding:
        """A finding that says so where a key was taken out of the value."""
        value = value_in(self._source.data, path)
        found = self._found[path]
        if found.outcome == "dropped" or not isinstance(value, str) or HIDDEN not in value:
            return found
        why = f"what looks like a key is not written: {HIDDEN} stands in its place"
        return msgspec.structs.replace(found, outcome="approximated", why=f"{found.why}; {why}" if found.why else why)

    def withdraw(self, path: DocPath, why: str, ending: str = "") -> None:
        """Drop what was said to be in a target, after all; `ending` is that of the places that are meant."""
        for number in self._below.get(path, ()):
            found = self._found.get(self._all[number])
            if (
                found is not None
                and found.to is not None
                and found.to.startswith("chains.*.targets")
                and found.to.endswith(ending)
            ):
                dropped = msgspec.structs.replace(found, outcome="dropped", to=None, why=why)
                self._found[self._all[number]] = dropped

    def _note(self, path: DocPath, outcome: Outcome, to: str | None, why: str | None) -> None:
        for number in self._below.get(path, ()):
            each = self._all[number]
            if each not in self._found:
                place = self._source.key_at(each)
                self._found[each] = Finding(*place, without_keys(show_path(each)), outcome, to, why)


def _meant(near: str | None) -> str:
    return f"; did you mean '{near}'?" if near else ""
