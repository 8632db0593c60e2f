"""The protocol of the executor: a node gets its config, the next handler and a build context."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from wizard_dsl.core.messages import Completion, Request
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Emit, Run

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.http import Transport
    from wizard_dsl.core.rng import Chance
    from wizard_dsl.core.state import State
    from wizard_dsl.core.target import Chain, Target

Handler = Callable[[Request, Run], Awaitable[Response]]
#: Judges an answer: why it must not be used, nothing where it may.
Assess = Callable[[Completion], Sequence[str]]
Spawn = Callable[[Coroutine[Any, Any, None]], None]
T = TypeVar("T")


class Node(Protocol):
    """A living policy, strategy or provider. `call` is a handler."""

    async def call(self, request: Request, run: Run, /) -> Response: ...


class Store(Protocol):
    """Keyed bytes. An entry that cannot be read is a miss; a store that cannot be used raises StoreUnavailable,
    once for each outage: until it can be used again it is empty, and takes nothing. `kind` says what it lies in."""

    kind: str

    def look(self, key: str) -> bytes | None:
        """What is at hand without waiting: None does not say that there is nothing, and others may have written
        something newer."""

    async def get(self, key: str) -> bytes | None:
        """The newest, of all who use the store; while it cannot be asked, what is at hand."""

    def put(self, key: str, value: bytes, keep: float = inf) -> None:
        """Keep it: `get` sees it at once, and what must be written elsewhere is written behind. Never raises; a
        write that fails is told by the next `get`, or by `close`. After `keep` seconds nobody needs it; a store may
        keep it longer."""

    async def delete(self, *keys: str) -> int:
        """Remove them; returns how many were there. Raises StoreUnavailable, as what follows, each time."""

    async def keys(self) -> list[str]:
        """All keys, the one that would be evicted first before the others."""

    async def items(self) -> list[tuple[str, bytes]]:
        """All keys with their values, as `keys` orders them; looking at them is no use of them."""

    def count(self, **added: float) -> None:
        """Add to the counters that live as long as the values, written as `put` does. Never raises."""

    async def counts(self) -> dict[str, float]:
        """The counters, of all who use the store; `evictions` is the store's own: what it dropped because it was
        full."""

    async def close(self) -> None: ...


class StoreUnavailable(Exception):
    """The store is locked, corrupt or full; the sentence says which and where."""


class Stores(Protocol):
    """The stores of one runtime, by kind and name; opened on first use, closed with the runtime."""

    def open(self, kind: str, name: str, *, max_entries: int, eviction: str) -> Store: ...


class Shared(Protocol):
    """Typed state that outlives a node: one value a key for the whole runtime."""

    def state(self, kind: str, key: str, make: Callable[[], T]) -> T:
        """The value of `kind` and `key`; `make` is called once."""


class BuildContext(msgspec.Struct, frozen=True):
    """What a node may use besides its config and the next handler.

    `path` is the node's place in the program, such as `chains.answer.targets[1].retry`: it labels metrics,
    transcript, errors and its random stream. `scope_key` names whose state a shared policy keeps: the target's
    key, `provider:…`, or the chain's with `per: chain`. `target` is None above the strategy. `state` is shared with
    other processes; None: everything is in this one.
    """

    path: str
    clock: Clock
    chance: Chance
    emit: Emit
    shared: Shared
    stores: Stores
    http: Transport
    spawn: Spawn
    chain: Chain
    scope_key: str = ""
    target: Target | None = None
    fingerprint: str = ""
    assess: Assess | None = None
    state: State | None = None

    def require_target(self) -> Target:
        """The target; a node of target scope always has one."""
        assert self.target is not None, f"{self.path} stands above the strategy"
        return self.target
