"""Building one provider node on a scripted transport in virtual time."""

from __future__ import annotations

import msgspec

from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.component import ModelSpec, ProviderType
from wizard_dsl.core.messages import Completion, Delta, Request, message
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.rng import Chance
from wizard_dsl.core.run import Call, Run, Scope, Transcript
from wizard_dsl.core.target import Chain, Facts, Target, TargetState
from wizard_dsl.testing import virtual
from wizard_dsl.testing.transport import Reply, ScriptedTransport

HELLO = Request(messages=(message("system", "Be brief."), message("user", "Say hello")))


class Shared:
    def __init__(self):
        self._values = {}

    def state(self, kind, key, make):
        if (kind, key) not in self._values:
            self._values[kind, key] = make()
        return self._values[kind, key]


class Bench:
    """One node of `type`, its transport, and the words to drive it; must be made inside a running loop."""

    def __init__(
        self, type: ProviderType, config=None, replies=(), *, model="m", facts=None, seed=1, shared=None, transport=None
    ):
        self.transport = transport or ScriptedTransport(replies)
        self.clock = LoopClock()
        self.shared = shared or Shared()
        self.config = msgspec.convert(config or {}, type.config)
        target = Target(name="t/m", position=0, state=TargetState("t"))
        context = BuildContext(
            path="chains.default.targets[0]",
            clock=self.clock,
            chance=Chance(seed, "chains.default.targets[0]"),
            emit=lambda run, event: None,
            shared=self.shared,
            stores=None,
            http=self.transport,
            spawn=None,
            chain=Chain(name="default"),
            target=target,
        )
        spec = ModelSpec(
            name=model, target="t/m", facts=facts or (type.facts(self.config) if type.facts else Facts()), pool="t"
        )
        self.node = type.build(self.config, spec, context)

    def run(self, **changes) -> Run:
        fields = {
            "scope": Scope(run_id="r1", step="s"),
            "deadline": 600.0,
            "transcript": Transcript(0.0),
            "call": Call(),
        }
        return Run(**(fields | changes))

    async def open(self, request: Request = HELLO, **changes) -> Response:
        return await self.node.call(request, self.run(**changes))

    async def read(self, request: Request = HELLO, **changes) -> Completion:
        return await (await self.open(request, **changes)).read()

    async def stream(self, request: Request = HELLO, **changes) -> tuple[list[Delta], Completion]:
        """All deltas and the whole answer of a streamed exchange."""
        async with await self.open(request, commit="content", **changes) as response:
            deltas = [delta async for delta in response.deltas()]
            return deltas, response.outcome.completion

    @property
    def body(self):
        """The JSON of the last request."""
        return msgspec.json.decode(self.transport.sent[-1].body)


def drive(type, config, replies, use, **options):
    """What `use(bench)` returns, in virtual time."""

    async def main():
        return await use(Bench(type, config, replies, **options))

    return virtual.run(main())


def json_reply(payload, *, status=200, **headers) -> Reply:
    body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers={"content-type": "application/json"} | names, body=body)


def sse_reply(*chunks: bytes, **fields) -> Reply:
    return Reply(
        headers={"content-type": "text/event-stream"}, chunks=tuple((0.0, chunk) for chunk in chunks if chunk), **fields
    )
