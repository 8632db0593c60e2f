"""Small files and targets that know what hurts most: so runs come near their plan.

Each target has a habit or two: it fails, refuses, breaks off or talks nonsense just before its time is over, and asks
for just as much patience as the file has.
"""

from __future__ import annotations

from typing import Any

from random_cases import SCHEMA, Dice

from wizard_dsl.core.messages import Request
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import RateLimitRule
from wizard_dsl.testing.scripted import Item

#: Seconds that an attempt takes where nothing limits it.
_LONG = 30.0
_HABITS = (
    "fail", "fail and ask", "refuse", "refuse for long", "refuse for longer", "refuse at once", "break", "break soon",
    "nonsense", "answer", "answer at once", "hang", "hang up",
)  # fmt: skip
_NARROW = (
    "fail", "fail", "fail and ask", "refuse", "refuse for long", "break", "break every other time",
    "break every other time", "nonsense", "nonsense", "answer", "answer",
)  # fmt: skip


class Spite:
    """What one target does: never more than a few things; only one of a few where it is `narrow`."""

    def __init__(self, dice: Dice, rule: RateLimitRule, *, narrow: bool) -> None:
        self._dice = dice
        self._rule = rule
        few = [dice.one(_HABITS) for _ in range(dice.one([1, 1, 2, 3]))]
        self._habits = [dice.one(_NARROW)] if narrow else few
        self._broke = False

    def item(self, request: Request, run: Run, longest: int) -> Item:
        """The next exchange; an answer has at most `longest` bytes."""
        late = max(0.0, (_LONG if run.total is None else run.total) - 0.001)
        habit = self._habit()
        if habit.startswith("break") and run.commit == "content":
            return self._broken(run, late if habit == "break" else min(late, 1.0), longest)
        delay = f"{0 if habit.endswith('at once') else round(late * 1000)}ms"
        match habit.partition(" ")[0]:
            case "refuse":
                wait = {
                    "refuse": self._rule.wait_up_to,
                    "refuse for longer": self._rule.max_retry_after + 1,
                }.get(habit, self._rule.max_retry_after)
                return Item(status=429, delay=delay, retry_after=f"{round(wait * 1000)}ms" if wait else None)
            case "nonsense":
                return Item(reply="x" * longest, delay=delay)
            case "answer":
                return Item(reply={"n": "n" * max(0, longest - 20)} if request.schema else "w" * longest, delay=delay)
            case "hang":
                return Item(refuse=True) if habit == "hang up" else Item(reply="never", delay="1h")
        asks = f"{round(self._rule.wait_up_to * 1000)}ms" if habit == "fail and ask" and self._rule.wait_up_to else None
        return Item(status=503, delay=delay, retry_after=asks)

    def _habit(self) -> str:
        habit = self._dice.one(self._habits)
        if habit != "break every other time":
            return habit
        self._broke = not self._broke
        return "break" if self._broke else "answer"

    def _broken(self, run: Run, late: float, longest: int) -> Item:
        """A stream that breaks as late as can be, with almost all of the answer."""
        first = min(late / 2, (run.first_chunk or late) - 0.001)
        pause = min((run.idle or late) - 0.001, max(0.0, late - first) / 2)
        text = f"{'a' * (longest // 2 - 1)} {'b' * (longest // 4)} c d"
        return Item(
            reply=text, first_chunk=f"{round(first * 1000)}ms", chunk_every=f"{round(pause * 1000)}ms", cut_after=2
        )


def spiteful_document(dice: Dice) -> dict[str, Any]:
    """A file in which little saves calls, and no deadline hides the sums."""
    names = dice.some(["a", "b", "c"], least=1)[: dice.one([1, 1, 2, 3])]
    return {
        "version": 1,
        "inputs": {
            "q": {"type": "string", "maxLength": 40, "default": "hello"},
            "parts": {"type": "array", "maxItems": 4, "items": {"type": "string", "maxLength": 9}, "default": ["x"]},
            "kind": {"enum": ["a", "bcd", 17], "default": "a", "trusted": True},
        },
        "providers": {name: _provider(dice, name) for name in names},
        "policies": {"default": _policies(dice)},
        "chains": {"default": _chain(dice, names)},
        "steps": _steps(dice),
        "deadline": "100h",
    }


def _provider(dice: Dice, name: str) -> dict[str, Any]:
    facts = {"max_output": dice.one([5, 50]), "prices": {"input": "$1", "output": "$100"}}
    return {"type": "mock", "model": f"m{name}", "models": {f"m{name}": facts}}


def _policies(dice: Dice) -> dict[str, Any]:
    waits = [{"max_wait": "3s", **rate} for rate in ({"rate": "1/s", "burst": 1}, {"windows": ["3/minute"]})]
    return {
        "timeout": dice.one([{"total": "4s"}, {"total": "8s", "first_chunk": "3s", "idle": "2s"}, {"total": "off"}]),
        "retry": {
            "max_attempts": dice.one([1, 2, 3, 4]),
            **dice.keys(
                0.4,
                base=["500ms", "3s"],
                max_delay=["2s", "9s"],
                jitter=["none", "full", "decorrelated", 1.0],
                retry_on=[{"429": True}, {"rate_limited": True}, {"mid_stream": False}],
                backoff=[{"server": "immediate"}, {"rate_limited": "exponential"}],
            ),
        },
        "retry_budget": "off",
        "circuit_breaker": dice.one(["off", "off", {"failure_threshold": 20, "reset_timeout": "2s"}]),
        **dice.keys(
            0.15,
            rate_limit=waits,
            concurrency=[{"limit": 1, "max_wait": "6s"}],
            deadline=["40s", "20m"],
            admission=[{"pipeline": {"rate": "1/s", "burst": 1, "max_wait": "4s"}}],
        ),
        **dice.keys(0.25, cache=[{"ttl": "1s"}, {"ttl": "1s", "single_flight": False}]),
    }


def _chain(dice: Dice, names: list[str]) -> dict[str, Any]:
    races: list[Any] = [{"type": "parallel", "n": 2}, {"type": "hedged", "after": "2s"}]
    return {
        "targets": list(names),
        "strategy": dice.one(["sequential", "sequential", *races]),
        "on_rate_limit": {
            "wait_up_to": dice.one(["0s", "2s", "6s"]),
            "max_retry_after": dice.one(["0s", "3s", "10s", "90s"]),
            **dice.keys(0.2, then=["fail"]),
        },
        **dice.keys(0.4, on_mid_stream_error=["restart", "continue", "continue", "buffer"]),
    }


def _steps(dice: Dice) -> dict[str, Any]:
    first: dict[str, Any] = {"prompt": {"user": dice.one(["{{ q }}", "{{ q }}{{ kind }}", "{{ parts }}"])}}
    if dice.chance(0.4):
        first["output"] = {"schema": SCHEMA, "repairs": dice.upto(3)}
    if dice.chance(0.25):
        first |= {"for_each": "parts", "concurrency": dice.one([1, 2, 9])}
        first["prompt"] = {"user": "{{ item }}"}
    if dice.chance(0.6):
        return {"s": first}
    text = dice.one(["{{ steps.s.text }}", "{{ steps.s.text | tojson }}", "{{ q }}"])
    second: dict[str, Any] = {"prompt": {"user": text}}
    return {"s": {**first, **dice.keys(0.5, on_error=["skip"])}, "t": second}


def spiteful_caller(dice: Dice) -> dict[str, Any]:
    """A caller who waits for the end, with inputs as large as they may be."""
    return {
        "asks": dice.one(["run", "callback", "stream"]),
        "options": {
            "q": dice.one(["<s>" * 13, "ü" * 40, "𝒳" * 40, "hello"]),
            "parts": [dice.one(["<s><s><s>", "ß" * 9]) for _ in range(4)],
            "kind": "bcd",
        },
        "at": dice.one([0.0, 0.0, 0.5, 1.0]),
        "reads": 99,
        "pause": 0.3,
        "steps": 0,
        **({"cancelled": dice.between(0, 60)} if dice.chance(0.1) else {}),
    }
