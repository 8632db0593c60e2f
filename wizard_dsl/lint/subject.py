"""What the rules look at: a program without errors, its document, and the places of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.compiler.program import Program
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Related, finding
from wizard_dsl.spec.docpath import stands_in
from wizard_dsl.spec.document import ChainEntry, Document, PolicyMap

#: Types of providers that answer from this process: no connection, no key, no outage.
IN_PROCESS: Final = frozenset({"embedded", "mock"})

#: What is wrong with a setting: where it stands, a sentence, and the other places.
Found = tuple[DocPath, str, list[tuple[DocPath, str]]]


def idle_for_all(found: Iterable[tuple[DocPath, Found | None]]) -> Iterator[Found]:
    """Of settings that a set gives to several targets or chains, those that have an effect for none of them. Each
    comes with what is wrong with it for one target; None where it has an effect there."""
    able: set[DocPath] = set()
    idle: dict[DocPath, Found] = {}
    for path, wrong in found:
        if wrong is None:
            able.add(path)
        else:
            idle.setdefault(path, wrong)
    yield from (wrong for path, wrong in idle.items() if path not in able)


class Subject(msgspec.Struct, frozen=True):
    """One compiled file."""

    compiled: Compiled
    program: Program
    document: Document

    def warn(
        self,
        code: str,
        message: str,
        path: DocPath,
        *,
        key: bool = False,
        suggestion: str | None = None,
        related: Sequence[tuple[DocPath, str]] = (),
    ) -> Diagnostic:
        """A finding at the value at `path`, or at its key."""
        places = self.compiled.loaded.places
        place = places.key_at(path) if key else places.value_at(path)
        others = [Related(*places.value_at(other), text) for other, text in related]
        return finding(code, message, place, path=path, suggestion=suggestion, related=others)

    def own(self, path: DocPath) -> bool:
        """Whether the pipeline file itself wrote what stands at `path`: a project file serves other pipelines, too."""
        return self.compiled.loaded.places.origin_of(path).layer == "pipeline"

    def written(self, path: DocPath) -> bool:
        """Whether a key stands at `path` in the merged document, from whatever layer."""
        return stands_in(self.compiled.loaded.data, path)

    def setting(self, chain: ChainEntry, index: int | None, kind: str, key: str) -> DocPath | None:
        """Where a key of a policy is set for a chain, or for its target at `index`; None where it is built in."""
        for path, policies in self.places_of(chain, index):
            own = policies.get(kind)
            if isinstance(own, dict) and key in own:
                return (*path, kind, key)
        return None

    def places_of(self, chain: ChainEntry, index: int | None) -> list[tuple[DocPath, PolicyMap]]:
        """Where the policies of a chain, or of its target at `index`, are written: the most specific place first."""
        base: DocPath = ("chains", chain.name)
        found: list[tuple[DocPath, PolicyMap]] = []
        if index is not None:
            found.append(((*base, "targets", index, "policies"), chain.target_policies[index]))
        found.append(((*base, "policies"), chain.policies))
        name = chain.use or "default"
        found.append((("policies", name), self.document.policies.get(name, {})))
        return found
