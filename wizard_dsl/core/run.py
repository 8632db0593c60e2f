"""For whom and until when: the second argument of every handler.

A `Run` is frozen; `run.child(**changes)` is how a node tells those below it something. What is written during a
run – attempts and events – lives in its `Transcript`, which all children share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from wizard_dsl.core.messages import Confidence, Usage

if TYPE_CHECKING:
    from wizard_dsl.core.budget import MemoryBook
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.record import Exchange

#: Seconds that an attempt needs to be worth beginning after a failure, where nothing says otherwise.
MIN_ATTEMPT: Final = 1.0


class Scope(msgspec.Struct, frozen=True):
    """Who runs: fixed for a step's call. `number` counts the runs of one runtime and seeds chance;
    `streams` says whether a consumer sees the deltas of this call; `repeat` keeps samples of equal calls apart;
    `sticky` is the text whose hash chooses the arm of a weighted chain, None where chance does."""

    run_id: str
    number: int = 0
    pipeline: str = ""
    step: str = ""
    item: int | None = None
    session: str | None = None
    principal: str | None = None
    streams: bool = False
    repeat: int = 0
    sticky: str | None = None

    @property
    def place(self) -> str:
        """The step, with the item of its loop: `parts`, `parts[2]`, and `parts[2]/facts` within another file."""
        return self.step if self.item is None else f"{self.step}[{self.item}]"


class Attempt(msgspec.Struct):
    """One exchange with one target: a row of the ledger. Times are loop times; `kind` is ok or an error kind,
    None while it runs. `waited` is what was slept for it: back-off and limits, in seconds."""

    target: str
    step: str
    started: float
    item: int | None = None
    kind: str | None = None
    status: int | None = None
    elapsed: float | None = None
    first_chunk: float | None = None
    usage: Usage | None = None
    cost: float | None = None
    confidence: Confidence = "unknown"
    waited: float = 0.0
    hedge: bool = False
    retry_of: int | None = None
    message: str | None = None
    request_id: str | None = None
    number: int = 0
    retry_after: float | None = None
    should_retry: bool | None = None


class Failure(msgspec.Struct, frozen=True):
    """A target of this logical call that is not to be entered again, and why. `called` is False for a skip."""

    position: int
    target: str
    error: Any  # a WizardError
    called: bool = True


class Branch(msgspec.Struct):
    """A cell that says why a branch is cancelled, written before the cancel: `overtaken` by another branch."""

    reason: Literal["", "overtaken"] = ""


class Call(msgspec.Struct):
    """What one logical call of a step remembers across its attempts.

    `deposited`: the retry budget saw this call's first attempt. `waited`: seconds slept since the last attempt,
    to be booked on the next one. `losses`: capabilities that the target in use lacks and `allow_loss` allows.
    `order`: positions in the order of this call, where the strategy has one of its own: repairs keep to it.
    `whole`: the call that this is one branch of, where several are under way at once.
    `held`: by position, what is reserved for the attempt after a sleep. `last`: the ledger row of its last attempt; a
    branch has its own, for two may be at the same target.
    """

    deposited: bool = False
    waited: float = 0.0
    losses: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    whole: Call | None = None
    held: dict[int, Any] | None = None
    last: Attempt | None = None

    def branch(self) -> Call:
        """The call as one of several branches sees it: what it sleeps is its own, the first attempt is the whole's.
        What was slept before them is booked by the first."""
        waited, self.waited = self.waited, 0.0
        return Call(waited=waited, losses=self.losses, whole=self)

    def begin(self) -> bool:
        """An attempt begins: whether it is the first of the whole call."""
        first = not self.deposited
        self.deposited = True
        return first and (self.whole is None or self.whole.begin())


class Transcript(msgspec.Struct, eq=False):
    """What the policies did in one run: attempts, and every event with its time and the place that speaks. `book` is
    the run's own account, where it has a budget; `exchanges` is what attempts were asked and answered, where that is
    recorded."""

    started: float
    attempts: list[Attempt] = []
    events: list[tuple[float, str, Event]] = []
    book: MemoryBook | None = None
    exchanges: list[Exchange] | None = None

    __repr__ = object.__repr__  # content is nothing for a log


class Run(msgspec.Struct, frozen=True):
    """One execution, as seen from one place in the graph.

    `deadline` is an absolute loop time. The rest is lineage: `used` counts attempts this logical call already
    made on the target below, `failures` are targets not to enter again, `only` restricts a strategy to one
    position (a repair), `commit` is where a stream counts as answered ("end" where nobody sees its deltas),
    `reasoning` says whether the consumer gets reasoning deltas, `allow_empty` whether an empty answer is one,
    `retry_of` is the ledger row that this attempt repeats, and the phase timeouts are seconds, None where off.
    `min_attempt` is how many seconds an attempt needs to be worth beginning after a failure. `probe`: an open breaker
    admits it before its time, through a lease. A run that is not `patient` never waits for one of our own limits: it
    is refused.
    """

    scope: Scope
    deadline: float
    transcript: Transcript
    call: Call
    commit: Literal["content", "end"] = "end"
    reasoning: bool = False
    allow_empty: bool = False
    used: int = 0
    failures: tuple[Failure, ...] = ()
    only: int | None = None
    hedge: bool = False
    retry_of: int | None = None
    branch: Branch | None = None
    connect: float | None = None
    first_chunk: float | None = None
    idle: float | None = None
    total: float | None = None
    min_attempt: float = MIN_ATTEMPT
    probe: bool = False
    patient: bool = True

    def child(self, **changes: Any) -> Run:
        """This run with some fields replaced."""
        return msgspec.structs.replace(self, **changes)


def nobody(now: float) -> Run:
    """Under no run's id, with a transcript of its own: for what happens outside of runs."""
    return Run(scope=Scope(run_id=""), deadline=now, transcript=Transcript(now), call=Call())


Emit = Callable[["Run", "Event"], None]
