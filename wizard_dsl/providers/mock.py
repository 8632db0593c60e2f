"""A model made of rules and a seed, in this process: for tests, demonstrations and `--mock`.

It answers with a scripted reply, an instance of the schema that is asked for, or a short sentence made of the seed.
Latency sleeps on the run's clock, so in virtual time it costs nothing. What it draws – whether this attempt fails –
is a function of (seed, target, run, step, item, attempt), so the same seed gives the same bytes.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from wizard_dsl.core.component import Duration, Example, ModelSpec, ProviderConfig, ProviderType, Ratio, seconds
from wizard_dsl.core.errors import AttemptFailed, ConnectError, SpecError, WizardError
from wizard_dsl.core.messages import Completion, Delta, Request, Usage, estimate_tokens
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.rng import uniform
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.core.units import parse_ratio
from wizard_dsl.providers._errors import refused
from wizard_dsl.providers._instances import instance

if TYPE_CHECKING:
    from asyncio import Future

    from wizard_dsl.core.clock import Clock

_ADJECTIVES = ("quiet", "plain", "small", "steady", "early", "narrow", "clear", "patient")
_NOUNS = ("answer", "river", "lantern", "harbor", "meadow", "engine", "letter", "garden")
_VERBS = ("rests", "turns", "waits", "holds", "opens", "settles", "returns", "begins")
_EMBEDDING_SIZE = 64


class MockRule(ProviderConfig, frozen=True, kw_only=True):
    """The first rule whose `match` is found in the last user text answers: with `reply`, or with a failure."""

    match: Annotated[str, Meta(description="a regular expression, searched in the last user text")] = ""
    reply: str | None = None
    status: Annotated[int, Meta(ge=300, le=599, description="fail with this HTTP status")] | None = None
    refuse: Annotated[bool, Meta(description="fail to connect")] = False


class MockConfig(ProviderConfig, frozen=True, kw_only=True):
    """All draws are seeded; the defaults answer at once and never fail."""

    reply: Annotated[str | list[MockRule], Meta(description="a text, or rules of which the first match answers")] = []
    latency: Annotated[Duration, Meta(description="until the first piece")] = "0s"
    per_chunk: Annotated[Duration, Meta(description="between two pieces of a stream")] = "0s"
    chunk: Annotated[int, Meta(ge=1, description="characters in a piece of a stream")] = 16
    error_rate: Annotated[Ratio, Meta(description="of attempts that fail")] = "0%"
    status: Annotated[int, Meta(ge=300, le=599, description="the status of an attempt that fails")] = 503


class Mock:
    """See the module."""

    def __init__(self, config: MockConfig, model: ModelSpec, context: BuildContext) -> None:
        self._model = model.name
        self._clock = context.clock
        self._chance = context.chance
        self._latency = seconds(config.latency) or 0.0
        self._per_chunk = seconds(config.per_chunk) or 0.0
        self._chunk = config.chunk
        self._error_rate = parse_ratio(config.error_rate)
        self._status = config.status
        rules = [MockRule(reply=config.reply)] if isinstance(config.reply, str) else config.reply
        self._rules = [(_compiled(rule, model.target), rule) for rule in rules]

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed where a rule or the error rate says so."""
        failure = self._failure(request, run)
        if failure is not None or request.kind == "embed" or run.commit == "end":
            await self._clock.sleep(self._latency)
            if failure is not None:
                raise failure
            return Response.complete(self._embed(request) if request.kind == "embed" else self._answer(request, run))
        source = _Pieces(self._answer(request, run), self._chunk, self._clock, self._latency, self._per_chunk)
        return await Response.open(source, run.commit, clock=self._clock, reasoning=run.reasoning, idle=run.idle)

    def _failure(self, request: Request, run: Run) -> AttemptFailed | None:
        rule = self._rule(request)
        if rule is not None and rule.refuse:
            return ConnectError("no connection: the mock refuses it", sent=False)
        if rule is not None and rule.status is not None:
            return self._refusal(rule.status)
        if self._error_rate and self._chance.draw(run, 2 * run.used) < self._error_rate:
            return self._refusal(self._status)
        return None

    def _refusal(self, status: int) -> AttemptFailed:
        return refused(status, {}, b"the mock fails", wall=self._clock.wall(), secrets=())

    def _rule(self, request: Request) -> MockRule | None:
        text = next((each.text for each in reversed(request.messages) if each.role == "user"), "")
        return next((rule for pattern, rule in self._rules if pattern.search(text)), None)

    def _answer(self, request: Request, run: Run) -> Completion:
        rule = self._rule(request)
        if rule is not None and rule.reply is not None:
            text = rule.reply
        else:
            seed = f"{self._chance.draw(run, 1)}/{msgspec.json.encode(request.messages).decode()}"
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

    def _embed(self, request: Request) -> Completion:
        return Completion(
            embeddings=tuple(unit_vector(f"{self._model}/{text}") for text in request.texts),
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


def unit_vector(seed: str) -> tuple[float, ...]:
    """A vector of length 1, the same for the same text."""
    raw = [uniform(f"{seed}/{place}") - 0.5 for place in range(_EMBEDDING_SIZE)]
    length = math.sqrt(sum(value * value for value in raw))
    return tuple(value / length for value in raw)


class _Pieces:
    """The source of a streamed answer: pieces of its text, each after its wait."""

    def __init__(self, answer: Completion, size: int, clock: Clock, first: float, between: float) -> None:
        text = answer.text
        self._pieces = [text[start : start + size] for start in range(0, len(text), size)] or [""]
        self._answer = answer
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


def _compiled(rule: MockRule, target: str) -> re.Pattern[str]:
    try:
        return re.compile(rule.match)
    except re.error as error:
        sentence = f"the mock {target} has a rule whose match is no regular expression: {rule.match!r}: {error}"
        raise SpecError(sentence, where=target) from error


MOCK = ProviderType(
    name="mock",
    summary="seeded answers without a model: replies by pattern, latency, error rates",
    config=MockConfig,
    build=Mock,
    endpoint=lambda config: "mock:",
    default_model="mock",
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
    ),
)
