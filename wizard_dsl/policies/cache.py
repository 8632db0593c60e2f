"""Cache: give the stored answer of an equal call, and let equal calls in flight share one.

The key covers all that can change the answer, and nothing about who asks or until when; `scope` adds the session
or the API key. Only complete answers are stored, from streams when they end. A stored answer carries its own expiry
in wall time, so a store only ever keeps bytes. A store that cannot be used costs a warning, never a run.

Where that is asked for: an error that says no to the request itself is remembered for seconds (`negative`); an answer
whose time is over stands in for a failure (`stale_if_error`), or is given while it is refreshed behind the call
(`stale_while_revalidate`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import Bound, BoundFacts
from wizard_dsl.core.component import (
    Duration,
    DurationOrOff,
    Example,
    PolicyConfig,
    PolicyType,
    Ratio,
    Rung,
    Scope,
    seconds,
)
from wizard_dsl.core.errors import DeadlineExceeded, StreamBroken, WizardError
from wizard_dsl.core.events import (
    CacheHit,
    CacheMissed,
    CacheRefreshed,
    CacheShared,
    CacheStale,
    CacheStored,
    CacheUnavailable,
    ObserverFailed,
)
from wizard_dsl.core.messages import Request, Usage
from wizard_dsl.core.node import StoreUnavailable
from wizard_dsl.core.response import Outcome, Response
from wizard_dsl.core.run import Call, Run, Transcript
from wizard_dsl.core.units import parse_duration, parse_ratio
from wizard_dsl.policies._cache_outcomes import OUTCOMES
from wizard_dsl.policies._entry import VERSION, Entry, Refusal, cache_key, decode, encode
from wizard_dsl.policies._flight import Flight, is_private
from wizard_dsl.policies._leases import Lease, Leases, following
from wizard_dsl.policies._shelf import Shelf, after

if TYPE_CHECKING:
    from wizard_dsl.core.node import BuildContext, Handler

#: Up to 30 s: an error is remembered to spare the provider a burst, not to decide for those who mend the request.
HalfMinute = Annotated[
    str,
    Meta(
        pattern=r"^(?:off|30(?:\.0+)?s|[0-2]?[0-9](?:\.[0-9]+)?s|[0-9]{1,4}ms|[12][0-9]{4}ms|30000ms)$",
        extra_json_schema={"x-form": "a duration of at most 30s, or off", "x-words": ["off"]},
    ),
]


class CacheConfig(PolicyConfig, frozen=True, kw_only=True):
    """Give the stored answer of an equal call instead of asking again."""

    ttl: Annotated[Duration, Meta(description="how long an answer is used; 0s stores nothing")] = "1h"
    ttl_jitter: Annotated[Ratio, Meta(description="spreads expiry by up to this much, both ways")] = "10%"
    store: Annotated[
        Literal["memory", "disk"],
        Meta(description="disk outlives the process; memory is the server where the state is shared on one"),
    ] = "memory"
    max_entries: Annotated[int, Meta(ge=1, description="answers kept at most")] = 100
    eviction: Annotated[Literal["lru", "lfu", "fifo"], Meta(description="which answer leaves a full cache")] = "lru"
    scope: Annotated[
        Literal["shared", "session", "principal"],
        Meta(description="who may get an answer: everybody, the same session, or the same API key"),
    ] = "shared"
    fallback_ttl: Annotated[Duration, Meta(description="how long an answer of a fallback target is used")] = "60s"
    negative: Annotated[
        HalfMinute,
        Meta(description="how long an error that says no to the request itself is given again, at most 30s"),
    ] = "off"
    stale_if_error: Annotated[
        DurationOrOff, Meta(description="how long after its time an answer still stands in for a failure")
    ] = "off"
    stale_while_revalidate: Annotated[
        DurationOrOff, Meta(description="how long after its time an answer is still given while it is refreshed")
    ] = "off"
    single_flight: Annotated[bool, Meta(description="equal calls at the same time share one")] = True
    key_version: Annotated[str, Meta(description="change it to leave all stored answers behind")] = ""


_FINISHED = ("stop", "tool_calls")
_NOTHING = Usage()
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
        self._key_version = config.key_version
        self._asked = context.chain.asked if context.target is None else None  # where it depends on the call
        self._fingerprint = context.fingerprint
        self._target = context.target
        self._scope = config.scope
        self._ttl = parse_duration(config.ttl)
        self._fallback_ttl = min(self._ttl, parse_duration(config.fallback_ttl))
        self._jitter = parse_ratio(config.ttl_jitter)
        self._negative = min(self._ttl, seconds(config.negative) or 0.0)
        self._stale_for = after(config.stale_if_error)
        self._revalidate = after(config.stale_while_revalidate)
        self._spawn = context.spawn
        self._shelf = context.shared.state(
            "cache",
            context.path,
            lambda: Shelf(config, context.path, context.chain.name, context.stores, context.clock),
        )
        self._store = self._shelf.store
        self._counted = self._shelf.counted
        self._single = config.single_flight
        self._flights = self._shelf.flights
        self._leases: Leases | None = None
        if context.state is not None and self._single and self._ttl > 0:
            make = partial(Leases, context.state, self._store, context.clock, context.spawn)
            self._leases = context.shared.state("leases", context.path, make)

    async def call(self, request: Request, run: Run) -> Response:
        """Raises what the call itself raises, a remembered error marked `cached`, and DeadlineExceeded where it follows
        another one for too long."""
        try:
            asked = self._fingerprint if self._asked is None else self._asked(run)
            key = cache_key(request, run, (asked, self._key_version), self._scope)
        except (TypeError, ValueError) as error:  # nothing JSON can say; a provider may still make sense of it
            self._emit(run, CacheUnavailable(path=self._path, reason=f"the request has no cache key: {error}"))
            return await self._next(request, run)
        value = self._store.look(key)
        if value is not None and (entry := self._shelf.read(key, value)) and (at := self._clock.wall()) < entry.expires:
            return self._hit(key, entry, at, run)
        if not self._single:
            return await self._answer(key, request, run)
        for _ in range(_ROUNDS):
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key, request, run)
            response = await self._follow(flight, key, run)
            if response is not None:
                return response
        return await self._answer(key, request, run)

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
        self._follows(key, run)
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
        if entry is not None:
            now = self._clock.wall()
            if now < entry.expires:
                return self._hit(key, entry, now, run)
            if entry.completion is not None and now - entry.expires <= self._revalidate:
                self._refresh_behind(key, request, run)
                self._count_hit(entry, entry.age(now))
                return self._stale(key, entry, "revalidate", run)
        if self._leases is None:
            return await self._ask(key, request, run, entry)
        return await self._ask_for_all(key, request, run, self._leases, entry)

    async def _ask_for_all(self, key: str, request: Request, run: Run, leases: Leases, old: Entry | None) -> Response:
        """A live answer, of which equal calls in other processes get theirs; or the one that such a call gets."""
        found = await leases.seek(key, run.deadline, partial(self._follows, key, run))
        lease = found if isinstance(found, Lease) else None
        entry = decode(found) if isinstance(found, bytes) and found else None
        if entry is not None and entry.completion is not None:
            return entry.shared()
        try:
            # it may have been stored since it was looked for
            entry = await self._lookup(key, run) if found == b"" or (lease is not None and lease.after) else None
            if entry is not None and (now := self._clock.wall()) < entry.expires:
                response = self._hit(key, entry, now, run)
            else:
                response = await self._ask(key, request, run, old)
        except BaseException as error:
            if lease is not None:
                lease.fail(error)
            raise
        if lease is not None:
            response.on_end(partial(lease.end, response))
        return response

    def _follows(self, key: str, run: Run) -> None:
        self._emit(run, CacheShared(path=self._path, key=key))
        self._counted.shared += 1

    async def _lookup(self, key: str, run: Run) -> Entry | None:
        """The entry, whatever its age."""
        try:
            value = await self._store.get(key)
        except StoreUnavailable as error:
            self._emit(run, CacheUnavailable(path=self._path, reason=str(error)))
            return None
        return None if value is None else decode(value)

    def _hit(self, key: str, entry: Entry, now: float, run: Run) -> Response:
        age = entry.age(now)
        self._count_hit(entry, age)
        if entry.completion is not None:
            self._emit(run, CacheHit(path=self._path, key=key, age=age))
            return entry.response(age)
        assert entry.refusal is not None
        self._counted.negative_hits += 1
        self._emit(run, CacheHit(path=self._path, key=key, age=age, kind=entry.refusal.kind))
        raise entry.refusal.error().mark("cached")

    def _count_hit(self, entry: Entry, age: float) -> None:
        counted = self._counted
        counted.hits += 1
        counted.used += entry.used(age)

    def _stale(self, key: str, entry: Entry, reason: str, run: Run) -> Response:
        now = self._clock.wall()
        age = entry.age(now)
        self._counted.stale_served += 1
        self._emit(run, CacheStale(path=self._path, key=key, age=age, expired=now - entry.expires, reason=reason))
        return entry.response(age, stale=True)

    async def _ask(self, key: str, request: Request, run: Run, old: Entry | None) -> Response:
        """A live answer; where the call fails, the `old` one if it may stand in."""
        self._counted.misses += 1
        self._emit(run, CacheMissed(path=self._path, key=key))
        try:
            return await self._fetch(key, request, run)
        except WizardError as error:
            if old is not None and error.row.stale_ok and self._may_stand_in(old):
                return self._stale(key, old, error.kind, run)
            self._remember(key, error, run)
            raise

    def _may_stand_in(self, old: Entry) -> bool:
        return old.completion is not None and self._clock.wall() - old.expires <= self._stale_for

    def _remember(self, key: str, error: WizardError, run: Run) -> None:
        """Keep an error that says no to the request itself. One about this caller alone is not shared."""
        if not (self._negative and error.row.negative) or is_private(error):
            return
        refusal = Refusal.of(error)
        if refusal is not None:
            now = self._clock.wall()
            self._put(key, Entry(VERSION, now + self._negative, now, error.where, refusal=refusal), run)

    # -- refreshing ---------------------------------------------------------------------------------

    def _refresh_behind(self, key: str, request: Request, run: Run) -> None:
        """One refresh a key runs behind the calls, as a run of its own: with its own id and ledger, and as much time
        as the call's run had when it began."""
        if key in self._shelf.refreshing:
            return
        self._shelf.refreshing.add(key)
        now = self._clock.now()
        behind = Run(
            scope=msgspec.structs.replace(run.scope, run_id=f"{run.scope.run_id}-refresh", streams=False),
            deadline=now + run.deadline - run.transcript.started,
            transcript=Transcript(now),
            call=Call(),
            allow_empty=run.allow_empty,
        )
        self._spawn(self._refresh(key, request, behind))

    async def _refresh(self, key: str, request: Request, run: Run) -> None:
        """A failure leaves the entry as it is, and is told."""
        kind = "cancelled"
        try:
            async with await self._fetch(key, request, run) as response:
                await response.read()
            kind = "ok"
        except Exception as error:
            kind = getattr(error, "kind", "bug")
        finally:
            self._shelf.refreshing.discard(key)
            self._emit(run, CacheRefreshed(path=self._path, key=key, kind=kind))

    # -- storing ------------------------------------------------------------------------------------

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
        fallback = served.fallback if own is None else position > 0
        ttl = self._fallback_ttl if fallback else self._ttl
        ttl *= 1 + self._jitter * (2 * self._chance.draw(run, 0) - 1)
        if ttl <= 0:
            return
        now = self._clock.wall()
        bare = msgspec.structs.replace(completion, usage=_NOTHING, headers={})
        self._put(key, Entry(VERSION, now + ttl, now, name, position, served.losses, completion.usage, bare), run)

    def _put(self, key: str, entry: Entry, run: Run) -> None:
        self._store.put(key, encode(entry), self._shelf.keeps(entry))
        self._counted.insertions += 1
        self._shelf.add_up()
        self._emit(run, CacheStored(path=self._path, key=key, ttl=entry.expires - entry.stored))

    def _report_observers(self, view: Response, run: Run) -> None:
        view.on_raise(lambda error: self._emit(run, ObserverFailed(path=self._path, error=repr(error))))


def bound(config: CacheConfig, inner: Bound, facts: BoundFacts) -> Bound:
    """A miss is the worst case; a follower may see two flights end without an answer before it goes alone."""
    flight = following(inner.latency) if facts.shared else inner.latency
    return inner.with_latency(flight.times(1 + _ROUNDS)) if config.single_flight else inner


def check(config: CacheConfig) -> list[str]:
    """What is legal and yet makes no sense."""
    found = []
    if parse_ratio(config.ttl_jitter) >= 1:
        found.append("ttl_jitter of 100% or more lets answers expire as soon as they are stored; use 10% to 50%")
    if parse_duration(config.ttl) == 0:
        found.append("ttl is 0s, so nothing is ever stored; write `cache: off` to have no cache")
    elif parse_duration(config.ttl) < parse_duration(config.fallback_ttl) != parse_duration(CacheConfig().fallback_ttl):
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
    emits=(
        CacheHit,
        CacheMissed,
        CacheStored,
        CacheStale,
        CacheRefreshed,
        CacheShared,
        CacheUnavailable,
        ObserverFailed,
    ),
    raises=(DeadlineExceeded,),
    outcomes=OUTCOMES,
    examples=(
        Example("Answers are used for an hour", "cache: 1h"),
        Example("A large cache that outlives the process", "cache: {ttl: 1d, store: disk, max_entries: 10000}"),
        Example(
            "An old answer rather than none, for a day, and no wait for a new one in the first minute",
            "cache: {ttl: 10m, stale_while_revalidate: 1m, stale_if_error: 1d}",
        ),
        Example("What the provider refuses is not asked again at once", "cache: {ttl: 1h, negative: 10s}"),
        Example("Nobody gets an answer made for somebody else's key", "cache: {ttl: 10m, scope: principal}"),
    ),
    check=check,
)
