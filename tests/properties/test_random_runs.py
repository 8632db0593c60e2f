"""Whatever a file says, whatever its targets do and whoever goes away: nothing is left behind.

Each case is a random file (`random_cases`), targets that answer or fail as they like, and several callers who share its
state, some of whom go away at a random moment. `make soak` runs 10,000 cases, `SOAK=n` so many; what fails names its
number, and `SOAK_FROM=number SOAK=1` runs it alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from random_cases import Dice, Mood, random_caller, random_document, shown
from soak_kit import Watch, caller, check_is_idle, check_loop, check_nothing_is_held, check_tokens, check_told

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.program import TargetPlan
from wizard_dsl.core.node import BuildContext
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Scripted

CASES = int(os.environ.get("SOAK", "400"))
FIRST = int(os.environ.get("SOAK_FROM", "0"))
#: Steps of the loop that a case may make; none makes a tenth of it.
MOST_STEPS = 2_000_000
#: No item of a script takes longer, in seconds.
AN_HOUR = 3700
REGISTRY = Registry(plugins=False)


async def play(case: Compiled, dice: Dice, watch: Watch) -> int:
    """All callers of one case; how many there were."""
    moods: dict[str, Mood] = {}

    def provide(plan: TargetPlan, context: BuildContext) -> Scripted:
        return Scripted(moods.setdefault(plan.name, Mood(plan.name, Dice(f"{dice.key}/{plan.name}"))), context.clock)

    asyncio.get_running_loop().set_exception_handler(watch.on_exception)
    callers = [random_caller(dice) for _ in range(dice.upto(5, 1))]
    async with running(case, REGISTRY, seed=1, provide=provide, sinks=[watch.sink]) as pipeline:
        await asyncio.gather(*(caller(pipeline, who) for who in callers))
        for mood in moods.values():
            mood.calm = True
        if len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(AN_HOUR)  # a refresh or a probe, in the background
        shares_flights = bool(pipeline._runtime.shared.of("cache"))
        check_told(watch, shares_flights)
        check_nothing_is_held(pipeline, watch)
        check_tokens(pipeline, watch)
        check_loop(1, watch)
        await asyncio.sleep(2 * AN_HOUR)
        check_nothing_is_held(pipeline, watch)
        check_is_idle(pipeline)
        check_told(watch, shares_flights)
    check_loop(1, watch)
    return len(callers)


def compiled(document: dict[str, Any], folder: Path) -> Compiled:
    path = folder / "case.yaml"
    path.write_text(shown(document), encoding="utf-8")
    return compile_file(path, REGISTRY, Sources(env={}))


def one_case(number: int, folder: Path) -> int | None:
    """Play case `number`; how many ran, None where its file contradicts itself."""
    dice = Dice(str(number))
    document = random_document(dice)
    case = compiled(document, folder)
    if case.program is None:
        return None
    try:
        return virtual.run(play(case, dice, Watch()), max_steps=MOST_STEPS)
    except BaseException as error:
        error.add_note(f"case {number}: SOAK=1 SOAK_FROM={number}\n{shown(document)}")
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
