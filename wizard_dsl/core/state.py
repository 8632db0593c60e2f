"""The seam of state that processes share: one atomic decision at a time, on the clock of whoever keeps the state.

A `Decision` is a pure function, written twice: in Lua, for a server, and in Python, for a database on this machine
and for the local form that stands in while the server is away. Both take the row of one key, the keeper's time and
the arguments, and give the new row, the reply and how long to keep the row:

    apply(row, now, arguments) → (row, reply, keep)

Rows, arguments and replies are what MessagePack holds. A missing row is None; a new row of None deletes the key.
A row is kept for at least `keep` seconds after its last decision, so what nobody uses any more goes by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

Arguments = Mapping[str, Any]
Apply = Callable[[Any, float, Arguments], tuple[Any, Any, float]]


class Decision(msgspec.Struct, frozen=True):
    """One kind of decision. `script` is a file with the body of a Lua function of (row, now, arguments), `library` one
    with what stands before it. `members`: who uses its keys is counted; not so where a key is used for a moment
    only."""

    name: str
    script: Path
    apply: Apply
    members: bool = True
    library: Path | None = None


class Decided(NamedTuple):
    """`now` is the keeper's time in seconds since the epoch, `members` how many processes used this key lately."""

    reply: Any
    now: float
    members: int


class State(Protocol):
    """State shared with other processes, for all that is alike in them: a key names the same thing in each."""

    async def decide(
        self,
        decision: Decision,
        key: str,
        arguments: Arguments,
        *,
        until: float = inf,
        lost: Callable[[Decided], None] | None = None,
    ) -> Decided:
        """One decision on the row of `key`, atomic among all processes. Raises StateUnavailable where it cannot be
        had now: then the caller goes on in its local form. Waits a moment at most, and never beyond `until`, a loop
        time. `lost` gets a reply that nobody waits for any more, so that what it took can be given back."""

    async def close(self) -> None: ...


class StateUnavailable(Exception):
    """The state cannot be asked now. It was told already, once for the outage."""


def state_key(kind: str, scope_key: str, form: int = 1) -> str:
    """The key of one state. A hash stands for the scope, whose endpoint may hold a password. Rows of another `form`
    have another key: in an upgrade, processes of the old and the new release never read each other's."""
    version = "" if form == 1 else f"{form}:"
    return f"{kind}:{version}{hashlib.sha256(scope_key.encode()).hexdigest()[:24]}"
