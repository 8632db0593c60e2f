"""A simulated target: a provider node that answers, takes its time and fails as a scenario says.

An attempt that is refused (by a phase, or by the provider's limit) ends after the phase's `delay`. Any other one has
its latency; read as a stream, its words then come evenly until the last token's time. Where nobody reads them, the
whole answer comes when its last token would.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from wizard_dsl.analysis._draws import Draws, Lognormal, draws_of, durations, tokens
from wizard_dsl.analysis._faults import Fault, faults, hit
from wizard_dsl.analysis._provider_limit import Granted
from wizard_dsl.analysis.scenario import TargetModel
from wizard_dsl.core.messages import Completion, Delta, Request, Usage, estimate_tokens
from wizard_dsl.core.response import Response
from wizard_dsl.core.step import as_text
from wizard_dsl.core.units import parse_duration
from wizard_dsl.providers._errors import refused
from wizard_dsl.providers._instances import instance
from wizard_dsl.providers.mock import embedding, sentence
from wizard_dsl.testing.words import Words, lost, pieces_of

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.core.run import Run

#: A target has so many different replies of its own making: enough for a `when` to go either way, few enough to make
#: each once.
_REPLIES: Final = 64
#: Which of an attempt's draws is what; a lognormal takes two.
_LATENCY, _OUTPUT, _INPUT, _REPLY = range(0, 8, 2)
#: The length of a vector.
_DIMENSIONS: Final = 64


class Simulated:
    """See the module. `since` is the loop time at which the scenario began; `granted` its provider's limit."""

    def __init__(
        self,
        name: str,
        model: TargetModel,
        *,
        seed: int,
        clock: Clock,
        since: float,
        end: float,
        granted: Granted | None,
    ) -> None:
        self._name = name
        self._seed = seed
        self._clock = clock
        self._since = since
        self._granted = granted
        self._latency = durations(model.latency)
        self._every = parse_duration(model.chunk_every)
        self._input = None if model.input_tokens is None else tokens(model.input_tokens)
        self._output = None if model.output_tokens is None else tokens(model.output_tokens)
        self._replies = _Replies(name, model.reply)
        self._faults = faults(model.phases, end)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises what a provider would be told by such a target."""
        now = self._clock.now() - self._since
        draws = draws_of(self._seed, self._name, run, now)
        fault = hit(self._faults, now, draws)
        if fault is not None and fault.refuses:
            await self._pass(fault.delay)
            raise fault.error(self._clock)
        if request.kind == "embed":
            return await self._embedded(request, draws, fault)
        text = self._replies.of(request, draws.number(_REPLY))
        usage = self._usage(request, text, draws)
        headers = self._admit(usage)
        answer = _Answer(text, usage, first=_latency(fault, self._latency, draws), every=self._every)
        response = await self._answered(answer, fault, run)
        response.headers = headers
        return response

    async def _answered(self, answer: _Answer, fault: Fault | None, run: Run) -> Response:
        cut = None if fault is None else fault.cut_after
        stall = None if fault is None else fault.stall_after
        if run.commit == "content":
            source = answer.source(self._clock, cut, stall)
            return await Response.open(source, "content", clock=self._clock, reasoning=run.reasoning, idle=run.idle)
        if stall is not None and stall < answer.pieces:
            await self._clock.future()
        if cut is not None and cut < answer.pieces:
            await self._pass(answer.first + cut * answer.gap)
            raise lost()
        await self._pass(answer.whole)
        return Response.complete(answer.completion())

    async def _pass(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)

    def _admit(self, usage: Usage) -> Mapping[str, str]:
        """The headers of the answer. Raises RateLimited where the provider has no room."""
        if self._granted is None:
            return {}
        now = self._clock.now() - self._since
        wait = self._granted.admit(usage.input_tokens + usage.output_tokens, now)
        headers = self._granted.headers(now, wait)
        if wait is not None:
            raise refused(429, headers, b"rate limit exceeded", wall=self._clock.wall(), secrets=())
        return headers

    def _usage(self, request: Request, text: str, draws: Draws) -> Usage:
        if self._input is None:
            asked = estimate_tokens(request.size())
        else:
            asked = max(1, round(self._input.at(draws.pair(_INPUT))))
        if self._output is None:
            return Usage(asked, estimate_tokens(len(text.encode())))
        answered = max(1, round(self._output.at(draws.pair(_OUTPUT))))
        most = request.params.get("max_tokens")
        return Usage(asked, min(answered, most) if isinstance(most, int) else answered)

    async def _embedded(self, request: Request, draws: Draws, fault: Fault | None) -> Response:
        usage = Usage(estimate_tokens(request.size()))
        headers = self._admit(usage)
        if fault is not None and fault.stall_after is not None:
            await self._clock.future()
        await self._pass(_latency(fault, self._latency, draws))
        if fault is not None and fault.cut_after is not None:
            raise lost()
        vectors = tuple(embedding(self._name, text, _DIMENSIONS) for text in request.texts)
        response = Response.complete(Completion(embeddings=vectors, finish_reason="stop", usage=usage))
        response.headers = headers
        return response


class _Answer:
    """One answer: `first` seconds until it begins, `every` for each token after that; `gap` between two words."""

    __slots__ = ("_text", "_usage", "_words", "first", "gap", "whole")

    def __init__(self, text: str, usage: Usage, *, first: float, every: float) -> None:
        self._text = text
        self._usage = usage
        self._words: list[str] | None = None
        self.first = first
        self.whole = first + every * (usage.output_tokens - 1)
        self.gap = (self.whole - first) / max(1, self.pieces - 1) if every else 0.0

    @property
    def pieces(self) -> int:
        return len(self.words)

    @property
    def words(self) -> list[str]:
        if self._words is None:
            self._words = pieces_of(self._text)
        return self._words

    def source(self, clock: Clock, cut: int | None, stall: int | None) -> Words:
        ending = Delta(finish_reason="stop", usage=self._usage)
        return Words(self.words, ending, clock, first=self.first, every=self.gap, cut_after=cut, stall_after=stall)

    def completion(self) -> Completion:
        return Completion(text=self._text, finish_reason="stop", usage=self._usage)


class _Replies:
    """What a target says: the scenario's reply, an instance of the schema that is asked for, or a sentence."""

    def __init__(self, name: str, reply: Any) -> None:
        self._name = name
        self._fixed = None if reply is UNSET else as_text(reply)
        self._made: dict[tuple[int, int], tuple[Any, str]] = {}

    def of(self, request: Request, draw: float) -> str:
        if self._fixed is not None:
            return self._fixed
        number = int(draw * _REPLIES)
        schema = request.schema
        key = id(schema), number  # the same object in every run of a step; kept, so that no other one gets its id
        if key not in self._made:
            self._made[key] = schema, self._make(schema, f"{self._name}/{number}")
        return self._made[key][1]

    def _make(self, schema: Any, seed: str) -> str:
        return sentence(seed) if schema is None else msgspec.json.encode(instance(schema, seed)).decode()


def _latency(fault: Fault | None, own: Lognormal, draws: Draws) -> float:
    latency = own if fault is None or fault.latency is None else fault.latency
    return latency.at(draws.pair(_LATENCY))
