"""A model made of rules and a seed, in this process: for tests, demonstrations and `--mock`.

It answers with a scripted reply, an instance of the schema that is asked for, or a short sentence made of the seed.
Latency sleeps on the run's clock, so in virtual time it costs nothing. What it draws – whether and how this attempt
fails, how long it takes, which of several replies a run gets – is a function of (seed, target, run, step, item,
attempt), so the same seed gives the same bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Duration, Example, ModelSpec, ProviderConfig, ProviderType, Ratio, seconds
from wizard_dsl.core.errors import AttemptFailed, ConnectError, ServerError, WizardError
from wizard_dsl.core.messages import Completion, Delta, Request, Usage, estimate_tokens
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.regex import regex
from wizard_dsl.core.response import Response
from wizard_dsl.core.rng import lognormal, uniform
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.core.units import parse_duration, parse_ratio
from wizard_dsl.providers._errors import refused
from wizard_dsl.providers._instances import instance

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock

_ADJECTIVES = ("quiet", "plain", "small", "steady", "early", "narrow", "clear", "patient")
_NOUNS = ("answer", "river", "lantern", "harbor", "meadow", "engine", "letter", "garden")
_VERBS = ("rests", "turns", "waits", "holds", "opens", "settles", "returns", "begins")
_STATUS = 503
_WORD = regex(r"\w+")
#: How an attempt can fail: a status, or one of two ways to lose the connection.
_Failing = Annotated[str, Meta(pattern="^(?:[345][0-9]{2}|connect|cut)$")]
#: Numbers of draws. Failures have the even ones from 0 on, one an attempt; latencies the negative ones, two each.
_SENTENCE_DRAW = 1
_VARIANT_DRAW = 3


class MockVariant(ProviderConfig, frozen=True, kw_only=True):
    """One of several replies."""

    reply: str
    weight: Annotated[float, Meta(gt=0, description="its share of the runs, against those of the others")] = 1.0


class MockLatency(ProviderConfig, frozen=True, kw_only=True):
    """A lognormal distribution, drawn for each attempt."""

    median: Annotated[Duration, Meta(description="half of all attempts are faster; above 0s")]
    p99: Annotated[Duration, Meta(description="99% of all attempts are faster; not below the median")]


class MockRule(ProviderConfig, frozen=True, kw_only=True):
    """The first rule whose `match` is found in the last user text answers: with `reply`, or with a failure."""

    match: Annotated[str, Meta(description="a regular expression, searched in the last user text")] = ""
    reply: Annotated[
        str | list[MockVariant] | None,
        Meta(description="a text, or variants of which each run gets one, by weight (A/B)"),
    ] = None
    status: Annotated[int, Meta(ge=300, le=599, description="fail with this HTTP status")] | None = None
    refuse: Annotated[bool, Meta(description="fail to connect")] = False


class MockConfig(ProviderConfig, frozen=True, kw_only=True):
    """All draws are seeded; the defaults answer at once and never fail."""

    reply: Annotated[str | list[MockRule], Meta(description="a text, or rules of which the first match answers")] = []
    latency: Annotated[
        Duration | MockLatency, Meta(description="until the first piece: always the same, or {median, p99}")
    ] = "0s"
    per_chunk: Annotated[Duration, Meta(description="between two pieces of a stream")] = "0s"
    chunk: Annotated[int, Meta(ge=1, description="characters in a piece of a stream")] = 16
    error_rate: Annotated[
        Ratio | dict[_Failing, Ratio],
        Meta(
            description="of attempts that fail: one ratio, or one for each status, `connect` (no connection) and "
            "`cut` (the answer breaks off half-way)"
        ),
    ] = "0%"
    status: Annotated[
        int, Meta(ge=300, le=599, description="the status of an attempt that fails, where error_rate is one ratio")
    ] = _STATUS
    dimensions: Annotated[int, Meta(ge=1, le=4096, description="the length of an embedding")] = 64


class Mock:
    """See the module."""

    def __init__(self, config: MockConfig, model: ModelSpec, context: BuildContext) -> None:
        self._model = model.name
        self._clock = context.clock
        self._chance = context.chance
        self._latency = _latency(config.latency)
        self._per_chunk = seconds(config.per_chunk) or 0.0
        self._chunk = config.chunk
        self._dimensions = config.dimensions
        self._failures = _failures(config)
        rules = [MockRule(reply=config.reply)] if isinstance(config.reply, str) else config.reply
        self._rules = [(re.compile(rule.match), rule) for rule in rules]

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed where a rule or the error rate says so."""
        failure = self._failure(request, run)
        if isinstance(failure, AttemptFailed):
            await self._clock.sleep(self._until_first(run))
            raise failure
        if request.kind == "embed":
            await self._clock.sleep(self._until_first(run))
            if failure == "cut":
                raise _broken()
            return Response.complete(self._embed(request))
        pieces = _pieces(self._answer(request, run), self._chunk)
        if run.commit == "end":
            await self._clock.sleep(self._until_first(run))
            if failure == "cut":
                raise _broken()
            return Response.complete(pieces.answer)
        source = _Source(pieces, self._clock, self._until_first(run), self._per_chunk, cut=failure == "cut")
        return await Response.open(source, run.commit, clock=self._clock, reasoning=run.reasoning, idle=run.idle)

    def _until_first(self, run: Run) -> float:
        latency = self._latency
        if isinstance(latency, float):
            return latency
        first = -1 - 2 * run.used
        return lognormal(*latency, (self._chance.draw(run, first), self._chance.draw(run, first - 1)))

    def _failure(self, request: Request, run: Run) -> AttemptFailed | Literal["cut"] | None:
        rule = self._rule(request)
        if rule is not None and rule.refuse:
            return _refused()
        if rule is not None and rule.status is not None:
            return self._refusal(rule.status)
        if not self._failures:
            return None
        drawn = self._chance.draw(run, 2 * run.used)
        how = next((each for each, below in self._failures if drawn < below), None)
        if how is None:
            return None
        if how == "cut":
            return "cut"
        return _refused() if how == "connect" else self._refusal(int(how))

    def _refusal(self, status: int) -> AttemptFailed:
        return refused(status, {}, b"the mock fails", wall=self._clock.wall(), secrets=())

    def _rule(self, request: Request) -> MockRule | None:
        text = next((each.text for each in reversed(request.messages) if each.role == "user"), "")
        return next((rule for pattern, rule in self._rules if pattern.search(text)), None)

    def _answer(self, request: Request, run: Run) -> Completion:
        rule = self._rule(request)
        if rule is not None and rule.reply is not None:
            text = rule.reply if isinstance(rule.reply, str) else self._variant(rule.reply, run)
        else:
            seed = f"{self._chance.draw(run, _SENTENCE_DRAW)}/{msgspec.json.encode(request.messages).decode()}"
            if request.schema is not None:
                text = msgspec.json.encode(instance(request.schema, seed)).decode()
            else:
                text = sentence(seed)
        return Completion(
            text=text,
            finish_reason="stop",
            usage=Usage(estimate_tokens(request.size()), estimate_tokens(len(text.encode()))),
            model=self._model,
        )

    def _variant(self, variants: Sequence[MockVariant], run: Run) -> str:
        """By weight; a run keeps its variant over all attempts."""
        left = self._chance.draw(run, _VARIANT_DRAW) * sum(each.weight for each in variants)
        for each in variants:
            left -= each.weight
            if left < 0:
                return each.reply
        return variants[-1].reply

    def _embed(self, request: Request) -> Completion:
        return Completion(
            embeddings=tuple(embedding(self._model, text, self._dimensions) for text in request.texts),
            finish_reason="stop",
            usage=Usage(estimate_tokens(request.size())),
            model=self._model,
        )


def sentence(seed: str) -> str:
    """A short sentence of words drawn from `seed`; it repeats nothing of the prompt."""

    def pick(words: tuple[str, ...], place: str) -> str:
        return words[int(uniform(f"{seed}/{place}") * len(words))]

    first = f"The {pick(_ADJECTIVES, 'a')} {pick(_NOUNS, 'b')} {pick(_VERBS, 'c')}"
    return f"{first} beside the {pick(_ADJECTIVES, 'd')} {pick(_NOUNS, 'e')}."


def embedding(model: str, text: str, dimensions: int) -> tuple[float, ...]:
    """A vector of length 1: the sum of one for each word, so that texts with words in common are near each other."""
    words = sorted(set(_WORD.findall(text.lower()))) or [text]
    vectors = [_directions(f"{model}/{word}", dimensions) for word in words]
    raw = [sum(places) for places in zip(*vectors, strict=True)]
    length = math.sqrt(sum(value * value for value in raw)) or 1.0
    return tuple(value / length for value in raw)


def _directions(seed: str, dimensions: int) -> list[float]:
    return [uniform(f"{seed}/{place}") - 0.5 for place in range(dimensions)]


class _Pieces(NamedTuple):
    """An answer, and its text as it is streamed."""

    answer: Completion
    texts: list[str]


def _pieces(answer: Completion, size: int) -> _Pieces:
    text = answer.text
    return _Pieces(answer, [text[start : start + size] for start in range(0, len(text), size)] or [""])


class _Source:
    """The source of a streamed answer: pieces of its text, each after its wait; `cut` breaks it off half-way."""

    def __init__(self, pieces: _Pieces, clock: Clock, first: float, between: float, *, cut: bool) -> None:
        whole = pieces.texts
        self._pieces = whole[: (len(whole) + 1) // 2] if cut else whole
        self._cut = cut
        self._answer = pieces.answer
        self._clock = clock
        self._due = clock.now() + first
        self._between = between
        self._waiter: Future[Any] | None = None
        self._reason: BaseException | None = None
        self._aborted = False
        self.done = False

    async def read_batch(self) -> list[Delta]:
        if self.done:
            return []
        await self._wait()
        self._due = self._clock.now() + self._between
        if self._pieces:
            return [Delta(text=self._pieces.pop(0))]
        if self._cut:
            raise _broken()
        self.done = True
        answer = self._answer
        return [Delta(finish_reason=answer.finish_reason, usage=answer.usage, model=answer.model)]

    async def _wait(self) -> None:
        """Until the next piece is due; a cancelled wait goes on where it was."""
        if self._aborted:
            raise self._gone()
        if not self._pieces or self._due <= self._clock.now():
            return
        self._waiter = self._clock.future()
        timer = self._clock.call_at(self._due, _wake, self._waiter)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
        if self._aborted:
            raise self._gone()

    def _gone(self) -> BaseException:
        return self._reason if isinstance(self._reason, WizardError) else ConnectError("the stream was given up")

    def abort(self, reason: BaseException | None) -> None:
        self._aborted = True
        self._reason = self._reason or reason
        if self._waiter is not None:
            _wake(self._waiter)


def _wake(waiter: Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _refused() -> ConnectError:
    return ConnectError("no connection: the mock refuses it", sent=False)


def _broken() -> ServerError:
    return ServerError("the mock broke off before the answer was complete")


def _latency(config: str | MockLatency) -> float | tuple[float, float]:
    """Seconds, or median and 99th percentile."""
    if isinstance(config, str):
        return parse_duration(config)
    return parse_duration(config.median), parse_duration(config.p99)


def _failures(config: MockConfig) -> list[tuple[str, float]]:
    """How attempts fail, each with the draw below which they do; those that never do are left out."""
    rates = config.error_rate if isinstance(config.error_rate, dict) else {str(config.status): config.error_rate}
    found: list[tuple[str, float]] = []
    below = 0.0
    for how, rate in rates.items():
        below += parse_ratio(rate)
        if parse_ratio(rate):
            found.append((how, below))
    return found


def refuse(config: MockConfig) -> list[tuple[tuple[str | int, ...], str, str]]:
    """Settings that make no sense together, see ProviderType."""
    found: list[tuple[tuple[str | int, ...], str, str]] = []
    rules = config.reply if isinstance(config.reply, list) else []
    for place, rule in enumerate(rules):
        try:
            re.compile(rule.match)
        except re.error as error:
            sentence = f"{rule.match!r} is no regular expression: {error}"
            found.append((("reply", place, "match"), sentence, "put a backslash before what stands for itself"))
    if isinstance(config.latency, MockLatency):
        median, p99 = parse_duration(config.latency.median), parse_duration(config.latency.p99)
        if not 0 < median <= p99:
            sentence = f"no latency has a median of {config.latency.median} and a p99 of {config.latency.p99}"
            found.append((("latency",), sentence, "write a median above 0s, and a p99 that is not below it"))
    below = max((each for _, each in _failures(config)), default=0.0)
    if below > 1 + 1e-9:
        sentence = f"the error rates are {below * 100:g}% in all"
        found.append((("error_rate",), sentence, "leave at most 100% in all"))
    if isinstance(config.error_rate, dict) and config.status != _STATUS:
        sentence = f"status {config.status} says nothing where error_rate has a ratio for each way to fail"
        found.append((("status",), sentence, "remove it, or write it as a key of error_rate"))
    return found


MOCK = ProviderType(
    name="mock",
    summary="seeded answers without a model: replies by pattern, latency, error rates",
    config=MockConfig,
    build=Mock,
    endpoint=lambda config: "mock:",
    overhead=protocol_tokens,
    default_model="mock",
    refuse=refuse,
    facts=lambda config: Facts(
        tools=True, images=True, json_schema=True, system=True, streaming=True, prices=Prices(0.0, 0.0)
    ),
    examples=(
        Example("An answer made of the seed", "type: mock"),
        Example(
            "Rules, latency, and an attempt in ten that fails",
            "type: mock\nlatency: 300ms\nerror_rate: 10%\nreply:\n"
            '  - {match: "(?i)refund", reply: Refunds take five days.}\n'
            "  - {match: overload, status: 503}\n"
            "  - {reply: Thank you for your message.}",
        ),
        Example(
            "A bad day: a long tail, limits, broken streams; and one reply in ten of another kind",
            "type: mock\nlatency: {median: 800ms, p99: 4s}\nerror_rate: {429: 5%, 503: 2%, connect: 1%, cut: 1%}\n"
            "reply:\n  - reply: [{reply: Short., weight: 9}, {reply: A longer answer., weight: 1}]",
        ),
    ),
)
