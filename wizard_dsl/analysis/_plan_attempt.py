"""One attempt on one target: what it can cost at most, before a prompt is there."""

from __future__ import annotations

import math

import msgspec

from wizard_dsl.compiler.facts import Library, known_facts
from wizard_dsl.compiler.program import TargetPlan
from wizard_dsl.core.bound import Bound, Figure, Path, unbounded
from wizard_dsl.core.budget import most_output
from wizard_dsl.core.messages import BYTES_PER_TOKEN, Request
from wizard_dsl.core.step_bound import Asked
from wizard_dsl.core.target import Facts, Prices

#: Bytes of one token at most, in the vocabularies we know of: OpenAI's has one of 128 spaces.
LONGEST_TOKEN = 128


class Measure(msgspec.Struct, frozen=True):
    """How text is counted: bytes of a token that is read, and of one that is written. `adds` says whether a protocol's
    own tokens count."""

    read: float
    written: float
    adds: bool


#: A token that is read has at least one byte, one that is written at most those of the longest.
WORST = Measure(1, LONGEST_TOKEN, True)
TYPICAL = Measure(BYTES_PER_TOKEN, BYTES_PER_TOKEN, False)


class Attempt(msgspec.Struct, frozen=True):
    """`input` and `output` are tokens, `bound` is the whole, `answer` the bytes of its answer."""

    input: Figure
    output: Figure
    bound: Bound
    answer: Figure


def attempt(target: TargetPlan, asked: Asked, more: Figure, library: Library, measure: Measure = WORST) -> Attempt:
    """The worst case of one attempt on `target`, whose prompt is `more` bytes longer than what is asked. Nothing here
    limits how long it takes."""
    facts, at = known_facts(target, library), ("providers", target.provider)
    request = msgspec.structs.replace(asked.request, params={**asked.request.params, **target.params})
    read = _input(target, request, asked.size + more, facts, measure)
    written = _output(target, request, facts, at)
    bound = Bound(
        attempts=Figure(1),
        latency=unbounded(f"nothing limits an attempt on {target.name}; the policy timeout would", at),
        cost=_cost(target, read, written, facts.prices, at),
        tokens=read + written,
    )
    return Attempt(read, written, bound, written.times(measure.written))


def _input(target: TargetPlan, request: Request, size: Figure, facts: Facts, measure: Measure) -> Figure:
    """What does not fit the window is refused, and costs nothing."""
    tokens = size if not size.bounded else Figure(math.ceil(size.value / measure.read))
    if measure.adds and target.type.overhead is None:
        sentence = f"the provider type {target.type.name} does not say how many tokens it adds to a prompt"
        return unbounded(sentence, ("providers", target.provider))
    if measure.adds and target.type.overhead is not None:
        tokens = tokens + Figure(target.type.overhead(request))
    return tokens if facts.context is None else tokens.smallest(Figure(facts.context))


def _output(target: TargetPlan, request: Request, facts: Facts, at: Path) -> Figure:
    most = most_output(request, target.params, facts)
    if most is None:
        return unbounded(f"nothing bounds an answer of {target.name}; max_tokens would", at)
    return Figure(most)


def _cost(target: TargetPlan, read: Figure, written: Figure, prices: Prices | None, at: Path) -> Figure:
    """US dollars, at the dearest tier that so many tokens reach."""
    if prices is None:
        return unbounded(f"the price of {target.name} is not known", at)
    reached = [prices, *(prices.at(tier.above + 1) for tier in prices.tiers if read.value > tier.above)]
    dearest = max(max(each.input, each.cached or 0.0) for each in reached)
    output = max(each.output for each in reached)
    return read.times(dearest / 1e6) + written.times(output / 1e6)
