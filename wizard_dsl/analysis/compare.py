"""Chains side by side: the same rows of inputs through each, and what differs in answer, time and money.

Every chain runs in the same runtime, so that a provider's limits hold for all of them together, and with the same
draws: what differs comes from the chains.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.result import Cost, Result, UsageRow, seconds, total_cost, total_usage
from wizard_dsl.runtime.together import together

if TYPE_CHECKING:
    from wizard_dsl.runtime.pipeline import Pipeline


class Row(msgspec.Struct, frozen=True):
    """One row of inputs, counted from 1, and what each chain made of it, by the chain's name."""

    number: int
    inputs: dict[str, Any]
    results: dict[str, Result]

    @property
    def agrees(self) -> bool:
        """Whether all chains answered, and with the same output."""
        results = list(self.results.values())
        return all(each.ok and each.output == results[0].output for each in results)


class Total(msgspec.Struct, frozen=True):
    """A chain over all rows. `p50` and `p95` are seconds of the runs that went well (nearest rank), null without."""

    chain: str
    runs: int
    ok: int
    p50: float | None
    p95: float | None
    cost: Cost
    usage: UsageRow
    attempts: int


class Comparison(msgspec.Struct, frozen=True):
    """`same` counts the rows in which all chains answered with the same output."""

    pipeline: str
    chains: list[str]
    rows: list[Row]
    totals: list[Total]
    same: int


class Comparing:
    """A comparison under way; `so_far` is valid at any time."""

    def __init__(self, pipelines: Mapping[str, Pipeline], rows: Sequence[dict[str, Any]]) -> None:
        self._pipelines = dict(pipelines)
        self._rows = rows
        self._made: dict[tuple[int, str], Result] = {}

    async def run(self, *, concurrency: int, done: Callable[[], None]) -> None:
        """Run all rows through all chains, row by row, at most `concurrency` at once; `done` is called after each run.
        A run that fails is a result like any other."""
        room = asyncio.Semaphore(concurrency)

        async def one(number: int, chain: str) -> None:
            async with room:
                self._made[number, chain] = await _result(self._pipelines[chain], self._rows[number])
                done()

        await together([one(number, chain) for number in range(len(self._rows)) for chain in self._pipelines])

    def so_far(self) -> Comparison:
        """The rows that every chain is done with."""
        chains = list(self._pipelines)
        rows = [
            Row(number + 1, inputs, {chain: self._made[number, chain] for chain in chains})
            for number, inputs in enumerate(self._rows)
            if all((number, chain) in self._made for chain in chains)
        ]
        name = next(iter(self._pipelines.values())).name
        totals = [_total(chain, [row.results[chain] for row in rows]) for chain in chains]
        return Comparison(name, chains, rows, totals, sum(row.agrees for row in rows))


async def _result(pipeline: Pipeline, inputs: dict[str, Any]) -> Result:
    try:
        return await pipeline.run(inputs=inputs)
    except WizardError as error:
        if not isinstance(error.result, Result):
            raise
        return error.result


def _total(chain: str, results: list[Result]) -> Total:
    attempts = [attempt for result in results for attempt in result.attempts]
    took = sorted(result.elapsed for result in results if result.ok)
    return Total(
        chain=chain,
        runs=len(results),
        ok=len(took),
        p50=_rank(took, 0.5),
        p95=_rank(took, 0.95),
        cost=total_cost(attempts),
        usage=total_usage(attempts),
        attempts=len(attempts),
    )


def _rank(values: list[float], share: float) -> float | None:
    """The nearest-rank percentile of sorted values."""
    return seconds(values[math.ceil(share * len(values)) - 1]) if values else None
