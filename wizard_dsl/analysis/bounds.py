"""`bounds`: what a file promises about its worst case, held against its plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from wizard_dsl.analysis.plan import Plan, plan_of
from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.compiler.program import Program
from wizard_dsl.core.bound import Figure
from wizard_dsl.core.target import Facts
from wizard_dsl.core.units import parse_duration, parse_money, show_duration, show_money
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Related, finding, show_path

Bounded = Literal["attempts", "latency", "cost"]
#: A sum of the same numbers in another order is no more than the sum.
_DUST: Final = 1e-9
#: Sections that a plan is made of.
_PLANNED: Final = frozenset({"inputs", "policies", "chains", "prompts", "steps", "deadline", "budgets", "bounds"})


def show_count(value: float) -> str:
    """A whole number as such, a mean with at most two digits."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def show_seconds(value: float) -> str:
    return show_duration(round(value, 3))


SHOWN: Final[Mapping[str, Callable[[float], str]]] = MappingProxyType(
    {
        "attempts": show_count,
        "latency": show_seconds,
        "cost": show_money,
        "tokens": show_count,
        "in_flight": show_count,
        "waits": show_seconds,
    }
)


class Verdict(msgspec.Struct, frozen=True):
    """One bound of a file, as written, and the figure of its plan."""

    name: Bounded
    written: str
    most: float
    figure: Figure

    @property
    def holds(self) -> bool:
        return self.figure.value <= self.most * (1 + _DUST)


def verdicts(compiled: Compiled, plan: Plan) -> list[Verdict]:
    """The bounds of a file with a program, each with what its plan says; nothing of those that refer to what is not
    known here."""
    assert compiled.program is not None
    unknown = {path[1] for path in compiled.loaded.unresolved if path[0] == "bounds"}
    return [each for each in _verdicts(compiled.program, plan) if each.name not in unknown]


def _verdicts(program: Program, plan: Plan) -> list[Verdict]:
    stated, found = program.bounds, list[Verdict]()
    if stated.attempts is not None:
        found.append(Verdict("attempts", str(stated.attempts), stated.attempts, plan.worst.attempts))
    if stated.latency is not None:
        found.append(Verdict("latency", stated.latency, parse_duration(stated.latency), plan.worst.latency))
    if stated.cost is not None:
        found.append(Verdict("cost", stated.cost, parse_money(stated.cost), plan.worst.cost))
    return found


def broken_bounds(compiled: Compiled, plan: Plan | None = None) -> list[Diagnostic]:
    """What the `bounds` of a compiled file promise and do not hold; nothing is planned where there are none."""
    program = compiled.program
    if program is None or program.bounds == type(program.bounds)():
        return []
    if plan is None:
        plan = plan_of(program, library=None if program.bounds.cost is not None else _no_facts)
    return [_finding(each, plan, compiled) for each in verdicts(compiled, plan) if not each.holds]


def stand_ins(compiled: Compiled) -> list[str]:
    """The places, besides keys and addresses, of references that are not known here: the plan is that of their
    defaults."""
    found = [path for loaded in (compiled.loaded, *compiled.inner) for path in loaded.unresolved]
    return [show_path(path) for path in sorted(found, key=str) if _matters(path)]


def _matters(path: DocPath) -> bool:
    return path[0] in _PLANNED or (path[0] == "providers" and path[2:3] in (("models",), ("policies",)))


def _no_facts(prices: str, model: str) -> Facts:
    """Neither attempts nor latency depend on what a model costs."""
    return Facts()


def _finding(verdict: Verdict, plan: Plan, compiled: Compiled) -> Diagnostic:
    path, places = ("bounds", verdict.name), compiled.loaded.places
    figure = verdict.figure
    related = [Related(*places.value_at(figure.at), "this leaves it open")] if not figure.bounded and figure.at else []
    return finding(
        "E079",
        f"{_sentence(verdict)}; {_reason(verdict, plan)}",
        places.value_at(path),
        path=path,
        value=verdict.written,
        suggestion="`wizard plan` shows what it is made of",
        related=related,
    )


def _sentence(verdict: Verdict) -> str:
    shown = "anything" if not verdict.figure.bounded else SHOWN[verdict.name](verdict.figure.value)
    what = {"attempts": "make {} attempts", "latency": "take {}", "cost": "cost {}"}[verdict.name].format(shown)
    return f"a run may {what}, more than {verdict.written}"


def _reason(verdict: Verdict, plan: Plan) -> str:
    """Why it is open, or what adds most."""
    if not verdict.figure.bounded:
        return verdict.figure.reason
    largest = plan.contributors[verdict.name][:2]
    parts = [f"{each.name} adds {SHOWN[verdict.name](each.share)}" for each in largest]
    if verdict.figure.value < getattr(plan.unlimited, verdict.name).value:
        parts.insert(0, f"only {verdict.figure.reason} limits it")
    return ", ".join(parts) or "the attempts of its steps are enough for that"
