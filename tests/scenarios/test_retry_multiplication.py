"""Retries everywhere, and everything is down: how many calls an outage costs.

Three targets, ten minutes of outage, 50 calls a second. Each target alone would be asked `max_attempts` times by each
call; the retry budget of the chain keeps attempts ÷ targets tried, summed over the calls, at 1.2 or less.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Run
from wizard_dsl.policies.circuit_breaker import CIRCUIT_BREAKER
from wizard_dsl.policies.deadline import DEADLINE
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.policies.retry_budget import RETRY_BUDGET
from wizard_dsl.policies.timeout import TIMEOUT
from wizard_dsl.testing.chains import Policy, ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

RATE = 50
TEN_MINUTES = 600
#: The variants last one minute, which is six windows of the budget; `make soak` lets them have all ten.
VARIANT = TEN_MINUTES if os.environ.get("SOAK") else 60
#: Repeats a second that are always allowed.
FLOOR = 3
MOST = 1.2
ASK = Request(messages=(message("user", "hello"),))
FAULTS: dict[str, Any] = {
    "503": {"status": 503},
    "refused": {"refuse": True},
    "timeouts": {"delay": "1h"},
    "429 without a header": {"status": 429},
}
RETRIES: list[Policy] = [(RETRY, {}), (TIMEOUT, {"total": "10s"})]
BREAKER: Policy = (CIRCUIT_BREAKER, {})
BUDGET: Policy = (RETRY_BUDGET, {})


@dataclass
class Figures:
    """Sums over the calls of one outage."""

    calls: int = 0
    attempts: int = 0
    targets: int = 0

    @property
    def ratio(self) -> float:
        return self.attempts / self.targets

    def add(self, call: Run) -> None:
        rows = call.transcript.attempts
        self.calls += 1
        self.attempts += len(rows)
        self.targets += len({row.target for row in rows})


async def one_call(chain: ScriptedChain, figures: Figures) -> None:
    call = chain.run()
    with pytest.raises(WizardError):
        await chain.handler(ASK, call)
    figures.add(call)


def outage(fault: str, policies: list[Policy], seconds: int) -> Figures:
    """What the calls of an outage of that many seconds come to."""

    async def main() -> Figures:
        scripts = {name: [{**FAULTS[fault], "times": "forever"}] for name in "abc"}
        chain, figures = build_chain(scripts, [*RETRIES, *policies]), Figures()
        async with asyncio.TaskGroup() as calls:
            for _ in range(RATE * seconds):
                calls.create_task(one_call(chain, figures))
                await asyncio.sleep(1 / RATE)
        return figures

    return run(main())


def told(name: str, figures: Figures) -> None:
    sums = f"{figures.calls:,} calls, {figures.attempts:,} attempts ÷ {figures.targets:,} targets tried"
    sys.stdout.write(f"{name}: {sums} = {figures.ratio:.3f}\n")


@pytest.mark.parametrize("fault", ["503", "timeouts"])
def test_an_outage_costs_at_most_a_fifth_more_attempts_than_targets_tried(fault: str) -> None:
    figures = outage(fault, [BREAKER, BUDGET], TEN_MINUTES if fault == "503" else VARIANT)
    told(f"{fault}, the default policies", figures)
    assert figures.ratio <= MOST


@pytest.mark.parametrize("fault", ["503", "refused", "timeouts"])
def test_the_retry_budget_alone_holds_it_where_no_breaker_helps(fault: str) -> None:
    figures = outage(fault, [BUDGET], VARIANT)
    told(f"{fault}, no breakers", figures)
    assert figures.targets == 3 * figures.calls
    assert figures.ratio <= MOST


def test_without_the_budget_every_call_asks_every_target_three_times() -> None:
    figures = outage("503", [], 10)
    told("503, no breakers, retry_budget: off", figures)
    assert figures.ratio == 3


@pytest.mark.parametrize("fault", ["refused", "429 without a header"])
def test_where_hardly_a_call_gets_through_its_few_repeats_are_those_that_are_always_allowed(fault: str) -> None:
    """A breaker that a refusal opens, and a block after a 429, keep nearly all calls from being made at all. Three
    repeats a second are allowed whatever was tried, and of so few attempts they are more than a fifth."""
    figures = outage(fault, [(DEADLINE, {"after": "5s"}), BREAKER, BUDGET], VARIANT)
    told(f"{fault}, the default policies", figures)
    assert figures.attempts - figures.targets <= FLOOR * VARIANT
    assert figures.attempts <= figures.calls / 10
