"""Targets and chains as living things: what strategies, retry and the attempt itself know of them.

A `TargetState` is shared by all chains that use a target; a `Target` is its place in one chain, with the gates
(breakers) that stand before it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from wizard_dsl.core.errors import CircuitOpen, TargetBlocked, WizardError
from wizard_dsl.core.estimates import Estimate
from wizard_dsl.core.waiters import Waiters

if TYPE_CHECKING:
    from wizard_dsl.core.budget import Purse
    from wizard_dsl.core.messages import Usage
    from wizard_dsl.core.node import Handler
    from wizard_dsl.core.run import Run

#: What a break after the commit point does.
MidStream = Literal["fail", "restart", "continue", "buffer"]
#: What a call does when every target's breaker is open.
WhenAllOpen = Literal["fail", "probe_first"]
#: Seconds until the gate may admit a call; None where it would now. `inf` where only a person opens it.
Gate = Callable[[float], float | None]


class Tier(msgspec.Struct, frozen=True):
    """The prices of a request with more than `above` input tokens, for all of its tokens."""

    above: int
    input: float
    output: float
    cached: float | None = None


class Prices(msgspec.Struct, frozen=True):
    """US dollars for a million tokens. `cached` applies to input tokens read from the provider's cache; `tiers` are the
    prices of longer requests, in ascending order."""

    input: float
    output: float
    cached: float | None = None
    tiers: tuple[Tier, ...] = ()

    def at(self, input_tokens: int) -> Prices:
        """The prices of a request with so many input tokens."""
        for tier in reversed(self.tiers):
            if input_tokens > tier.above:
                return Prices(tier.input, tier.output, tier.cached)
        return self

    def cost(self, usage: Usage) -> float:
        """US dollars of `usage`."""
        if self.tiers:
            return msgspec.structs.replace(self.at(usage.input_tokens), tiers=()).cost(usage)
        cached = self.cached if self.cached is not None else self.input
        fresh = usage.input_tokens - usage.cached_tokens
        return (fresh * self.input + usage.cached_tokens * cached + usage.output_tokens * self.output) / 1e6


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model; None: unknown, not checked. Windows are tokens."""

    context: int | None = None
    max_output: int | None = None
    tools: bool | None = None
    images: bool | None = None
    json_schema: bool | None = None
    system: bool | None = None
    streaming: bool | None = None
    prices: Prices | None = None


class RateLimitRule(msgspec.Struct, frozen=True):
    """The chain's `on_rate_limit`, in seconds: how long a 429 is waited for, and what then."""

    wait_up_to: float = 2.0
    then: Literal["fallback", "fail"] = "fallback"
    max_retry_after: float = 300.0
    quota_block: float = 3600.0


class Blocked(msgspec.Struct, frozen=True):
    """`until` is a loop time; `kind` is rate_limited or quota_exhausted."""

    until: float
    kind: str


class TargetState:
    """State of a target that all its users share: until when a provider's refusal blocks it, who waits for the end of
    that, how it has been answering lately, and whether somebody has switched it off."""

    __slots__ = ("blocked", "disabled", "estimate", "key", "waiters")

    def __init__(self, key: str) -> None:
        self.key = key
        self.blocked: Blocked | None = None
        self.disabled = False
        self.estimate = Estimate()
        self.waiters = Waiters(self)

    def block(self, until: float, kind: str) -> None:
        """Remember a refusal; a longer block that is known already stays."""
        if self.blocked is None or until > self.blocked.until:
            self.blocked = Blocked(until, kind)

    def is_barred(self, now: float) -> bool:
        """Whether it may not be asked, whatever its breaker says: it was switched off, or a refusal blocks it."""
        return self.disabled or (self.blocked is not None and self.blocked.until > now)


class Target(msgspec.Struct):
    """One place in a chain.

    `max_attempts` is what its retry allows, 1 without one; `unannounced(run, k)` its delay in seconds after the
    k-th 429 that names none. `params` are its own, which win over the request's; `repeats(error)` says whether its
    retry may repeat after `error`. `total` is its timeout of a whole attempt, in seconds; None: unknown or off.
    `priority` names its group, the lowest number is tried first; `weight` is its share where a strategy draws;
    `fingerprint` is what is asked of it: endpoint, model and parameters.
    `purse` is its budget, None without one.
    """

    name: str
    position: int
    state: TargetState
    facts: Facts = msgspec.field(default_factory=Facts)
    gates: list[Gate] = []
    max_attempts: int = 1
    unannounced: Callable[[Run, int], float] | None = None
    total: float | None = None
    params: Mapping[str, Any] = {}
    repeats: Callable[[WizardError], bool] = lambda error: True
    weight: float = 1.0
    priority: int = 0
    fingerprint: str = ""
    purse: Purse | None = None

    def closed_for(self, now: float) -> float | None:
        """Seconds until it may be called; None where it may be called now. Costs nothing, takes nothing."""
        if self.state.disabled:
            return inf
        blocked = self.state.blocked
        wait: float | None = None
        if blocked is not None:
            if blocked.until > now:
                wait = blocked.until - now
            else:
                self.state.blocked = None
        for gate in self.gates:
            closed = gate(now)
            if closed is not None and (wait is None or closed > wait):
                wait = closed
        return wait

    def drop_held(self, run: Run) -> None:
        """Give back what is reserved for an attempt that is not made."""
        if self.purse is not None:
            self.purse.drop(run)

    def blocked_for(self, now: float) -> float | None:
        """Seconds of a 429's block that are left; None where no 429 blocks it."""
        blocked = self.state.blocked
        if blocked is None or blocked.until <= now or blocked.kind != "rate_limited":
            return None
        return blocked.until - now

    def refusal(self, wait: float, now: float) -> WizardError:
        """The error of a call that is not made because the target is closed for `wait` seconds."""
        if self.state.disabled:
            return CircuitOpen(
                f"{self.name} is switched off", where=self.name, suggestion=f'pipeline.enable("{self.name}")'
            )
        after = wait if wait != inf else None
        blocked = self.state.blocked
        if blocked is not None and blocked.until > now:
            what = "a 429" if blocked.kind == "rate_limited" else "its exhausted quota"
            message = f"{self.name} is blocked by {what} for {wait:.3g} s more"
            if blocked.kind == "rate_limited":
                return TargetBlocked(message, where=self.name, retry_after=after)
            return CircuitOpen(message, where=self.name, retry_after=after)
        more = f" for {wait:.3g} s more" if after is not None else ""
        return CircuitOpen(f"the circuit of {self.name} is open{more}", where=self.name, retry_after=after)


class Primary:
    """Whether the first target of a chain is away: since when, and how many calls were served elsewhere. Pure."""

    __slots__ = ("calls", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        self.calls = 0

    def missed(self, now: float) -> None:
        """Another target answered because the first one failed or was closed."""
        if self.since is None:
            self.since = now
        self.calls += 1

    def answered(self, now: float) -> tuple[float, int] | None:
        """The first one answers: seconds and calls that it was away, once; None where it was not."""
        if self.since is None:
            return None
        away = now - self.since, self.calls
        self.since, self.calls = None, 0
        return away


class RetryAllowance:
    """What retry and strategies ask of a retry budget; the policy `retry_budget` builds the real one."""

    def deposit(self, now: float) -> None:
        """A logical call made its first attempt."""

    async def withdraw(self, now: float) -> bool:
        """Take one repeat; False where the budget is spent. May ask other processes."""
        return True

    def give_back(self, now: float, taken: float) -> None:
        """A repeat for which `withdraw(taken)` said yes is not made."""


class Chain(msgspec.Struct):
    """What the nodes of one chain share. `fallback_on` overrides the error table by kind or status; `mid_stream` is
    what a break after the commit point does (`on_mid_stream_error`). `asked(run)` is what a call asks for, as far as
    the cache's key is concerned, where that depends on the call: a pure function.
    `spenders` are the budget nodes of its targets."""

    name: str
    rate_limit: RateLimitRule = msgspec.field(default_factory=RateLimitRule)
    allowance: RetryAllowance = msgspec.field(default_factory=RetryAllowance)
    fallback_on: dict[str, bool] = {}
    allow_loss: frozenset[str] = frozenset()
    asked: Callable[[Run], str] | None = None
    mid_stream: MidStream = "fail"
    spenders: list[Any] = []
    when_all_open: WhenAllOpen = "fail"
    primary: Primary = msgspec.field(default_factory=Primary)

    @property
    def resumes(self) -> bool:
        """Whether an answer that breaks is asked for again."""
        return self.mid_stream in {"restart", "continue"}


class Branch(msgspec.Struct, frozen=True):
    """One child of a strategy: the target and the handler of its ladder (retry outermost)."""

    target: Target
    handler: Handler
