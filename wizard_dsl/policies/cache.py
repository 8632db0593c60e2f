"""Cache: give the stored answer of an equal call, and let equal calls in flight share one.

The key covers all that can change the answer, and nothing about who asks or until when; `scope` adds the session
or the API key. Only complete answers are stored, from streams when they end. A stored answer carries its own expiry
in wall time, so a store only ever keeps bytes. A store that cannot be used costs a warning, never a run.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import Duration, Example, PolicyConfig, PolicyType, Ratio, Rung, Scope
from wizard_dsl.core.errors import DeadlineExceeded, StreamBroken
from wizard_dsl.core.events import CacheHit, CacheMissed, CacheShared, CacheStored, CacheUnavailable, ObserverFailed
from wizard_dsl.core.messages import Completion, Request, Usage
from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.core.response import Outcome, Response, Served
from wizard_dsl.core.units import parse_duration, parse_ratio
from wizard_dsl.policies._flight import Flight, Flights

if TYPE_CHECKING:
    from wizard_dsl.core.node import BuildContext, Handler
    from wizard_dsl.core.run import Run


class CacheConfig(PolicyConfig, frozen=True, kw_only=True):
    """Give the stored answer of an equal call instead of asking again."""

    ttl: Annotated[Duration, Meta(description="how long an answer is used; 0s stores nothing")] = "1h"
    ttl_jitter: Annotated[Ratio, Meta(description="spreads expiry by up to this much, both ways")] = "10%"
    store: Annotated[Literal["memory", "disk"], Meta(description="disk outlives the process")] = "memory"
    max_entries: Annotated[int, Meta(ge=1, description="answers kept at most")] = 100
    eviction: Annotated[Literal["lru", "lfu", "fifo"], Meta(description="which answer leaves a full cache")] = "lru"
    scope: Annotated[
        Literal["shared", "session", "principal"],
        Meta(description="who may get an answer: everybody, the same session, or the same API key"),
    ] = "shared"
    fallback_ttl: Annotated[Duration, Meta(description="how long an answer of a fallback target is used")] = "60s"
    single_flight: Annotated[bool, Meta(description="equal calls at the same time share one")] = True
    key_version: Annotated[str, Meta(description="change it to leave all stored answers behind")] = ""


class Entry(msgspec.Struct, frozen=True):
    """What is stored: an answer whose usage is zero, and `usage`, what it took. Times are seconds since the Unix
    epoch. An entry of another `version` is a miss."""

    version: Literal[1]
    expires: float
    stored: float
    target: str
    position: int
    losses: tuple[str, ...]
    usage: Usage | None
    completion: Completion


_VERSION: Literal[1] = 1
_FINISHED = ("stop", "tool_calls")
_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Entry)
#: How often a call follows a flight that may end without an answer, before it goes alone.
_ROUNDS = 2


class Cache:
    """The living cache of one chain."""

    def __init__(self, config: CacheConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._clock = context.clock
        self._chance = context.chance
        self._emit = context.emit
        self._path = context.path
        self._asked = (context.fingerprint, config.key_version)
        self._target = context.target
        self._scope = config.scope
        self._ttl = parse_duration(config.ttl)
        self._fallback_ttl = min(self._ttl, parse_duration(config.fallback_ttl))
        self._jitter = parse_ratio(config.ttl_jitter)
        self._store = context.stores.open(
            config.store, context.path, max_entries=config.max_entries, eviction=config.eviction
        )
        self._single = config.single_flight
        self._flights = context.shared.state("flights", context.path, lambda: Flights(context.clock))

    async def call(self, request: Request, run: Run) -> Response:
        """Raises what the call itself raises, and DeadlineExceeded where it follows another one for too long."""
        try:
            key = cache_key(request, run, self._asked, self._scope)
        except (TypeError, ValueError) as error:  # nothing JSON can say; a provider may still make sense of it
            self._emit(run, CacheUnavailable(path=self._path, reason=f"the request has no cache key: {error}"))
            return await self._next(request, run)
        if not self._single:
            return await self._answer(key, request, run)
        for _ in range(_ROUNDS):
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key, request, run)
            response = await self._follow(flight, key, run)
            if response is not None:
                return response
        return await self._fetch(key, request, run)

    async def _lead(self, key: str, request: Request, run: Run) -> Response:
        flight = self._flights.begin(key)
        try:
            response = await self._answer(key, request, run)
        except BaseException as error:
            flight.fail(error)
            raise
        view = flight.commit(response)
        if view is not response:
            self._report_observers(view, run)
        return view

    async def _follow(self, flight: Flight, key: str, run: Run) -> Response | None:
        """The answer of a flight; None where it ended without one. For a caller to whom only a whole answer is
        one, a stream that breaks is no answer either: it would have been asked again."""
        self._emit(run, CacheShared(path=self._path, key=key))
        view = await flight.follow(run.deadline)
        if view is None or view.outcome is not None:
            return view
        self._report_observers(view, run)
        if run.commit == "end":
            try:
                await view.read()
            except StreamBroken:
                return None
        return view

    async def _answer(self, key: str, request: Request, run: Run) -> Response:
        entry = await self._lookup(key, run)
        if entry is None:
            self._emit(run, CacheMissed(path=self._path, key=key))
            return await self._fetch(key, request, run)
        self._emit(run, CacheHit(path=self._path, key=key, age=max(0.0, self._clock.wall() - entry.stored)))
        response = Response.complete(entry.completion)
        response.served = Served(
            target=entry.target, position=entry.position, cached=True, losses=entry.losses, saved=entry.usage
        )
        return response

    async def _lookup(self, key: str, run: Run) -> Entry | None:
        try:
            value = await self._store.get(key)
        except StoreUnavailable as error:
            self._emit(run, CacheUnavailable(path=self._path, reason=str(error)))
            return None
        if value is None:
            return None
        try:
            entry = _DECODER.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return entry if entry.expires > self._clock.wall() else None

    async def _fetch(self, key: str, request: Request, run: Run) -> Response:
        response = await self._next(request, run)
        response.on_end(partial(self._keep, key, response, run))
        return response

    def _keep(self, key: str, response: Response, run: Run, outcome: Outcome) -> None:
        """Store a whole answer; a partial, a cut or a filtered one never."""
        completion = outcome.completion
        if outcome.kind != "completed" or not (completion.finish_reason in _FINISHED or completion.embeddings):
            return
        served, own = response.served, self._target
        # under the strategy a whole answer ends before the strategy has written who served it
        name, position = (served.target, served.position) if own is None else (own.name, own.position)
        ttl = self._fallback_ttl if position > 0 else self._ttl
        ttl *= 1 + self._jitter * (2 * self._chance.draw(run, 0) - 1)
        if ttl <= 0:
            return
        now = self._clock.wall()
        bare = msgspec.structs.replace(completion, usage=Usage(), headers={})
        entry = Entry(_VERSION, now + ttl, now, name, position, served.losses, completion.usage, bare)
        self._store.put(key, _ENCODER.encode(entry))
        self._emit(run, CacheStored(path=self._path, key=key, ttl=ttl))

    def _report_observers(self, view: Response, run: Run) -> None:
        view.on_raise(lambda error: self._emit(run, ObserverFailed(path=self._path, error=repr(error))))


def cache_key(request: Request, run: Run, asked: tuple[str, str], scope: str) -> str:
    """SHA-256, in hex, of canonical JSON of what can change the answer: all of the request, what is `asked` of whom
    (the chain's fingerprint, the key version), and whose answer it is.

    A run without a session, or without an API key, shares with others that have none. Whether an empty answer
    counts is part of it, since it decides what is an answer. Raises TypeError or ValueError where a parameter has no
    JSON form.
    """
    owner = None
    if scope != "shared":
        owner = (scope, run.scope.session if scope == "session" else run.scope.principal)
    return sha256(_ENCODER.encode((asked, owner, run.allow_empty, request))).hexdigest()


def bound(config: CacheConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """A miss is the worst case; a follower may see two flights end without an answer before it goes alone."""
    return inner.with_latency(inner.latency.times(1 + _ROUNDS)) if config.single_flight else inner


def check(config: CacheConfig) -> list[str]:
    """What is legal and yet makes no sense."""
    found = []
    if parse_ratio(config.ttl_jitter) >= 1:
        found.append("ttl_jitter of 100% or more lets answers expire as soon as they are stored; use 10% to 50%")
    if parse_duration(config.ttl) == 0:
        found.append("ttl is 0s, so nothing is ever stored; write `cache: off` to have no cache")
    elif parse_duration(config.fallback_ttl) > parse_duration(config.ttl):
        found.append("fallback_ttl is longer than ttl, which then applies to answers of fallback targets too")
    return found


CACHE = PolicyType(
    name="cache",
    summary="Gives the stored answer of an equal call, and lets equal calls in flight share one.",
    rung=Rung.CACHE,
    scope=Scope.CALL,
    config=CacheConfig,
    build=Cache,
    bound=bound,
    scalar="ttl",
    emits=(CacheHit, CacheMissed, CacheStored, CacheShared, CacheUnavailable, ObserverFailed),
    raises=(DeadlineExceeded,),
    examples=(
        Example("Answers are used for an hour", "cache: 1h"),
        Example("A large cache that outlives the process", "cache: {ttl: 1d, store: disk, max_entries: 10000}"),
        Example("Nobody gets an answer made for somebody else's key", "cache: {ttl: 10m, scope: principal}"),
    ),
    check=check,
)
