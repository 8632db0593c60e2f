"""Whether what is stored already will be found again: everything the cache's key is made of, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from wizard_dsl.analysis._diff_names import Pairs
from wizard_dsl.analysis._diff_view import ChainView, Part, StepView, View
from wizard_dsl.analysis.diff_changes import Change, listed
from wizard_dsl.spec.diagnostics import DocPath, show_path

if TYPE_CHECKING:
    from wizard_dsl.spec.diagnostics import Place

Where = Callable[..., "tuple[Place, DocPath]"]


def changes(old: View, new: View, pairs: Pairs, where: Where) -> Iterator[Change]:
    """One change for each cause, with the steps whose stored answers are not found any more."""
    causes: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    places: dict[tuple[str, str, tuple[str, ...]], tuple[Place, DocPath]] = {}
    chains = dict(pairs.chains)
    for one, other in pairs.steps:
        was, now = old.steps[one], new.steps[other]
        before, after = old.chains.get(was.plan.chain or ""), new.chains.get(now.plan.chain or "")
        if before is None or after is None or not ("cache" in before.policies and "cache" in after.policies):
            continue
        told = _cold(was, now, before, after, chains)
        if told is not None:
            what, reasons, at = told
            key = (what, after.plan.name, reasons)
            causes.setdefault(key, []).append(f"step {other}")
            places.setdefault(key, where(*at))
    for (what, _, reasons), steps in causes.items():
        place, path = places[what, _, reasons]
        yield Change(
            section="cache",
            what=f"{what} ({listed(reasons)})",
            subjects=tuple(steps),
            path=show_path(path),
            file=place.file,
            line=place.line,
        )


def _cold(
    was: StepView, now: StepView, before: ChainView, after: ChainView, chains: dict[str, str]
) -> tuple[str, tuple[str, ...], list[DocPath]] | None:
    """What becomes of a step's stored answers, why, and where that is written."""
    if chains.get(before.plan.name) != after.plan.name:
        return "100 % cold after this", (f"the cache of {after.plan.name} holds other answers",), [(*now.at, "chain")]
    if before.plan.name != after.plan.name:
        return "100 % cold after this", ("a cache is kept under its chain's name",), [after.at]
    one, other = before.policies["cache"], after.policies["cache"]
    if one.leaves["store"].value != other.leaves["store"].value:
        return "100 % cold after this", ("the store is another one",), [*other.leaves["store"].at, *other.at]
    reasons, at = _key(was, now, before, after)
    if not reasons:
        return None
    return "the key changes, 100 % cold after this", tuple(reasons), at


def _key(was: StepView, now: StepView, before: ChainView, after: ChainView) -> tuple[list[str], list[DocPath]]:
    """Which parts of the key differ: see `policies._entry.cache_key`."""
    reasons: list[str] = []
    at: list[DocPath] = []

    def differs(reason: str, same: bool, *paths: DocPath) -> None:
        if not same:
            reasons.append(reason)
            at.extend(paths)

    one, other = before.policies["cache"], after.policies["cache"]
    for field in ("key_version", "scope"):
        differs(field, one.leaves[field].value == other.leaves[field].value, *other.leaves[field].at)
    differs("who is asked", before.plan.fingerprint == after.plan.fingerprint, (*after.at, "targets"))
    differs("the messages", was.messages == now.messages, now.prompt_at)
    fields = {"params": "params.", "the tools": "tool ", "the schema": "output.schema"}
    for reason, prefix in (fields | {"allow_empty": "output.allow_empty", "the texts": "texts"}).items():
        mine, theirs = _some(was.own, prefix), _some(now.own, prefix)
        changed = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        paths = [path for key in changed if key in now.own.leaves for path in now.own.leaves[key].at]
        differs(reason, not changed, *paths, now.at)
    return reasons, at


def _some(part: Part, prefix: str) -> dict[str, Any]:
    return {key: value.value for key, value in part.leaves.items() if key.startswith(prefix)}
