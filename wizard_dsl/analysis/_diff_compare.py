"""Two views → the changes between them, those of one cause told once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from wizard_dsl.analysis import _diff_bounds, _diff_cache, _diff_names, _diff_prompts, _diff_state
from wizard_dsl.analysis._diff_errors import MOVES, fates
from wizard_dsl.analysis._diff_names import Pairs
from wizard_dsl.analysis._diff_values import UNSET
from wizard_dsl.analysis._diff_view import TABLES, ChainView, Part, TargetView, Value, View
from wizard_dsl.analysis.diff_changes import Change, Section, listed
from wizard_dsl.core.component import Rung
from wizard_dsl.spec.diagnostics import DocPath, Place, show_path
from wizard_dsl.spec.docpath import stands_in

_LIMITS: Final = (Rung.ADMISSION, Rung.RATE_LIMIT, Rung.CONCURRENCY, Rung.BUDGET)
_FILE_SECTIONS: Final[Mapping[str, Section]] = {"budgets": "limits", "state": "state", "name": "state"}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One difference at one place, before those of one cause are put together."""

    section: Section
    what: str
    before: str | None = None
    after: str | None = None
    owner: str = ""
    target: str | None = None
    place: Place
    path: DocPath


def changes_between(old: View, new: View) -> list[Change]:
    """What changes in behaviour from `old` to `new`, diagnostics apart."""
    told = differences(old, new)
    return [*_diff_bounds.changes(old, new, told), *told]


def differences(old: View, new: View) -> list[Change]:
    """The same without the bounds, which follow from it and take longer."""
    pairs = _diff_names.pairs_of(old, new)
    comparer = _Comparer(old, new, pairs)
    return [
        *_joined(comparer.found(), new),
        *_diff_cache.changes(old, new, pairs, comparer.where),
        *_diff_prompts.changes(old, new, pairs),
        *_diff_state.changes(old, new, pairs, comparer.where),
    ]


class _Comparer:
    def __init__(self, old: View, new: View, pairs: Pairs) -> None:
        self._old = old
        self._new = new
        self._pairs = pairs
        self._places = new.compiled.loaded.places

    def found(self) -> Iterator[Found]:
        """Every difference, in the order of the file."""
        yield from self._file()
        yield from self._named("input", self._old.inputs, self._new.inputs, self._pairs.inputs)
        for one, other in self._pairs.providers:
            was, now = self._old.providers[one], self._new.providers[other]
            yield from self._leaves(was, now, f"provider {other}.", "", None, "serves")
        yield from self._chains()
        yield from self._steps()

    def where(self, *paths: DocPath) -> tuple[Place, DocPath]:
        """The first of the paths that is written on the new side; else what is nearest above the last one."""
        data = self._new.compiled.loaded.data
        path = next((each for each in paths if stands_in(data, each)), paths[-1] if paths else ())
        return self._places.value_at(path), path

    def _found(self, section: Section, what: str, at: Sequence[DocPath], **more: Any) -> Found:
        place, path = self.where(*at)
        return Found(section=section, what=what, place=place, path=path, **more)

    def _leaves(
        self, was: Part, now: Part, prefix: str, owner: str, target: str | None, section: Section
    ) -> Iterator[Found]:
        """The values that two parts do not share."""
        for key in dict.fromkeys((*now.leaves, *was.leaves)):
            one, other = was.leaves.get(key), now.leaves.get(key)
            if key.split(".")[0] in TABLES or (_value(one) == _value(other)):
                continue
            at = [*(other.at if other else ()), *(one.at if one else ()), *now.at]
            what = f"{prefix}{key}"
            yield self._found(section, what, at, before=_shown(one), after=_shown(other), owner=owner, target=target)

    def _file(self) -> Iterator[Found]:
        for each in self._leaves(self._old.file, self._new.file, "", "", None, "behaviour"):
            section = _FILE_SECTIONS.get(each.what.split(".")[0], each.section)
            if each.what != "name" or self._old.program.name != self._new.program.name:
                yield msgspec.structs.replace(each, section=section)

    def _named(
        self, noun: str, old: Mapping[str, Any], new: Mapping[str, Any], pairs: Sequence[tuple[str, str]]
    ) -> Iterator[Found]:
        """Things with a name that are parts: gone, new, called otherwise, or with other values."""
        yield from self._comings(noun, old, new, pairs)
        for one, other in pairs:
            yield from self._leaves(old[one], new[other], f"{noun} {other}.", "", None, "behaviour")

    def _comings(
        self, noun: str, old: Mapping[str, Any], new: Mapping[str, Any], pairs: Sequence[tuple[str, str]]
    ) -> Iterator[Found]:
        section: Section = "serves" if noun == "chain" else "behaviour"
        kept = {one for one, _ in pairs}, {other for _, other in pairs}
        for name in (each for each in old if each not in kept[0]):
            yield self._found(section, f"{noun} {name} is gone", [(f"{noun}s",)])
        for name in (each for each in new if each not in kept[1]):
            yield self._found(section, f"{noun} {name} is new", [(f"{noun}s", name)])
        for one, other in pairs:
            if one != other:
                yield self._found("state", f"{noun} {one} is called {other} now", [(f"{noun}s", other)])

    # -- chains -------------------------------------------------------------------------------------

    def _chains(self) -> Iterator[Found]:
        yield from self._comings("chain", self._old.chains, self._new.chains, self._pairs.chains)
        for one, other in self._pairs.chains:
            yield from self._chain(self._old.chains[one], self._new.chains[other])

    def _chain(self, was: ChainView, now: ChainView) -> Iterator[Found]:
        name = now.plan.name
        for each in self._leaves(was.own, now.own, "", name, None, "behaviour"):
            limits = each.what.startswith("on_rate_limit")
            serves = each.what in {"allow_loss", "when_all_open"}
            section: Section = "limits" if limits else "serves" if serves else "behaviour"
            yield msgspec.structs.replace(each, section=section)
        yield from self._strategy(was, now)
        yield from self._policies(was.policies, now.policies, now, None)
        outer = [[policy.type.name for policy in each.plan.outer] for each in (was, now)]
        yield from self._order(outer[0], outer[1], now, None)
        targets = self._pairs.targets(was, now)
        yield from self._targets(was, now, targets)
        for one, other in targets:
            yield from self._target(was.targets[one], now.targets[other], now, other)
            yield from self._errors(was, now, one, other)

    def _strategy(self, was: ChainView, now: ChainView) -> Iterator[Found]:
        names = was.plan.strategy.name, now.plan.strategy.name
        name = now.plan.name
        if names[0] != names[1]:
            before, after = names
            at = [(*now.at, "strategy"), now.at]
            yield self._found("serves", "strategy", at, before=before, after=after, owner=name)
            return
        yield from self._leaves(was.strategy, now.strategy, "strategy.", name, None, "serves")

    def _targets(self, was: ChainView, now: ChainView, pairs: Sequence[tuple[str, str]]) -> Iterator[Found]:
        name = now.plan.name
        gone = [each for each in was.targets if each not in {one for one, _ in pairs}]
        fresh = [each for each in now.targets if each not in {other for _, other in pairs}]
        for each in gone:
            at = [(*now.at, "targets"), now.at]
            yield self._found("serves", f"target {each} is gone", at, owner=name)
        for each in fresh:
            place = list(now.targets).index(each) + 1
            what = f"target {each} is new, at place {place} of {len(now.targets)}"
            yield self._found("serves", what, [now.targets[each].at], owner=name)
        order = [[other for other in now.targets if other in dict(pairs).values()]]
        order.insert(0, [dict(pairs)[each] for each in was.targets if each in dict(pairs)])
        if order[0] != order[1]:
            before, after = (", ".join(each) for each in order)
            yield self._found("serves", "order", [(*now.at, "targets")], before=before, after=after, owner=name)

    def _target(self, was: TargetView, now: TargetView, chain: ChainView, name: str) -> Iterator[Found]:
        for each in self._leaves(was.own, now.own, "", chain.plan.name, name, "serves"):
            asked = each.what.startswith(("params.", "facts."))
            yield msgspec.structs.replace(each, section="behaviour" if asked else "serves")
        yield from self._policies(was.policies, now.policies, chain, name)
        yield from self._order(was.policies, now.policies, chain, name)

    def _policies(
        self, was: Mapping[str, Part], now: Mapping[str, Part], chain: ChainView, target: str | None
    ) -> Iterator[Found]:
        name = chain.plan.name
        for kind in dict.fromkeys((*now, *was)):
            one, other = was.get(kind), now.get(kind)
            section = _section((other or one or Part((), {})).rung)
            if one is not None and other is not None:
                yield from self._leaves(one, other, f"{kind}.", name, target, section)
                continue
            holders = other.at if other is not None else self._gone(one, kind, chain, target)
            before, after = (_summary(one), _summary(other))
            yield self._found(section, kind, holders, before=before, after=after, owner=name, target=target)

    def _gone(self, was: Part | None, kind: str, chain: ChainView, target: str | None) -> list[DocPath]:
        """Where a policy that is no longer there may be turned off, else stood."""
        at = chain.at if target is None else chain.targets[target].at
        return [(*at, "policies", kind), (*chain.at, "policies", kind), *(was.at if was else ()), chain.at]

    def _order(self, was: Iterable[str], now: Iterable[str], chain: ChainView, target: str | None) -> Iterator[Found]:
        """The ladder, where the kinds that both have stand in another order."""
        kinds = tuple(was), tuple(now)
        before, after = ([kind for kind in each if kind in kinds[0] and kind in kinds[1]] for each in kinds)
        if before != after:
            at = [(*chain.at, "policies", "stack"), ("policies", "default", "stack"), chain.at]
            texts = {"before": " > ".join(before), "after": " > ".join(after)}
            yield self._found("behaviour", "ladder", at, owner=chain.plan.name, target=target, **texts)

    def _errors(self, was: ChainView, now: ChainView, one: str, other: str) -> Iterator[Found]:
        for fate in fates(was, now, was.targets[one], now.targets[other]):
            what = f"{fate.kind}, {fate.respect}" if fate.respect else fate.kind
            yield self._found(
                "errors", what, fate.at, before=fate.before, after=fate.after, owner=now.plan.name, target=other
            )

    # -- steps --------------------------------------------------------------------------------------

    def _steps(self) -> Iterator[Found]:
        yield from self._comings("step", self._old.steps, self._new.steps, self._pairs.steps)
        chains = dict(self._pairs.chains)
        for one, other in self._pairs.steps:
            was, now = self._old.steps[one].own, self._new.steps[other].own
            asked = was.leaves.get("chain")
            if asked is not None and asked.value in chains:
                renamed = chains[asked.value]
                moved = msgspec.structs.replace(asked, value=renamed, shown=renamed)
                was = Part(was.at, {**was.leaves, "chain": moved})
            for each in self._leaves(was, now, "", f"step {other}", None, "behaviour"):
                yield msgspec.structs.replace(each, section="serves" if each.what == "chain" else "behaviour")


def _section(rung: Rung | None) -> Section:
    return "limits" if rung in _LIMITS else "cache" if rung is Rung.CACHE else "behaviour"


def _value(value: Value | None) -> Any:
    return None if value is None else value.value


def _shown(value: Value | None) -> str:
    return UNSET if value is None else value.shown


def _summary(part: Part | None) -> str:
    """A policy in a few words: off, or what it says of itself first."""
    if part is None:
        return "off"
    said = [f"{key} {value.shown}" for key, value in part.leaves.items() if value.value is not None][:4]
    return f"on ({', '.join(said)})" if said else "on"


def _joined(found: Iterator[Found], new: View) -> Iterator[Change]:
    """Differences of one cause as one change: the same one on several chains and targets, and several kinds of error
    that do the same."""
    groups: dict[Any, list[Found]] = {}
    errors: dict[Any, list[Found]] = {}
    for each in found:
        if each.section == "errors":
            respect = each.what.partition(", ")[2]
            errors.setdefault((respect, each.before, each.after, each.owner, each.target), []).append(each)
        else:
            groups.setdefault((each.what, each.before, each.after, each.place, each.path), []).append(each)
    for alike in groups.values():
        yield _change(alike, alike[0].what, new)
    yield from _joined_errors(errors, new)


def _joined_errors(errors: Mapping[Any, list[Found]], new: View) -> Iterator[Change]:
    """Kinds that do the same on the same targets as one change. Who is next differs from target to target, and is told
    in order."""
    groups: dict[Any, list[Found]] = {}
    for (respect, before, after, *_), alike in errors.items():
        kinds = tuple(each.what.partition(", ")[0] for each in alike)
        ways = tuple(MOVES if text.startswith(MOVES) else text for text in (before, after))
        groups.setdefault((kinds, respect, *ways), []).extend(alike)
    for (kinds, respect, *ways), alike in groups.items():
        what = listed(kinds) + (f" ({respect})" if respect else "")
        change = _change(alike, what, new)
        texts = {}
        for way, name in zip(ways, ("before", "after"), strict=True):
            followers = dict.fromkeys(str(getattr(each, name)).removeprefix(MOVES) for each in alike)
            texts[name] = f"{MOVES}{', then '.join(followers)}" if way == MOVES else way
        yield msgspec.structs.replace(change, **texts)


def _change(found: Sequence[Found], what: str, new: View) -> Change:
    first = found[0]
    return Change(
        section=first.section,
        what=what,
        before=first.before,
        after=first.after,
        subjects=tuple(_subjects(found, new)),
        path=show_path(first.path),
        file=first.place.file,
        line=first.place.line,
    )


def _subjects(found: Sequence[Found], new: View) -> Iterator[str]:
    """The chains, each with those of its targets that it is about where these are not all."""
    targets: dict[str, list[str]] = {}
    for each in found:
        targets.setdefault(each.owner, [])
        if each.target is not None and each.target not in targets[each.owner]:
            targets[each.owner].append(each.target)
    for owner, some in targets.items():
        chain = new.chains.get(owner)
        everybody = list(chain.targets) if chain is not None else []
        all_that_have_a_next = found[0].section == "errors" and some == everybody[:-1]
        if owner:
            yield owner if not some or some == everybody or all_that_have_a_next else f"{owner} ({', '.join(some)})"
