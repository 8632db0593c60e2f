"""A run that ended, and who keeps it.

A runtime hands each run that ended to a `Recorder`, which a `Chronicle` started for it; observe.history is the one that
comes with the package. What a run was asked and answered goes along only where `Setup.content` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.messages import Completion, Request
    from wizard_dsl.core.result import Result
    from wizard_dsl.core.run import Transcript

#: What is kept of inputs, prompts and answers.
Content = Literal["none", "redacted", "full"]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """How the runs of one runtime came to be: what a repeat needs. Paths are absolute; `secrets` are the values that
    must not be written anywhere, and are not."""

    file: str
    root: str
    overlays: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    chain: str | None = None
    seed: int = 0
    mock: bool = False
    content: Content = "none"
    secrets: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """What the caller of one run gave: `deadline` in seconds or as a duration, `streamed` where it read deltas."""

    inputs: Mapping[str, Any]
    deadline: float | str | None
    streamed: bool


class Exchange(msgspec.Struct, frozen=True):
    """What one attempt was asked, and what arrived of its answer. `attempt` is its row in the ledger."""

    attempt: int
    request: Request
    answer: Completion | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run that ended. `number` counts the runs of its runtime and seeds chance; `began` is wall-clock time.
    `breakers` are the figures of the circuit breakers after it, by name."""

    setup: Setup
    asked: Asked
    number: int
    began: float
    result: Result
    transcript: Transcript
    breakers: Mapping[str, Any] = {}


class Recorder(Protocol):
    """Keeps the runs of one runtime."""

    def ended(self, record: Record) -> None:
        """Take a run. Must neither block nor raise: the run is over, and its caller waits for the result."""

    async def written(self) -> None:
        """Wait until what was taken is kept, or for as long as is decent. Raises nothing."""

    async def aclose(self) -> None:
        """No more runs come."""


class Chronicle(Protocol):
    """What `wizard.open(…, history=…)` takes."""

    def start(self, setup: Setup, clock: Clock, tell: Callable[[str], None]) -> Recorder:
        """A recorder for one runtime, in its event loop; `tell` says, once for each outage, why runs are not kept."""
