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


class Visit(msgspec.Struct, eq=False):
    """What one logical call has seen so far: failures in the order they happened, and who may be waited for. `first`
    are the positions that are asked before all others. `granted` are those for which the retry budget allowed a repeat
    that was not made yet, each with the loop time at which it did; `idle` is since when it has only waited, a loop
    time, None where its last attempt came after that. A prompt did not fit a `window` of so many tokens."""

    request: Request
    run: Run
    first: Collection[int]
    failures: list[Failure]
    granted: dict[int, float] = {}
    idle: float | None = None
    waiting: dict[int, Waiting] = {}
    window: int | None = None
    marks: tuple[str, ...] = ()

    @property
    def called(self) -> bool:
        """Whether anything was called that failed."""
        return True in [each.called for each in self.failures]

    def has_outgrown(self, target: Target) -> bool:
        """Whether the prompt did not fit a window that was at least as large as the target's."""
        window = target.facts.context
        return self.window is not None and window is not None and window <= self.window

    def fail(self, target: Target, error: WizardError, called: bool) -> None:
        """Book the end of a target; a second one takes the first one's place, at the end."""
        failure = Failure(target.position, target.name, error, called)
        self.failures = [*[each for each in self.failures if each.position != target.position], failure]


def reason(target: Target, error: WizardError) -> str:
    """Why a target was skipped, in a word or two."""
    if isinstance(error, Unsupported):
        return ", ".join(error.lost)
    if target.state.disabled:
        return "disabled"
    if isinstance(error, CircuitOpen) and target.state.blocked is not None:
        return target.state.blocked.kind
    return error.kind
