"""The pipelines that edits are made of: together they have every policy, strategy, step and provider type, with what
each field needs beside it to mean something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from wizard_dsl.registry import Registry

Data = dict[str, Any]

_INPUTS: Final[Data] = {
    "ticket": {"type": "string", "maxLength": 800},
    "language": {"type": "string", "enum": ["en", "de"], "default": "en", "trusted": True},
    "items": {"type": "array", "items": {"type": "string"}, "maxItems": 5, "default": []},
}
_PROMPTS: Final[Data] = {
    "first": {"system": "Sort the ticket, in {{ language }}.", "user": "{{ ticket }}", "params": {"temperature": 0.5}},
    "second": {"messages": [{"role": "user", "content": "Answer: {{ ticket }}"}], "params": {"max_tokens": 50}},
}
#: Everything on, and beside each field what makes it matter.
_ALL: Final[Data] = {
    "deadline": {"after": "45s"},
    "cache": {"ttl": "1h", "negative": "5s", "stale_if_error": "10m", "stale_while_revalidate": "1m"},
    "admission": {"global": {"rate": "20/s"}, "session": {"rate": "2/s"}},
    "retry": {"max_attempts": 3, "base": "1s"},
    "retry_budget": {"ratio": "20%"},
    "rate_limit": {"rate": "10/s", "burst": 20, "max_wait": "3s"},
    "concurrency": {"limit": 8, "max_wait": "3s"},
    "circuit_breaker": {"failure_ratio": "50%", "slow_after": "3s", "probe": True},
    "timeout": {"connect": "4s", "first_chunk": "20s", "idle": "20s", "total": "40s"},
}
_BUDGETS: Final = {"run": 1, "session": 2, "day": 20, "month": 300}
_WINDOWS: Final[Data] = {
    "retry": {"max_attempts": 2},
    "rate_limit": {"windows": ["60/minute", "100000 tokens/minute"]},
    "concurrency": {"adaptive": {"min": 2, "max": 20}},
    "circuit_breaker": {"failure_threshold": 4},
}


class Base(NamedTuple):
    """A pipeline, and the parts of it that are edited: what lies below one of these paths, without these keys on the
    way, which other pipelines have."""

    data: Data
    below: tuple[tuple[str, ...], ...]
    without: frozenset[str] = frozenset()

    def has(self, path: Sequence[str | int]) -> bool:
        """Whether what stands at a path is edited."""
        inside = any(tuple(path[: len(place)]) == place for place in self.below)
        return inside and self.without.isdisjoint(map(str, path))


def bases(registry: Registry) -> dict[str, Base]:
    """Each pipeline by a name; further strategies and providers make further ones."""
    found = {
        "policies": Base(_policies(), (("policies",), ("chains",), ("providers",)), frozenset({"spare"})),
        "steps": Base(_steps(), ((),), frozenset({"policies", "chains", "providers"})),
    }
    for strategy in registry.all_strategies():
        below = (("chains", "writer", "strategy"), ("chains", "writer", "targets"))
        found[f"strategy {strategy.name}"] = Base(_strategy(strategy.name), below, frozenset({"policies"}))
    for provider in registry.all_providers():
        found[f"provider {provider.name}"] = Base(
            _provider(provider.name), (("providers", "one"),), frozenset({"policies"})
        )
    return found


def _whole(**sections: Any) -> Data:
    providers = {"spare": {"type": "mock", "model": "extra"}, **sections.pop("providers")}
    steps = {"first": {"prompt": "first", "chain": "writer"}}
    whole = {"version": 1, "name": "rich", "inputs": _INPUTS, "prompts": _PROMPTS, "steps": steps, "deadline": "2m"}
    return {**whole, "providers": providers, **sections}


def _mocks(*names: str) -> Data:
    return {name: {"type": "mock", "model": f"model-{name}"} for name in names}


def _policies() -> Data:
    chain = {
        "strategy": {"type": "sequential"},
        "on_rate_limit": {"wait_up_to": "3s"},
        "fallback_on": {"auth": True},
        "policies": {"deadline": {"after": "40s"}, "timeout": {"idle": "15s"}},
        "targets": [
            {"provider": "one"},
            {"provider": "two", "policies": {"retry": {"base": "2s"}}},
            {"provider": "three"},
        ],
    }
    other = {**chain, "policies": {"use": "windows"}, "targets": [{"provider": "four"}, {"provider": "five"}]}
    other["on_mid_stream_error"] = "restart"
    plain = {"strategy": {"type": "sequential"}, "targets": [{"provider": "six"}]}
    providers = _mocks("one", "two", "three", "four", "five", "six")
    providers["one"]["policies"] = {"rate_limit": {"rate": "50/s"}, "circuit_breaker": {}, "concurrency": {"limit": 50}}
    steps = {
        "first": {"prompt": "first", "chain": "writer"},
        "then": {"prompt": "second", "chain": "cheap", "output": {"schema": {"type": "object"}}},
    }
    return _whole(
        providers=providers,
        policies={"default": _ALL, "windows": _WINDOWS},
        chains={"writer": chain, "cheap": other, "plain": plain},
        steps=steps,
        budgets={scope: {"limit": f"${amount}"} for scope, amount in _BUDGETS.items()},
        stream={"buffer": 32, "when_full": "error"},
        safety={"block_when": "text == 'no'"},
        output={"text": "{{ steps.first.text }}", "more": "{{ steps.then.text }}"},
    )


def _steps() -> Data:
    plain = {"strategy": {"type": "sequential"}}
    output = {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}, "repairs": 2}
    steps = {
        "first": {"prompt": "first", "chain": "writer", "output": output, "params": {"seed": 1}, "when": "ticket"},
        "each": {"prompt": {"user": "{{ item }}"}, "chain": "cheap", "for_each": "items", "concurrency": 3},
        "vector": {"type": "embed", "texts": ["{{ ticket }}"], "chain": "vectors"},
        "text": {"type": "render", "template": "{{ ticket }} {{ steps.first.text }}"},
        "inner": {"type": "pipeline", "file": "inner.yaml", "inputs": {"q": "{{ ticket }}"}},
        "last": {"prompt": "second", "chain": "writer", "safety": {"block_when": "'x' in text"}},
    }
    chains = {
        "writer": {**plain, "targets": [{"provider": "one"}, {"provider": "two"}]},
        "cheap": {**plain, "targets": [{"provider": "three"}]},
        "vectors": {**plain, "targets": [{"provider": "four"}]},
    }
    return _whole(
        providers=_mocks("one", "two", "three", "four"),
        chains=chains,
        steps=steps,
        budgets={scope: {"limit": f"${amount}"} for scope, amount in _BUDGETS.items()},
        stream={"buffer": 32, "when_full": "error"},
        safety={"block_when": "text == 'no'"},
        output={"text": "{{ steps.last.text }}", "more": "{{ steps.first.text }}"},
    )


def _strategy(name: str) -> Data:
    targets = [
        {"provider": "one", "weight": 3, "params": {"max_tokens": 90}},
        {"provider": "two", "weight": 2},
        {"provider": "three", "weight": 1, "priority": 1},
    ]
    chain: Data = {"strategy": {"type": name}, "policies": {"cache": {"ttl": "1h"}}, "targets": targets}
    providers = _mocks("one", "two", "three")
    for provider in providers.values():
        provider["models"] = {provider["model"]: {"context": 9000, "prices": {"input": "$1", "output": "$2"}}}
    return _whole(providers=providers, chains={"writer": chain})


def _provider(name: str) -> Data:
    provider: Data = {"type": name, "model": "smollm2-135m" if name == "embedded" else "some-model"}
    if name == "openai_compatible":
        provider["base_url"] = "https://example.com/v1"
    if name == "mock":
        provider["latency"] = {"median": "1s", "p99": "4s"}
    chain = {"strategy": {"type": "sequential"}, "targets": [{"provider": "one"}, {"provider": "two"}]}
    facts = {"context": 9000, "max_output": 900, "prices": {"input": "$1", "output": "$2"}}
    provider["models"] = {provider["model"]: facts}
    return _whole(providers={"one": provider, **_mocks("two")}, chains={"writer": chain})


def beside() -> dict[str, str]:
    """The files that stand beside each pipeline: two others, and the first prompt as a file."""
    found = {
        name: json.dumps(
            {
                "version": 1,
                "inputs": {"q": {"type": "string"}},
                "steps": {"say": {"type": "render", "template": f"{text} {{{{ q }}}}"}},
            }
        )
        for name, text in (("inner.yaml", "Inner"), ("other.yaml", "Other"))
    }
    first = _PROMPTS["first"]
    front = f"---\nparams: {json.dumps(first['params'])}\n---\n"
    found["first.md"] = f"{front}# system\n\n{first['system']}\n\n# user\n\n{first['user']}\n"
    return found
