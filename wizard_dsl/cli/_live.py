"""`check --live`: ask each target of a program something short, without its policies.

No retry, no cache and no breaker stand between: what is wanted is the first answer, whatever it is. It costs a few
tokens a target. Timeouts are short, for somebody waits.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from wizard_dsl.cli._environment import targets
from wizard_dsl.compiler.link import LinkedChain, link
from wizard_dsl.compiler.program import ChainPlan, Program
from wizard_dsl.core.clock import Clock
from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.messages import Request, message
from wizard_dsl.core.run import Call, Run, Scope, Transcript
from wizard_dsl.runtime.runtime import Runtime

CONNECT: Final = 5.0  # seconds
TOTAL: Final = 30.0
#: Some providers refuse less.
MAX_TOKENS: Final = 16


class Asked(msgspec.Struct, frozen=True):
    """How one target answered. `kind` is ok or an error kind; `elapsed` is seconds."""

    target: str
    kind: str
    elapsed: float
    message: str | None = None
    suggestion: str | None = None


async def ask_all(program: Program) -> list[Asked]:
    """Ask all targets at once; those that stand in several chains once. In the order of the file."""
    runtime = Runtime(seed=0, folder=None, transport=None, sinks=(), provide=None)
    try:
        linked = link(bare(program), runtime.services)
        embeds = _only_embedded(program)
        asked = (_ask(chain, runtime.services.clock, embeds) for chain in linked.chains.values())
        return list(await asyncio.gather(*asked))
    finally:
        await runtime.close()


def bare(program: Program) -> Program:
    """A program with one chain for each target that is told apart, without policies, and without steps."""
    chains: dict[str, ChainPlan] = {}
    for chain in program.chains.values():
        for target in chain.targets:
            name = f"{chain.name}/{target.position}"
            alone = msgspec.structs.replace(target, ladder=(), position=0, path=f"check.{target.key}")
            plan = msgspec.structs.replace(chain, targets=(alone,), outer=(), shared=())
            chains.setdefault(target.key, msgspec.structs.replace(plan, name=name))
    return msgspec.structs.replace(program, chains=chains, steps=())


def _only_embedded(program: Program) -> frozenset[str]:
    """The targets that are asked for embeddings alone: a model for these answers nothing else."""
    asked: dict[str, set[str]] = {}
    for step in program.steps:
        if step.chain is not None:
            asked.setdefault(step.chain, set()).add(step.type.name)
    keys = {target.key for target in targets(program)}
    for name, chain in program.chains.items():
        if asked.get(name, set()) != {"embed"}:
            keys -= {target.key for target in chain.targets}
    return frozenset(keys)


async def _ask(chain: LinkedChain, clock: Clock, embeds: frozenset[str]) -> Asked:
    (target,) = chain.plan.targets
    started = clock.now()
    error: WizardError | None = None
    try:
        response = await chain.strategy(_request(target.key in embeds), _run(started))
        await response.read()
    except WizardError as failure:
        error = failure
    elapsed = round(clock.now() - started, 3)
    if error is None:
        return Asked(target.name, "ok", elapsed)
    return Asked(target.name, error.kind, elapsed, error.message, error.suggestion)


def _request(embed: bool) -> Request:
    if embed:
        return Request(kind="embed", texts=("Hello",))
    params: dict[str, Any] = {"max_tokens": MAX_TOKENS}
    return Request(messages=(message("user", "Say hello."),), params=params)


def _run(now: float) -> Run:
    return Run(
        scope=Scope(run_id="check"),
        deadline=now + TOTAL,
        transcript=Transcript(now),
        call=Call(),
        allow_empty=True,
        connect=CONNECT,
    )
