"""The caches of a file that outlive a process, without its providers: they are looked at where nobody can be asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from wizard_dsl.cli._environment import programs
from wizard_dsl.cli._output import columns
from wizard_dsl.cli._registry import registry_of
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.errors import InputInvalid, SpecError
from wizard_dsl.core.units import show_size
from wizard_dsl.policies._shelf import CacheEntry, CacheStats, Shelf
from wizard_dsl.policies.cache import CacheConfig
from wizard_dsl.runtime.caches import Caches
from wizard_dsl.runtime.runtime import require
from wizard_dsl.spec.diagnostics import ordered, render_text
from wizard_dsl.spec.keeper import state_home
from wizard_dsl.spec.source import read_bytes
from wizard_dsl.stores._open import StoreSet, folder_name

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import PolicyPlan, Program

T = TypeVar("T")

#: A list of inputs is read as a whole.
MAX_BYTES: Final = 256 * 1024 * 1024
#: The last second that a date can say: what others left on the disk may name any.
_LAST: Final = 253_402_300_799.0


@asynccontextmanager
async def lasting_caches(compiled: Compiled) -> AsyncIterator[Caches]:
    """Open them; one on disk that nothing was stored in yet is empty, and is not made. Raises SpecError where there is
    none, for a cache in memory belongs to its process."""
    wanted = require_lasting(compiled)
    root = compiled.loaded.root / ".wizard" / "cache"
    clock = LoopClock()
    program = require(compiled)
    there = StoreSet(root, clock, server=server_of(program), family=program.name)
    nowhere = StoreSet(None, clock)
    shelves = []
    for path, (chain, config) in wanted.items():
        stores = there if config.store == "memory" or (root / folder_name(path)).exists() else nowhere
        shelves.append(Shelf(config, path, chain, stores, clock))
    try:
        yield Caches(lambda: shelves, _nobody)
    finally:
        await there.close()


async def _nobody(**inputs: Any) -> Any:
    raise AssertionError("nothing runs here")


def require_lasting(compiled: Compiled) -> dict[str, tuple[str, CacheConfig]]:
    """Chain and config of each cache on disk or on a server, by its path. Raises SpecError where there is none."""
    found: dict[str, tuple[str, CacheConfig]] = {}
    on_server = server_of(require(compiled))
    for program in programs(require(compiled)):
        for chain, plan in _plans(program):
            if isinstance(plan.config, CacheConfig) and (on_server or plan.config.store == "disk"):
                found.setdefault(plan.path, (chain, plan.config))
    if not found:
        raise SpecError("this file has no cache on disk; a cache in memory ends with its process: set `store: disk`")
    return found


def server_of(program: Program) -> str:
    """The URL of the server that keeps its state, empty where none does."""
    home = state_home(program.state)
    return home.place if home.kind == "redis" else ""


def _plans(program: Program) -> Iterator[tuple[str, PolicyPlan]]:
    for chain in program.chains.values():
        for plan in chain.outer:
            yield chain.name, plan
        for target in chain.targets:
            for plan in target.ladder:
                yield chain.name, plan


def rows(path: Path) -> list[dict[str, Any]]:
    """The mappings of a file with one JSON object a line; empty lines count for nothing. Raises InputInvalid."""
    try:
        content = read_bytes(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputInvalid(f"cannot read {path}: {reason}") from None
    if len(content) > MAX_BYTES:
        raise InputInvalid(f"{path} holds more than {MAX_BYTES >> 20} MiB", suggestion="warm with parts of it")
    return [_row(line, f"{path}:{number}") for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]


def _row(line: bytes, place: str) -> dict[str, Any]:
    hint = 'write one mapping of inputs a line, as in {"question": "Why?"}'
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputInvalid(f"{place}: not JSON: {error}", suggestion=hint) from None
    if not isinstance(value, dict):
        raise InputInvalid(f"{place}: no mapping of inputs", suggestion=hint)
    return value


def compiled_here(file: Path, overlays: tuple[str, ...], sets: tuple[str, ...], *, mock: bool) -> Compiled:
    """With `mock` no key is needed. Warnings go to stderr."""
    compiled = compile_file(file, registry_of(), Sources(overlays=overlays, sets=sets, env=dict(os.environ), mock=mock))
    if compiled.program is not None:
        click.echo(render_text(ordered(compiled.diagnostics)), nl=False, err=True)
    return compiled


def look(compiled: Compiled, work: Callable[[Caches], Awaitable[T]]) -> T:
    async def main() -> T:
        async with lasting_caches(compiled) as caches:
            return await work(caches)

    return asyncio.run(main())


def figures(each: CacheStats) -> str:
    told = [
        ("entries", f"{each.size} of {each.capacity}"),
        ("hits", f"{each.hits} ({_share(each.hit_rate)})"),
        ("misses", f"{each.misses} ({_share(each.miss_rate)})"),
        ("negative hits", str(each.negative_hits)),
        ("stale served", str(each.stale_served)),
        ("shared", str(each.shared)),
        ("insertions", str(each.insertions)),
        ("evictions", str(each.evictions)),
        ("ttl used", _share(each.ttl_utilisation)),
    ]
    return f"{each.cache}\n{columns(told)}"


def entry_row(each: CacheEntry) -> tuple[str, ...]:
    """Name, kind, state, until when, size."""
    until = datetime.fromtimestamp(min(max(each.expires, 0.0), _LAST), UTC)
    return each.name, each.kind, each.state, f"until {until:%Y-%m-%d %H:%M:%S}Z", show_size(each.size)


def counted(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"


def _share(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.1%}"
