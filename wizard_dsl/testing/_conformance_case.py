"""The rules by name, and a case: one rule in one situation, as something that can be called."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import msgspec

#: What every component keeps to.
DECLARED: Final = MappingProxyType(
    {
        "declaration": "keys and outcomes are described, the scalar is a field, every example loads as a file",
        "round-trip": "a config that is written out and read again is equal to what it was",
    }
)
#: What policies and strategies keep to, in the smallest chain and in a full ladder.
RUNNING: Final = MappingProxyType(
    {
        "bound": "no run makes more attempts or takes longer than `bound` says, nor is that fewer than below",
        "declared": "each event it emits and each error it raises is among its `emits` and `raises`",
        "unary-is-stream": "an answer that is streamed, and one that is not, is the same after the same attempts",
        "on-end": "each response has ended exactly once, the inner before the outer, however the outer one ended",
        "gives-back": "when a call is over, the chain serves the next ones as if it had never been",
        "cancelled": "a call that is cancelled, at whatever step, ends as cancelled and leaves no task, timer or place",
        "observers": "a raising on_delta, on_end or event sink changes nothing",
    }
)
STRATEGY: Final = MappingProxyType(
    {
        "excluded": "no target is entered that `run.failures` excludes",
        "only": "`run.only` asks that target and no other",
        "served": "`served` names the target whose answer it is, and the failures before it",
        "errors": "every target's error leaves, in the order in which they were tried, and the last decides the kind",
        "moving": "after an error that does not move on no further target is entered",
    }
)
PROVIDER: Final = MappingProxyType(
    {
        "endpoint": "each example leads to an endpoint, which holds no secret",
        "exchange": "an answer reads the same whole and streamed, and however its bytes are split",
        "cut": "an answer that was cut is an error, or all of it had arrived",
        "kinds": "a status, a refused connection and a lost one are errors of the kind they stand for",
        "secret": "no secret stands in the config's repr, in an error or in what an error shows as JSON",
        "abort": "giving an answer up wakes who reads it and frees the connection, as does cancelling",
    }
)
STORE: Final = MappingProxyType(
    {
        "kept": "what was put is there at once, also when it is empty, and what is put later replaces it",
        "at-hand": "what was put is at hand without waiting, what was deleted is not",
        "deleted": "deleting removes, and counts those that were there",
        "full": "a full store drops by its rule: lru, fifo or lfu",
        "looking": "looking at all entries is no use of them, and keys and items have one order",
        "counted": "counters add up, and what a full store drops is one of them",
        "apart": "each name has a store of its own, and nothing is written before it is used",
    }
)
LINT: Final = MappingProxyType(
    {
        "page": "the name has a dot, the title is one line, the explanation a sentence",
        "finds": "its wrong example, a file without errors, has a finding, at a place, in one line",
        "silent": "its right example has none",
        "alone": "files of every shape are looked at without an exception, and twice with the same findings",
    }
)
#: The rules by who keeps to them.
RULES_BY_KIND: Final = MappingProxyType(
    {
        "Every component": DECLARED,
        "Policies and strategies": RUNNING,
        "Strategies": STRATEGY,
        "Providers": PROVIDER,
        "Stores": STORE,
        "Rules of lint": LINT,
    }
)
#: Every rule, and what it says.
RULES: Final = MappingProxyType({name: text for rules in RULES_BY_KIND.values() for name, text in rules.items()})


class Case(msgspec.Struct, frozen=True):
    """One rule in one situation. Calling it raises AssertionError, which names the rule and says what was seen."""

    component: str
    rule: str
    situation: str
    test: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.component}-{self.rule}[{self.situation}]" if self.situation else f"{self.component}-{self.rule}"

    def __call__(self) -> None:
        try:
            self.test()
        except Exception as error:
            seen = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            where = f" ({self.situation})" if self.situation else ""
            broken = f"{self.component} breaks the rule {self.rule}{where}: {RULES[self.rule]}"
            raise AssertionError(f"{broken}\nseen: {seen}") from error


def expect(holds: bool, seen: str) -> None:
    """Raise AssertionError with what was seen, unless it holds."""
    if not holds:
        raise AssertionError(seen)


def same(what: str, got: object, wanted: object) -> None:
    """Raise AssertionError unless both are equal."""
    expect(got == wanted, f"{what}: {got!r}, and not {wanted!r}")
