"""Times that do not fit together."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from wizard_dsl.compiler.program import ChainPlan, PolicyPlan
from wizard_dsl.core import units
from wizard_dsl.core.component import seconds
from wizard_dsl.lint.subject import Subject
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath
from wizard_dsl.spec.document import ChainEntry


class Limit(msgspec.Struct, frozen=True):
    """A time in seconds, and where the file sets it; None where it is built in."""

    seconds: float
    at: DocPath | None

    def words(self, name: str) -> str:
        built_in = " (built-in)" if self.at is None else ""
        return f"{name} {units.show_duration(self.seconds)}{built_in}"


def w110_total_not_below_deadline(subject: Subject) -> Iterator[Diagnostic]:
    """W110: an attempt may take as long as the whole call, so a hung provider never opens the breaker and no
    fallback runs. Only where the file sets one of the two."""
    seen: set[DocPath] = set()
    for name, plan in subject.program.chains.items():
        entry = subject.document.chains[name]
        deadline = deadline_of(subject, plan, entry)
        for target in plan.targets:
            total = _total(subject, target.ladder, entry, target.index)
            if total is None or total.seconds < deadline.seconds:
                continue
            at = total.at or deadline.at
            if at is not None and at not in seen:
                seen.add(at)
                yield _warning(subject, target.name, at, total, deadline)


def _warning(subject: Subject, target: str, at: DocPath, total: Limit, deadline: Limit) -> Diagnostic:
    message = f"{total.words('timeout.total')} of {target} is not below the {deadline.words('deadline')}"
    related = [(deadline.at, "the deadline")] if deadline.at is not None and at != deadline.at else []
    hint = f"set timeout.total below {units.show_duration(deadline.seconds)}, with room for a fallback"
    return subject.warn("W110", message, at, suggestion=hint, related=related)


def deadline_of(subject: Subject, plan: ChainPlan, entry: ChainEntry) -> Limit:
    """The earlier of the call's deadline and the run's."""
    top: DocPath = ("deadline",)
    run = Limit(subject.program.deadline, top if subject.written(top) else None)
    config = next((each.config for each in plan.outer if each.type.name == "deadline"), None)
    after = None if config is None else seconds(getattr(config, "after", "off"))
    if after is None or after > run.seconds:
        return run
    return Limit(after, subject.setting(entry, None, "deadline", "after"))


def w147_deadline_that_never_applies(subject: Subject) -> Iterator[Diagnostic]:
    """W147: a call's deadline, or the least time for an attempt, that is longer than the whole run may take."""
    top: DocPath = ("deadline",)
    run = Limit(subject.program.deadline, top if subject.written(top) else None)
    related = [] if run.at is None else [(run.at, "the run's")]
    seen: set[DocPath] = set()
    for name, plan in subject.program.chains.items():
        config = next((each.config for each in plan.outer if each.type.name == "deadline"), None)
        for key, why in (("after", "the run is over before"), ("min_attempt", "nothing is ever repeated")):
            text = getattr(config, key, None)
            at = _set_at(subject, subject.document.chains[name], key)
            if text is None or at is None or at in seen or units.parse_duration(text) <= run.seconds:
                continue
            seen.add(at)
            message = f"{key} {text} of deadline is above the {run.words('deadline')} of the run: {why}"
            yield subject.warn("W147", message, at, suggestion="lower it, or raise the run's", related=related)


def _set_at(subject: Subject, entry: ChainEntry, key: str) -> DocPath | None:
    return subject.setting(entry, None, "deadline", key)


def _total(subject: Subject, ladder: tuple[PolicyPlan, ...], entry: ChainEntry, index: int) -> Limit | None:
    config = next((each.config for each in ladder if each.type.name == "timeout"), None)
    total = None if config is None else seconds(getattr(config, "total", "off"))
    return None if total is None else Limit(total, subject.setting(entry, index, "timeout", "total"))
