"""Random pipelines whose runs are held against their plan: no run makes more attempts, takes longer or costs more.

The targets do as they like, but they are honest about what they count: a token has at least one byte and at most as
many as the longest known one, no answer has more than it was asked for, and no prompt more than its window. Within
that they are as bad as they can be.

    played = hold(number, folder)      # None where the file contradicts itself
    played.runs[0].attempts            # Held(actual=4, most=12)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from focused import focused_caller, focused_document, focused_inner
from random_cases import INNER, Dice, Mood, inner_document, random_caller, random_document, shown
from soak_kit import Watch, caller
from spiteful import Spite, spiteful_caller, spiteful_document

from wizard_dsl.analysis._plan_attempt import LONGEST_TOKEN
from wizard_dsl.analysis.plan import Plan, plan_of
from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.facts import known_facts
from wizard_dsl.compiler.program import TargetPlan
from wizard_dsl.core.budget import most_input, most_output
from wizard_dsl.core.events import Event, RunEnded
from wizard_dsl.core.messages import Request
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.run import Run, Transcript
from wizard_dsl.core.target import Facts
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.scripted import Item, Scripted, ScriptedUsage, read_item

REGISTRY = Registry(plugins=False)
MOST_STEPS = 2_000_000
DUST = 1e-6
FIGURES = ("attempts", "latency", "cost", "tokens", "in_flight")
#: Callers who hold a stream back: how long their runs take is theirs to say.
SLOW = ("slow callback", "slow stream")
_IS_SLOW: ContextVar[bool] = ContextVar("slow")


class Held(msgspec.Struct, frozen=True):
    """What a run did, and what its plan allows."""

    actual: float
    most: float

    @property
    def holds(self) -> bool:
        return self.actual <= self.most + DUST


class Ran(msgspec.Struct, frozen=True):
    """One run; `latency` is None where its reader was slow."""

    attempts: Held
    latency: Held | None
    cost: Held
    tokens: Held
    in_flight: Held


class Played(msgspec.Struct, frozen=True):
    """One case: its runs, and its file."""

    runs: list[Ran]
    text: str

    def broken(self) -> list[str]:
        """What did not hold."""
        return [
            f"{name}: {held.actual:g} of at most {held.most:g}"
            for run in self.runs
            for name in FIGURES
            if (held := getattr(run, name)) is not None and not held.holds
        ]


class HonestMood(Mood):
    """Answers and fails at will, or out of spite; reports as many tokens as can be."""

    def __init__(self, plan: TargetPlan, dice: Dice, spite: Spite | None) -> None:
        super().__init__(plan.name, dice)
        self._plan = plan
        self._facts = known_facts(plan, no_facts)
        self._spite = spite
        self._greedy = 1.0 if spite else dice.one([0.0, 0.5, 1.0])
        self._at_its_worst = dice.one([0.0, 0.3, 0.9])

    def take(self, request: Request, run: Run) -> Item:
        if self.calm:
            return super().take(request, run)
        written = most_output(request, self._plan.params, self._facts)
        assert written is not None
        if self._spite is not None:
            item = self._spite.item(request, run, written * LONGEST_TOKEN)
        else:
            item = self._moody(request, run, written * LONGEST_TOKEN)
        read = min(most_input(request), self._facts.context or most_input(request))
        if not self._dice.chance(self._greedy):
            read, written = self._dice.upto(read), self._dice.upto(written)
        return msgspec.structs.replace(item, usage=ScriptedUsage(read, written))

    def _moody(self, request: Request, run: Run, longest: int) -> Item:
        item = self._dice.one(_WORST) if self._dice.chance(self._at_its_worst) else super().take(request, run)
        if item.status != 200 or item.body or not self._dice.chance(0.2):
            return item
        return msgspec.structs.replace(item, reply={"n": "n" * (longest - 20)} if request.schema else "w" * longest)


#: What takes longest and leads to most attempts: just within the limits that the files set.
_WORST = [
    read_item(each)
    for each in (
        {"status": 503, "delay": "7999ms"},
        {"status": 503, "delay": "3999ms", "retry_after": "2s"},
        {"status": 503, "delay": "1h"},
        {"status": 429, "delay": "1999ms", "retry_after": "5s"},
        {"status": 429, "delay": "3999ms", "retry_after": "30s"},
        {"status": 429, "retry_after": "20s"},
        {"status": 429, "delay": "1h"},
        {"status": 503, "delay": "1s", "retry_after": "30s"},
        {"reply": "a b c d e f g h", "first_chunk": "3999ms", "chunk_every": "2999ms", "cut_after": 6},
        {"reply": "a b c d e f g h", "first_chunk": "3s", "chunk_every": "999ms", "cut_after": 5},
        {"reply": "a b", "first_chunk": "3999ms", "stall_after": 1},
        {"reply": "no json", "delay": "7999ms"},
        {"reply": {"n": 1}, "delay": "3999ms"},
        {"reply": "ends late", "delay": "1999ms"},
    )
]


# -- files ------------------------------------------------------------------------------------------------


def manner(dice: Dice) -> str:
    """What a case is like: `random`; a small one, whose targets know what hurts; or one around a single thing."""
    return Dice(f"{dice.key}/manner").one(["random", "spiteful", "focused"])


def plan_document(dice: Dice) -> dict[str, Any]:
    """A random file, with what matters to a plan."""
    if (kind := manner(dice)) != "random":
        return spiteful_document(dice) if kind == "spiteful" else focused_document(dice)
    document = random_document(dice)
    document["deadline"] = dice.one([document["deadline"], "50h"])
    calm = dice.keys(0.4, circuit_breaker=["off"], retry_budget=["off"], rate_limit=["off"], cache=["off"])
    document["policies"]["default"] |= calm
    document["inputs"] = {
        "q": {"type": "string", "maxLength": 40, "default": "hello"},
        "parts": {"type": "array", "maxItems": 4, "items": {"type": "string", "maxLength": 9}, "default": ["x", "y"]},
        "kind": {"enum": ["a", "bcd", 17], "default": "a", "trusted": True},
    }
    for chain in document["chains"].values():
        _vary(dice, chain)
    for step in document["steps"].values():
        _vary_step(dice, step)
    return document


def _vary(dice: Dice, chain: dict[str, Any]) -> None:
    if dice.chance(0.3):
        chain["on_rate_limit"] = {
            "wait_up_to": dice.one(["0s", "2s", "20s"]),
            "max_retry_after": dice.one(["0s", "5s", "30s"]),
            **dice.keys(0.3, then=["fail"]),
        }
    policies: dict[str, Any] = dice.keys(0.15, use=["none"])
    if dice.chance(0.3):
        policies["retry"] = {"max_attempts": dice.upto(3, 1), **dice.keys(0.5, **_RETRIES)}
    if dice.chance(0.2):
        policies["timeout"] = dice.one([{"total": "off"}, {"total": "4s", "first_chunk": "off"}, "6s"])
    if dice.chance(0.15):
        policies["stack"] = dice.some(
            ["cache", "deadline", "admission", "retry", "rate_limit", "circuit_breaker", "timeout", "concurrency"]
        )
        policies |= dice.keys(0.4, deadline=["7s"], admission=[{"pipeline": {"rate": "1/s", "burst": 1}}])
    if policies:
        chain["policies"] = policies
    for index, target in enumerate(chain["targets"]):
        if isinstance(target, str) and dice.chance(0.15):
            own = {"retry": dice.upto(3, 1), **dice.keys(0.4, timeout=["2s", "12s"])}
            chain["targets"][index] = {"provider": target, "policies": own}


_RETRIES: dict[str, Any] = {
    "base": ["100ms", "3s"],
    "max_delay": ["2s"],
    "multiplier": [1, 3],
    "retry_on": [{"429": True}, {"server": False}, {"auth": True}, {"local_limit": True}],
    "backoff": [{"server": "immediate"}, {"timeout": "none"}, {"rate_limited": "exponential"}],
    "when": ["attempt < 2"],
}
_TEXTS = [
    "{{ q | upper }} {{ kind }}",
    "{% for part in parts %}- {{ part }}{{ loop.index }}\n{% endfor %}",
    "{{ q | tojson }} {{ parts | join(', ') }}",
    "{{ q if q != 'hello' else parts }}",
    "{% set long = q ~ q %}{{ long }}{{ long | truncate(9) }}",
    "{{ {'q': q, 'parts': parts} }}",
]


def _vary_step(dice: Dice, step: dict[str, Any]) -> None:
    if "prompt" not in step or not dice.chance(0.4):
        return
    step["prompt"]["user"] += " " + dice.one(_TEXTS)
    if dice.chance(0.2):
        step["params"] = {"max_tokens": dice.one([5, 30])}
    if dice.chance(0.1):
        step["prompt"]["tools"] = [{"name": "look", "parameters": {"type": "object"}}]


_WORDS = ["hello", "there", "ü" * 40, "<s>" * 13, '"\\' * 20, "𝒳" * 40]


def plan_inner(dice: Dice, document: dict[str, Any]) -> dict[str, Any]:
    """The file that steps of `document` run."""
    return focused_inner(document) if manner(dice) == "focused" else inner_document(dice, document)


def plan_callers(dice: Dice, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Who calls, with inputs as large as they may be."""
    count = dice.one([1, 2, 4, 9])
    if manner(dice) == "focused":
        return [focused_caller(dice, document, number) for number in range(count)]
    callers = [_caller(dice) for _ in range(count)]
    if dice.chance(0.5):  # a crowd: each finds what the others have just learnt
        callers = [{**who, "at": dice.one([0.0, 1.0, 4.999, 5.0])} for who in callers]
    return callers


def _caller(dice: Dice) -> dict[str, Any]:
    if manner(dice) == "spiteful":
        return spiteful_caller(dice)
    who = random_caller(dice)
    who["options"]["q"] = "hello" if dice.chance(0.5) else dice.one(_WORDS)
    if dice.chance(0.4):
        who["options"]["parts"] = [dice.one(["x", "<s><s><s>", "ß" * 9]) for _ in range(dice.upto(4))]
    if dice.chance(0.4):
        who["options"]["kind"] = dice.one(["a", "bcd", 17])
    return who


# -- a case -----------------------------------------------------------------------------------------------


def no_facts(prices: str, model: str) -> Facts:
    """A library that knows no model: the files say it all."""
    return Facts()


@contextmanager
def written(number: int, folder: Path) -> Iterator[tuple[Compiled, dict[str, Any], str]]:
    """The file of case `number`, compiled, as data and as text; it has no program where it contradicts itself. Beside
    it stands the one that it may run, as long as this is entered."""
    dice = Dice(f"plan/{number}")
    document = plan_document(dice)
    with TemporaryDirectory(dir=folder) as own:
        path = Path(own) / "case.yaml"
        text = shown(document)
        path.write_text(text, encoding="utf-8")
        (Path(own) / INNER).write_text(shown(plan_inner(dice, document)), encoding="utf-8")
        yield compile_file(path, REGISTRY, Sources(env={})), document, text


def hold(number: int, folder: Path) -> Played | None:
    """Play case `number`; None where its file contradicts itself."""
    with written(number, folder) as (case, document, text):
        if case.program is None:
            return None
        dice = Dice(f"plan/{number}")
        plan = plan_of(case.program, library=no_facts)
        callers = plan_callers(dice, document)
        return Played(virtual.run(_play(case, plan, dice, callers), max_steps=MOST_STEPS), text)


async def _play(case: Compiled, plan: Plan, dice: Dice, callers: list[dict[str, Any]]) -> list[Ran]:
    moods: dict[str, HonestMood] = {}

    def provide(target: TargetPlan, context: BuildContext) -> Scripted:
        own = Dice(f"{dice.key}/{target.path}")
        kind = manner(dice)
        spite = None if kind == "random" else Spite(own, context.chain.rate_limit, narrow=kind == "focused")
        mood = moods.setdefault(target.path, HonestMood(target, own, spite))
        return Scripted(mood, context.clock)

    watch = Telling()
    async with running(case, REGISTRY, seed=1, provide=provide, sinks=[watch.sink]) as pipeline:
        await asyncio.gather(*(_one(pipeline, who) for who in callers))
        held = [_held(watch.transcripts[key], plan, watch.slow[key]) for key in watch.deadlines]
        for mood in moods.values():
            mood.calm = True
    return held


async def _one(pipeline: Pipeline, who: dict[str, Any]) -> None:
    _IS_SLOW.set(who["asks"] in SLOW)
    await caller(pipeline, who)


class Telling(Watch):
    """Also knows whose reader is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: dict[int, bool] = {}

    def sink(self, run: Run, event: Event) -> None:
        super().sink(run, event)
        if id(run.transcript) in self.deadlines:
            self.slow.setdefault(id(run.transcript), _IS_SLOW.get())


def _held(transcript: Transcript, plan: Plan, slow: bool) -> Ran:
    worst = plan.worst
    elapsed = next((event.elapsed for _, _, event in transcript.events if isinstance(event, RunEnded)), None)
    cost = sum(row.cost or 0.0 for row in transcript.attempts)
    used = [row.usage for row in transcript.attempts if row.usage is not None]
    tokens = sum(usage.input_tokens + usage.output_tokens for usage in used)
    return Ran(
        attempts=Held(len(transcript.attempts), worst.attempts.value),
        latency=None if slow or elapsed is None else Held(elapsed, worst.latency.value),
        cost=Held(cost, worst.cost.value),
        tokens=Held(tokens, worst.tokens.value),
        in_flight=Held(_at_once(transcript), worst.in_flight.value),
    )


def _at_once(transcript: Transcript) -> int:
    """The most attempts that were under way at the same time; one that begins as another ends comes after it, whatever
    rounding makes of the sum that is its end."""
    changes = []
    for row in transcript.attempts:
        if row.elapsed:
            changes += [(round(row.started, 6), 1), (round(row.started + row.elapsed, 6), -1)]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
