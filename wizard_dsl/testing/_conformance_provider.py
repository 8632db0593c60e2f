"""What providers keep to: over a scripted transport, or, where they need none, by themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.component import ModelSpec, ProviderType
from wizard_dsl.core.errors import ServerError, WizardError
from wizard_dsl.core.messages import Completion, Request, message
from wizard_dsl.core.node import BuildContext, Node
from wizard_dsl.core.response import Response
from wizard_dsl.core.rng import Chance
from wizard_dsl.core.run import Call, Run, Scope, Transcript
from wizard_dsl.core.target import Chain, Facts, Target, TargetState
from wizard_dsl.runtime.services import Background, SharedState
from wizard_dsl.spec.fit import secret_fields
from wizard_dsl.testing import virtual
from wizard_dsl.testing._conformance_case import Case, expect, same
from wizard_dsl.testing._conformance_declared import settings_of
from wizard_dsl.testing.transport import Reply, ScriptedTransport

T = TypeVar("T")

SECRET: Final = "sk-conformance-4711"
HELLO: Final = Request(messages=(message("user", "Hello"),), params={"max_tokens": 99})
#: Status → the kinds it may have.
_STATUSES: Final[Mapping[int, tuple[str, ...]]] = {
    400: ("invalid_request",),
    401: ("auth",),
    404: ("not_found",),
    408: ("timeout", "server"),
    429: ("rate_limited",),
    500: ("server",),
    503: ("server",),
    529: ("server",),
}
_JSON: Final = {"content-type": "application/json"}
_UNUSED: Final = Reply()
_MOST_PLACES: Final = 150  # of a body that is cut: at every byte up to that many, else at as many evenly


class Exchange(msgspec.Struct, frozen=True):
    """One answer as the provider's server sends it: `answer` is its text, `whole` the body of an answer that is not
    streamed, `streamed` that of one that is; without it the provider does not stream."""

    answer: str
    whole: bytes
    streamed: bytes = b""
    whole_type: str = "application/json"
    streamed_type: str = "text/event-stream"

    def reply(self, form: str, pieces: Sequence[bytes] | None = None, **fields: Any) -> Reply:
        """The reply in this form, in these pieces."""
        body, kind = self.body(form), self.whole_type if form == "whole" else self.streamed_type
        chunks = tuple((0.0, each) for each in ([body] if pieces is None else pieces) if each)
        return Reply(headers={"content-type": kind}, chunks=chunks, **fields)

    def body(self, form: str) -> bytes:
        return self.whole if form == "whole" or not self.streamed else self.streamed

    @property
    def forms(self) -> tuple[str, ...]:
        return ("whole", "streamed") if self.streamed else ("whole",)


class _Bench:
    """One node on a scripted transport; made while a loop runs."""

    def __init__(self, type: ProviderType, raw: Mapping[str, Any], model: str, replies: Sequence[Reply]) -> None:
        self.transport = ScriptedTransport(replies)
        config = msgspec.convert(dict(raw), type.config)
        clock, place = LoopClock(), "chains.chain.targets[0]"
        target = Target(name="main/m", position=0, state=TargetState("main/m"))
        context = BuildContext(
            path=place,
            clock=clock,
            chance=Chance(0, place),
            emit=lambda run, event: None,
            shared=SharedState(),
            stores=cast(Any, None),  # providers store nothing
            http=self.transport,
            spawn=Background().spawn,
            chain=Chain(name="chain"),
            target=target,
        )
        facts = type.facts(config) if type.facts is not None else Facts()
        self.node: Node = type.build(config, ModelSpec(name=model, target="main/m", facts=facts, pool="main"), context)

    async def open(self, form: str) -> Response:
        commit: Any = "end" if form == "whole" else "content"
        scope, now = Scope(run_id="run", streams=commit == "content"), LoopClock().now()
        run = Run(scope=scope, deadline=now + 600.0, transcript=Transcript(now), call=Call(), commit=commit)
        return await self.node.call(HELLO, run)

    async def read(self, form: str) -> Completion:
        async with await self.open(form) as response:
            return await response.read()


class _Subject(msgspec.Struct, frozen=True):
    """The provider with the config it is tried with."""

    type: ProviderType
    raw: Mapping[str, Any]
    model: str

    def drive(self, use: Callable[[_Bench], Coroutine[Any, Any, T]], *replies: Reply) -> T:
        """What `use` makes of a fresh node, in virtual time."""

        async def main() -> T:
            return await use(_Bench(self.type, self.raw, self.model, replies))

        return virtual.run(main())

    def read(self, form: str, *replies: Reply) -> list[_Read]:
        """The answer to each reply, each with a fresh node, or the error."""

        async def main() -> list[_Read]:
            return [await one(_Bench(self.type, self.raw, self.model, [reply])) for reply in replies]

        async def one(bench: _Bench) -> _Read:
            try:
                return _Read(await bench.read(form), None)
            except WizardError as error:
                return _Read(None, error)

        return virtual.run(main())


class _Read(NamedTuple):
    """One of both."""

    completion: Completion | None
    error: WizardError | None

    @property
    def kind(self) -> str:
        return self.error.kind if self.error is not None else "an answer"

    @property
    def facts(self) -> tuple[Any, ...]:
        """What two readings of one answer have in common. Raises AssertionError where it is an error."""
        expect(self.error is None, f"it is an error, where an answer was sent: {self.error!r}")
        assert self.completion is not None
        return self.completion.text, self.completion.finish_reason, self.completion.tool_calls


def provider_cases(
    type: ProviderType,
    *,
    config: Mapping[str, Any] | None = None,
    model: str = "m",
    exchanges: Sequence[Exchange] = (),
    alone: bool = False,
) -> Iterator[Case]:
    """`config` is that of the first example unless given, with a secret in the place of its key; `alone` says that the
    provider answers without a transport."""
    subject = _Subject(type, _with_secret(type, config), model)

    def case(rule: str, what: str, test: Callable[[], None]) -> Case:
        return Case(type.name, rule, what, test)

    yield case("endpoint", "", lambda: _endpoint(type, subject))
    yield case("secret", "its config", lambda: _config_is_silent(subject))
    if alone:
        yield case("exchange", "by itself", lambda: _alone(subject))
        return
    for form in ("whole", "streamed"):
        yield case("kinds", form, partial(_kinds, subject, form))
        yield case("secret", form, partial(_errors_are_silent, subject, form))
        yield case("abort", f"{form}, before the answer", partial(_cancelled, subject, form))
    for exchange in exchanges:
        yield from _exchange_cases(subject, exchange, case)


def _exchange_cases(
    subject: _Subject, exchange: Exchange, case: Callable[[str, str, Callable[[], None]], Case]
) -> Iterator[Case]:
    yield case("exchange", exchange.answer, lambda: _reads(subject, exchange))
    for form in exchange.forms:
        title = f"{exchange.answer}, {form}"
        yield case("exchange", f"{title}, split", partial(_split, subject, exchange, form))
        yield case("cut", title, partial(_cut, subject, exchange, form))
    if exchange.streamed:
        yield case("abort", exchange.answer, lambda: _aborted(subject, exchange))


def _with_secret(type: ProviderType, config: Mapping[str, Any] | None) -> dict[str, Any]:
    if config is None:
        config = next((raw for title, raw in settings_of(type) if title != "defaults"), {})
    return {**config, **dict.fromkeys(secret_fields(type.config), SECRET)}


def _endpoint(type: ProviderType, subject: _Subject) -> None:
    for title, raw in [*settings_of(type), ("with a secret", subject.raw)]:
        endpoint = type.endpoint(msgspec.convert(dict(raw), type.config))
        expect(isinstance(endpoint, str) and endpoint != "", f"the endpoint of {title!r} is {endpoint!r}")
        expect(SECRET not in endpoint, "the key stands in the endpoint, which is shown")


def _config_is_silent(subject: _Subject) -> None:
    config = msgspec.convert(dict(subject.raw), subject.type.config)
    for shown in (repr(config), str(config), repr([config])):
        expect(SECRET not in shown, f"the key stands in {shown.replace(SECRET, '…')}")


def _errors_are_silent(subject: _Subject, form: str) -> None:
    """Servers like to say which key was wrong."""
    text = f"the key {SECRET} is wrong"
    bodies = (json.dumps({"error": {"type": "x", "code": "y", "message": text}}).encode(), text.encode())
    for status in (200, 400, 401, 429, 500):
        for _, error in subject.read(form, *(Reply(status=status, body=body, headers=_JSON) for body in bodies)):
            if error is not None:
                shown = (str(error), repr(error), json.dumps(error.to_json()), str(getattr(error, "body", "")))
                expect(not any(SECRET in each for each in shown), f"the error of a {status} shows the key")


def _kinds(subject: _Subject, form: str) -> None:
    replies = [Reply(status=status, body=b"{}", headers=_JSON) for status in _STATUSES]
    for (status, kinds), got in zip(_STATUSES.items(), subject.read(form, *replies), strict=True):
        expect(got.kind in kinds, f"a {status} is {got.kind}, and not {' or '.join(kinds)}")
    others = (
        ("a refused connection", Reply(refuse=True), ("connect",)),
        ("a connection lost after sending", Reply(lost=True), ("server",)),
        ("garbage in a 200", Reply(body=b"<html>hello</html>"), ("malformed_response",)),
        ("nothing in a 200", Reply(), ("malformed_response", "server")),
    )
    for what, reply, kinds in others:
        (got,) = subject.read(form, reply)
        expect(got.kind in kinds, f"{what} is {got.kind}, and not {' or '.join(kinds)}")


# -- an answer -------------------------------------------------------------------------------------------


def _reads(subject: _Subject, exchange: Exchange) -> None:
    (unary,) = subject.read("whole", exchange.reply("whole"))
    same("the text of the whole answer", unary.facts[0], exchange.answer)
    (streamed,) = subject.read("streamed", exchange.reply("streamed"))
    same("streamed", streamed.facts, unary.facts)


def _alone(subject: _Subject) -> None:
    answers = [subject.read(form, _UNUSED)[0].facts for form in ("whole", "streamed")]
    same("streamed", answers[1], answers[0])


def _split(subject: _Subject, exchange: Exchange, form: str) -> None:
    body = exchange.body(form)
    places = _places(body)
    pieces = [[body], [body[at : at + 1] for at in range(len(body))], *([body[:at], body[at:]] for at in places)]
    whole, single, *halves = subject.read(form, *(exchange.reply(form, each) for each in pieces))
    same("in single bytes", single.facts, whole.facts)
    for at, got in zip(places, halves, strict=True):
        same(f"split at byte {at}", got.facts, whole.facts)


def _places(body: bytes) -> range:
    return range(1, len(body), max(1, len(body) // _MOST_PLACES))


def _cut(subject: _Subject, exchange: Exchange, form: str) -> None:
    body = exchange.body(form)
    places = _places(body)
    (whole,) = subject.read(form, exchange.reply(form))
    for lost in (False, "body"):
        cuts = subject.read(form, *(exchange.reply(form, [body[:at]], lost=lost) for at in places))
        for at, got in zip(places, cuts, strict=True):
            if got.error is None:
                same(f"cut at byte {at} of {len(body)}, which is no error", got.facts, whole.facts)


# -- giving up -------------------------------------------------------------------------------------------


def _cancelled(subject: _Subject, form: str) -> None:
    async def use(bench: _Bench) -> None:
        task = asyncio.ensure_future(bench.read(form))
        await LoopClock().sleep(1.0)
        expect(not task.done(), "the server said nothing yet, and the call is over")
        task.cancel()
        await asyncio.wait([task])
        expect(task.cancelled(), "it was cancelled, and did not end as cancelled")
        same("the connections that were freed", bench.transport.aborted, 1)

    subject.drive(use, Reply(stall=True, headers=_JSON))


def _aborted(subject: _Subject, exchange: Exchange) -> None:
    """At the first place where the stream has begun and more is awaited."""
    body = exchange.body("streamed")
    for at in _places(body):
        reply = exchange.reply("streamed", [body[:at]], stall=True)
        if subject.drive(_abort_one, reply):
            return
    raise AssertionError("the streamed answer is never open: its first content does not leave before its end")


async def _abort_one(bench: _Bench) -> bool:
    """Whether there was an open answer, which was then given up while somebody read it."""
    response = None
    with suppress(TimeoutError, WizardError):
        response = await asyncio.wait_for(bench.open("streamed"), 1.0)
    if response is None or response.outcome is not None:
        return False
    reading = asyncio.ensure_future(response.read())
    await LoopClock().sleep(0.1)
    if reading.done():
        await asyncio.wait([reading])
        return reading.exception() is None
    before = LoopClock().now()
    response.abort(ServerError("given up"))
    await asyncio.wait([reading], timeout=1.0)
    woken = reading.done() and LoopClock().now() == before
    expect(woken, "it was aborted, and who reads still waits")
    expect(isinstance(reading.exception(), WizardError), f"the reader got {reading.exception()!r}")
    same("the connections that were freed", bench.transport.aborted, 1)
    return True
