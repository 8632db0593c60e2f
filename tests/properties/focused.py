"""Files of one target, or two, around one thing that adds to a plan, and callers who drive it to its end.

Nothing else is there that could save or hide anything: what is one delay or one wait more than the plan says is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from random_cases import SCHEMA, Dice

Document = dict[str, Any]
#: Dollars that an attempt of a plain file may cost.
_ONE_COSTS: Final = 0.00074
#: What may be looked at; each changes a file that asks one target once.
_Focus = Callable[[Dice, Document], None]


def focused_document(dice: Dice) -> Document:
    """A small file around one thing, sometimes around two."""
    document = _plain(dice)
    for focus in dice.some(list(FOCUSES), least=1)[: dice.one([1, 1, 1, 2])]:
        focus(dice, document)
    return document


def focused_inner(document: Document) -> Document:
    """The file that a step of it runs."""
    inputs = {"q": {"type": "string", "maxLength": 80}}
    return {**document, "inputs": inputs, "steps": {"i": {"prompt": {"user": "{{ q }}"}}}}


def focused_caller(dice: Dice, document: Document, number: int) -> dict[str, Any]:
    """A caller with the longest inputs. In a crowd all ask for the same, and some go away just before they would have
    had an answer. Who spends a day's budget does so just before midnight, and the others come days later."""
    crowd = "cache" in document["policies"]["default"]
    at = _before_midnight(document) if number == 0 else 86_400.0 * 3 * number
    return {
        "asks": "callback" if "on_mid_stream_error" in document["chains"]["default"] else "run",
        "options": {"q": "𝒳" * 40 if crowd else dice.one(["<s>" * 13, "𝒳" * 40]), "parts": ["𝒳" * 9] * 4},
        "at": at if "day" in document.get("budgets", {}) else 0.0,
        "reads": 99,
        "pause": 0.3,
        "steps": 0,
        **({"cancelled": 3.99 * (number + 1)} if crowd and number < 2 and dice.chance(0.8) else {}),
    }


def _before_midnight(document: Document) -> float:
    """So long before that the attempts that fit the budget end just after it; each takes 3.999 s."""
    limit = document.get("budgets", {}).get("day", {"limit": "$0"})["limit"]
    return 86_400 - int(float(limit[1:]) / _ONE_COSTS) * 3.999 + 0.0005


def _plain(dice: Dice) -> Document:
    return {
        "version": 1,
        "inputs": {
            "q": {"type": "string", "maxLength": 40},
            "parts": {"type": "array", "maxItems": 4, "items": {"type": "string", "maxLength": 9}},
            "marks": {"enum": ["<s>" * 30], "default": "<s>" * 30},
        },
        "providers": {name: _provider(name, 5) for name in ("a", "b")},
        "policies": {
            "default": {
                "timeout": {"total": "4s"},
                "retry": {"max_attempts": dice.one([1, 1, 2, 3]), "base": "100ms", "jitter": "none"},
                "retry_budget": "off",
                "circuit_breaker": "off",
            }
        },
        "chains": {"default": {"targets": ["a"], "on_rate_limit": {"wait_up_to": "0s", "max_retry_after": "0s"}}},
        "steps": {"s": {"prompt": {"user": "{{ q }}"}}},
        "deadline": "100h",
    }


def _provider(name: str, most: int) -> Document:
    facts = {"max_output": most, "prices": {"input": "$1", "output": "$100"}}
    return {"type": "mock", "model": name, "models": {name: facts}}


def _crowded(kind: str, *keys: Any) -> _Focus:
    """A limit for which many wait."""

    def focus(dice: Dice, document: Document) -> None:
        document["policies"]["default"][kind] = dice.one(keys)
        document["policies"]["default"]["retry"] = {"max_attempts": dice.one([1, 1, 2]), "base": "1ms"}

    return focus


def _backs_off(dice: Dice, document: Document) -> None:
    document["policies"]["default"]["retry"] = {
        "max_attempts": dice.one([2, 3, 4]),
        "base": dice.one(["1s", "2s"]),
        "max_delay": dice.one(["3s", "30s"]),
        "jitter": dice.one(["none", "full", "equal", "decorrelated", 0.5, 1.0, 1.0]),
        **dice.keys(
            0.6,
            backoff=[
                {"server": "linear"},
                {"server": "exponential", "connect": "exponential"},
                {"connect": "none", "rate_limited": "none"},
            ],
        ),
    }


def _asks_to_wait(dice: Dice, document: Document) -> None:
    rule = {"wait_up_to": dice.one(["0s", "2s", "6s"]), "max_retry_after": dice.one(["2s", "20s"])}
    document["chains"]["default"] |= {"on_rate_limit": rule, "targets": dice.one([["a"], ["a", "b"]])}
    document["policies"]["default"]["retry"] |= dice.keys(0.5, retry_on=[{"429": True}])


def _repairs(dice: Dice, document: Document) -> None:
    document["providers"]["a"] = _provider("a", dice.one([5, 500]))
    schema = dice.one([SCHEMA, {"type": "object", "properties": {f"key{n}": {} for n in range(99)}, "required": ["n"]}])
    document["steps"]["s"]["output"] = {"schema": schema, "repairs": dice.upto(3)}
    targets = dice.one([["a"], ["a", "b"]])
    document["chains"]["default"] |= {"targets": targets, "strategy": dice.one(["sequential", "parallel"])}


def _continues(dice: Dice, document: Document) -> None:
    document["chains"]["default"]["on_mid_stream_error"] = "continue"
    document["policies"]["default"]["retry"]["max_attempts"] = dice.one([2, 3])
    document["chains"]["other"] = {"targets": ["b"], "policies": {"retry": 1}}
    reader = dice.one([{}, {"chain": "other", "for_each": "parts"}])
    document["steps"]["t"] = {"prompt": {"user": "{{ steps.s.text }}"}, **reader}
    document["output"] = "{{ steps.s.text }}"


def _spends(dice: Dice, document: Document) -> None:
    """Each attempt may cost 0.074 cents, so that some limits are nearly used up."""
    limit = {"limit": dice.one(["$0.0008", "$0.0008", "$0.0015", "$0.0023"])}
    document["budgets"] = {dice.one(["run", "day", "day", "month"]): limit}
    names = dice.one(["s", "stuvw", "stuvw"])
    document["steps"] = {name: {"prompt": {"user": "{{ q }}"}} for name in names}
    for before, name in pairwise(names) if dice.chance(0.8) else ():
        document["steps"][name]["needs"] = [before]
    document["policies"]["default"]["retry"]["max_attempts"] = 1


def _crowds(dice: Dice, document: Document) -> None:
    document["policies"]["default"]["cache"] = "1s"


def _loops(dice: Dice, document: Document) -> None:
    document["steps"]["s"] = {"for_each": "parts", "concurrency": dice.upto(4, 1), "prompt": {"user": "{{ item }}"}}
    document["steps"] |= dice.one([{}, {"t": {"prompt": {"user": "{{ steps.s.text }}"}}}])


def _defaults(dice: Dice, document: Document) -> None:
    document["steps"]["s"]["on_error"] = dice.one([{"default": "n" * 3000}, "skip"])
    text = dice.one(["{{ steps.s.text }}", "{{ steps.s.json | tojson }}"])
    document["chains"]["other"] = {"targets": ["b"]}
    document["steps"]["t"] = {"prompt": {"user": text}, "chain": dice.one(["default", "other", "other"])}


def _embeds(dice: Dice, document: Document) -> None:
    texts = dice.one(["{{ q }}", "{{ parts }}", ["{{ q }}", "{{ parts[0] }}", "b"]])
    document["steps"] = {"s": {"type": "embed", "texts": texts}}
    for given in (document["inputs"][name] for name in ("q", "parts")):
        given["trusted"] = True


def _asks_for_less(dice: Dice, document: Document) -> None:
    document["providers"]["a"] = _provider("a", 50)
    own = {"params": {"max_tokens": 30}} if dice.chance(0.5) else {}
    document["chains"]["default"]["targets"] = [{"provider": "a", **own}]
    document["steps"]["s"]["params"] = {"max_tokens": 9}


def _ends_early(dice: Dice, document: Document) -> None:
    document["policies"]["default"] |= {"deadline": "9s", "retry": {"max_attempts": 4}}
    document["steps"] |= {"t": {"prompt": {"user": "{{ q }}"}, "needs": ["s"]}}
    document["policies"]["default"] |= dice.keys(0.5, rate_limit=[{"rate": "1/s", "burst": 1}])


def _waits_till_the_deadline(dice: Dice, document: Document) -> None:
    document["policies"]["default"] |= {"deadline": "9s", "retry": {"max_attempts": 1}, "timeout": {"total": "1s"}}
    document["policies"]["default"]["rate_limit"] = {"rate": "1/s", "burst": 1}


def _marks(dice: Dice, document: Document) -> None:
    document["steps"] = {"s": {"prompt": {"user": "{{ marks }}"}}}


def _runs_another(dice: Dice, document: Document) -> None:
    document["steps"] = {"s": {"type": "pipeline", "file": "inner.yaml", "inputs": {"q": "{{ q }}{{ q }}"}}}
    document["steps"] |= dice.one([{}, {"t": {"prompt": {"user": "{{ steps.s.text }}{{ steps.s.served_by }}"}}}])


FOCUSES: Final[tuple[_Focus, ...]] = (
    _crowded("concurrency", {"limit": 1, "max_wait": "4s"}, {"limit": 1, "max_wait": "12s"}),
    _crowded("rate_limit", {"rate": "1/s", "burst": 1, "max_wait": "3s"}, {"windows": ["1/minute"], "max_wait": "1m"}),
    _crowded("admission", *({each: {"rate": "1/s", "burst": 1, "max_wait": "3s"}} for each in ("global", "pipeline"))),
    _backs_off,
    _asks_to_wait,
    _repairs,
    _continues,
    _spends,
    _crowds,
    _loops,
    _defaults,
    _embeds,
    _asks_for_less,
    _ends_early,
    _waits_till_the_deadline,
    _marks,
    _runs_another,
)
