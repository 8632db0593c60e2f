"""Every event a node may emit, one struct each: the vocabulary of transcript, logs, metrics and traces.

    Event                  path: the node that speaks, such as chains.writer.targets[1].retry
    ├─ RunStarted, RunEnded            the run as a whole
    ├─ StepStarted, StepEnded          one step, or one item of it
    ├─ AttemptStarted, AttemptEnded    one exchange with one target
    ├─ StreamCommitted, StreamEnded    the first content, the end of a stream
    ├─ RetryScheduled, RetriesEnded    back-off of a target; why it was given up
    ├─ TargetSkipped, FallbackTriggered, LossAccepted     the strategy's moves
    ├─ RateLimitWaited, RateLimitProlonged     waits for a blocked target
    ├─ PrimaryRecovered                the first target of a chain answers again
    ├─ OutageProbed                    all breakers are open, and the first target is asked all the same
    ├─ HedgeStarted, HedgeWithheld, BranchCancelled     several targets under way at once
    ├─ TargetBlocked                   a 429 or an exhausted quota: nobody calls it until then
    ├─ BreakerChanged, BreakerProbed   closed, open, half_open, forced; an open one asks its target by itself
    ├─ LimitWaited, LimitRefused       rate_limit, concurrency and admission
    ├─ RateLimitApproaching            a limit, ours or the provider's, is nearly used up
    ├─ CacheHit, CacheMissed, CacheStored, CacheStale, CacheRefreshed, CacheShared, CacheUnavailable
    ├─ StateDegraded, StateRestored    the state shared with other processes went away, and came back
    ├─ ContractFailed, ContractRepaired    the output did not satisfy its schema; a repair did
    ├─ InputGuarded, AnswerRefused     what the safety section found
    ├─ BudgetApproaching, BudgetUnavailable    most of a budget is spent; its book cannot be used
    ├─ HistoryUnavailable              a run could not be recorded
    ├─ DeadlineCut                     work was not begun because it could not end in time
    └─ ObserverFailed                  a callback raised; the outcome is unchanged

`name` is the event's name in logs (snake case, fixed by the requirement list where it has one). No event holds
a prompt, a completion or a key.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`path` names the node in the program."""

    name: ClassVar[str] = "event"
    level: ClassVar[str] = "DEBUG"
    path: str = ""


class RunStarted(Event, frozen=True):
    name: ClassVar[str] = "request_started"
    pipeline: str


class RunEnded(Event, frozen=True):
    """`kind` is ok or an error kind."""

    name: ClassVar[str] = "request_completed"
    level: ClassVar[str] = "INFO"
    kind: str
    elapsed: float


class StepStarted(Event, frozen=True):
    name: ClassVar[str] = "step_started"
    step: str
    item: int | None = None


class StepEnded(Event, frozen=True):
    """`kind` is ok, skipped or an error kind; `chain` and `position` say who of whom answered it live."""

    name: ClassVar[str] = "step_completed"
    step: str
    kind: str
    item: int | None = None
    chain: str | None = None
    position: int | None = None


class AttemptStarted(Event, frozen=True):
    name: ClassVar[str] = "attempt_started"
    target: str


class AttemptEnded(Event, frozen=True):
    """`repeat`: it repeated an attempt of the same call on this target. `cut` is the phase of `timeout` whose limit
    ended it: connect, first_chunk, idle or total; empty where none did."""

    name: ClassVar[str] = "attempt_completed"
    target: str
    kind: str
    status: int | None = None
    elapsed: float = 0.0
    repeat: bool = False
    cut: str = ""


class StreamCommitted(Event, frozen=True):
    name: ClassVar[str] = "stream_started"
    target: str


class StreamEnded(Event, frozen=True):
    """`ending` is completed, failed, cancelled or abandoned."""

    name: ClassVar[str] = "stream_completed"
    target: str
    ending: str


class RetryScheduled(Event, frozen=True):
    """Repeat number `retry` of a target follows after `delay` seconds."""

    name: ClassVar[str] = "retry_attempt"
    target: str
    kind: str
    retry: int
    delay: float


class RetriesEnded(Event, frozen=True):
    """The target is given up; `reason` is attempts, deadline, budget, retry_budget_exhausted, breaker_opened,
    rate_limit (Retry-After beyond what is waited for) or when (its predicate said no)."""

    name: ClassVar[str] = "max_retries_exceeded"
    level: ClassVar[str] = "INFO"
    target: str
    kind: str
    attempts: int
    reason: str


class TargetSkipped(Event, frozen=True):
    """`reason` is circuit_open, rate_limited, quota_exhausted, disabled, or what the target cannot do."""

    name: ClassVar[str] = "target_skipped"
    target: str
    reason: str


class FallbackTriggered(Event, frozen=True):
    name: ClassVar[str] = "fallback_triggered"
    level: ClassVar[str] = "INFO"
    target: str
    kind: str
    to: str


class PrimaryRecovered(Event, frozen=True):
    """The first target of a chain answers again, after `calls` calls within `away` seconds were served elsewhere
    because it failed or was closed."""

    name: ClassVar[str] = "primary_recovered"
    level: ClassVar[str] = "INFO"
    target: str
    away: float
    calls: int


class LossAccepted(Event, frozen=True):
    """The target lacks `lost`, which `allow_loss` allows."""

    name: ClassVar[str] = "loss_accepted"
    level: ClassVar[str] = "WARNING"
    target: str
    lost: tuple[str, ...]


class RateLimitWaited(Event, frozen=True):
    """No untried target is left: the run waits `delay` seconds for the one free first."""

    name: ClassVar[str] = "rate_limit_waited"
    target: str
    delay: float


class RateLimitProlonged(Event, frozen=True):
    """The target that the run waited for was blocked again meanwhile, so that it waited `delay` seconds longer."""

    name: ClassVar[str] = "rate_limit_prolonged"
    target: str
    delay: float


class HedgeStarted(Event, frozen=True):
    """`target` has not committed `after` seconds after it began; `to` is asked besides."""

    name: ClassVar[str] = "hedge_started"
    level: ClassVar[str] = "INFO"
    target: str
    to: str
    after: float


class HedgeWithheld(Event, frozen=True):
    """`target` is late and nobody is asked besides; `reason` is closed (what is left may not be called now), deadline
    or retry_budget_exhausted."""

    name: ClassVar[str] = "hedge_withheld"
    target: str
    reason: str


class BranchCancelled(Event, frozen=True):
    """`target` is given up because of how `by` ended; `reason` is answered or failed."""

    name: ClassVar[str] = "branch_cancelled"
    target: str
    by: str
    reason: str


class TargetBlocked(Event, frozen=True):
    """`target` is not called for `seconds`; `reason` is rate_limited or quota_exhausted."""

    name: ClassVar[str] = "rate_limit_received"
    level: ClassVar[str] = "INFO"
    target: str
    reason: str
    seconds: float


class BreakerChanged(Event, frozen=True):
    name: ClassVar[str] = "circuit_changed"
    level: ClassVar[str] = "WARNING"
    target: str
    before: str
    after: str


class BreakerProbed(Event, frozen=True):
    """Without traffic, an open breaker asked its target; `kind` is ok or an error kind."""

    name: ClassVar[str] = "circuit_probed"
    level: ClassVar[str] = "INFO"
    target: str
    kind: str


class LimitWaited(Event, frozen=True):
    name: ClassVar[str] = "limit_waited"
    limit: str
    seconds: float


class LimitRefused(Event, frozen=True):
    name: ClassVar[str] = "limit_refused"
    level: ClassVar[str] = "INFO"
    limit: str
    retry_after: float | None


class RateLimitApproaching(Event, frozen=True):
    """The used share of a limit passed `warn_at`: of our own one (`whose` is own), or of the provider's, as its
    answer says. Told once for each time that it passes. `rule` names the limit, such as `60/minute`."""

    name: ClassVar[str] = "rate_limit_approaching"
    level: ClassVar[str] = "WARNING"
    limit: str
    rule: str
    whose: str
    used: float


class CacheHit(Event, frozen=True):
    """`kind` is ok, or that of the remembered error that is given."""

    name: ClassVar[str] = "cache_hit"
    key: str
    age: float
    kind: str = "ok"


class CacheMissed(Event, frozen=True):
    name: ClassVar[str] = "cache_miss"
    key: str


class CacheStored(Event, frozen=True):
    name: ClassVar[str] = "cache_stored"
    key: str
    ttl: float


class CacheStale(Event, frozen=True):
    """An answer was given `expired` seconds after its time: `reason` is the kind of the failure it stands in for, or
    revalidate where it is refreshed behind the call."""

    name: ClassVar[str] = "cache_stale"
    level: ClassVar[str] = "INFO"
    key: str
    age: float
    expired: float
    reason: str


class CacheRefreshed(Event, frozen=True):
    """A refresh behind a call ended; `kind` is ok or an error kind, and then the stored answer stays as it is."""

    name: ClassVar[str] = "cache_refreshed"
    key: str
    kind: str


class CacheShared(Event, frozen=True):
    """An equal call was in flight; this one follows it."""

    name: ClassVar[str] = "cache_shared"
    key: str


class CacheUnavailable(Event, frozen=True):
    """The store cannot be used for now; the run goes on without it."""

    name: ClassVar[str] = "cache_unavailable"
    level: ClassVar[str] = "WARNING"
    reason: str


class StateDegraded(Event, frozen=True):
    """The shared state cannot be asked; limits, breakers and the like go on in their local form."""

    name: ClassVar[str] = "state_degraded"
    level: ClassVar[str] = "WARNING"
    keeper: str
    reason: str


class StateRestored(Event, frozen=True):
    """The shared state is back after `seconds`."""

    name: ClassVar[str] = "state_restored"
    level: ClassVar[str] = "WARNING"
    keeper: str
    seconds: float


class ContractFailed(Event, frozen=True):
    """The output of `target` did not satisfy its schema; `repair` counts the repairs asked for so far."""

    name: ClassVar[str] = "contract_failed"
    level: ClassVar[str] = "INFO"
    target: str
    violations: tuple[str, ...]
    repair: int


class ContractRepaired(Event, frozen=True):
    """The output of `target` satisfied its schema after so many `repairs`."""

    name: ClassVar[str] = "contract_repaired"
    level: ClassVar[str] = "INFO"
    target: str
    repairs: int


class OutageProbed(Event, frozen=True):
    """The breakers of all targets of a chain are open: `target` is asked before its time (`when_all_open`)."""

    name: ClassVar[str] = "outage_probed"
    level: ClassVar[str] = "INFO"
    target: str


class InputGuarded(Event, frozen=True):
    """Something in an input was stripped, escaped or told; `finding` never quotes the input's words."""

    name: ClassVar[str] = "input_guarded"
    level: ClassVar[str] = "WARNING"
    input: str
    action: str
    finding: str


class AnswerRefused(Event, frozen=True):
    name: ClassVar[str] = "answer_refused"
    level: ClassVar[str] = "WARNING"
    target: str
    findings: tuple[str, ...]


class BudgetApproaching(Event, frozen=True):
    """`warn_at` of a budget is spent or reserved; told once for each run, session, day or month, by the attempt that
    reached it or the next one. US dollars."""

    name: ClassVar[str] = "budget_approaching"
    level: ClassVar[str] = "WARNING"
    budget: str
    warn_at: float
    limit: float


class BudgetUnavailable(Event, frozen=True):
    """The book of the budgets cannot be used for now: what they stop is stopped, what they degrade is degraded."""

    name: ClassVar[str] = "budget_unavailable"
    level: ClassVar[str] = "WARNING"
    reason: str


class DeadlineCut(Event, frozen=True):
    """`what` was not begun: `needed` seconds do not fit the `left` ones."""

    name: ClassVar[str] = "deadline_cut"
    what: str
    needed: float
    left: float


class HistoryUnavailable(Event, frozen=True):
    """The database of the history cannot be used for now: the runs are not recorded, and else go on as ever."""

    name: ClassVar[str] = "history_unavailable"
    level: ClassVar[str] = "WARNING"
    reason: str


class ObserverFailed(Event, frozen=True):
    name: ClassVar[str] = "observer_failed"
    level: ClassVar[str] = "WARNING"
    error: str


EVENTS: tuple[type[Event], ...] = (
    RunStarted,
    RunEnded,
    StepStarted,
    StepEnded,
    AttemptStarted,
    AttemptEnded,
    StreamCommitted,
    StreamEnded,
    RetryScheduled,
    RetriesEnded,
    TargetSkipped,
    FallbackTriggered,
    PrimaryRecovered,
    LossAccepted,
    RateLimitWaited,
    RateLimitProlonged,
    HedgeStarted,
    HedgeWithheld,
    BranchCancelled,
    TargetBlocked,
    BreakerChanged,
    BreakerProbed,
    LimitWaited,
    LimitRefused,
    RateLimitApproaching,
    CacheHit,
    CacheMissed,
    CacheStored,
    CacheStale,
    CacheRefreshed,
    CacheShared,
    CacheUnavailable,
    ContractFailed,
    ContractRepaired,
    OutageProbed,
    InputGuarded,
    AnswerRefused,
    BudgetApproaching,
    BudgetUnavailable,
    DeadlineCut,
    StateDegraded,
    StateRestored,
    HistoryUnavailable,
    ObserverFailed,
)
