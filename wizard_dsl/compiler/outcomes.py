"""Where a program's components stand, each with the outcomes that its type declares: what coverage is measured by.

Beside policies and strategies, two rules of the file itself have outcomes: what a chain does where a stream breaks
(`on_mid_stream_error`), and what a step does with its condition and its failure (`when`, `on_error`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from wizard_dsl.compiler.link import with_frame
from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, Program, StepPlan, TargetPlan
from wizard_dsl.core.events import AttemptEnded, FallbackTriggered, RetryScheduled, StepEnded
from wizard_dsl.core.outcomes import OutcomeType, Site, outcome, told
from wizard_dsl.core.units import parse_duration
from wizard_dsl.policies.contract import CONTRACT, ContractConfig
from wizard_dsl.policies.deadline import DeadlineConfig
from wizard_dsl.policies.safety import SAFETY, SafetyConfig

_RESUMES: Final = frozenset({"restart", "continue"})

MID_STREAM: Final[tuple[OutcomeType, ...]] = (
    outcome("broken", "a stream broke after its first content", told(AttemptEnded, "chain", kind="mid_stream")),
    outcome(
        "resumed",
        "a broken stream went on, with the same target or another",
        told(RetryScheduled, "chain", kind="mid_stream"),
        told(FallbackTriggered, "chain", kind="mid_stream"),
        possible=lambda site: site.mid_stream in _RESUMES,
    ),
)


def _may_skip(site: Site) -> bool:
    plan: StepPlan = site.config
    return plan.when is not None or "ran" in plan.needs.values()


STEP: Final[tuple[OutcomeType, ...]] = (
    outcome("ran", "the step ran to its end", told(StepEnded, "step", kind="ok")),
    outcome(
        "skipped",
        "its condition, or a step it needs, kept it from running",
        told(StepEnded, "step", kind="skipped"),
        possible=_may_skip,
    ),
    outcome(
        "replaced",
        "it failed, and `on_error` let the run go on",
        told(StepEnded, "step", when=lambda event, site: event.kind not in {"ok", "skipped", "cancelled"}),
        possible=lambda site: site.config.on_error != "fail",
    ),
)


class Declared(msgspec.Struct, frozen=True):
    """A component at its place. `path` names its state: that of the first place that shares it; `component` is its
    kind, such as retry, or `step` and `on_mid_stream_error` for the file's own rules."""

    path: str
    component: str
    site: Site
    outcomes: tuple[OutcomeType, ...]
    strategy: bool = False


def sites(program: Program) -> tuple[Declared, ...]:
    """Every component that has outcomes, in the order of the file's chains, then its steps. A chain that no step asks
    has none."""
    return tuple(_Sites(program).all())


class _Sites:
    """Walks over one program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._named: dict[tuple[str, str], str] = {}

    def all(self) -> Iterator[Declared]:
        """In order."""
        asked = {step.chain for step in self._program.steps}
        for name, plan in self._program.chains.items():
            if name in asked:
                yield from self._chain(plan)
        for step in self._program.steps:
            yield from self._step(step)

    def _chain(self, plan: ChainPlan) -> Iterator[Declared]:
        path = f"chains.{plan.name}"
        own = frozenset(policy.type.name for policy in (*plan.outer, *plan.shared))
        below = frozenset(policy.type.name for target in plan.targets for policy in target.ladder)
        site = Site(
            path=path,
            chain=plan.name,
            targets=tuple(target.name for target in plan.targets),
            kinds=own | below | {plan.strategy.name},
            streamed=self._streams(plan),
            deadline=self._deadline(plan),
            rate_limit=plan.rate_limit,
            fallback_on=plan.fallback_on,
            allow_loss=plan.allow_loss,
            mid_stream=plan.mid_stream,
            when_all_open=plan.when_all_open,
        )
        for policy in (*plan.outer, *plan.shared):
            yield self._policy(policy, site)
        at = f"{path}.{plan.strategy.name}"
        yield Declared(at, plan.strategy.name, _at(site, at, plan.strategy_config), plan.strategy.outcomes, True)
        if site.streamed:
            at = f"{path}.on_mid_stream_error"
            yield Declared(at, "on_mid_stream_error", _at(site, at, None), MID_STREAM)
        for target in plan.targets:
            yield from self._target(target, site, own | {plan.strategy.name})

    def _target(self, target: TargetPlan, chain: Site, own: frozenset[str]) -> Iterator[Declared]:
        kinds = own | {policy.type.name for policy in target.ladder}
        site = msgspec.structs.replace(chain, target=target.name, target_path=target.path, kinds=kinds)
        for policy in with_frame(target):
            yield self._policy(policy, site)

    def _policy(self, policy: PolicyPlan, site: Site) -> Declared:
        at = _at(site, policy.path, policy.config)
        return Declared(self._name(policy), policy.type.name, at, policy.type.outcomes)

    def _name(self, policy: PolicyPlan) -> str:
        """The path of the first node that has the same state; a section of the file is one node."""
        if len(policy.origin) == 1:
            return str(policy.origin[0])
        if not (policy.type.shared_state or policy.type.name == "on_rate_limit"):
            return policy.path
        return self._named.setdefault((policy.type.name, policy.scope_key), policy.path)

    def _step(self, step: StepPlan) -> Iterator[Declared]:
        path = f"steps.{step.name}"
        site = Site(path=path, step=step.name, chain=step.chain or "", config=step)
        yield Declared(path, "step", site, STEP)
        output = getattr(step.config, "output", None)
        if output is not None and output.schema is not None:
            at = f"{path}.output"
            yield Declared(at, "contract", _at(site, at, ContractConfig(repairs=output.repairs)), CONTRACT.outcomes)
        if step.block_when is not None:
            at = f"{path}.safety"
            yield Declared(at, "safety", _at(site, at, SafetyConfig(block_when=step.block_when)), SAFETY.outcomes)

    def _streams(self, plan: ChainPlan) -> bool:
        """Whether a consumer can see deltas of the chain: those of the step that the output passes through, where
        nothing reads the whole answer before."""
        step = next((each for each in self._program.steps if each.name == self._program.streamed), None)
        if step is None or step.chain != plan.name or plan.mid_stream == "buffer" or step.block_when is not None:
            return False
        output = getattr(step.config, "output", None)
        buffers = any(policy.type.buffers for policy in plan.outer)
        return not buffers and (output is None or output.schema is None)

    def _deadline(self, plan: ChainPlan) -> float:
        own = [policy.config for policy in plan.outer if isinstance(policy.config, DeadlineConfig)]
        return min([self._program.deadline, *(parse_duration(config.after) for config in own)])


def _at(site: Site, path: str, config: Any) -> Site:
    return msgspec.structs.replace(site, path=path, config=config)
