"""Settings over which others are written wherever they would apply: in a policy set, for all steps, or in parameters
that targets have of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wizard_dsl.compiler.program import StepPlan
from wizard_dsl.core import units
from wizard_dsl.lint.subject import Found, Subject, idle_for_all
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.document import ChainEntry

#: What stands over a setting: the place, and what it does.
_Over = tuple[DocPath, str]


def w124_overridden_setting(subject: Subject) -> Iterator[Diagnostic]:
    """W124: a policy of a set, a key of one, or the set's `stack`, over which all chains that use the set write another
    value, or turn the policy off. Only where the pipeline file itself writes both: other files are not there for every
    run."""
    for name, policies in subject.document.policies.items():
        users = [chain for chain in subject.document.chains.values() if (chain.use or "default") == name]
        yield from _stack(subject, users, name)
        for kind, own in policies.items() if users else ():
            yield from _told(subject, users, ("policies", name, kind), own)


def _stack(subject: Subject, users: list[ChainEntry], name: str) -> Iterator[Diagnostic]:
    """The finding at the order of a set, which is replaced as a whole."""
    path: DocPath = ("policies", name, "stack")
    over: list[DocPath] = [("chains", chain.name, "policies", "stack") for chain in users]
    if not users or not all(subject.written(at) and subject.own(at) for at in (path, *over)):
        return
    own, *others = (value_in(subject.compiled.loaded.data, at) for at in (path, *over))
    if own not in others:
        message = f"stack of the policy set '{name}' never applies: each chain that uses the set has one of its own"
        related = [(at, "has one of its own") for at in over]
        yield subject.warn("W124", message, path, key=True, suggestion="remove one of them", related=related)


def _told(subject: Subject, users: list[ChainEntry], path: DocPath, own: Any) -> Iterator[Diagnostic]:
    """The finding at `path`, or else those below it."""
    over = _over_all(subject, users, path, own)
    if over and subject.own(path):
        name, words = path[1], ".".join(map(str, path[2:]))
        value = "" if isinstance(own, dict | list) else f" {str(own).lower() if isinstance(own, bool) else own}"
        how = " or ".join(sorted({each for _, each in over}))
        message = f"{words}{value} of the policy set '{name}' never applies: each chain that uses the set {how}"
        yield subject.warn("W124", message, path, key=True, suggestion="remove one of them", related=over)
    elif isinstance(own, dict):
        for key, value in own.items():
            yield from _told(subject, users, (*path, key), value)


def _over_all(subject: Subject, users: list[ChainEntry], path: DocPath, own: Any) -> list[_Over]:
    """What stands over a setting in each place that takes it from the set; nothing where one of them takes it."""
    found: dict[DocPath, str] = {}
    for leaf, value in _leaves(path, own):
        for chain in users:
            over = _over(subject, chain, leaf, value)
            if over is None:
                return []
            found.update(over)
    return list(found.items())


def _leaves(path: DocPath, own: Any) -> Iterator[tuple[DocPath, Any]]:
    if not isinstance(own, dict) or not own:
        yield path, own
        return
    for key, value in own.items():
        yield from _leaves((*path, key), value)


def _over(subject: Subject, chain: ChainEntry, leaf: DocPath, value: Any) -> dict[DocPath, str] | None:
    """What the chain writes over one value, or else all its targets do, those that are switched off, too."""
    base: DocPath = ("chains", chain.name)
    whole = _written_over(subject, (*base, "policies"), chain.policies, leaf, value)
    if whole is not None:
        return dict([whole])
    found: dict[DocPath, str] = {}
    for index, policies in enumerate(chain.target_policies):
        at: DocPath = (*base, "targets", index, "policies")
        one = _written_over(subject, at, policies, leaf, value)
        if one is None:
            return None
        found.update([one])
    return found


def _written_over(subject: Subject, at: DocPath, policies: Any, leaf: DocPath, value: Any) -> _Over | None:
    """Where a place writes another value over that at `leaf`; a map over a map is merged with it."""
    here = policies
    for key in leaf[2:]:
        if not isinstance(here, dict):
            break
        if key not in here:
            return None
        here, at = here[key], (*at, key)
    if _same(here, value) or (isinstance(here, dict) and isinstance(value, dict)) or not subject.own(at):
        return None
    return at, "turns it off" if here == "off" else "writes something else"


def _same(one: Any, other: Any) -> bool:
    """Whether two values say the same, be it in other words of a unit."""
    if one == other or not (isinstance(one, str) and isinstance(other, str)):
        windows = isinstance(one, list) and isinstance(other, list) and len(one) == len(other)
        return bool(one == other) or (windows and all(_say_one(*each) for each in zip(one, other, strict=True)))
    rates = _parsed(units.RATE, one), _parsed(units.RATE, other)
    if None not in rates:  # of a bucket, which gains as much in a second; in a list they are windows
        return bool(rates[0].tokens == rates[1].tokens and rates[0].per_second == rates[1].per_second)
    return _say_one(one, other)


def _say_one(one: Any, other: Any) -> bool:
    """Whether two texts are one value of a unit, or one text."""
    return one == other or any(_parsed(unit, one) == _parsed(unit, other) is not None for unit in units.UNITS)


def _parsed(unit: units.Unit, text: Any) -> Any:
    """What a text says in a unit; None where it is none of it."""
    try:
        return unit.parse(text)
    except (TypeError, ValueError):
        return None


# -- of steps ---------------------------------------------------------------------------------------


def w148_overridden_for_all(subject: Subject) -> Iterator[Diagnostic]:
    """W148: the file's `block_when` where every step has one of its own; a parameter of a prompt or a step over which
    all that it reaches write another value."""
    for at, message, related in (*_of_the_judge(subject), *idle_for_all(_of_parameters(subject))):
        yield subject.warn("W148", message, at, suggestion="remove it, or one of the others", related=related)


def _of_the_judge(subject: Subject) -> Iterator[Found]:
    whole: DocPath = ("safety", "block_when")
    judged = [name for name, step in subject.document.steps.items() if hasattr(step.config, "safety")]
    own: list[DocPath] = [("steps", name, *whole) for name in judged]
    if judged and subject.own(whole) and all(map(subject.written, (whole, *own))):
        message = "safety.block_when judges nothing: every step has one of its own"
        yield whole, message, [(at, "what judges instead") for at in own]


def _of_parameters(subject: Subject) -> Iterator[tuple[DocPath, Found | None]]:
    """Each parameter of a step or its prompt; None where the answer of some target follows it."""
    for step in subject.program.steps:
        if step.chain is None:
            continue
        chain = subject.program.chains[step.chain]
        admitted = any(plan.type.name == "admission" for plan in chain.outer)
        for name, value in step.params.items():
            found = [path for path in _places(step, name) if subject.written(path)]
            targets = [
                (("chains", step.chain, "targets", each.index, "params", name), each.params.get(name, value) == value)
                for each in chain.targets
            ]
            counts = name == "max_tokens" and admitted  # admission reserves what the step says
            others: list[DocPath] = [] if counts else [at for at, same in targets if not same]
            for number, at in enumerate(found):
                yield at, _parameter(subject, at, found[:number], others if len(others) == len(targets) else [])


def _places(step: StepPlan, name: str) -> list[DocPath]:
    """Where a parameter of a step may stand: what is named first wins."""
    own: DocPath = ("steps", step.name)
    prompt = getattr(step.config, "prompt", None)
    shared: list[DocPath] = [("prompts", prompt, "params", name)] if isinstance(prompt, str) else []
    return [(*own, "params", name), (*own, "prompt", "params", name), *shared]


def _parameter(subject: Subject, at: DocPath, over: list[DocPath], others: list[DocPath]) -> Found | None:
    """What is wrong with a parameter at `at`, over which a step writes `over`, and every target writes `others`."""
    if not all(map(subject.own, (at, *over, *others))):
        return None
    data = subject.compiled.loaded.data
    if over and value_in(data, over[0]) != value_in(data, at):
        return at, f"{at[-1]} of the prompt is never sent: the step has one of its own", [(over[0], "what is sent")]
    if not over and others:
        message = f"{at[-1]} is never sent: every target of the chain has one of its own"
        return at, message, [(each, "what is sent") for each in others]
    return None
