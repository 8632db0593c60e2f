"""Whatever a file says, whatever its targets do and whoever goes away: nothing is left behind.

Each case is a random file (`random_cases`), targets that answer or fail as they like, and several callers who share its
state, some of whom go away at a random moment. In some of them two runtimes, as if they were two processes, share a
database, which is now and then away. `make soak` runs 10,000 cases, `SOAK=n` so many; what fails names its
number, and `SOAK_FROM=number SOAK=1` runs it alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec.structs import replace
from random_cases import INNER, Dice, Mood, inner_document, random_caller, random_document, shown
from soak_kit import (
    Watch,
    caller,
    check_is_idle,
    check_loop,
    check_nothing_is_held,
    check_shared_state,
    check_tokens,
    check_told,
)

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.program import TargetPlan
from wizard_dsl.core.clock import LoopClock
from wizard_dsl.core.node import BuildContext
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.live import Live
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import Runtime, require, running
from wizard_dsl.stores._state import Ask, SharedKeeper
from wizard_dsl.stores._state_sqlite import SqliteKeeper
from wizard_dsl.stores._worker import Inline
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Scripted

CASES = int(os.environ.get("SOAK", "400"))
FIRST = int(os.environ.get("SOAK_FROM", "0"))
#: Steps of the loop that a case may make; none makes a tenth of it.
MOST_STEPS = 2_000_000
#: Seconds after which nobody who was not heard has a place in a line or a lease: that of a breaker is the longest.
LEASES = 302
#: No item of a script takes longer, in seconds.
AN_HOUR = 3700
REGISTRY = Registry(plugins=False)


@asynccontextmanager
async def sharing(case: Compiled, keeper: SqliteKeeper, **options: Any) -> AsyncIterator[Pipeline]:
    """As `running`, over state that is kept elsewhere: in virtual time a runtime has only its own."""
    program = require(case)
    runtime = Runtime(seed=1, folder=case.loaded.root / ".wizard" / "cache", transport=None, **options)
    clock = runtime.services.clock
    runtime._state = SharedKeeper(keeper, clock, runtime._tell)
    services = replace(runtime.services, state=runtime._state)
    try:
        yield Pipeline(Live(program, services, REGISTRY), runtime)
    finally:
        await runtime.close()


class Whimsical(SqliteKeeper):
    """Now and then slow, and for a while away."""

    def __init__(self, path: Path, dice: Dice) -> None:
        clock = LoopClock()
        super().__init__(path, clock, Inline(clock))
        self._dice, self._clock, self.calm = dice, clock, dice.chance(0.5)

    async def ask(self, batch: Sequence[Ask], /) -> list[bytes]:
        if not self.calm:
            await self._clock.sleep(self._dice.one([0.0, 0.0, 0.01, 0.3]))
            if self._dice.chance(0.1):
                raise ConnectionError
        return await super().ask(batch)


async def play(case: Compiled, dice: Dice, watch: Watch) -> int:
    """All callers of one case; how many there were."""
    moods: dict[str, Mood] = {}

    def provide(plan: TargetPlan, context: BuildContext) -> Scripted:
        return Scripted(moods.setdefault(plan.name, Mood(plan.name, Dice(f"{dice.key}/{plan.name}"))), context.clock)

    asyncio.get_running_loop().set_exception_handler(watch.on_exception)
    callers = [random_caller(dice) for _ in range(dice.upto(5, 1))]
    options: dict[str, Any] = {"provide": provide, "sinks": [watch.sink]}
    if Dice(f"{dice.key}/state").chance(0.2):
        await shared_by_two(case, callers, watch, Whimsical(case.loaded.root / "state.db", dice), options, moods)
    else:
        async with running(case, REGISTRY, seed=1, **options) as pipeline:
            await asyncio.gather(*(caller(pipeline, who) for who in callers))
            await settled(moods)
            check_tokens(pipeline, watch)
            await check([pipeline], watch)
    check_loop(1, watch)
    return len(callers)


async def shared_by_two(
    case: Compiled,
    callers: list[dict[str, Any]],
    watch: Watch,
    keeper: Whimsical,
    options: dict[str, Any],
    moods: dict[str, Mood],
) -> None:
    path, longest = case.loaded.root / "state.db", 0.0 if keeper.calm else LEASES
    async with sharing(case, keeper, **options) as one, sharing(case, keeper, **options) as two:
        await asyncio.gather(*(caller([one, two][index % 2], who) for index, who in enumerate(callers)))
        keeper.calm = True
        await settled(moods)
        await asyncio.sleep(1 + longest)
        await asyncio.sleep(0.001)  # a probe of this very instant
        check_shared_state(path, LoopClock().wall())
        await check([one, two], watch)


async def settled(moods: dict[str, Mood]) -> None:
    """Answer all that is still asked in the background, a refresh or a probe, and wait for it."""
    for mood in moods.values():
        mood.calm = True
    if len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(AN_HOUR)


async def check(pipelines: list[Pipeline], watch: Watch) -> None:
    """Nothing is left, and after a long time all is as in the beginning."""
    shares_flights = any(each._runtime.shared.of("cache") for each in pipelines)
    check_told(watch, shares_flights)
    check_loop(1, watch)
    for each in pipelines:
        check_nothing_is_held(each, watch)
    await asyncio.sleep(2 * AN_HOUR)
    for each in pipelines:
        check_nothing_is_held(each, watch)
        check_is_idle(each)
    check_told(watch, shares_flights)


def compiled(document: dict[str, Any], dice: Dice, folder: Path) -> Compiled:
    path = folder / "case.yaml"
    path.write_text(shown(document), encoding="utf-8")
    (folder / INNER).write_text(shown(inner_document(dice, document)), encoding="utf-8")
    return compile_file(path, REGISTRY, Sources(env={}))


def one_case(number: int, folder: Path) -> int | None:
    """Play case `number`; how many ran, None where its file contradicts itself."""
    dice = Dice(str(number))
    document = random_document(dice)
    with TemporaryDirectory(dir=folder) as own:
        return played(compiled(document, dice, Path(own)), document, dice)


def played(case: Compiled, document: dict[str, Any], dice: Dice) -> int | None:
    if case.program is None:
        return None
    try:
        return virtual.run(play(case, dice, Watch()), max_steps=MOST_STEPS)
    except BaseException as error:
        error.add_note(f"case {dice.key}: SOAK=1 SOAK_FROM={dice.key}\n{shown(document)}")
        raise


def test_random_runs_leave_nothing_behind(tmp_path: Path) -> None:
    played = runs = refused = 0
    number = FIRST
    while played < CASES:
        callers = one_case(number, tmp_path)
        number += 1
        if callers is None:
            refused += 1
        else:
            played += 1
            runs += callers
    sys.stdout.write(f"{played:,} cases, {runs:,} runs, {refused:,} files that contradict themselves\n")
    assert refused <= played or CASES == 1
