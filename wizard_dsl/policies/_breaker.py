"""One breaker as a living thing, shared by all nodes of its scope: state, listeners, figures, and control by hand.

pybreaker carries the state's name and the listeners; the window, the verdicts and the leases are ours, because
the library counts consecutive failures, reads the process's clock and knows neither streams nor cancellation. It is
imported for the first listener: nobody else sees what it carries, and it imports redis where that is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.events import BreakerChanged, ObserverFailed
from wizard_dsl.core.run import Emit, Run, nobody
from wizard_dsl.policies._breaker_state import BreakerState, Limits, State

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock, Timer


class BreakerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker at one moment. Counts and `failure_ratio` (failures among successes and failures, 0 without any) are
    of its window; `slow` are attempts that a hedge overtook, and answers that began late. `transitions` counts changes
    of state since the start, and `seconds` the time in each state that was seen. `retry_after` is in seconds, None
    where a call may be admitted, or only a person admits one; `opened_until` is that moment in Unix time, of an open
    one.
    """

    state: State
    failure_ratio: float
    successes: int
    failures: int
    slow: int
    transitions: int
    seconds: dict[str, float]
    retry_after: float | None = None
    opened_until: float | None = None


class Breaker:
    """See the module. `path` and `target` are those of its first node: a person's change is told in its name."""

    __slots__ = (
        "_circuit",
        "_clock",
        "_emit",
        "_path",
        "_seconds",
        "_seen",
        "_since",
        "_target",
        "_transitions",
        "closed",
        "probing",
        "state",
        "timer",
        "told",
    )  # fmt: skip

    def __init__(self, limits: Limits, clock: Clock, emit: Emit, path: str, target: str) -> None:
        self.state = BreakerState(limits)
        self._circuit: Any = None  # from the first listener on
        self._clock = clock
        self._emit = emit
        self._path = path
        self._target = target
        self.told = 0  # the generation that was told of
        self._seen: State = "closed"
        self._since = clock.now()
        self._seconds: dict[str, float] = {}
        self._transitions = 0
        self.timer: Timer | None = None  # of the next probe
        self.probing = False
        self.closed = False

    def tell(self, run: Run, path: str, target: str) -> bool:
        """Tell events and listeners, once, of a transition that was not told yet; whether there was one."""
        if self.told == self.state.generation:
            return False
        self.told = self.state.generation
        before, after = self._seen, self.state.state
        if before == after:
            return False
        now = self._clock.now()
        self._seconds[before] = self._seconds.get(before, 0.0) + now - self._since
        self._seen, self._since = after, now
        self._transitions += 1
        self._emit(run, BreakerChanged(path=path, target=target, before=before, after=after))
        if self._circuit is not None:
            try:
                self._circuit.follow(after, self._clock.wall())
            except Exception as error:
                self._emit(run, ObserverFailed(path=path, error=repr(error)))
        return True

    def add_listener(self, listener: Any) -> None:
        """A pybreaker.CircuitBreakerListener that is told of every transition from now on."""
        if self._circuit is None:
            self._circuit = _circuit_type()()
            self._circuit.follow(self._seen, self._clock.wall() - (self._clock.now() - self._since))
        self._circuit.add_listener(listener)

    # -- by hand ------------------------------------------------------------------------------------

    def force_open(self) -> None:
        """Admit nothing, probe nothing, until `reset`: calls are refused without a `retry_after`."""
        self._change(self.state.force_open)

    def force_close(self) -> None:
        """Admit everything until `reset`; verdicts are still recorded."""
        self._change(self.state.force_close)

    def reset(self) -> None:
        """Closed, with an empty window and without growth."""
        self._change(self.state.reset)

    def _change(self, change: Callable[[], None]) -> None:
        change()
        self.tell(nobody(self._clock.now()), self._path, self._target)

    def figures(self) -> BreakerFigures:
        """How it stands now."""
        now, state = self._clock.now(), self.state
        state.counts.advance(now)
        state.slow.advance(now)
        good, bad = state.counts.first, state.counts.second
        wait = state.closed_for(now)
        after = None if wait == inf else wait
        return BreakerFigures(
            state=state.state,
            failure_ratio=bad / (good + bad) if bad else 0.0,
            successes=good,
            failures=bad,
            slow=state.slow.first + state.slow.second,
            transitions=self._transitions,
            seconds={**self._seconds, self._seen: self._seconds.get(self._seen, 0.0) + now - self._since},
            retry_after=after,
            opened_until=None if after is None or state.state != "open" else self._clock.wall() + after,
        )

    async def aclose(self) -> None:
        """No probe follows any more."""
        self.closed = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@cache
def _circuit_type() -> Any:
    """pybreaker's class without its clock: it holds the state and tells the listeners, and runs no calls."""
    import pybreaker

    class Circuit(pybreaker.CircuitBreaker):
        def __init__(self) -> None:
            super().__init__(state_storage=pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED))

        def follow(self, state: str, at: float) -> None:
            """Be in our `state`, since `at` in Unix time."""
            name = state.removeprefix("forced_").replace("_", "-")
            if self.current_state == name:
                return
            if name == pybreaker.STATE_OPEN:
                self._state_storage.opened_at = datetime.fromtimestamp(at, UTC)
            self._state_storage.state = name
            self.state = name

    return Circuit
