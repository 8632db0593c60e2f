"""State that starts anew: what is kept under a name, a target's identity among them, is not found under another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from wizard_dsl.analysis._diff_names import Pairs
from wizard_dsl.analysis._diff_view import TargetView, View
from wizard_dsl.analysis.diff_changes import Change, listed
from wizard_dsl.spec.diagnostics import DocPath, show_path

if TYPE_CHECKING:
    from wizard_dsl.compiler.program import PolicyPlan
    from wizard_dsl.spec.diagnostics import Place

Where = Callable[..., "tuple[Place, DocPath]"]


def changes(old: View, new: View, pairs: Pairs, where: Where) -> Iterator[Change]:
    """One change for each chain and target of which something is kept under another key than before."""
    for one, other in pairs.chains:
        was, now = old.chains[one], new.chains[other]
        kept = sorted({"cache", "retry_budget"} & was.policies.keys() & now.policies.keys())
        if one != other and kept:
            yield _anew(f"{listed(kept)} of chain {other}", f"it was called {one}", where(now.at))
        for before, after in pairs.targets(was, now):
            mine, target = was.targets[before], now.targets[after]
            lost = _lost(mine, target, old, new)
            if lost:
                yield _anew(f"{listed(lost)} of {other}'s {after}", _why(mine, target), where(target.at))


def _anew(what: str, why: str, spot: tuple[Place, DocPath]) -> Change:
    place, path = spot
    return Change(
        section="state",
        what=f"{what} begins anew: {why}",
        path=show_path(path),
        file=place.file,
        line=place.line,
    )


def _lost(was: TargetView, now: TargetView, old: View, new: View) -> list[str]:
    """The kinds of a target's shared policies that have another scope key; one whose `per` changed is told as that."""
    before = {_label(each): each for each in was.plan.ladder if each.type.shared_state}
    after = {_label(each): each for each in now.plan.ladder if each.type.shared_state}
    return [
        label
        for label in sorted(before.keys() & after.keys())
        if _key(before[label], old, new) != after[label].scope_key and _same_per(before, after, label)
    ]


def _key(plan: PolicyPlan, old: View, new: View) -> str:
    """The old scope key. Two files that say no name are called by their paths, which is no change of theirs."""
    head = f"{old.program.name}:"
    unnamed = not (old.document.file.name or new.document.file.name)
    if unnamed and plan.scope_key.startswith(head):
        return f"{new.program.name}:{plan.scope_key.removeprefix(head)}"
    return plan.scope_key


def _same_per(before: dict[str, PolicyPlan], after: dict[str, PolicyPlan], label: str) -> bool:
    return getattr(before[label].config, "per", "") == getattr(after[label].config, "per", "")


def _label(plan: PolicyPlan) -> str:
    return f"provider's {plan.type.name}" if ".provider." in plan.path else plan.type.name


def _why(was: TargetView, now: TargetView) -> str:
    if was.plan.model != now.plan.model:
        return f"its model was {was.plan.model}"
    if was.plan.key != now.plan.key:
        return "its endpoint or key is another one"
    if was.plan.provider != now.plan.provider:
        return f"its provider was called {was.plan.provider}"
    return "the pipeline or the chain was called otherwise"
