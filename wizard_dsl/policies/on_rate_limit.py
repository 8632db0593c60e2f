"""On rate limit: what a target's refusal means for everybody.

A 429, or an exhausted quota, blocks the target until the announced time: every call of every chain skips it at
once instead of finding out for itself. A 429 that announces nothing is given a time, linear in the number of
attempts, with the retry's own clamp and jitter. Waiting and moving on are left to retry and strategy; their rule
is the chain's `on_rate_limit`. The node stands in every ladder and has nothing to set.
"""

from __future__ import annotations

from wizard_dsl.core.bound import bound_unchanged
from wizard_dsl.core.component import NoConfig, PolicyType, Rung, Scope
from wizard_dsl.core.errors import AttemptFailed, QuotaExhausted, RateLimited
from wizard_dsl.core.events import TargetBlocked
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.outcomes import outcome, told
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.policies._backoff import Backoff, jittered, plain


class OnRateLimit:
    """Remembers refusals in the target's shared state."""

    __slots__ = ("_chance", "_clock", "_emit", "_next", "_path", "_quota_block", "_target")

    def __init__(self, config: NoConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._clock = context.clock
        self._chance = context.chance
        self._emit = context.emit
        self._path = context.path
        self._quota_block = context.chain.rate_limit.quota_block
        self._target = context.require_target()

    async def call(self, request: Request, run: Run) -> Response:
        """Raises what comes from below; a RateLimited then always has its `retry_after`."""
        try:
            return await self._next(request, run)
        except RateLimited as error:
            if error.retry_after is None:
                error.retry_after = self._unannounced(run)
            self._block(error, run, error.retry_after)
            raise
        except QuotaExhausted as error:
            self._block(error, run, self._quota_block)
            raise

    def _unannounced(self, run: Run) -> float:
        k = run.used + 1
        if self._target.unannounced is not None:
            return self._target.unannounced(run, k)
        usual = Backoff()
        return jittered(usual, plain(usual, "linear", k), self._chance.draw(run, k), usual.base)

    def _block(self, error: AttemptFailed, run: Run, seconds: float) -> None:
        self._target.state.block(self._clock.now() + seconds, error.kind)
        self._emit(run, TargetBlocked(path=self._path, target=self._target.name, reason=error.kind, seconds=seconds))


ON_RATE_LIMIT = PolicyType(
    name="on_rate_limit",
    summary="Remembers until when a provider's refusal blocks a target; stands in every ladder.",
    rung=Rung.RATE_LIMIT,
    scope=Scope.TARGET,
    config=NoConfig,
    build=OnRateLimit,
    bound=bound_unchanged,
    emits=(TargetBlocked,),
    outcomes=(
        outcome("blocked", "a 429 blocked the target for a while", told(TargetBlocked, reason="rate_limited")),
        outcome("no_quota", "an exhausted quota blocked the target", told(TargetBlocked, reason="quota_exhausted")),
    ),
)
