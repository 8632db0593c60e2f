"""What one logical call remembers of the targets it has seen."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from wizard_dsl.core.errors import CircuitOpen, Unsupported, WizardError
from wizard_dsl.core.messages import Request
from wizard_dsl.core.run import Failure, Run
from wizard_dsl.core.target import Target


class Waiting(msgspec.Struct):
    """A target that may be called again from `free_at` on; `used` attempts of this call were made on it, the last
    of them being row `retry_of` of the ledger."""

    free_at: float
    used: int = 0
    retry_of: int | None = None


class Visit:
    """What one logical call has seen so far: failures in the order they happened, and who may be waited for. `granted`
    are the positions for which the retry budget allowed a repeat that was not made yet, each with the loop time at
    which it did; `idle` is since when it has only waited, a loop time, None where its last attempt came after that."""

    __slots__ = ("failures", "first", "granted", "idle", "marks", "request", "run", "waiting", "window")

    def __init__(self, request: Request, run: Run, first: Collection[int] = (0,)) -> None:
        self.request = request
        self.run = run
        self.failures = list(run.failures)
        self.first = first  # the positions that are asked before all others
        self.granted: dict[int, float] = {}
        self.idle: float | None = None
        self.waiting: dict[int, Waiting] = {}
        self.window: int | None = None  # a prompt did not fit a window of that many tokens
        self.marks: tuple[str, ...] = ()

    @property
    def called(self) -> bool:
        """Whether anything was called that failed."""
        return any(each.called for each in self.failures)

    def has_outgrown(self, target: Target) -> bool:
        """Whether the prompt did not fit a window that was at least as large as the target's."""
        window = target.facts.context
        return self.window is not None and window is not None and window <= self.window

    def fail(self, target: Target, error: WizardError, called: bool) -> None:
        """Book the end of a target; a second one takes the first one's place, at the end."""
        self.failures = [each for each in self.failures if each.position != target.position]
        self.failures.append(Failure(target.position, target.name, error, called))


def reason(target: Target, error: WizardError) -> str:
    """Why a target was skipped, in a word or two."""
    if isinstance(error, Unsupported):
        return ", ".join(error.lost)
    if target.state.disabled:
        return "disabled"
    if isinstance(error, CircuitOpen) and target.state.blocked is not None:
        return target.state.blocked.kind
    return error.kind
