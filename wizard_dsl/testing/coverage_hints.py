"""What a test would write to see an outcome that nobody has seen: the lines of YAML, for the target it is about.

A hint is a beginning: inputs and expectations are the test's own. Where a step has a schema, what it is answered fits.
Targets that are asked before the one it is about are out of quota; those after it answer, or, where they would race it,
are out of quota, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import yaml

from wizard_dsl.testing.coverage import Possible

_ANSWER: Final = "an answer"
_ALWAYS: Final = {"reply": _ANSWER, "times": "forever"}
_DOWN: Final = {"status": 503, "times": "forever"}
_BUSY: Final = {"reply": _ANSWER, "delay": "5s", "times": "forever"}
_OUT: Final = {"status": 429, "body": '{"error": {"code": "insufficient_quota"}}', "times": "forever"}
_KEY: Final = {"status": 401}
_CROWD: Final = {
    "script": [{"refuse": True, "times": "forever"}],
    "runs": [{"times": 100}],
    "without": ["circuit_breaker"],
}

#: By component and outcome: `script` is that of the target, `without` names policies that would hide it, the rest are
#: keys of a test.
_HINTS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = MappingProxyType(
    {
        "retry": {
            "first_try": {"script": [_ANSWER]},
            "after_retry": {"script": [503, _ANSWER]},
            "not_repeated": {"script": [_KEY]},
            "gave_up": {"script": [_DOWN]},
            "waited": {"script": [{"status": 429, "retry_after": "1s"}, _ANSWER]},
            "too_long": {"script": [{"status": 429, "retry_after": "4m"}, _ANSWER]},
            "deadline": {"script": [503], "deadline": "1s"},
            "breaker_opened": {"script": [_DOWN], "runs": [{"times": 20}]},
            "budget_exhausted": _CROWD,
        },
        "retry_budget": {
            "granted": {"script": [503, _ANSWER]},
            "exhausted": _CROWD,
        },
        "circuit_breaker": {
            "opened": {"script": [_DOWN], "runs": [{"times": 20}]},
            "refused": {"script": [_DOWN], "runs": [{"times": 20}, {}]},
            "opened_again": {"script": [_DOWN], "runs": [{"times": 20}, {"after": "31s"}]},
            "closed_again": {
                "script": [{"status": 503, "delay": "1s", "times": 20}, _ALWAYS],
                "runs": [{"times": 20}, {"after": "31s"}],
                "without": ["retry", "rate_limit", "concurrency"],
            },
            "probed": {"script": [_DOWN], "runs": [{"times": 20}, {"after": "31s"}]},
        },
        "timeout": {
            "connect": {"script": [{"connect": "10m"}, _ANSWER]},
            "first_chunk": {"script": [{"reply": _ANSWER, "first_chunk": "10m"}, _ANSWER], "stream": True},
            "idle": {"script": [{"reply": _ANSWER, "stall_after": 1}, _ANSWER], "stream": True},
            "total": {"script": [{"reply": _ANSWER, "delay": "10m"}, _ANSWER]},
        },
        "on_rate_limit": {
            "blocked": {"script": [{"status": 429, "retry_after": "1s"}, _ANSWER]},
            "no_quota": {"script": [_OUT]},
        },
        "on_mid_stream_error": {
            "broken": {"script": [{"reply": _ANSWER, "cut_after": 1}], "stream": True},
            "resumed": {"script": [{"reply": _ANSWER, "cut_after": 1}, _ALWAYS], "stream": True},
        },
        "strategy": {
            "primary": {"script": [_ANSWER]},
            "answered": {"script": [_ANSWER]},
            "failed": {"script": [_DOWN]},
            "stopped": {"script": [_KEY]},
            "closed": {"script": [_OUT], "runs": [{}, {}]},
            "waited": {"script": [{"status": 429, "retry_after": "4m"}, _ALWAYS]},
            "no_time": {"script": [{"status": 429, "retry_after": "4m"}], "deadline": "20s"},
        },
        "hedged": {"hedged": {"script": [{"reply": _ANSWER, "delay": "1m", "times": "forever"}]}},
        "cache": {
            "miss": {"script": [_ANSWER]},
            "hit": {"script": [_ANSWER], "runs": [{}, {}]},
            "shared": {"script": [_BUSY], "runs": [{"times": 2}]},
            "error_again": {"script": [404], "runs": [{}, {}]},
        },
        "deadline": {"kept": {"script": [_ANSWER]}, "cut": {"script": [{"reply": _ANSWER, "delay": "1h"}]}},
        "rate_limit": {
            "waited": {"script": [_ALWAYS], "runs": [{"times": 100}]},
            "near": {"script": [_ALWAYS], "runs": [{"times": 100}]},
        },
        "concurrency": {"waited": {"script": [_BUSY], "runs": [{"times": 100}]}},
        "contract": {
            "kept": {"script": [_ALWAYS]},
            "repaired": {"script": ["no JSON", _ALWAYS]},
            "broken": {"script": [{"reply": "no JSON", "times": "forever"}]},
        },
        "step": {"ran": {"script": [_ANSWER]}, "replaced": {"script": [_KEY]}},
    }
)


def hint(outcome: Possible) -> dict[str, Any] | None:
    """The keys of a test that would see it; None where what it takes depends on the file."""
    own = _HINTS.get(outcome.component, {}).get(outcome.name)
    if own is None and outcome.strategy:
        own = _HINTS["strategy"].get(outcome.name)
    if own is None:
        return None
    rest = {key: value for key, value in own.items() if key not in {"script", "without"}}
    without = [*own.get("without", ())]
    without += ["cache"] if outcome.cached and "runs" in own and outcome.component != "cache" else []
    chain = outcome.path.split(".")[1]
    off = {f"chains.{chain}.policies.{kind}": "off" for kind in without}
    script = [_fitting(item, outcome.answer) for item in own["script"]]
    script = [*(_fitting(_ANSWER, each) for each in outcome.earlier), *script]
    return {"targets": _targets(outcome, script), **rest, **({"set": off} if off else {})}


def _targets(outcome: Possible, script: list[Any]) -> dict[str, Any]:
    if not outcome.target:
        return {"*": script}
    made = {name: [_OUT] for name in outcome.before}
    made[outcome.target] = script
    return made | ({"*": [_OUT if outcome.races else _fitting(_ALWAYS, outcome.answer)]} if outcome.followed else {})


def _fitting(item: Any, answer: Any) -> Any:
    """An item of a script, with an answer that fits in the place of any other."""
    if answer is None:
        return item
    if isinstance(item, Mapping):
        return {**item, "reply": answer} if item.get("reply") == _ANSWER else item
    return item if item != _ANSWER else answer if isinstance(answer, str) else {"reply": answer}


def as_lines(keys: Mapping[str, Any]) -> list[str]:
    """Each key on a line of its own, its value in flow style."""
    return [f"{key}: {_flow(value)}" for key, value in keys.items()]


class _Plain(yaml.SafeDumper):
    """Writes the same value twice where it stands twice, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow(value: Any) -> str:
    options: dict[str, Any] = {"default_flow_style": True, "sort_keys": False, "allow_unicode": True}
    text: str = yaml.dump(value, Dumper=_Plain, width=1_000_000, **options)
    return text.removesuffix("...\n").strip()
