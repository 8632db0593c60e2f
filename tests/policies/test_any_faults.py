"""Whatever targets do and however the ladder is set, what SEMANTICS promises of every call holds."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wizard_dsl.core.errors import AllFallbacksFailed, WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Attempt
from wizard_dsl.core.target import RateLimitRule
from wizard_dsl.policies.cache import CACHE
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.concurrency import CONCURRENCY
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.policies.rate_limit import RATE_LIMIT
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

SCHEMA = {"type": "object", "required": ["n"]}
FAULTS: list[Any] = [
    503, 401, 400, 404, 429, 408,
    {"refuse": True},
    {"status": 429, "retry_after": "1s"},
    {"status": 429, "retry_after": "10s"},
    {"status": 429, "retry_after": "400s"},
    {"status": 503, "retry_after": "1500ms"},
    {"status": 503, "retry_after": "20s"},
    {"status": 503, "headers": {"x-should-retry": "false"}},
    {"status": 402, "body": '{"error": {"code": "insufficient_quota", "message": "x"}}'},
    {"status": 200, "body": '{"error": {"type": "overloaded_error", "message": "x"}}'},
    {"reply": "late", "delay": "9s"},
    {"reply": "a b", "stall_after": 0},
    {"reply": "a b", "stall_after": 1},
    {"reply": "a b c", "cut_after": 1},
    {"reply": ""},
    {"reply": "cut", "finish_reason": "length"},
    "no json",
    {"n": 1},
]  # fmt: skip
ITEMS = [{"reply": each} if each == {"n": 1} else each for each in FAULTS]
#: Kinds after which no other attempt is made, unless asked for.
FINAL = {"auth", "not_found", "invalid_request", "deadline"}

rungs = st.lists(
    st.sampled_from(
        [
            (RETRY_BUDGET, {"floor": "0.2/s"}),
            (RATE_LIMIT, {"rate": "1/s", "burst": 1}),
            (RATE_LIMIT, {"rate": "1/minute", "burst": 3}),
            (RATE_LIMIT, {"windows": ["5/minute"]}),
            (CONCURRENCY, {"limit": 1}),
            (CACHE, {}),
        ]
    ),
    max_size=3,
    unique_by=lambda policy: policy[0].name,
)
rules = st.builds(RateLimitRule, st.sampled_from([0.0, 2.0, 30.0]), st.sampled_from(["fallback", "fail"]))


def check_rows(rows: list[Attempt], deadline: float, most: int) -> None:
    for row, later in pairwise(rows):
        assert row.elapsed is not None and later.started >= row.started + row.elapsed - 1e-6
        assert row.kind not in FINAL
    for row in rows:
        assert row.kind is not None and row.elapsed is not None and row.started + row.elapsed <= deadline + 1e-6
        assert sum(each.target == row.target for each in rows) <= most


def check_error(error: WizardError | None, rows: list[Attempt]) -> None:
    """What left the chain follows from its attempts."""
    if error is None:
        assert not rows or rows[-1].kind == "ok"
    elif not rows:
        assert error.kind in {"rate_limited", "circuit_open", "local_limit", "deadline"}
    elif error.kind not in {"mid_stream", "deadline"}:
        assert error.kind == ("contract" if rows[-1].kind == "ok" else rows[-1].kind)
        assert isinstance(error, AllFallbacksFailed) == (len({row.target for row in rows}) > 1)
        assert error.attempt is not None or error.kind == "contract"


def check_nothing_is_held(chain: ScriptedChain) -> None:
    assert all(not line._gate.taken for line in chain.shared.of("concurrency").values())
    assert all(not breaker.state._leases for breaker in chain.shared.of("circuit_breaker").values())
    assert all(not flights._open for flights in chain.shared.of("flights").values())
    assert len(asyncio.all_tasks()) == 1


@given(
    scripts=st.lists(st.lists(st.sampled_from(ITEMS), min_size=30, max_size=30), min_size=1, max_size=3),
    more=rungs,
    rule=rules,
    attempts=st.integers(1, 4),
    repairs=st.integers(0, 2),
    schema=st.sampled_from([None, SCHEMA]),
    deadline=st.sampled_from([3.0, 15.0, 60.0, 500.0]),
    commits=st.lists(st.sampled_from(["end", "content"]), min_size=2, max_size=3),
    pause=st.sampled_from([0, 1, 6, 100]),
)
@settings(max_examples=150)
def test_a_call_ends_in_time_with_the_error_of_its_last_attempt_and_holds_nothing(
    scripts: list[list[Any]],
    more: list[Policy],
    rule: RateLimitRule,
    attempts: int,
    repairs: int,
    schema: dict[str, Any] | None,
    deadline: float,
    commits: list[Any],
    pause: int,
) -> None:
    policies: list[Policy] = [
        (CONTRACT, {"repairs": repairs}),
        (RETRY, {"max_attempts": attempts}),
        (CIRCUIT_BREAKER, {"failure_threshold": 3, "reset_timeout": "5s"}),
        (TIMEOUT, {"first_chunk": "4s", "idle": "3s", "total": "8s"}),
        *more,
    ]
    most = attempts * (1 + repairs) if schema else attempts

    async def main() -> None:
        repeated = {name: items * 4 for name, items in zip("abc", scripts, strict=False)}
        chain = build_chain(repeated, policies, rate_limit=rule)
        for number, commit in enumerate(commits):
            request = Request(messages=(message("user", str(number)),), schema=schema)
            began, error = chain.clock.now(), None
            try:
                await chain.answer(request, commit=commit, deadline=deadline)
            except WizardError as raised:
                error = raised
            assert chain.clock.now() <= began + deadline + 1e-6
            check_rows(chain.attempts, deadline, most)
            check_error(error, chain.attempts)
            check_nothing_is_held(chain)
            await asyncio.sleep(pause)

    run(main())
