"""What a race must not leave behind."""

from __future__ import annotations

import asyncio
from typing import Any

from wizard_dsl.core.response import Response
from wizard_dsl.testing.chains import ScriptedChain


def nothing_is_held(chain: ScriptedChain) -> None:
    """No place, no place in a line, no lease, and no task but the one that asks."""
    for line in chain.shared.of("concurrency").values():
        assert line._gate.taken == 0 and not line._queue
    for line in chain.shared.of("rate_limit").values():
        assert not line._queue and line._timer is None
    for breaker in chain.shared.of("circuit_breaker").values():
        assert not breaker.state._leases
    assert len(asyncio.all_tasks()) == 1
    assert all(row.kind is not None for row in chain.attempts)


async def answered(chain: ScriptedChain, *ask: Any, **options: Any) -> Response:
    """An answer, read to its end."""
    async with await chain.ask(*ask, **options) as response:
        await response.read()
        return response
