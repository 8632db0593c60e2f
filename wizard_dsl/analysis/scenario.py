"""Scenarios, `*.sim.yaml`: who comes when, how targets behave, what goes wrong, and what must hold all the same.

Keys of a fault are those of a script item (testing.scripted): what a test scripts, a scenario says by the clock.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta

from wizard_dsl.core.component import Duration, Money, RateText, Ratio
from wizard_dsl.spec.project import SCENARIO_ENDINGS
from wizard_dsl.testing.documents import Grammar

_Count = Annotated[int, Meta(ge=0)]
_Number = Annotated[float, Meta(ge=0)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of a scenario."""


class Spread(_Part, frozen=True, kw_only=True):
    """Durations spread as a lognormal: half of them are below `median`, 99 in 100 below `p99`."""

    median: Duration
    p99: Annotated[Duration, Meta(description="default: the median, so that all are equal")] | None = None


class TokenSpread(_Part, frozen=True, kw_only=True):
    """Numbers of tokens spread as a lognormal."""

    median: Annotated[int, Meta(ge=1)]
    p99: Annotated[int, Meta(ge=1, description="default: the median, so that all are equal")] | None = None


Latency = Annotated[Duration | Spread, Meta(description="until the answer begins: `800ms`, or {median, p99}")]
Tokens = Annotated[int, Meta(ge=1)] | TokenSpread


class Phase(_Part, frozen=True, kw_only=True):
    """What happens to a share of the attempts that begin within a span of time. Without a fault, only their latency is
    another one."""

    from_: Annotated[Duration, Meta(description="since the start of the load")] = msgspec.field(
        default="0s", name="from"
    )
    to: Annotated[Duration, Meta(description="default: the end of the load")] | None = None
    share: Annotated[Ratio, Meta(description="of the attempts that begin meanwhile")] = "100%"
    latency: Latency | None = None
    status: Annotated[int, Meta(ge=300, le=599, description="fail with this HTTP status")] | None = None
    headers: Annotated[dict[str, str], Meta(description="of the failure")] = {}
    retry_after: Annotated[Duration, Meta(description="what the failure announces")] | None = None
    body: Annotated[str, Meta(description="of the failure")] = ""
    delay: Annotated[Duration, Meta(description="before the failure")] = "0s"
    refuse: Annotated[bool, Meta(description="fail to connect")] = False
    cut_after: Annotated[int, Meta(ge=0, description="pieces (words) after which the connection breaks")] | None = None
    stall_after: Annotated[int, Meta(ge=0, description="pieces (words) after which nothing more comes")] | None = None

    @property
    def fault(self) -> str:
        """What goes wrong, in a few words; empty for a phase that only changes the latency."""
        if self.refuse:
            return "refused"
        if self.status is not None:
            return str(self.status)
        if self.cut_after is not None:
            return f"cut after {self.cut_after}"
        return "" if self.stall_after is None else f"stalls after {self.stall_after}"


class ProviderLimit(_Part, frozen=True, kw_only=True):
    """What the provider grants: buckets that refill all the time and hold as much as their rate grants in its period.
    An attempt that finds one empty gets a 429; answers tell in headers what is left."""

    rates: Annotated[list[RateText], Meta(min_length=1, description="such as 60/minute, 100000 tokens/minute")]
    per: Annotated[
        Literal["target", "pattern"], Meta(description="whose limit it is: each target's, or that of all it matches")
    ] = "target"
    retry_after: Annotated[
        str,
        Meta(
            pattern="^(?:exact|none|(?:[0-9]+(?:\\.[0-9]+)?(?:us|ms|s|m|h|d))+)$",
            description="what a 429 announces: when there is room (exact), nothing (none), or a duration",
        ),
    ] = "exact"
    headers: Annotated[bool, Meta(description="whether answers and refusals tell what is left")] = True


class TargetModel(_Part, frozen=True, kw_only=True):
    """How the targets of a pattern behave; each draws for itself."""

    latency: Latency = "0s"
    chunk_every: Annotated[Duration, Meta(description="for each token after the first")] = "0s"
    input_tokens: Annotated[Tokens, Meta(description="default: an estimate of the prompt")] | None = None
    output_tokens: Annotated[Tokens, Meta(description="default: an estimate of the reply")] | None = None
    reply: Annotated[
        Any, Meta(description="a text, or a value sent as JSON; default: an instance of the schema, or a sentence")
    ] = UNSET
    rate_limit: ProviderLimit | None = None
    phases: list[Phase] = []


class Change(_Part, frozen=True, kw_only=True):
    """Another rate for a span of time; before and after it is the load's own."""

    from_: Annotated[Duration, Meta(description="since the start of the load")] = msgspec.field(
        default="0s", name="from"
    )
    to: Annotated[Duration, Meta(description="default: the end of the load")] | None = None
    rate: RateText
    ramp: Annotated[bool, Meta(description="reach the rate by the end, evenly, from the rate before")] = False


class Load(_Part, frozen=True, kw_only=True):
    """Runs that begin whether earlier ones have ended or not."""

    rate: Annotated[RateText, Meta(description="runs that begin, such as 20/s")]
    duration: Annotated[Duration, Meta(description="how long runs begin; those that run are waited for")]
    arrivals: Annotated[
        Literal["poisson", "even"], Meta(description="by chance and independent of each other, or evenly spaced")
    ] = "poisson"
    shape: Annotated[list[Change], Meta(description="other rates for a time: steps, ramps, spikes")] = []
    inputs: Annotated[
        list[dict[str, Any]],
        Meta(description="one is drawn for each run; an input that it leaves out has its default, or a made-up value"),
    ] = []
    repeats: Annotated[Ratio, Meta(description="of runs that ask what an earlier one asked: what a cache can hit")] = (
        "0%"
    )
    stream: Annotated[bool, Meta(description="whether somebody reads the answers as they come")] = False


class RatioBound(_Part, frozen=True, kw_only=True):
    """Bounds of a share."""

    at_least: Ratio | None = None
    at_most: Ratio | None = None


class DurationBound(_Part, frozen=True, kw_only=True):
    """Bounds of a duration."""

    at_least: Duration | None = None
    at_most: Duration | None = None


class MoneyBound(_Part, frozen=True, kw_only=True):
    """Bounds of a sum in US dollars."""

    at_least: Money | None = None
    at_most: Money | None = None


class NumberBound(_Part, frozen=True, kw_only=True):
    """Bounds of a number."""

    at_least: _Number | None = None
    at_most: _Number | None = None


class Expect(_Part, frozen=True, kw_only=True):
    """What must hold for the mean over the seeds."""

    availability: Annotated[RatioBound, Meta(description="share of runs that end well")] | None = None
    p50: Annotated[DurationBound, Meta(description="of the time of runs that end well")] | None = None
    p90: DurationBound | None = None
    p99: DurationBound | None = None
    max: DurationBound | None = None
    first_chunk_p50: Annotated[DurationBound, Meta(description="of the time to the first content")] | None = None
    first_chunk_p99: DurationBound | None = None
    amplification: Annotated[NumberBound, Meta(description="attempts for each call that was attempted")] | None = None
    cost_per_run: MoneyBound | None = None
    cost: Annotated[MoneyBound, Meta(description="of all runs of one seed")] | None = None
    cache_share: Annotated[RatioBound, Meta(description="of look-ups that the cache answered")] | None = None


class Scenario(_Part, frozen=True, kw_only=True):
    """A scenario."""

    version: Literal[1]
    pipeline: Annotated[str, Meta(min_length=1, description="the pipeline file, relative to this one")]
    description: str = ""
    env: Annotated[dict[str, str], Meta(description="the variables that the pipeline sees; no others are read")] = {}
    load: Load
    seeds: Annotated[int, Meta(ge=1, le=1000, description="how often it is played, each time with other chance")] = 1
    targets: Annotated[
        dict[str, TargetModel], Meta(description="by target or pattern, such as `openai/*`; the first that matches")
    ] = {}
    expect: Expect | None = None


#: The grammar of scenario files.
SCENARIO: Final = Grammar(kind="simulation", title="A Wizard scenario", struct=Scenario, endings=SCENARIO_ENDINGS)


def of_plain(data: Any) -> Scenario:
    """The scenario of plain data. Raises msgspec.ValidationError."""
    return msgspec.convert(data, Scenario)
