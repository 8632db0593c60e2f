"""`pipeline.cache`: the caches of a pipeline, looked at, cleared and warmed from outside its runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.errors import InputInvalid, SpecError, WizardError
from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.policies._shelf import CacheEntry, CacheStats, Pick, Shelf
from wizard_dsl.runtime.together import together

if TYPE_CHECKING:
    from wizard_dsl.core.result import Result


class WarmFailure(msgspec.Struct, frozen=True):
    """A run that failed: the place of its inputs in the list, from 0, and why."""

    index: int
    kind: str
    message: str


class Warmed(msgspec.Struct, frozen=True):
    """What warming did: of `inputs` runs, `asked` called somebody, `present` were answered by what was stored."""

    inputs: int
    asked: int
    present: int
    failed: list[WarmFailure]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


class Caches:
    """All caches of one pipeline. Every method raises SpecError where a store cannot be used: who looks from outside
    wants to know, whereas a run goes on without it."""

    def __init__(self, shelves: Callable[[], Collection[Shelf]], run: Callable[..., Awaitable[Result]]) -> None:
        self._shelves = shelves
        self._run = run

    async def stats(self) -> list[CacheStats]:
        """The figures of each cache: those of this runtime, and on disk of all processes since the folder was made."""
        found: list[CacheStats] = []
        for shelf in self._shelves():
            with _as_spec(shelf):
                found.append(await shelf.stats())
        return found

    async def entries(
        self, *, prefix: str | None = None, glob: str | None = None, model: str | None = None, expired: bool = False
    ) -> list[CacheEntry]:
        """What is stored, without its content; the arguments are those of `clear`."""
        pick = Pick(prefix, glob, model, expired)
        found: list[CacheEntry] = []
        for shelf in self._shelves():
            with _as_spec(shelf):
                found += await shelf.entries(pick)
        return found

    async def clear(
        self, *, prefix: str | None = None, glob: str | None = None, model: str | None = None, expired: bool = False
    ) -> int:
        """Remove entries, and return how many were. Without an argument all of them; else those of which all hold:
        the key begins with `prefix`; the name `chain/target/key` matches `glob` (`*` matches `/` too); they are of
        the target or model `model`; nobody is given them any more (`expired`). Another process that shares a
        cache on disk keeps what it holds in its own memory until its time is over."""
        pick = Pick(prefix, glob, model, expired)
        removed = 0
        for shelf in self._shelves():
            with _as_spec(shelf):
                removed += await shelf.clear(pick)
        return removed

    async def warm(self, inputs: Iterable[Mapping[str, Any]], *, concurrency: int = 4) -> Warmed:
        """Run the pipeline for each mapping of inputs, at most `concurrency` at once, so that the next equal runs are
        answered by what is stored. A run that fails is told in the result and holds up no other. Raises SpecError
        where no chain has a cache, InputInvalid where `concurrency` is below 1."""
        if not self._shelves():
            raise SpecError("no chain of this pipeline has a cache; give it one with `cache: 1h`")
        if concurrency < 1:
            raise InputInvalid(f"concurrency is 1 or more, not {concurrency}", where="concurrency")
        rows = list(inputs)
        order = iter(enumerate(rows))
        asked: list[bool] = []
        failed: list[WarmFailure] = []

        async def work() -> None:
            for index, row in order:
                try:
                    asked.append(bool((await self._run(inputs=row)).attempts))
                except WizardError as error:
                    failed.append(WarmFailure(index, error.kind, error.message))

        await together(work() for _ in range(min(concurrency, len(rows))))
        failed.sort(key=lambda each: each.index)
        return Warmed(len(rows), sum(asked), len(asked) - sum(asked), failed)


@contextmanager
def _as_spec(shelf: Shelf) -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise SpecError(str(error), where=shelf.path) from error
