"""Would the soundness check notice a bound that is too low?

Each bound is weakened on purpose, one at a time, in a process of its own, which then plays random cases until a run
needs more than the weakened plan says. What no run notices is listed: those bounds rest on unit tests alone.
`WEAKENED=n`: so many cases for each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FunctionType, ModuleType
from typing import Final, NamedTuple

from benchmarks.harness import Row

CASES = int(os.environ.get("WEAKENED", "2000"))


class Weakening(NamedTuple):
    """What is changed in a module of wizard_dsl: `before` becomes `after`, inside a function."""

    module: str
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.module}: {' '.join(self.before.split())} → {' '.join(self.after.split())}"


def main() -> list[Row]:
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        noticed = list(pool.map(notice, WEAKENINGS))
    for each, case in zip(WEAKENINGS, noticed, strict=True):
        print(f"{'no run' if case is None else f'case {case}'}  {each.name}", file=sys.stderr)
    found = sum(case is not None for case in noticed)
    share = found / len(WEAKENINGS)
    return [
        Row(
            question="bounds too low that a random run notices",
            subject="weakened",
            ratio=share,
            lowest=share,
            highest=share,
            value=float(found),
            baseline=float(len(WEAKENINGS)),
            unit="bounds",
            better="higher",
        ).aiming(floor=0.9, goal=1.0)
    ]


def notice(weakening: Weakening, cases: int = CASES) -> int | None:
    """The first case that needs more than the weakened plan; for the rest of this process the bound stays weak."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "properties"))
    from plan_kit import hold

    weaken(weakening)
    with TemporaryDirectory() as folder:
        for number in range(cases):
            played = hold(number, Path(folder))
            if played is not None and played.broken():
                return number
    return None


def weaken(weakening: Weakening) -> None:
    """Give the functions of a module the code that they would have with the change."""
    for function, code in changed(weakening):
        function.__code__ = code


def changed(weakening: Weakening) -> list[tuple[FunctionType, CodeType]]:
    """The functions that a weakening changes, each with its code then. Raises ValueError where the text is nowhere, or
    in no function."""
    module = import_module(f"wizard_dsl.{weakening.module}")
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    if weakening.before not in source:
        raise ValueError(f"there is no {weakening.before!r} in {weakening.module}")
    was, now = _codes(source), _codes(source.replace(weakening.before, weakening.after, 1))
    written = {each.__qualname__: each for each in _functions(module) if each.__qualname__ in was}
    found = [(each, now[name]) for name, each in written.items() if _said(was[name]) != _said(now[name])]
    if not found:
        raise ValueError(f"{weakening.before!r} is in no function of {weakening.module}")
    return found


def _said(code: CodeType) -> object:
    """What it does, without where it stands."""
    constants = [_said(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    return code.co_code, code.co_names, repr(constants)


def _codes(source: str) -> dict[str, CodeType]:
    """The code of every function of a text, by its qualified name."""
    found: dict[str, CodeType] = {}
    waiting = [compile(source, "weakened", "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        found[code.co_qualname] = code
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]
    return found


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """Those of a module and of its classes."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        members = vars(value).values() if isinstance(value, type) else [value]
        yield from (each for each in members if isinstance(each, FunctionType))


WEAKENINGS: Final = tuple(
    Weakening(*each)
    for each in (
        ("policies.contract", "again.repeated(config.repairs)", "again.repeated(max(0, config.repairs - 1))"),
        ("policies.contract", "facts.again(facts.answer + Figure(_COMPLAINT), _LEAST) or inner", "inner"),
        ("policies.contract", "facts.answer + Figure(_COMPLAINT)", "Figure(_COMPLAINT)"),
        (
            "policies.concurrency",
            'return bound_waiting("concurrency", config.max_wait or None, inner, facts)',
            "return inner",
        ),
        (
            "policies.rate_limit",
            'return bound_waiting("rate_limit", config.max_wait or None, inner, facts)',
            "return inner",
        ),
        (
            "policies.admission",
            'inner = bound_waiting(f"admission.{part}", own.max_wait or None, inner, facts)',
            "pass",
        ),
        ("policies._queueing", "Figure(parse_duration(max_wait))", "Figure(parse_duration(max_wait) / 2)"),
        ("policies.deadline", "Figure(after))", "Figure(after * 0.9))"),
        ("policies.budget", "Figure(parse_money(each.limit), f", "Figure(parse_money(each.limit) / 2, f"),
        ("policies.budget", "1 + math.ceil(latency / _SHORTEST[scope])", "1"),
        ("policies.retry", "inner.repeated(most)", "inner.repeated(max(1, most - 1))"),
        ("policies.retry", "repeated.latency + Figure(delays)", "repeated.latency"),
        ("policies.retry", "delays += max(ours, facts", "delays += max(0.0, facts"),
        ("policies.retry", '("exponential", *modes.values())', "modes.values()"),
        ("policies._backoff", "min(backoff.max_delay, delay * (1 + backoff.jitter))\n", "delay\n"),
        (
            "policies._backoff",
            'if backoff.jitter == "decorrelated":\n        return backoff.max_delay\n    return delay if',
            "return delay if",
        ),
        ("policies.cache", "flight.times(1 + _ROUNDS)", "flight"),
        ("policies.cache", "flight.times(1 + _ROUNDS)", "flight.times(_ROUNDS)"),
        ("strategies._walk", "total.latency + waits", "total.latency"),
        ("strategies._walk", "(total.attempts + Figure(len(branches)))", "Figure(len(branches))"),
        ("strategies._walk", "times(facts.max_retry_after)", "times(facts.patience)"),
        ("strategies._walk", "for branch in branches[1:]:", "for branch in branches[2:]:"),
        ("strategies.parallel", "branches, config.n)", "branches, 1)"),
        ("strategies.hedged", "branches, 2)", "branches, 1)"),
        ("analysis._plan_attempt", "if measure.adds and target.type.overhead is not None:", "if False:"),
        ("analysis._plan_attempt", "size.value / measure.read", "size.value / measure.read / 2"),
        ("analysis._plan_attempt", "return Figure(most)", "return Figure(most - 1)"),
        ("analysis._plan_attempt", "written.times(measure.written)", "written.times(measure.written / 2)"),
        ("analysis._plan_attempt", " + written.times(output / 1e6)", ""),
        (
            "analysis._plan_call",
            "if at_once < 2 or self._shared or any(_may_wait(target) for target in chain.targets):",
            "if len(chain.targets) == 1:",
        ),
        ("analysis._plan_call", "self._longest(asking.asked).product(bound.attempts)", "Figure(0)"),
        ("analysis._plan_call", "longest.product(self._strategy(_Asking(asked, self._deadline)).attempts)", "longest"),
        ("analysis._plan_call", "[*chain.shared, *among(chain.outer, own)]", "[*chain.shared, *chain.outer]"),
        ("analysis._plan_call", "min(self.left, after)", "min(self.left, after) / 4"),
        (
            "analysis._plan_call",
            "return asking.cut(attempt(target, asking.asked, asking.more, self._library).bound)",
            "return attempt(target, asking.asked, asking.more, self._library).bound.with_latency(Figure(1))",
        ),
        ("analysis._plan_fold", "size.grown(_ESCAPED_ROLES)", "size"),
        ("analysis._plan_fold", "begin = begin.largest(ends[need])", "pass"),
        ("analysis._plan_fold", "found = found + widest", "found = found.largest(widest)"),
        ("analysis._plan_fold", 'Figure(self._deadline, "the deadline"', 'Figure(self._deadline * 0.9, "the deadline"'),
        ("analysis._plan_fold", "units.parse_money(limit.limit) *", "0.8 * units.parse_money(limit.limit) *"),
        (
            "analysis._plan_fold",
            "if often.value == 1:\n        return bound",
            "if often.value > 0:\n        return bound",
        ),
        ("analysis._plan_fold", "math.ceil(often.value / at_once)", "math.floor(often.value / at_once)"),
        ("analysis._plan_fold", "bound.in_flight.product(often.smallest(Figure(at_once)))", "bound.in_flight"),
        ("analysis._plan_fold", "text.or_else(_printed(default)), json.or_else(default)", "text, json"),
        ("analysis._plan_fold", "text_of((text.text + Figure(1)).product(executions))", "text"),
        (
            "analysis._plan_fold",
            "fold.made(fold.steps(inputs), inputs)",
            "msgspec.structs.replace(fold.made(fold.steps(inputs), inputs), text=of_value(None))",
        ),
        ("steps.embed", "sizes.text + many.times(PER_MESSAGE)", "sizes.text"),
        ("steps.embed", '("",) * len(sizes)', "()"),
        ("steps.generate", "facts.ask(facts.prompt.with_schema(schema))", "facts.ask(facts.prompt)"),
        ("core.bound", "cost=self.cost + other.cost,", "cost=self.cost.largest(other.cost),"),
        ("core.bound", "latency=self.latency + other.latency,", "latency=self.latency.largest(other.latency),"),
    )
)
