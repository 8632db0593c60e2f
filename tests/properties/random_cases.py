"""Random pipeline files, and targets that do anything: all of it from one number.

    dice = Dice("7")
    document = random_document(dice)             # a file as plain data, in which everything may be set
    script = Mood("a", dice)                     # answers and faults without end

The same number gives the same file, the same faults and the same callers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from wizard_dsl.core.messages import Request
from wizard_dsl.core.rng import uniform
from wizard_dsl.core.run import Run
from wizard_dsl.testing.scripted import Item, Script, read_item

T = TypeVar("T")

SCHEMA = {"type": "object", "required": ["n"]}
ANSWERS: list[Any] = [
    "yes",
    "one two three",
    {"reply": {"n": 1}},
    {"reply": {"n": 1}, "delay": "1s"},
    {"reply": "a b c d e f g h", "chunk_every": "700ms"},
    {"reply": "slow to begin", "first_chunk": "3s"},
    {"reply": "x", "usage": {"input_tokens": 900, "output_tokens": 40}},
]
FAULTS: list[Any] = [
    503, 500, 401, 400, 404, 429, 408,
    {"refuse": True},
    {"refuse": True, "delay": "2s"},
    {"status": 413, "body": '{"error": {"code": "context_length_exceeded", "message": "x"}}'},
    {"status": 503, "delay": "2s"},
    {"status": 429, "retry_after": "1s"},
    {"status": 429, "retry_after": "10s"},
    {"status": 429, "retry_after": "400s"},
    {"status": 503, "retry_after": "1500ms"},
    {"status": 503, "retry_after": "20s"},
    {"status": 503, "headers": {"x-should-retry": "false"}},
    {"status": 402, "body": '{"error": {"code": "insufficient_quota", "message": "x"}}'},
    {"status": 200, "body": '{"error": {"type": "overloaded_error", "message": "x"}}'},
    {"reply": "late", "delay": "9s"},
    {"reply": "never", "delay": "1h"},
    {"reply": "a b", "stall_after": 0},
    {"reply": "a b", "stall_after": 1},
    {"reply": "a b c", "cut_after": 0},
    {"reply": "a b c", "cut_after": 1},
    {"reply": "a b c", "cut_after": 2, "chunk_every": "1s"},
    {"reply": ""},
    {"reply": "cut", "finish_reason": "length"},
    "no json",
]  # fmt: skip
_ANSWERS = [read_item(each) for each in ANSWERS]
_FAULTS = [read_item(each) for each in FAULTS]


class Dice:
    """Draws without end from a key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._drawn = 0

    def chance(self, share: float) -> bool:
        return self.between(0.0, 1.0) < share

    def between(self, low: float, high: float) -> float:
        self._drawn += 1
        return low + (high - low) * uniform(f"{self.key}/{self._drawn}")

    def upto(self, most: int, least: int = 0) -> int:
        return int(self.between(least, most + 1))

    def one(self, values: Sequence[T]) -> T:
        return values[self.upto(len(values) - 1)]

    def some(self, values: Sequence[T], least: int = 0) -> list[T]:
        """Some of the values, in any order."""
        left, taken = list(values), []
        for _ in range(self.upto(len(values), least)):
            taken.append(left.pop(self.upto(len(left) - 1)))
        return taken

    def keys(self, share: float, **values: Sequence[Any]) -> dict[str, Any]:
        """Each key with this chance, with one of its values."""
        return {key: self.one(each) for key, each in values.items() if self.chance(share)}


class Mood(Script):
    """A target that answers or fails as it likes, for ever: how often is drawn once. Calm, it answers at once."""

    def __init__(self, name: str, dice: Dice) -> None:
        super().__init__(name, [])
        self._dice = dice
        self._faults = dice.one([0.0, 0.15, 0.5, 0.9, 1.0])
        self._favourite = dice.one(_FAULTS) if dice.chance(0.4) else None
        self.calm = False

    def take(self, request: Request, run: Run) -> Item:
        if self.calm:
            return _ANSWERS[0]
        if not self._dice.chance(self._faults):
            return self._dice.one(_ANSWERS)
        return self._favourite or self._dice.one(_FAULTS)


# -- a whole file -----------------------------------------------------------------------------------------

#: The file that a step of type pipeline runs; it stands beside the other one.
INNER = "inner.yaml"
_PRICED = {"max_output": 50, "prices": {"input": "$1", "output": "$100"}}
_RATES = [
    {"rate": "1/s", "burst": 1},
    {"rate": "5/s", "burst": 3},
    {"rate": "1/minute", "burst": 2},
    {"windows": ["5/minute"]},
    {"windows": ["20/minute", "2000 tokens/minute"], "token_estimate": 100},
    {"windows": ["300 tokens/minute"], "token_estimate": 200},
]
_LIMITS = [{"limit": 1}, {"limit": 2}, {"adaptive": {"min": 1, "max": 4}}]


def random_document(dice: Dice) -> dict[str, Any]:
    """A file as plain data. Not every one is free of contradictions."""
    names = dice.some(["a", "b", "c"], least=1)
    chains = ["default", "other"] if dice.chance(0.4) else ["default"]
    document: dict[str, Any] = {
        "version": 1,
        "inputs": {
            "q": {"type": "string", "default": "hello"},
            "parts": {"type": "array", "items": {"type": "string"}, "default": ["x", "y", "z"]},
        },
        "providers": {name: _provider(dice, name) for name in names},
        "policies": {"default": _policies(dice)},
        "chains": {name: _chain(dice, names) for name in chains},
        "steps": _steps(dice, chains),
        "deadline": dice.one(["3s", "20s", "60s", "10m"]),
    }
    if dice.chance(0.3):
        document["stream"] = {
            "buffer": dice.one([1, 2, 256]),
            "when_full": dice.one(["block", "drop_oldest", "error"]),
        }
    if dice.chance(0.25):
        document["budgets"] = {
            period: {"limit": dice.one(["$0.004", "$0.02", "$10"]), "then": dice.one(["stop", "degrade"])}
            for period in dice.some(["run", "session", "day", "month"], least=1)
        }
    if dice.chance(0.1):
        document["safety"] = {"block_when": "'three' in text"}
    return document


def inner_document(dice: Dice, outer: Mapping[str, Any]) -> dict[str, Any]:
    """The file that is run by steps of `outer`, over the same targets; it runs no further one."""
    return {**outer, "steps": _steps(Dice(f"{dice.key}/inner"), list(outer["chains"]), runs_files=False)}


def _provider(dice: Dice, name: str) -> dict[str, Any]:
    facts = dict(_PRICED)
    facts |= dice.keys(0.15, context=[30, 8000], json_schema=[False], streaming=[False], system=[False])
    provider: dict[str, Any] = {"type": "mock", "model": f"m{name}", "models": {f"m{name}": facts}}
    if dice.chance(0.2):
        provider["policies"] = dice.keys(0.5, rate_limit=_RATES, concurrency=_LIMITS, circuit_breaker=[_breaker(dice)])
    return provider


def _breaker(dice: Dice) -> dict[str, Any]:
    return {
        "failure_threshold": dice.one([1, 3, 5]),
        "reset_timeout": dice.one(["1s", "5s"]),
        **dice.keys(
            0.25,
            probe=[True],
            slow_after=["1s"],
            half_open_max_calls=[2],
            success_threshold=[2],
            failure_ratio=["50%"],
            minimum_calls=[2],
        ),
    }


def _policies(dice: Dice) -> dict[str, Any]:
    made: dict[str, Any] = {
        "timeout": dice.one([{}, {"connect": "1s", "first_chunk": "4s", "idle": "3s", "total": "8s"}]),
        "retry": {"max_attempts": dice.upto(4, 1), **dice.keys(0.3, jitter=["none", "full", "decorrelated"])},
        "retry_budget": dice.one([{}, {"floor": "0.2/s", "ratio": "0%"}]),
        "circuit_breaker": _breaker(dice),
        **dice.keys(0.3, rate_limit=_RATES, concurrency=_LIMITS, deadline=["2s", "15s"]),
    }
    if "rate_limit" in made:
        made["rate_limit"] = {**made["rate_limit"], **dice.keys(0.2, max_wait=["0s", "3s"], follow_headers=[True])}
    if dice.chance(0.4):
        made["cache"] = {
            "ttl": dice.one(["1s", "1h"]),
            **dice.keys(
                0.3,
                stale_if_error=["10s", "1h"],
                stale_while_revalidate=["10s", "1h"],
                negative=["5s"],
                single_flight=[False],
                max_entries=[1],
                scope=["session", "principal"],
                eviction=["lfu", "fifo"],
                store=["disk"],
            ),
        }
    if dice.chance(0.2):
        made["admission"] = {each: dice.one(_RATES) for each in dice.some(["global", "pipeline", "session"], least=1)}
    return {kind: "off" if dice.chance(0.05) and kind != "deadline" else keys for kind, keys in made.items()}


_STRATEGIES: list[Any] = [
    "sequential", "cheapest", "fastest", "adaptive", "weighted",
    {"type": "weighted", "sticky": "q"},
    {"type": "hedged", "after": "500ms"},
    {"type": "hedged", "after": "p95"},
    {"type": "hedged", "after": "2s"},
    {"type": "parallel", "n": 2},
    {"type": "parallel", "n": 3},
]  # fmt: skip


def _chain(dice: Dice, names: list[str]) -> dict[str, Any]:
    strategy = dice.one(_STRATEGIES)
    targets: list[Any] = dice.some(names, least=1)
    if isinstance(strategy, dict) and strategy["type"] == "hedged" and dice.chance(0.4):
        targets.append(targets[0])
    if dice.chance(0.2):
        targets[0] = {
            "provider": targets[0],
            "params": {"max_tokens": 20},
            **dice.keys(0.5, weight=[0, 3], priority=[1]),
        }
    return {
        "targets": targets,
        "strategy": strategy,
        **dice.keys(
            0.25,
            on_mid_stream_error=["restart", "continue", "buffer"],
            on_rate_limit=[{"wait_up_to": "0s"}, {"wait_up_to": "30s"}, {"then": "fail"}],
            fallback_on=[{"auth": True, "invalid_request": True}, {"server": False}, {"local_limit": True}],
            when_all_open=["probe_first"],
            allow_loss=[["streaming", "system", "json_schema"]],
        ),
    }


def _steps(dice: Dice, chains: list[str], *, runs_files: bool = True) -> dict[str, Any]:
    steps: dict[str, Any] = {}
    for name in ["s", "t", "u", "v"][: dice.one([1, 1, 2, 3, 4])]:
        steps[name] = _step(dice, chains, list(steps), runs_files)
    return steps


def _step(dice: Dice, chains: list[str], before: list[str], runs_files: bool) -> dict[str, Any]:
    if dice.chance(0.1):
        return {"type": "render", "template": "{{ q }}"}
    if runs_files and dice.chance(0.1):
        step = {"type": "pipeline", "file": INNER, "inputs": {"q": "{{ q }}"}}
        return step | dice.keys(0.3, for_each=["parts"], on_error=["skip"])
    step: dict[str, Any] = {"chain": dice.one(chains)}
    text = "{{ q }}"
    if dice.chance(0.25):
        step |= {"for_each": "parts", **dice.keys(0.5, concurrency=[1, 2])}
        text = "{{ q }} {{ item }}"
    if before and dice.chance(0.4):
        text += f" {{{{ steps.{dice.one(before)}.text }}}}"
    elif before and dice.chance(0.3):
        step["needs"] = {dice.one(before): dice.one(["done", "ran"])}
    step["prompt"] = {"user": text, **({"system": "Be kind."} if dice.chance(0.2) else {})}
    if dice.chance(0.2):
        step["output"] = {"schema": SCHEMA, "repairs": dice.upto(2)}
    return step | dice.keys(0.2, on_error=["skip", {"default": "none"}], when=["q != 'hello'"])


# -- who calls --------------------------------------------------------------------------------------------


def random_caller(dice: Dice) -> dict[str, Any]:
    """What one caller does: how it asks, how it reads, and when it is cancelled."""
    options: dict[str, Any] = {"q": dice.one(["hello", "hello", "there"]), **dice.keys(0.4, deadline=[0.5, 4.0, 30.0])}
    return {
        "asks": dice.one(["run", "callback", "slow callback", "stream", "slow stream", "start", "abandon", "cancel"]),
        "options": options | dice.keys(0.2, principal=["me", "you"], repeat=[1], session=["one", "two"]),
        "at": dice.one([0.0, 0.0, dice.between(0, 3), dice.between(0, 60)]),
        "reads": dice.upto(4),
        "pause": dice.one([0.3, 2.0, 40.0]),
        **({"cancelled": dice.one([0.0, dice.between(0, 2), dice.between(0, 30)])} if dice.chance(0.35) else {}),
        "steps": dice.upto(6),
    }


def shown(document: Mapping[str, Any]) -> str:
    """A file's text."""
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, width=110)
    return text
