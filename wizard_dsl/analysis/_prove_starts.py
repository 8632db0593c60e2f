"""Where runs begin: everything closed and full, and what earlier runs may have left behind.

A start state is made by runs before, so that it is a state that can be reached, and a test can play it: calls that
fail until the breaker opens, a 429 that blocks a target, as many calls as a bucket has tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._prove_play import Before, Seen, Stage, Start
from wizard_dsl.analysis._prove_values import input_sets, other_inputs
from wizard_dsl.core.units import parse_duration, show_duration

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import ChainPlan, TargetPlan

#: Runs that may be made to bring a breaker to open, and tokens that are taken one by one.
_MOST_RUNS: Final = 12
_MOST_TOKENS: Final = 60
#: How long a 429 blocks a target, in seconds, and at least how much longer than is waited for.
_LONGEST, _LONGER = 3600.0, 5.0
_AT_ONCE: Final = 0.001


class Starts(msgspec.Struct, frozen=True):
    """`all` in the order in which they are tried; `missed` says in sentences which states were not reached."""

    all: tuple[Start, ...]
    missed: tuple[str, ...]


def starts(stage: Stage, given: Mapping[str, Any], *, states: bool = True) -> Starts:
    """The start states of a program; `given` are inputs that are fixed. Without `states`, everything begins closed and
    full."""
    sets = input_sets(stage.program, stage.classes.named, given)
    found = [Start(_named("closed", index), inputs) for index, inputs in enumerate(sets)]
    if stage.program.streamed is not None:
        found += [
            msgspec.structs.replace(each, name=f"{each.name}, read as a stream", streams=True) for each in found[:1]
        ]
    finder = _Finder(stage, sets[0])
    if states:
        found += finder.all()
    return Starts(tuple(found), tuple(finder.missed))


def _named(state: str, index: int) -> str:
    return state if index == 0 else f"{state}, other inputs ({index})"


class _Finder:
    """Looks for states by playing."""

    def __init__(self, stage: Stage, inputs: Mapping[str, Any]) -> None:
        self._stage = stage
        self._inputs = inputs
        self.missed: list[str] = []

    def all(self) -> Iterator[Start]:
        asked = [step.chain for step in self._stage.program.steps if step.chain is not None]
        for name in dict.fromkeys(asked):
            chain = self._stage.program.chains[name]
            groups = [chain.targets[:1], chain.targets] if len(chain.targets) > 1 else [chain.targets]
            for targets in groups:
                yield from self._breakers(chain, targets)
                yield from self._blocked(chain, targets)
        yield from self._buckets()

    def _whose(self, chain: ChainPlan, targets: tuple[TargetPlan, ...]) -> str:
        return f"{targets[0].name} of chain {chain.name}" if len(targets) == 1 else f"all targets of chain {chain.name}"

    def _start(self, name: str, before: list[Before], **more: Any) -> Start:
        return Start(name, self._inputs, tuple(before), **more)

    def _other(self, number: int) -> dict[str, Any]:
        return other_inputs(self._stage.program, self._inputs, number)

    # -- breakers ---------------------------------------------------------------------------------------

    def _breakers(self, chain: ChainPlan, targets: tuple[TargetPlan, ...]) -> Iterator[Start]:
        configs: list[Any] = [
            each.config for target in targets for each in target.ladder if each.type.name == "circuit_breaker"
        ]
        if len(configs) < len(targets):
            return
        whose = self._whose(chain, targets)
        before = self._opened(targets)
        if before is None:
            self.missed.append(f"the breaker of {whose} open: not reached by {_MOST_RUNS} runs that fail")
            return
        yield self._start(f"open: {whose}", before)
        reset = max(parse_duration(each.reset_timeout) for each in configs)
        yield self._start(f"half-open: {whose}, {show_duration(reset)} later", before, after=reset)

    def _opened(self, targets: tuple[TargetPlan, ...]) -> list[Before] | None:
        """The shortest series of failing runs after which the breakers of these targets are open."""
        forced = dict.fromkeys((target.name for target in targets), 503)
        before: list[Before] = []
        for number in range(1, _MOST_RUNS + 1):
            before.append(Before(self._other(number), forced))
            seen = self._stage.play(self._start("", before, cancel_after=_AT_ONCE), ())
            if all(_is_open(seen, target.name) for target in targets):
                return before
        return None

    # -- refusals and buckets ---------------------------------------------------------------------------

    def _blocked(self, chain: ChainPlan, targets: tuple[TargetPlan, ...]) -> Iterator[Start]:
        seconds = min(_LONGEST, max(chain.rate_limit.wait_up_to, self._stage.classes.deadline) + _LONGER)
        item = {"status": 429, "retry_after": show_duration(seconds)}
        before = [Before(self._other(1), {target.name: item for target in targets})]
        seen = self._stage.play(self._start("", before, cancel_after=_AT_ONCE), ())
        whose = self._whose(chain, targets)
        if {target.key for target in targets} <= seen.blocked:
            yield self._start(f"blocked by a 429: {whose}", before)
        else:
            self.missed.append(f"{whose} blocked by a 429: not reached by one run")

    def _buckets(self) -> Iterator[Start]:
        """Each limit on requests with nothing left; also with a caller who goes away while the run waits."""
        full = self._stage.play(self._start("", []), ())
        for limit in full.limits:
            if limit.counts == "tokens":
                self.missed.append(f"{limit.name} ({limit.of}) without LLM tokens: not tried")
            if limit.counts != "requests":
                continue
            count, name = math.ceil(limit.capacity), f"empty bucket: {limit.name} ({limit.of})"
            if count > _MOST_TOKENS:
                self.missed.append(f"{name}: it holds {count:,}, more than the {_MOST_TOKENS} runs that are tried")
                continue
            before = self._emptied(count)
            seen = self._stage.play(self._start("", before, cancel_after=_AT_ONCE), ())
            left = [each.available for each in seen.limits if (each.name, each.of) == (limit.name, limit.of)]
            if not left or min(left) >= 1:
                self.missed.append(f"{name}: not reached by {count} runs")
                continue
            yield self._start(name, before)
            yield self._start(f"{name}, and the caller goes away", before, cancel_after=_AT_ONCE)

    def _emptied(self, count: int) -> list[Before]:
        """So many calls. Where a cache would make one of equal calls, each has inputs of its own."""
        cached = any(policy.type.name == "cache" for chain in self._stage.all_chains for policy in chain.outer)
        if cached:
            return [Before(self._other(number)) for number in range(1, count + 1)]
        return [Before(dict(self._inputs), times=count)]


def _is_open(seen: Seen, target: str) -> bool:
    """Whether the breaker that goes by the target's name is open; one of a provider or a chain has more in its name."""
    own = [each for name, each in seen.breakers.items() if name == target or name.endswith(f": {target}")]
    return bool(own) and all(each.state == "open" for each in own)
